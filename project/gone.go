package project

import (
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// gone compares the projects of base and head and returns those whose directory was deleted or moved. A move is told from a deletion by
// the backend that the code names, and by what git calls a rename where the code does not name enough; only a run knows for sure.
func (s *selector) gone() []run.Selected {
	if s.base == nil || !s.mayBeGone() {
		return nil
	}
	s.base.scan()
	was, _ := s.base.candidates(&s.baseConfig, &s.baseConfig, s.in.Rules) // a directory that is missing on the base as well was never a project
	now, before := map[string]bool{}, map[string]bool{}
	for _, m := range s.members {
		now[m.key()] = true
	}
	for _, c := range was {
		before[c.key()] = true
	}
	s.moved = map[string]candidate{}
	var out []run.Selected
	for _, c := range was {
		if now[c.key()] || c.skipped != "" {
			continue
		}
		if s.head.holds(c.dir) || !s.base.holds(c.dir) && s.head.isDir(c.dir) {
			s.note("%s is no longer a project: %s; what its state holds stays", c.label, s.whyNot(c))
			continue
		}
		out = append(out, s.deleted(c, before))
	}
	return out
}

// mayBeGone says whether it is worth reading the base: a configuration file went, or planlatch.yaml may list less.
func (s *selector) mayBeGone() bool {
	return s.configEdited || slices.ContainsFunc(s.in.Changed, func(c Change) bool {
		name := c.Old
		if c.Kind == Deleted {
			name = c.Path
		}
		base := name[strings.LastIndexByte(name, '/')+1:]
		return name != "" && (isConfig(base) || base == wrapperFile)
	})
}

func (s *selector) whyNot(c candidate) string {
	switch {
	case len(s.headConfig.Projects) > 0 && s.headConfig.find(c.dir, c.workspace) == nil:
		return ConfigFile + " does not list it"
	case s.headConfig.ignored(c.dir):
		return ConfigFile + " ignores it"
	}
	return "another directory uses it as a module"
}

// deleted says what became of a project whose directory has gone.
func (s *selector) deleted(c candidate, before map[string]bool) run.Selected {
	tool := s.base.toolFor(c.dir, c.entry, s.in.Rules)
	closure := s.base.closure(c.dir, tool)
	g := s.in.Rules.gates(&s.baseConfig, c.dir, c.workspace)
	settings, _, _ := s.base.settings(c, closure, g, s.in.Rules) // what is wrong with a file that is gone matters to nobody
	settings.Inputs = []string{c.dir}
	sel := run.Selected{Dir: c.dir, Workspace: c.workspace, Label: c.label, Deleted: true, Reasons: []string{c.dir + " was deleted"}, Settings: settings}

	identity, sure := s.base.backendIdentity(c.dir, tool, c.workspace, settings.BackendConfig)
	var target, shared *member
	for _, m := range s.members {
		if s.identity(m) != identity {
			continue
		}
		switch renamed := s.renamed(c.dir, m.dir); {
		case before[m.key()]:
			if sure {
				shared = m
			}
		case renamed, sure && target == nil:
			target = m
		}
	}
	switch {
	case target != nil:
		s.moved[target.key()] = c
		target.because("moved here from " + c.dir)
		sel.Skipped, sel.Kept = "moved to "+target.dir, target.dir
	case shared != nil:
		sel.Kept = shared.label
		sel.Skipped = "its directory was deleted; " + shared.label + " keeps its state in the same place"
	default:
		sel.Skipped = "its directory was deleted; `planlatch plan --destroy -p " + c.label + "` shows what its state still holds"
	}
	return sel
}

// identity is what the code says of a project's state.
func (s *selector) identity(m *member) string {
	if m.state == "" {
		config := slices.Clone(s.in.Rules.Settings.BackendConfig)
		if m.entry != nil {
			config = append(config, m.entry.BackendConfig...)
		}
		m.state, _ = s.head.backendIdentity(m.dir, s.head.toolFor(m.dir, m.entry, s.in.Rules), m.workspace, config)
	}
	return m.state
}

// renamed says whether git saw a configuration file move from one directory to the other.
func (s *selector) renamed(from, to string) bool {
	return slices.ContainsFunc(s.in.Changed, func(c Change) bool {
		return c.Old != "" && dirOf(c.Old) == from && dirOf(c.Path) == to && isConfig(c.Old[strings.LastIndexByte(c.Old, '/')+1:])
	})
}

func dirOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}
