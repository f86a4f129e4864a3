package project

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml/ast"
	"github.com/hashicorp/go-version"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/yamlnode"
)

// Config is planlatch.yaml, read.
type Config struct {
	Projects []Entry  // empty: every root module is a project
	Ignore   []string // globs of directories that are neither discovered nor reached by a glob
}

// Entry is one item of projects. Empty fields were not written.
type Entry struct {
	Name          string
	Dir           string // cleaned; a glob when Glob
	Glob          bool
	Workspaces    []string // at least one
	Tool          string
	Version       string // exact or a constraint
	WhenModified  []string
	DependsOn     []string
	VarFiles      []string
	BackendConfig []string

	// These gate, and count on the base branch only.
	Apply       run.ApplyMode
	Lock        run.LockPolicy
	Environment string
	Steps       run.Steps

	Requirements []string // added to the server's

	at map[string]yamlnode.Place // of the keys that were written; "" is the entry
}

// problem makes a message about a key of the entry.
func (e *Entry) problem(key, message, fix string) run.Problem {
	at, ok := e.at[key]
	if !ok {
		at = e.at[""]
	}
	return run.Problem{File: ConfigFile, Line: at.Line, Column: at.Column, Key: key, Message: message, Fix: fix}
}

// Bounds of planlatch.yaml.
const (
	maxConfig   = 256 << 10 // bytes
	maxProjects = 5000
	maxList     = 1000 // items of one list
	maxText     = 1000 // bytes of one value
)

