package project

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/run"
)

// candidate is a project of one tree, before it is known whether a change touches it.
type candidate struct {
	dir       string
	workspace string
	label     string
	entry     *Entry // that lists it; nil when it was discovered
	skipped   string // why it is not planned
}

func (c candidate) key() string { return c.dir + "\x00" + c.workspace }

// toolFor says which tool reads a directory.
func (t *tree) toolFor(dir string, e *Entry, rules Rules) string {
	switch {
	case e != nil && e.Tool != "":
		return e.Tool
	case rules.Settings.Tool != "":
		return rules.Settings.Tool
	case t.hasTofuFiles(dir):
		return tofu
	}
	if p, ok := t.pin(dir, "", rules.defaultTool()); ok {
		return p.tool
	}
	return rules.defaultTool()
}

func (t *tree) hasTofuFiles(dir string) bool {
	l := t.dirs[dir]
	return l != nil && slices.ContainsFunc(l.config, func(name string) bool {
		_, ext := splitExt(name)
		return strings.HasPrefix(ext, ".tofu")
	})
}

func (r Rules) defaultTool() string { return cmpOr(r.DefaultTool, tofu) }

// roots are the directories that look like root modules: those with a backend, and those that no other directory uses as a module.
func (t *tree) roots(c *Config, rules Rules) []string {
	ignored := func(dir string) bool {
		return c.ignored(dir) || slices.ContainsFunc(rules.Ignore, func(p string) bool { return matchGlob(p, dir) })
	}
	var dirs []string
	used := map[string]bool{}
	for _, dir := range t.configDirs() {
		if t.failed() {
			return nil
		}
		if ignored(dir) {
			continue
		}
		dirs = append(dirs, dir)
		m := t.module(dir, t.toolFor(dir, nil, rules))
		for _, call := range m.calls {
			if next, problem := t.callee(dir, call); problem == nil && next != dir {
				used[next] = true
			}
		}
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return used[dir] && t.module(dir, t.toolFor(dir, nil, rules)).backend == nil
	})
}

// candidates lists the projects of a tree, by directory and workspace. judging is the configuration whose steps count.
func (t *tree) candidates(c, judging *Config, rules Rules) ([]candidate, []run.Problem) {
	var list []candidate
	var problems []run.Problem
	if len(c.Projects) == 0 {
		for _, dir := range t.roots(c, rules) {
			if t.tooMany(list) {
				break
			}
			list = append(list, t.discovered(dir, nil, "default", rules))
		}
	} else {
		list, problems = t.listed(c, judging, rules)
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return strings.Compare(a.key(), b.key()) })
	return list, append(problems, labelClashes(list)...)
}

// tooMany says whether a list has as many projects as one repository may have.
func (t *tree) tooMany(list []candidate) bool {
	if len(list) < maxProjects {
		return false
	}
	t.bound("", fmt.Sprintf("the repository has more than %d projects", maxProjects),
		"list those that are to be planned in "+ConfigFile+", or leave directories out with discover.ignore")
	return true
}

// discovered is a root module that nobody named.
func (t *tree) discovered(dir string, e *Entry, workspace string, rules Rules) candidate {
	c := candidate{dir: dir, workspace: workspace, label: label("", dir, workspace, false), entry: e}
	var varFiles []string
	if e != nil {
		varFiles = relative(dir, e.VarFiles)
	}
	switch {
	case strings.ContainsFunc(dir, unprintable) || !utf8.ValidString(dir) || len(dir) > maxText:
		c.skipped = "the name of its directory has characters that cannot be shown, or is too long"
	case t.isLibrary(t.module(dir, t.toolFor(dir, e, rules)), varFiles):
		c.skipped = "library module: it has no backend, and variables that nobody gives a value"
	}
	return c
}

// listed are the projects of planlatch.yaml: first those that name their directory, then those that a glob reaches.
func (t *tree) listed(c, judging *Config, rules Rules) ([]candidate, []run.Problem) {
	var list []candidate
	var problems []run.Problem
	by := map[string]*Entry{}
	for i := range c.Projects {
		e := &c.Projects[i]
		if e.Glob {
			continue
		}
		dir, skipped, problem := t.projectDir(e, judging, rules)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		for _, w := range e.Workspaces {
			if t.tooMany(list) {
				return list, problems
			}
			cand := candidate{dir: dir, workspace: w, label: label(e.Name, dir, w, len(e.Workspaces) > 1), entry: e, skipped: skipped}
			if by[cand.key()] != nil { // the same directory by way of a symlink
				problems = append(problems, e.problem("dir", quote(e.Dir)+" is listed twice, once through a symlink", "list each directory once"))
				continue
			}
			by[cand.key()] = e
			list = append(list, cand)
		}
	}
	return t.reached(c, judging, rules, list, by, problems)
}

