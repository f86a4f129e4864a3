package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/web"
)

type explainCmd struct{ treeFlags }

// Help is the long text of --help.
func (*explainCmd) Help() string {
	return `Nothing is executed. Selection is that of the server: the files as they are now, committed or not, against the merge base. With directories it
says of each why it is planned, or why not.`
}

// Run says which projects are selected and why, and why others are not.
func (c *explainCmd) Run(ctx context.Context, t *terminal) (err error) {
	surviveReaders()
	dir, err := os.MkdirTemp(t.env["TMPDIR"], "planlatch-explain-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	w, err := c.look(ctx, t, dir)
	if err != nil {
		return err
	}
	v := w.view()
	if v.Selection, v.Asides, err = c.explain(w); err != nil {
		return err
	}
	if c.JSON {
		err = encode(t.out, explainJSONOf(w, v), func(s string) string { return s })
	} else {
		_, err = io.WriteString(t.out, report.ExplainTerminal(v, isTerminal(t.out) && t.env["NO_COLOR"] == ""))
	}
	if err != nil {
		return err
	}
	return (&preview{w: w}).verdict()
}

type explainJSON struct {
	treeJSON

	Projects    []selectedJSON `json:"projects"`
	NotSelected []asideJSON    `json:"not_selected"`
}

type selectedJSON struct {
	Project    string   `json:"project"`
	Dir        string   `json:"dir"`
	Workspace  string   `json:"workspace"`
	Reasons    []string `json:"reasons"`
	NotPlanned string   `json:"not_planned"`
}

type asideJSON struct {
	Dir string `json:"dir"`
	Why string `json:"why"`
}

func explainJSONOf(w *tree, v report.View) explainJSON {
	j := explainJSON{treeJSON: w.json(), Projects: []selectedJSON{}, NotSelected: []asideJSON{}}
	for _, s := range v.Selection {
		p := web.NewPreview(s, nil)
		j.Projects = append(j.Projects, selectedJSON{p.Project, p.Dir, p.Workspace, p.Reasons, p.Reason})
	}
	for _, a := range v.Asides {
		j.NotSelected = append(j.NotSelected, asideJSON(a))
	}
	return j
}

// explain splits what was asked for into what is selected and what is not.
func (c *explainCmd) explain(w *tree) (selected []run.Selected, asides []report.Aside, err error) {
	dirs := []string{"."}
	if len(c.Dirs) > 0 {
		dirs = nil
	}
	for _, name := range c.Dirs {
		dir, err := w.inside(name)
		if err != nil {
			return nil, nil, err
		}
		dirs = append(dirs, dir)
	}
	if len(w.sel.Problems) > 0 {
		return nil, nil, nil
	}
	for _, s := range w.sel.Projects {
		if slices.ContainsFunc(dirs, func(d string) bool { return under(s, d) }) {
			selected = append(selected, s)
		}
	}
	told := map[string]bool{}
	for _, dir := range dirs {
		found := false
		for _, s := range w.sel.All {
			if !under(s, dir) {
				continue
			}
			found = true
			if !told[s.Label] && !slices.ContainsFunc(w.sel.Projects, func(t run.Selected) bool { return t.Label == s.Label }) {
				told[s.Label] = true
				asides = append(asides, report.Aside{Dir: s.Label, Why: w.untouched()})
			}
		}
		if !found {
			asides = append(asides, report.Aside{Dir: dir, Why: w.noProject(dir)})
		}
	}
	return selected, asides, nil
}

func (w *tree) untouched() string {
	switch n := len(w.changed); n {
	case 0:
		return "nothing changed since " + w.baseName
	case 1:
		return "the one file that changed is not its own, nor of a module or file that it uses"
	default:
		return fmt.Sprintf("none of the %d files that changed is its own, or of a module or file that it uses", n)
	}
}

// noProject says why there is no project in or below a directory.
func (w *tree) noProject(dir string) string {
	var users []string
	for _, s := range w.sel.All {
		if slices.Contains(s.Settings.Inputs, dir) && s.Dir != dir {
			users = append(users, s.Label)
		}
	}
	full := filepath.Join(w.root, filepath.FromSlash(dir))
	outer := w.around(dir)
	entries, err := os.ReadDir(full)
	code := slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return slices.ContainsFunc([]string{".tf", ".tf.json", ".tofu", ".tofu.json"}, func(end string) bool { return strings.HasSuffix(e.Name(), end) })
	})
	switch {
	case err != nil:
		return "there is no such directory"
	case len(users) > 3:
		return fmt.Sprintf("a module of %s and %d more, planned with them", strings.Join(users[:2], ", "), len(users)-2)
	case len(users) > 0:
		return "a module of " + strings.Join(users, ", ") + ", planned with them"
	case outer != "" && !code:
		return "it belongs to the project in " + outer
	case !code:
		return "it has no .tf or .tofu file"
	case w.configured():
		return project.ConfigFile + " does not list it, or ignores it"
	}
	return "it is no project of its own"
}

// configured says whether the repository says itself what its projects are.
func (w *tree) configured() bool {
	_, err := os.Stat(filepath.Join(w.root, project.ConfigFile))
	return err == nil
}