var (
	namePattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	workspacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,89}$`)
)

// ParseConfig reads planlatch.yaml strictly. It reports every fault at once, each with its line, its column and the way to fix it; the
// Config is of use only when there is none. name is what to call the file. Whether directories and files exist is for Select to say.
func ParseConfig(name string, data []byte) (Config, []run.Problem) {
	r := &reader{file: name}
	body := r.parse(data)
	var c Config
	if body == nil {
		return c, r.problems
	}
	r.mapping("", body, map[string]func(string, ast.Node){
		"version": func(key string, n ast.Node) {
			if text := r.text(key, n); text != "" && text != "1" {
				r.report(key, n, fmt.Sprintf("version %q is unknown", text), "write version: 1")
			}
		},
		"projects": func(key string, n ast.Node) {
			r.list(key, n, maxProjects, func(key string, n ast.Node) {
				if e, ok := r.entry(key, n); ok {
					c.Projects = append(c.Projects, e)
				}
			})
		},
		"discover": func(key string, n ast.Node) {
			r.mapping(key, n, map[string]func(string, ast.Node){
				"ignore": func(key string, n ast.Node) { c.Ignore = r.globs(key, n, ".") },
			})
		},
	})
	r.duplicates(c.Projects)
	slices.SortStableFunc(r.problems, func(a, b run.Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return c, r.problems
}

// entry reads one project. ok is false when too little is right to judge the rest by it.
func (r *reader) entry(key string, n ast.Node) (Entry, bool) {
	e := Entry{at: map[string]yamlnode.Place{"": yamlnode.PlaceOf(n)}}
	text := func(into *string, check func(key string, n ast.Node, text string)) func(string, ast.Node) {
		return func(key string, n ast.Node) {
			if *into = r.text(key, n); *into != "" && check != nil {
				check(key, n, *into)
			}
		}
	}
	var workspace string
	fields := map[string]func(string, ast.Node){
		"name":           text(&e.Name, r.isName),
		"dir":            text(&e.Dir, nil),
		"workspace":      text(&workspace, r.isWorkspace),
		"workspaces":     func(key string, n ast.Node) { e.Workspaces = r.texts(key, n, r.isWorkspace) },
		"tool":           func(key string, n ast.Node) { e.Tool, e.Version = r.tool(key, n) },
		"when_modified":  func(key string, n ast.Node) { e.WhenModified = r.texts(key, n, nil) },
		"depends_on":     func(key string, n ast.Node) { e.DependsOn = r.texts(key, n, nil) },
		"var_files":      func(key string, n ast.Node) { e.VarFiles = r.texts(key, n, nil) },
		"backend_config": func(key string, n ast.Node) { e.BackendConfig = r.texts(key, n, nil) },
		"environment":    text(&e.Environment, r.isName),
		"apply": func(key string, n ast.Node) {
			e.Apply = run.ApplyMode(r.choice(key, n, "after_merge", "before_merge", "manual", "off"))
		},
		"lock": func(key string, n ast.Node) { e.Lock = run.LockPolicy(r.choice(key, n, "apply", "plan", "none")) },
		"requirements": func(key string, n ast.Node) {
			r.mapping(key, n, map[string]func(string, ast.Node){
				"add": func(key string, n ast.Node) {
					e.Requirements = r.texts(key, n, func(key string, n ast.Node, text string) {
						r.oneOf(key, n, text, "approved", "mergeable", "up_to_date")
					})
				},
			})
		},
		"steps": func(key string, n ast.Node) { e.Steps = r.steps(key, n) },
	}
	for k, read := range fields {
		fields[k] = func(key string, n ast.Node) {
			e.at[k] = yamlnode.PlaceOf(n)
			read(key, n)
		}
	}
	before := len(r.problems)
	if !r.mapping(key, n, fields) {
		return e, false
	}
	switch {
	case workspace != "" && len(e.Workspaces) > 0:
		r.report(key+".workspaces", n, "workspace and workspaces are both written", "keep one of them")
	case workspace != "":
		e.Workspaces = []string{workspace}
	case len(e.Workspaces) == 0:
		e.Workspaces = []string{"default"}
	}
	if len(r.problems) == before || e.Dir != "" {
		r.dir(key, n, &e)
	}
	return e, e.Dir != ""
}

// dir checks the directory of an entry, and what is relative to it.
func (r *reader) dir(key string, n ast.Node, e *Entry) {
	at := func(name string) *located { return &located{r: r, key: key + "." + name, at: e.where(name, n)} }
	if e.Dir == "" {
		at("dir").report("a project needs a directory", "add dir:, relative to the root of the repository")
		return
	}
	dir, ok := clean(".", e.Dir)
	if !ok {
		at("dir").report(fmt.Sprintf("%q leads outside the repository", e.Dir), "write a path relative to the root of the repository")
		e.Dir = ""
		return
	}
	written := e.Dir
	e.Dir, e.Glob = dir, strings.ContainsAny(dir, "*?[{")
	switch {
	case e.Glob && !doublestar.ValidatePattern(dir):
		at("dir").report(fmt.Sprintf("%q is not a valid glob", written), "close its brackets and braces")
	case e.Glob && e.Name != "":
		at("name").report("one name cannot stand for all the directories of a glob", "remove name, or write a path instead of a glob")
	}
	base := dir
	if e.Glob {
		base = shallowest(dir)
	}
	for _, p := range e.WhenModified {
		p, negated := strings.CutPrefix(p, "!")
		if _, inside := clean(base, p); !inside {
			at("when_modified").report(fmt.Sprintf("%q leads outside the repository", p), "write a glob relative to the project's directory")
		} else if negated {
			at("when_modified").report(fmt.Sprintf("%q excludes, but the list only adds to what is found from the code", "!"+p), "remove it")
		} else if !doublestar.ValidatePattern(p) {
			at("when_modified").report(fmt.Sprintf("%q is not a valid glob", p), "close its brackets and braces")
		}
	}
	files := func(name string, list []string) {
		for _, f := range list {
			if _, inside := clean(base, f); !inside {
				at(name).report(fmt.Sprintf("%q leads outside the repository", f), "write a path relative to the project's directory")
			}
		}
	}
	files("var_files", e.VarFiles)
	files("backend_config", slices.DeleteFunc(slices.Clone(e.BackendConfig), isPair))
}

// shallowest is as deep as the shallowest directory that a glob reaches, for judging paths that are relative to each of them.
func shallowest(glob string) string {
	base, rest := doublestar.SplitPattern(glob)
	if strings.ContainsAny(rest, "{}") {
		return base
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part != "**" {
			base = path.Join(base, "x")
		}
	}
	return base
}

// isPair tells key=value from the name of a file.
func isPair(s string) bool { return strings.Contains(s, "=") }

func (e *Entry) where(key string, n ast.Node) yamlnode.Place {
	if at, ok := e.at[key]; ok {
		return at
	}
	return yamlnode.PlaceOf(n)
}

// located reports at one place.
type located struct {
	r   *reader
	key string
	at  yamlnode.Place
}

func (l *located) report(message, fix string) { l.r.reportAt(l.key, l.at, message, fix) }

// tool reads {name: tofu, version: "1.12.6"}.
func (r *reader) tool(key string, n ast.Node) (name, constraint string) {
	r.mapping(key, n, map[string]func(string, ast.Node){
		"name": func(key string, n ast.Node) { name = r.choice(key, n, "tofu", "terraform") },
		"version": func(key string, n ast.Node) {
			constraint = r.text(key, n)
			if _, err := version.NewConstraint(constraint); constraint != "" && err != nil {
				r.report(key, n, fmt.Sprintf("%q is neither a version nor a constraint", constraint), `write "1.12.6" or "~> 1.12"`)
			}
		},
	})
	return name, constraint
}

// steps reads lists of argv by when they run.
func (r *reader) steps(key string, n ast.Node) (s run.Steps) {
	fields := map[string]func(string, ast.Node){}
	for _, when := range run.StepKeys {
		fields[when] = func(key string, n ast.Node) {
			before, commands := len(r.problems), [][]string{}
			r.list(key, n, maxList, func(key string, n ast.Node) {
				var argv []string
				r.list(key, n, maxList, func(key string, n ast.Node) { argv = append(argv, r.text(key, n)) })
				commands = append(commands, argv)
			})
			if message, fix := run.StepFault(when, commands); message != "" && len(r.problems) == before {
				r.report(key, n, message, fix)
			}
			s.Set(when, commands)
		}
	}
	r.mapping(key, n, fields)
	return s
}

// duplicates reports names and directory-workspace pairs that stand twice. Those that a glob reaches are looked at by Select.
func (r *reader) duplicates(entries []Entry) {
	names, pairs := map[string]yamlnode.Place{}, map[string]yamlnode.Place{}
	for i := range entries {
		e := &entries[i]
		key := fmt.Sprintf("projects[%d]", i)
		if first, ok := names[e.Name]; ok && e.Name != "" {
			r.reportAt(key+".name", e.at["name"], fmt.Sprintf("name %q is taken by the project in line %d", e.Name, first.Line), "give each project its own name")
		} else {
			names[e.Name] = e.at["name"]
		}
		for _, w := range e.Workspaces {
			pair := e.Dir + "\x00" + w
			if first, ok := pairs[pair]; ok {
				r.reportAt(key+".dir", e.at["dir"], fmt.Sprintf("%q in workspace %q is listed before, in line %d", e.Dir, w, first.Line), "list each directory and workspace once")
			} else {
				pairs[pair] = e.at["dir"]
			}
		}
	}
}

// labels are what people call the projects of an entry in a directory: one for each workspace.
func label(name, dir, workspace string, several bool) string {
	switch {
	case name == "" && workspace == "default":
		return dir
	case name == "" || several:
		return cmpOr(name, dir) + ":" + workspace
	}
	return name
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// matches says whether an entry speaks of a directory.
func (e *Entry) matches(dir string) bool {
	if !e.Glob {
		return e.Dir == dir
	}
	return matchGlob(e.Dir, dir)
}

// matchGlob matches a valid doublestar pattern; "**" matches the root too.
func matchGlob(pattern, name string) bool {
	ok, err := doublestar.Match(pattern, name)
	return ok && err == nil
}

// ignored says whether a directory is left out of discovery. "modules/**" takes everything below modules, and modules itself.
func (c *Config) ignored(dir string) bool {
	return slices.ContainsFunc(c.Ignore, func(p string) bool { return matchGlob(p, dir) })
}

// find returns the entry for a directory and workspace: the one that names the directory, before those that reach it by a glob.
func (c *Config) find(dir, workspace string) *Entry {
	var found *Entry
	for i := range c.Projects {
		e := &c.Projects[i]
		if !e.matches(dir) || !slices.Contains(e.Workspaces, workspace) {
			continue
		}
		if !e.Glob {
			return e
		}
		if found == nil && !c.ignored(dir) {
			found = e
		}
	}
	return found
}

// relative returns the entry's paths from the root of the repository, for one directory. They were checked to stay inside for the shallowest
// that a glob reaches.
func relative(dir string, list []string) []string {
	var out []string
	for _, f := range list {
		out = append(out, path.Join(dir, f))
	}
	return out
}
