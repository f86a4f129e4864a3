package intake

import (
	"context"
	"errors"

	"github.com/planlatch/planlatch/command"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// limited are the verbs that not everybody may use.
var limited = []command.Verb{command.Plan, command.Apply, command.Approve, command.Cancel, command.Unlock, command.Explain}

// help lists the commands and what the commenter may do with each on the projects of this pull request.
func (i *Intake) help(ctx context.Context, o order) (answer, error) {
	_, runs, err := i.Views.Current(ctx, o.pull)
	if err != nil && !errors.Is(err, views.ErrNothing) {
		return answer{}, err
	}
	projects := selected(runs)
	if len(projects) == 0 {
		projects = []run.Selected{{Dir: ".", Workspace: "default"}}
	}
	who, err := i.subject(ctx, o.place, o.by.Login)
	if err != nil {
		return answer{}, err
	}
	may := map[string]report.Leave{}
	for _, verb := range limited {
		var l report.Leave
		for _, s := range projects {
			if d := i.Config.Permitted(string(verb), target(o.repo, s), who); d.Allowed {
				l.For = append(l.For, s.Label)
			} else {
				l.Why = d.Reason
			}
		}
		l.All = len(l.For) == len(projects)
		may[string(verb)] = l
	}
	return answer{text: report.Help(i.prefix(), may)}, nil
}

// block answers a command that would change a state with what to add to the code instead (semantics 44).
func (i *Intake) block(ctx context.Context, o order) (answer, error) {
	if a, ok, err := i.mayRead(ctx, o); err != nil || !ok {
		return a, err
	}
	_, runs, err := i.Views.Current(ctx, o.pull)
	if err != nil && !errors.Is(err, views.ErrNothing) {
		return answer{}, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return unknown, nil
	}
	dir := ""
	if len(chosen) > 0 && (o.cmd.Targeted() || len(chosen) == 1) {
		dir = chosen[0].Dir
	}
	what, since := "import block", "OpenTofu 1.6 or Terraform 1.5"
	text, err := project.ImportBlock(o.cmd.Address, o.cmd.ID)
	if o.cmd.Verb == command.State {
		what, since = "removed block", "OpenTofu 1.7 or Terraform 1.7; OpenTofu before 1.10 knows no lifecycle in it: leave that out"
		text, err = project.RemovedBlock(o.cmd.Address)
	}
	if err != nil {
		r := o.refused(report.BadArguments)
		r.Detail = err.Error()
		return no(r), nil //nolint:nilerr // it is the answer
	}
	return answer{text: report.Block(what, text, since, dir)}, nil
}

// mayRead says whether the commenter may have explained what a pull request does.
func (i *Intake) mayRead(ctx context.Context, o order) (answer, bool, error) {
	o.cmd.Verb = command.Explain
	return i.may(ctx, o, nil)
}
