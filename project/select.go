package project

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Select finds the projects that a change touches, with the reasons and the settings to plan them with.
//
// Outline: read planlatch.yaml of base and head, and stop if either is wrong; list the projects of the head; let every changed file name
// the projects it belongs to; compare with the projects of the base to find what was deleted or moved; order by depends_on; say what is
// wrong with the code of those that were touched. It stops when ctx ends, and says so in Err.
func Select(ctx context.Context, in Input) Selection {
	ended := func() error { return context.Cause(ctx) }
	s := &selector{in: in, head: newTree(in.Head, ended)}
	if in.Base != nil {
		s.base = newTree(in.Base, ended)
	}
	s.run()
	s.head.failed()
	if len(s.out.Problems) > maxProblems {
		s.out.Problems = s.out.Problems[:maxProblems]
	}
	if err := errors.Join(s.failed()...); err != nil {
		// Whoever looks at Problems alone stays closed as well.
		s.out.Err = err
		s.out.Problems = append(s.out.Problems, run.Problem{Message: "the repository could not be read", Fix: "this is tried again; if it stays, ask whoever runs the server"})
	}
	return s.out
}

// maxProblems is how many problems are kept. Nobody reads as many.
const maxProblems = 100

type selector struct {
	in           Input
	head, base   *tree // base is nil when there is none
	headConfig   Config
	baseConfig   Config
	configEdited bool
	members      []*member
	index        *index
	after        map[string][]string  // a project's key → those it names in depends_on
	moved        map[string]candidate // new project's key → where it was on the base
	out          Selection
}

func (s *selector) failed() []error {
	errs := []error{s.head.err}
	if s.base != nil {
		errs = append(errs, s.base.err)
	}
	return errs
}

func (s *selector) run() {
	if !s.readConfigs() {
		return
	}
	s.head.scan()
	list, problems := s.head.candidates(&s.headConfig, &s.baseConfig, s.in.Rules)
	after, more := dependencies(list)
	s.out.Problems = slices.Concat(problems, more)
	if s.bounded(s.head) || len(s.out.Problems) > 0 {
		return
	}
	order, circle := arrange(list, after)
	s.after = map[string][]string{}
	for i, before := range after {
		for _, j := range before {
			s.after[list[i].key()] = append(s.after[list[i].key()], list[j].key())
		}
	}
	if circle != nil {
		s.out.Problems = append(s.out.Problems, *circle)
		return
	}
	for _, i := range order {
		if s.head.failed() {
			return
		}
		m := &member{candidate: list[i]}
		m.closure = s.head.closure(m.dir, s.head.toolFor(m.dir, m.entry, s.in.Rules))
		s.members = append(s.members, m)
	}
	s.index = newIndex(s.head, s.members)
	for _, c := range s.in.Changed {
		if s.head.failed() {
			return
		}
		s.index.touch(c)
	}
	s.compareConfigs()
	gone := s.gone()
	if s.bounded(s.head) || s.base != nil && s.bounded(s.base) {
		return
	}
	s.finish()
	s.out.Projects = append(s.out.Projects, gone...)
	s.out.All = append(s.out.All, gone...)
}

// bounded reports a bound that reading a tree has reached.
func (s *selector) bounded(t *tree) bool {
	if t.limit != nil {
		s.out.Problems = append(s.out.Problems, *t.limit)
	}
	return t.limit != nil
}

// readConfigs reads planlatch.yaml of both trees. It is false when one of them is wrong: an invalid one on the base has no fallback,
// because what it says about gates is not known.
func (s *selector) readConfigs() bool {
	if s.base != nil {
		config, problems := s.base.readConfigFile()
		if len(problems) == 0 {
			problems = s.in.Rules.refused(&config)
		}
		for _, p := range problems {
			p.Message = "on the base branch: " + p.Message
			s.out.Problems = append(s.out.Problems, p)
		}
		s.baseConfig = config
	}
	if len(s.out.Problems) > 0 {
		return false
	}
	config, problems := s.head.readConfigFile()
	if len(problems) == 0 {
		problems = s.in.Rules.refused(&config)
	}
	s.headConfig, s.out.Problems = config, problems
	s.configEdited = slices.ContainsFunc(s.in.Changed, func(c Change) bool { return c.Path == ConfigFile || c.Old == ConfigFile })
	return len(problems) == 0
}

