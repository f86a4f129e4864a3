package runner

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
)

// sourceAt is where steps see the source (executor.Source).
const sourceAt = "/src"

// stepFacts are what the steps of a phase are told.
func stepFacts(g ground, phase string) run.StepFacts {
	dir := path.Join(sourceAt, g.run.Dir)
	f := run.StepFacts{
		Dir: dir, Project: g.run.Dir, Work: g.run.Work, Phase: phase, Tool: g.tool.Path, Head: g.rev.Head, Planfile: executor.Sealed(filePlan),
	}
	if phase == "plan" { // which makes it
		f.Planfile = path.Join(dir, filePlan)
	}
	return f
}

// wraps says whether something stands in the place of the tool's own commands.
func wraps(s run.Steps) bool { return len(s.Init)+len(s.Plan)+len(s.Show)+len(s.Apply) > 0 }

// sequence is what a phase executes: the tool's own commands, with the steps of the project around them or in their place.
//
// The plan file is looked at after after_plan, by show: whatever steps did to it, what is judged is what would be applied. It is sealed before,
// since what init and plan ran of the repository may still be at work; and while an apply runs, since init of the apply runs such programs too.
func (r *Runner) sequence(g ground, phase string) []executor.Step {
	list := assembly{facts: stepFacts(g, phase), steps: g.run.Settings.Steps}
	list.around("before_init")
	list.own(initStep(g))
	if phase == "apply" {
		list.around("before_apply")
		list.own(executor.Step{Label: "apply", Argv: []string{g.tool.Path, "apply", "-input=false", "-no-color", r.lockTimeout(), list.facts.Planfile}})
		list.around("after_apply")
		return list.out
	}
	planfile := filePlan
	if wraps(list.steps) { // a wrapper may run the tool elsewhere
		planfile = list.facts.Planfile
	}
	if id := g.run.Settings.Unlock; id != "" { // if it is gone already so much the better, and if it cannot be freed the plan will say so
		list.out = append(list.out, executor.Step{Label: "unlock", Argv: []string{g.tool.Path, "force-unlock", "-force", id}, OK: []int{0, 1}})
	}
	list.around("before_plan")
	list.own(r.planStep(g, planfile))
	list.around("after_plan")
	list.facts.Planfile = executor.Sealed(filePlan)
	list.own(executor.Step{Label: "show", Argv: []string{g.tool.Path, "show", "-json", list.facts.Planfile}, Seals: filePlan, Stdout: filePlanJSON})
	return list.out
}

// assembly puts the steps of one execution together.
type assembly struct {
	facts run.StepFacts
	steps run.Steps
	out   []executor.Step
}

// around adds the steps of a key that has no command of the tool.
func (l *assembly) around(key string) {
	commands := l.steps.Of(key)
	for i, argv := range commands {
		l.out = append(l.out, executor.Step{Label: stepLabel(key, i, commands), Argv: l.facts.Command(argv)})
	}
}

// own adds a command of the tool, or what stands in its place: of several commands the last one is it.
func (l *assembly) own(s executor.Step) {
	commands := l.steps.Of(s.Label)
	if len(commands) == 0 {
		l.out = append(l.out, s)
		return
	}
	facts := l.facts
	facts.Args = s.Argv[2:] // after the tool and its subcommand
	for i, argv := range commands {
		step := executor.Step{Label: stepLabel(s.Label, i, commands), Argv: facts.Command(argv), Seals: s.Seals}
		if s.Seals != "" {
			step.Env = []string{"PLANLATCH_PLANFILE=" + facts.Planfile}
		}
		if i == len(commands)-1 {
			step.Label, step.Stdout, step.Lent = s.Label, s.Stdout, s.Lent
			if slices.Contains(step.Argv, "-detailed-exitcode") {
				step.OK = s.OK
			}
		}
		l.out = append(l.out, step)
	}
}

// stepLabel is how people recognise a step: "before_plan (./gen.sh)", or "before_plan 2 (./gen.sh)" where there are several.
func stepLabel(key string, i int, commands [][]string) string {
	if len(commands) > 1 {
		key += fmt.Sprintf(" %d", i+1)
	}
	return fmt.Sprintf("%s (%s)", key, commands[i][0])
}

// dropped refuses a run whose settings its steps would pass over without a word.
func dropped(s run.Settings) error {
	takes := func(commands [][]string) bool {
		return len(commands) == 0 || slices.ContainsFunc(commands, func(argv []string) bool { return slices.Contains(argv, run.StepArgs) })
	}
	lost := slices.Concat(s.VarFiles, s.Flags)
	if s.Destroy {
		lost = append(lost, "-destroy")
	}
	if len(lost) > 0 && !takes(s.Steps.Plan) {
		return refuse("steps.plan of this project has no $ARGS, so it would not get %s", strings.Join(lost, ", "))
	}
	if len(s.BackendConfig) > 0 && !takes(s.Steps.Init) {
		return refuse("steps.init of this project has no $ARGS, so it would not get the backend_config")
	}
	return nil
}

// erroredFile is where an apply leaves a state that it could not save. A wrapper may have run the tool in a directory of its own.
func erroredFile(s run.Steps) string {
	if len(s.Apply) > 0 {
		return "**/" + fileErrored
	}
	return fileErrored
}

// applied says whether the apply itself succeeded, whatever a step after it did, and reached whether it began.
func applied(res executor.Result) (done, reached bool) {
	for _, s := range res.Steps {
		if s.Label == "apply" {
			return s.OK, true
		}
	}
	return false, false
}