// reached are the projects that globs reach, after those that are listed by their directory.
func (t *tree) reached(c, judging *Config, rules Rules, list []candidate, by map[string]*Entry, problems []run.Problem) ([]candidate, []run.Problem) {
	var roots []string
	for i := range c.Projects {
		e := &c.Projects[i]
		if !e.Glob || t.failed() {
			continue
		}
		if roots == nil {
			roots = t.roots(c, rules)
		}
		reach := slices.DeleteFunc(slices.Clone(roots), func(dir string) bool { return !matchGlob(e.Dir, dir) })
		made, skipped := t.made(c, judging, e, rules)
		reach = append(reach, made...)
		for _, dir := range reach {
			for _, w := range e.Workspaces {
				if t.tooMany(list) {
					return list, problems
				}
				cand := t.discovered(dir, e, w, rules)
				cand.skipped = cmpOr(cand.skipped, skipped[dir])
				if first := by[cand.key()]; first == nil {
					by[cand.key()] = e
					list = append(list, cand)
				} else if first.Glob {
					problems = append(problems, e.problem("dir", fmt.Sprintf("%s and %s both reach %s", quote(e.Dir), quote(first.Dir), quote(dir)),
						"make the globs apart, or list the directory by itself"))
				}
			}
		}
		if len(reach) == 0 {
			problems = append(problems, e.problem("dir", quote(e.Dir)+" matches no root module", "correct the glob, or remove the entry"))
		}
	}
	return list, problems
}

// projectDir is the directory of an entry, its symlinks followed, and why it is not planned.
func (t *tree) projectDir(e *Entry, judging *Config, rules Rules) (dir, skipped string, problem *run.Problem) {
	dir, err := t.resolve(e.Dir)
	if err != nil {
		p := e.problem("dir", quote(e.Dir)+" is a symlink that "+reason(err), "name a directory inside the repository")
		return "", "", &p
	}
	if t.hasConfig(dir) {
		return dir, "", nil
	}
	if counts, proposed := rules.maker(judging, e, dir); t.isDir(dir) && counts {
		return dir, "", nil
	} else if t.isDir(dir) && proposed {
		return dir, waitsForSteps, nil
	}
	message, fix := quote(e.Dir)+" has no .tf or .tofu files", "add them, or remove the entry"
	if _, ok := t.exists(dir); !ok {
		message, fix = quote(e.Dir)+" does not exist", "correct the path, or remove the entry if the directory was deleted"
		if near := meant.Near(e.Dir, t.configDirs()); near != "" {
			fix = "did you mean " + quote(near) + "?"
		}
	}
	p := e.problem("dir", message, fix)
	return "", "", &p
}

func labelClashes(list []candidate) []run.Problem {
	var problems []run.Problem
	first := map[string]candidate{}
	for _, c := range list {
		other, clash := first[c.label]
		first[c.label] = c
		if !clash {
			continue
		}
		message := fmt.Sprintf("%s and %s are both called %s", quote(other.dir), quote(c.dir), quote(c.label))
		p := run.Problem{File: ConfigFile, Message: message}
		for _, e := range []*Entry{other.entry, c.entry} {
			if e != nil && (e.Name != "" || p.Line == 0) {
				p = e.problem("name", message, "")
			}
		}
		p.Fix = "give one of them another name"
		problems = append(problems, p)
	}
	return problems
}

// dependencies says which candidates each one waits for, by index.
func dependencies(list []candidate) ([][]int, []run.Problem) {
	named := map[string][]int{}
	add := func(name string, i int) {
		if !slices.Contains(named[name], i) {
			named[name] = append(named[name], i)
		}
	}
	var labels []string
	for i, c := range list {
		add(c.label, i)
		labels = append(labels, c.label)
	}
	// A name or directory without a workspace means all of its workspaces, unless something is called exactly so.
	for i, c := range list {
		for _, name := range []string{c.dir, entryName(c.entry)} {
			if name != "" && !slices.Contains(labels, name) {
				add(name, i)
			}
		}
	}
	after := make([][]int, len(list))
	var problems []run.Problem
	reported := map[*Entry]bool{}
	for i, c := range list {
		if c.entry == nil {
			continue
		}
		for _, name := range c.entry.DependsOn {
			before, ok := named[name]
			if !ok {
				before, ok = named[path.Clean(name)]
			}
			if !ok && !reported[c.entry] {
				reported[c.entry] = true
				fix := "name another project of this file"
				if near := meant.Near(name, sortedKeys(named)); near != "" {
					fix = "did you mean " + quote(near) + "?"
				}
				problems = append(problems, c.entry.problem("depends_on", "there is no project "+quote(name), fix))
			}
			after[i] = append(after[i], before...)
		}
	}
	return after, problems
}

func entryName(e *Entry) string {
	if e == nil {
		return ""
	}
	return e.Name
}

// arrange puts candidates into an order in which each comes after those it depends on, and otherwise stays where it is.
func arrange(list []candidate, after [][]int) ([]int, *run.Problem) {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(list))
	var order, way []int
	var circle []int
	var visit func(i int)
	visit = func(i int) {
		if circle != nil || state[i] == done {
			return
		}
		way = append(way, i)
		if state[i] == open {
			circle = slices.Clone(way[slices.Index(way, i):])
			return
		}
		state[i] = open
		for _, j := range after[i] {
			visit(j)
		}
		way = way[:len(way)-1]
		state[i] = done
		order = append(order, i)
	}
	for i := range list {
		visit(i)
	}
	if circle == nil {
		return order, nil
	}
	var names []string
	for _, i := range circle {
		names = append(names, list[i].label)
	}
	p := list[circle[0]].entry.problem("depends_on", "projects depend on each other in a circle: "+clip(strings.Join(names, " → ")), "remove one of these dependencies")
	return nil, &p
}
