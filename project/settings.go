package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"

	"github.com/planlatch/planlatch/run"
)

// allows says whether the server lets planlatch.yaml set something.
func (r Rules) allows(part string) bool {
	if r.AllowRepoConfig == nil {
		return part == "projects" || part == "requirements.add"
	}
	return slices.Contains(r.AllowRepoConfig, part)
}

// refused reports what a configuration sets and the server does not let it. Passing over it would be worse: somebody wrote apply: off and
// relies on it.
func (r Rules) refused(c *Config) []run.Problem {
	var problems []run.Problem
	refuse := func(e *Entry, key, part string) {
		problems = append(problems, e.problem(key, "the server does not let this repository set "+key,
			"remove it, or have "+part+" added to allow_repo_config on the server"))
	}
	for i := range c.Projects {
		e := &c.Projects[i]
		if !r.allows("projects") {
			refuse(e, "projects", "projects")
			break
		}
		if e.Apply != "" && !r.allows("apply") {
			refuse(e, "apply", "apply")
		}
		if e.Lock != "" && !r.allows("apply") && !r.allows("lock") {
			refuse(e, "lock", "apply")
		}
		if e.Environment != "" && !r.allows("environment") {
			refuse(e, "environment", "environment")
		}
		if !e.Steps.Empty() && !r.allows("steps") {
			refuse(e, "steps", "steps")
		}
		if len(e.Requirements) > 0 && !r.allows("requirements.add") {
			refuse(e, "requirements", "requirements.add")
		}
	}
	return problems
}

// gates are what the base branch or the server decides, never the head.
type gates struct {
	apply        run.ApplyMode
	lock         run.LockPolicy
	environment  string
	requirements []string
	steps        run.Steps
}

// gates are those of a directory and workspace, as one configuration and the server have them.
func (r Rules) gates(c *Config, dir, workspace string) gates {
	g := gates{apply: r.Settings.Apply, lock: r.Settings.Lock, environment: r.Settings.Environment, requirements: slices.Clone(r.Settings.Requirements), steps: r.Settings.Steps}
	e := c.find(dir, workspace)
	if e == nil {
		return g
	}
	if e.Apply != "" {
		g.apply = e.Apply
	}
	if e.Lock != "" {
		g.lock = e.Lock
	}
	g.environment = cmpOr(e.Environment, g.environment)
	g.requirements = union(g.requirements, e.Requirements)
	g.steps = e.Steps.Over(g.steps)
	return g
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// stricter joins the gates of a directory with those of the directory it was moved from. The environment stays that of the new place: it
// hands out credentials, and a move must not earn any. Steps of the old place stay where the new one has none: one may be a check.
func (g gates) stricter(o gates) gates {
	applies := []run.ApplyMode{run.ApplyBeforeMerge, run.ApplyAfterMerge, run.ApplyManual, run.ApplyOff}
	if slices.Index(applies, o.apply) > slices.Index(applies, g.apply) {
		g.apply = o.apply
	}
	locks := []run.LockPolicy{run.LockNone, run.LockApply, run.LockPlan}
	if slices.Index(locks, o.lock) > slices.Index(locks, g.lock) {
		g.lock = o.lock
	}
	g.requirements = union(g.requirements, o.requirements)
	g.steps = g.steps.Over(o.steps)
	return g
}

// differences names the keys in which the head would judge otherwise.
func (g gates) differences(head gates) []string {
	var keys []string
	if g.apply != head.apply {
		keys = append(keys, "apply")
	}
	if g.lock != head.lock {
		keys = append(keys, "lock")
	}
	if g.environment != head.environment {
		keys = append(keys, "environment")
	}
	if slices.ContainsFunc(g.requirements, func(s string) bool { return !slices.Contains(head.requirements, s) }) {
		keys = append(keys, "requirements")
	}
	if !g.steps.Equal(head.steps) {
		keys = append(keys, "steps")
	}
	return keys
}

// settings are what a project of a tree is planned with.
func (t *tree) settings(c candidate, cl closure, g gates, rules Rules) (run.Settings, []run.Problem, []string) {
	s := rules.Settings
	s.Apply, s.Lock, s.Environment, s.Steps = g.apply, g.lock, g.environment, g.steps
	s.Requirements = slices.Clone(g.requirements)
	s.EffectIgnore, s.Flags = slices.Clone(s.EffectIgnore), slices.Clone(s.Flags)
	s.VarFiles, s.BackendConfig = slices.Clone(s.VarFiles), slices.Clone(s.BackendConfig)
	s.Required = cl.required
	var problems []run.Problem
	if e := c.entry; e != nil {
		s.Requirements = union(s.Requirements, e.Requirements)
		s.VarFiles = append(s.VarFiles, e.VarFiles...)
		s.BackendConfig = append(s.BackendConfig, e.BackendConfig...)
		s.Tool, s.Version = cmpOr(e.Tool, s.Tool), cmpOr(e.Version, s.Version)
		for _, name := range relative(c.dir, e.VarFiles) {
			if p := t.fileProblem(e, "var_files", name); p != nil {
				problems = append(problems, *p)
			}
		}
		for _, name := range relative(c.dir, slices.DeleteFunc(slices.Clone(e.BackendConfig), isPair)) {
			if p := t.fileProblem(e, "backend_config", name); p != nil {
				problems = append(problems, *p)
			}
		}
	}
	if b := t.module(c.dir, t.toolFor(c.dir, c.entry, rules)).backend; b != nil {
		s.Backend = b.kind
	}
	problem, note := t.pinned(&s, c, rules)
	if problem != nil {
		problems = append(problems, *problem)
	}
	if note != "" {
		return s, problems, []string{note}
	}
	return s, problems, nil
}

// pinned completes tool and version from the code and from version files, and holds the version to what the server allows.
func (t *tree) pinned(s *run.Settings, c candidate, rules Rules) (*run.Problem, string) {
	if s.Tool == "" && t.hasTofuFiles(c.dir) {
		s.Tool = tofu
	}
	from := run.Problem{File: ConfigFile, Key: "tool.version"}
	if c.entry != nil {
		from = c.entry.problem("tool", "", "")
		from.Key = "tool.version"
	}
	note := ""
	if p, ok := t.pin(c.dir, s.Tool, rules.defaultTool()); ok {
		s.Tool = p.tool
		text := strings.TrimPrefix(p.version, "v")
		switch _, err := version.NewVersion(text); {
		case s.Version != "": // planlatch.yaml or the server knows better
		case err == nil:
			s.Version, from = text, run.Problem{File: p.file, Line: 1}
		default:
			note = fmt.Sprintf("%s says %s, which is not a version: %s is planned with what its code and the server ask for", p.file, quote(p.version), c.label)
		}
	}
	exact, err := version.NewVersion(s.Version)
	if rules.ToolsAllow == "" || s.Version == "" || err != nil || s.Version == rules.Settings.Version {
		return nil, note // a constraint is met within what is allowed when the tool is chosen
	}
	allowed, err := version.NewConstraint(rules.ToolsAllow)
	if err != nil || !allowed.Check(exact) {
		from.Message = fmt.Sprintf("version %s is not allowed here", quote(s.Version))
		from.Fix = "pin a version that meets " + rules.ToolsAllow
		return &from, note
	}
	return nil, note
}
