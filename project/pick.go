package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/run"
)

// PickError says that a command named something that is not there. Its text is fit for the person who wrote the command, quoted text of
// theirs included.
type PickError struct {
	What string // project, directory, workspace
	Name string
	Near string // what was probably meant; may be empty
}

func (e *PickError) Error() string {
	text := fmt.Sprintf("there is no %s %s", e.What, quote(e.Name))
	if e.Near != "" {
		return text + "; did you mean " + quote(e.Near) + "?"
	}
	return text
}

// Pick returns the projects that a command names with -p (labels), -d (directories) and -w (workspace), in the order of all. Names and
// directories add up; the workspace then narrows, and may not leave a name without a project. Without any of them it returns all. Every
// error is a *PickError.
func Pick(all []run.Selected, names, dirs []string, workspace string) ([]run.Selected, error) {
	picked := make([]bool, len(all))
	fits := func(p run.Selected) bool { return workspace == "" || p.Workspace == workspace }
	// pick takes all that match, and says whether there were any, before and after the workspace narrowed.
	pick := func(match func(run.Selected) bool) (known, taken bool) {
		for i, p := range all {
			if match(p) {
				known = true
				if fits(p) {
					picked[i], taken = true, true
				}
			}
		}
		return known, taken
	}
	for _, name := range names {
		if known, taken := pick(func(p run.Selected) bool { return p.Label == name }); !known {
			return nil, &PickError{What: "project", Name: name, Near: meant.Near(name, labels(all))}
		} else if !taken {
			return nil, &PickError{What: "project", Name: name + " in workspace " + workspace}
		}
	}
	for _, dir := range dirs {
		want := path.Clean(strings.TrimPrefix(dir, "/"))
		if known, taken := pick(func(p run.Selected) bool { return p.Dir == want }); !known {
			return nil, &PickError{What: "project in directory", Name: dir, Near: meant.Near(want, directories(all))}
		} else if !taken {
			return nil, &PickError{What: "workspace", Name: workspace, Near: meant.Near(workspace, workspaces(all, want))}
		}
	}
	if len(names)+len(dirs) == 0 {
		if _, taken := pick(func(run.Selected) bool { return true }); !taken && workspace != "" {
			return nil, &PickError{What: "workspace", Name: workspace, Near: meant.Near(workspace, workspaces(all, ""))}
		}
	}
	var out []run.Selected
	for i, p := range all {
		if picked[i] {
			out = append(out, p)
		}
	}
	return out, nil
}

func labels(all []run.Selected) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.Label)
	}
	return out
}

func directories(all []run.Selected) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.Dir)
	}
	return slices.Compact(out)
}

// workspaces are those of a directory, or of all.
func workspaces(all []run.Selected, dir string) []string {
	var out []string
	for _, p := range all {
		if dir == "" || p.Dir == dir {
			out = append(out, p.Workspace)
		}
	}
	return out
}
