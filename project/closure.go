package project

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// closure is everything in the repository that a root module is made from.
type closure struct {
	modules  []use // the local modules, nearest first
	files    []dependency
	globs    []dependency
	required []string
	unsure   bool // it also reads what only a run can tell
	problems []run.Problem
}

// use is a local module and the way to it.
type use struct {
	dir string
	via string // the module that calls it; "" for the root module
}

// dependency is a file, a directory with all below it, or a glob, from the root of the repository.
type dependency struct {
	path   string
	reason string // completes "x.json changed, which …"
}

// closure follows the local modules of a root module. Whether a module directory exists does not matter: if it is missing, whoever adds it
// changes the project.
func (t *tree) closure(dir, tool string) closure {
	var c closure
	seen := map[string]bool{dir: true}
	queue := []use{{dir: dir}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		m := t.module(at.dir, tool)
		if at.dir != dir {
			c.modules = append(c.modules, at)
		}
		c.problems = append(c.problems, m.problems...)
		c.unsure = c.unsure || m.unsure
		for _, v := range m.required {
			if !slices.Contains(c.required, v) {
				c.required = append(c.required, v)
			}
		}
		for _, target := range m.links {
			c.files = append(c.files, dependency{target, "a symlink leads to"})
		}
		t.follow(&c, m, dir)
		for _, name := range sortedKeys(m.calls) {
			call := m.calls[name]
			next, problem := t.callee(m.dir, call)
			if problem != nil {
				c.problems = append(c.problems, *problem)
				continue
			}
			if !seen[next] {
				seen[next] = true
				via := at.dir
				if via == dir {
					via = ""
				}
				queue = append(queue, use{dir: next, via: via})
			}
		}
	}
	return c
}

// callee is the directory of a module call, its symlinks followed.
func (t *tree) callee(dir string, call moduleCall) (string, *run.Problem) {
	next, ok := clean(dir, call.source)
	if ok {
		if target, err := t.resolve(next); err == nil {
			return target, nil
		}
	}
	return "", &run.Problem{File: call.file, Line: call.line, Key: "source", Message: "module source " + quote(call.source) + " leads outside the repository",
		Fix: "use a path inside the repository, or the address of a remote module"}
}

// follow adds what a module reads.
func (t *tree) follow(c *closure, m *module, root string) {
	for _, r := range m.refs {
		from := m.dir
		if r.root {
			from = root
		}
		p, ok := clean(from, r.path)
		if !ok {
			continue // outside of the repository; the sandbox is there for that
		}
		target, err := t.resolve(p)
		if err != nil {
			continue
		}
		if r.pattern != "" {
			if pattern, ok := clean(target, r.pattern); ok {
				c.globs = append(c.globs, dependency{pattern, "is read by"})
			}
			continue
		}
		c.files = append(c.files, dependency{target, "is read by"})
		if target != p {
			c.files = append(c.files, dependency{p, "is read by"})
		}
	}
}

// pin is what a version file says.
type pin struct {
	tool, version string
	file          string
}

// pins finds the version file that counts for a directory: the nearest one on the way to the root. tool restricts it to that tool;
// preferred decides where a directory pins both.
func (t *tree) pin(dir, tool, preferred string) (p pin, ok bool) {
	for {
		if p, ok := t.pinHere(dir, tool, preferred); ok {
			return p, true
		}
		if dir == "." {
			return pin{}, false
		}
		dir = path.Dir(dir)
	}
}

func (t *tree) pinHere(dir, tool, preferred string) (pin, bool) {
	var found []pin
	for _, f := range []struct{ name, tool string }{{tofuVersionFile, tofu}, {terraformVersionFile, terraform}} {
		if text := t.versionFile(dir, f.name); text != "" {
			found = append(found, pin{f.tool, strings.Fields(text)[0], path.Join(dir, f.name)})
		}
	}
	for line := range strings.Lines(t.versionFile(dir, toolVersionsFile)) {
		words := strings.Fields(line)
		if len(words) >= 2 && (words[0] == "opentofu" || words[0] == terraform) {
			name := terraform
			if words[0] == "opentofu" {
				name = tofu
			}
			found = append(found, pin{name, words[1], path.Join(dir, toolVersionsFile)})
		}
	}
	if tool != "" {
		found = slices.DeleteFunc(found, func(p pin) bool { return p.tool != tool })
	}
	for _, p := range found {
		if p.tool == preferred {
			return p, true
		}
	}
	if len(found) == 0 {
		return pin{}, false
	}
	return found[0], true
}

func (t *tree) versionFile(dir, name string) string {
	if !t.has(dir, name) {
		return ""
	}
	content, _, _ := t.read(path.Join(dir, name), 64<<10) // an unreadable one pins nothing, or ends the selection
	return strings.TrimSpace(string(content))
}

// backendIdentity approximates, from code alone, which state a directory has: two with the same identity may share one. sure says that
// nothing a run adds can tell them apart.
func (t *tree) backendIdentity(dir, tool, workspace string, backendConfig []string) (identity string, sure bool) {
	b := t.module(dir, tool).backend
	if b == nil || b.kind == "local" {
		return "local " + workspace, false
	}
	identity, sure = b.kind+" "+workspace+" "+b.settings, b.literal
	for _, c := range backendConfig {
		if isPair(c) {
			identity += " " + c
			sure = true
			continue
		}
		content, _, ok := t.read(path.Join(dir, c), 64<<10)
		if !ok {
			return identity, false
		}
		identity += " " + string(content)
		sure = true
	}
	return identity, sure
}

// fileProblem says what is wrong with a file that planlatch.yaml names, or nil.
func (t *tree) fileProblem(e *Entry, key, name string) *run.Problem {
	if _, err := t.resolve(name); err != nil {
		p := e.problem(key, quote(name)+" is a symlink that "+reason(err), "name a file inside the repository")
		return &p
	}
	info, ok := t.exists(name)
	if !ok {
		p := e.problem(key, quote(name)+" does not exist", "add the file, or correct the path, which is relative to the project's directory")
		return &p
	}
	if info.IsDir() {
		p := e.problem(key, quote(name)+" is a directory", "name a file")
		return &p
	}
	return nil
}

// readConfigFile reads planlatch.yaml of a tree; where there is none it is empty.
func (t *tree) readConfigFile() (c Config, problems []run.Problem) {
	info, err := fs.Lstat(t.fsys, ConfigFile)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		t.links[ConfigFile], err = fs.ReadLink(t.fsys, ConfigFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := fs.Lstat(t.fsys, "planlatch.yml"); err == nil {
			return c, []run.Problem{{File: "planlatch.yml", Message: "is not read: the file is called " + ConfigFile, Fix: "rename it"}}
		}
		return c, nil
	} else if err != nil {
		t.fail(err)
		return c, nil
	}
	content, problem, ok := t.read(ConfigFile, maxConfig)
	if problem != nil {
		return c, []run.Problem{*problem}
	}
	if !ok {
		return c, nil
	}
	c, problems = ParseConfig(ConfigFile, content)
	return c, problems
}