// compareConfigs touches the projects that planlatch.yaml now lists otherwise, and tells of rules that the head would change.
func (s *selector) compareConfigs() {
	if !s.configEdited {
		return
	}
	rules := map[string][]string{}
	for _, m := range s.members {
		before := s.baseConfig.find(m.dir, m.workspace)
		if keys := edited(before, m.entry); len(keys) > 0 {
			m.because(ConfigFile + " changed its " + strings.Join(keys, ", "))
		} else if before == nil && m.entry != nil && (len(s.baseConfig.Projects) > 0 || m.workspace != "default") {
			m.because(ConfigFile + " lists it now")
		}
		judged := s.in.Rules.gates(&s.baseConfig, m.dir, m.workspace)
		if keys := judged.differences(s.in.Rules.gates(&s.headConfig, m.dir, m.workspace)); len(keys) > 0 {
			k := strings.Join(keys, ", ")
			rules[k] = append(rules[k], m.label)
		}
	}
	for _, keys := range sortedKeys(rules) {
		labels := rules[keys]
		if len(labels) > 5 {
			labels = append(labels[:5:5], fmt.Sprintf("%d more", len(labels)-5))
		}
		s.note("%s changes %s of %s; the rules of the base branch judge until it is merged", ConfigFile, keys, strings.Join(labels, ", "))
	}
}

// edited names the keys of an entry that change how the project is planned.
func edited(before, after *Entry) []string {
	var none Entry
	if before == nil {
		before = &none
	}
	if after == nil {
		after = &none
	}
	var keys []string
	for _, k := range []struct {
		name string
		same bool
	}{
		{"tool", before.Tool == after.Tool && before.Version == after.Version},
		{"var_files", slices.Equal(before.VarFiles, after.VarFiles)},
		{"backend_config", slices.Equal(before.BackendConfig, after.BackendConfig)},
	} {
		if !k.same {
			keys = append(keys, k.name)
		}
	}
	return keys
}

func (s *selector) note(format string, args ...any) {
	if len(s.out.Notes) < 50 {
		s.out.Notes = append(s.out.Notes, fmt.Sprintf(format, args...))
	}
}

// finish fills the selection from the members, in their order.
func (s *selector) finish() {
	for _, m := range s.members {
		if s.head.failed() {
			return
		}
		g := s.in.Rules.gates(&s.baseConfig, m.dir, m.workspace)
		if from, ok := s.moved[m.key()]; ok {
			g = g.stricter(s.in.Rules.gates(&s.baseConfig, from.dir, from.workspace))
		}
		settings, problems, notes := s.head.settings(m.candidate, m.closure, g, s.in.Rules)
		if settings.Inputs = s.index.inputs(m); makeCode(settings.Steps) {
			settings.Inputs = madeFrom(settings.Inputs, m.entry)
		}
		sel := run.Selected{Dir: m.dir, Workspace: m.workspace, Label: m.label, Reasons: m.why(), Skipped: m.skipped, From: s.moved[m.key()].dir, Settings: settings}
		s.out.All = append(s.out.All, sel)
		if len(m.reasons) == 0 {
			continue
		}
		s.out.Projects = append(s.out.Projects, sel)
		if m.skipped != "" {
			continue
		}
		s.out.Notes = append(s.out.Notes, notes...)
		s.report(append(problems, m.problems...))
	}
	s.blindLinks()
	s.dependents()
	s.brokenElsewhere()
	s.unlisted()
}

