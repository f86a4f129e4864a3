package project

import (
	"path"
	"slices"

	"github.com/planlatch/planlatch/run"
)

// Some projects have their code made by steps: by a wrapper such as Terragrunt, or by a generator. Their directory may have no file of the
// tool's own, and what they are made from only a run can tell.

// wrapperFile marks the directories that a glob reaches for such projects, besides those with code.
const wrapperFile = "terragrunt.hcl"

// makeCode says whether steps can change what is planned.
func makeCode(s run.Steps) bool {
	return len(s.BeforeInit)+len(s.Init)+len(s.BeforePlan)+len(s.Plan) > 0
}

// maker says who may make the code of a directory: the steps that judge it, or only those that the tree itself brings along, which count
// once they are on the base branch.
func (r Rules) maker(judging *Config, e *Entry, dir string) (counts, proposed bool) {
	counts = slices.ContainsFunc(e.Workspaces, func(w string) bool { return makeCode(r.gates(judging, dir, w).steps) })
	return counts, makeCode(e.Steps)
}

// waitsForSteps says why a directory is not planned yet.
const waitsForSteps = "it has no .tf or .tofu files, and the steps that make them count once they are on the base branch"

// made lists the directories without code that a glob reaches, and says why some are not planned.
func (t *tree) made(c, judging *Config, e *Entry, rules Rules) (dirs []string, skipped map[string]string) {
	skipped = map[string]string{}
	for dir, l := range t.dirs {
		if len(l.config) > 0 || !slices.Contains(l.other, wrapperFile) || !matchGlob(e.Dir, dir) || c.ignored(dir) ||
			slices.ContainsFunc(rules.Ignore, func(p string) bool { return matchGlob(p, dir) }) {
			continue
		}
		switch counts, proposed := rules.maker(judging, e, dir); {
		case counts:
			dirs = append(dirs, dir)
		case proposed:
			dirs, skipped[dir] = append(dirs, dir), waitsForSteps
		}
	}
	slices.Sort(dirs)
	return dirs, skipped
}

// isDir says whether a path is a directory of the tree.
func (t *tree) isDir(dir string) bool {
	info, ok := t.exists(dir)
	return ok && info.IsDir()
}

// holds says whether a directory still has what a project of it was made from.
func (t *tree) holds(dir string) bool {
	_, wrapped := t.exists(path.Join(dir, wrapperFile))
	return t.hasConfig(dir) || wrapped
}

// madeFrom widens the inputs of a project whose code is made: to the whole tree, unless its when_modified says what the steps read; then to
// the file that may say otherwise.
func madeFrom(inputs []string, e *Entry) []string {
	if e == nil || len(e.WhenModified) == 0 {
		return []string{"."}
	}
	if slices.Contains(inputs, ".") || slices.Contains(inputs, ConfigFile) {
		return inputs
	}
	return append(inputs, ConfigFile)
}
