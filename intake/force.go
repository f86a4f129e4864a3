package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/views"
)

// forceUnlock has the backend's own lock freed that stopped a project's last run. That the command repeats the id and the project, as the
// report told them, is the confirmation: a lock that nobody was told of is not freed.
func (i *Intake) forceUnlock(ctx context.Context, o order) (answer, error) {
	view, _, err := i.Views.Pull(ctx, o.pull.ID)
	if errors.Is(err, views.ErrNothing) {
		return no(o.refused(report.Nothing)), nil
	}
	if err != nil {
		return answer{}, err
	}
	_, runs, err := i.Views.Current(ctx, o.pull)
	if err != nil {
		return answer{}, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return unknown, nil
	}
	if a, ok, err := i.may(ctx, o, selected(chosen)); err != nil || !ok {
		return a, err
	}
	refuse := func(format string, args ...any) (answer, error) {
		r := o.refused(report.BadArguments)
		r.Detail = fmt.Sprintf(format, args...)
		return no(r), nil
	}
	if len(o.cmd.Projects)+len(o.cmd.Dirs) == 0 || len(chosen) != 1 {
		return refuse("name the one project whose lock it is: unlock --state %s -p …", o.cmd.State)
	}
	stopped := chosen[0]
	for _, p := range view.Projects {
		lock, ok := p.BackendLock()
		if p.Run.ID != stopped.ID || !ok || lock.ID == "" || lock.ID != o.cmd.State {
			continue
		}
		err := operator.ForceUnlock(ctx, i.Store, stopped, lock.Who, operator.Forced{
			Run: stopped.ID, Lock: lock.ID, Actor: o.by.Login, Reply: fmt.Sprintf("reply:%s:%d:freed", o.comment.ID, o.cmd.Line),
		})
		if fault, ok := errors.AsType[*operator.Fault](err); ok {
			return refuse("%v", fault)
		}
		return answer{}, err
	}
	return refuse("the last run of %s was not stopped by a lock with this id; its report names the id of the one that stopped it", stopped.Label)
}