// dependents says of each selected project which other selected ones it depends on, directly or through projects that are not touched.
func (s *selector) dependents() {
	label := map[string]string{} // of those that are planned
	key := func(p run.Selected) string { return candidate{dir: p.Dir, workspace: p.Workspace}.key() }
	for _, p := range s.out.Projects {
		if p.Skipped == "" {
			label[key(p)] = p.Label
		}
	}
	for i, p := range s.out.Projects {
		if p.Skipped == "" {
			s.out.Projects[i].After = s.before(key(p), label, map[string]bool{})
		}
	}
}

// before walks what a project depends on and returns the labels of those that are planned.
func (s *selector) before(key string, label map[string]string, seen map[string]bool) []string {
	var labels []string
	for _, dep := range s.after[key] {
		if seen[dep] {
			continue
		}
		seen[dep] = true
		if l, ok := label[dep]; ok {
			labels = append(labels, l)
		}
		labels = append(labels, s.before(dep, label, seen)...)
	}
	return labels
}

// report adds problems that are not known yet: projects share modules.
func (s *selector) report(problems []run.Problem) {
	for _, p := range problems {
		if len(s.out.Problems) < maxProblems && !slices.Contains(s.out.Problems, p) {
			s.out.Problems = append(s.out.Problems, p)
		}
	}
}

// blindLinks tells of symlinks below a project that is planned which runs will not see.
func (s *selector) blindLinks() {
	planned := map[string]bool{}
	for _, m := range s.members {
		planned[m.dir] = planned[m.dir] || len(m.reasons) > 0 && m.skipped == ""
	}
	for _, link := range sortedKeys(s.head.links) {
		if s.head.failed() {
			return
		}
		_, err := s.head.resolve(link)
		if err == nil {
			continue
		}
		for dir := path.Dir(link); ; dir = path.Dir(dir) {
			if planned[dir] {
				s.note("%s is a symlink that %s: runs do not see it", quote(link), reason(err))
				break
			}
			if dir == "." {
				break
			}
		}
	}
}

// brokenElsewhere tells of changed files that cannot be read and belong to nothing that is planned.
func (s *selector) brokenElsewhere() {
	changed := map[string]bool{}
	for _, c := range s.in.Changed {
		changed[c.Path] = true
	}
	told := map[string]bool{}
	for _, key := range sortedModules(s.head.modules) {
		for _, p := range s.head.modules[key].problems {
			if !changed[p.File] || told[p.File] || slices.ContainsFunc(s.out.Problems, func(o run.Problem) bool { return o.File == p.File }) {
				continue
			}
			told[p.File] = true
			s.note("%s:%d: %s", p.File, p.Line, p.Message)
		}
	}
}

func sortedModules(modules map[moduleKey]*module) []moduleKey {
	var keys []moduleKey
	for k := range modules {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b moduleKey) int { return strings.Compare(a.dir+"\x00"+a.tool, b.dir+"\x00"+b.tool) })
	return keys
}

// unlisted tells of changed root modules that planlatch.yaml leaves out: nobody would miss a plan that never was.
func (s *selector) unlisted() {
	if len(s.headConfig.Projects) == 0 {
		return
	}
	var dirs []string
	seen := map[string]bool{}
	for _, c := range s.in.Changed {
		owner := s.index.owner(c.Path)
		if c.Kind == Deleted || !s.head.hasConfig(owner) || len(s.index.own[owner])+len(s.index.skipped[owner]) > 0 ||
			len(s.index.modules[owner]) > 0 || s.headConfig.ignored(owner) {
			continue
		}
		if !seen[owner] {
			seen[owner] = true
			dirs = append(dirs, owner)
		}
	}
	for _, dir := range dirs {
		m := s.head.module(dir, s.head.toolFor(dir, nil, s.in.Rules))
		if !s.head.isLibrary(m, nil) {
			s.note("%s changed and is not planned: %s does not list it", dir, ConfigFile)
		}
	}
}
