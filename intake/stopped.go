package intake

import (
	"context"
	"errors"
	"slices"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// stopped lists the runs that a command names and that policy stopped before anything of them ran, where the commenter could see why: an owner
// may let exactly this code run.
func (i *Intake) stopped(ctx context.Context, o order) ([]run.Run, error) {
	rev, runs, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.pull.State == string(vcs.PullOpen) && rev.Head != o.snap.Head.SHA {
		return nil, nil
	}
	chosen, _, ok := o.named(runs)
	if !ok {
		return nil, nil // ready says so, too
	}
	past, err := i.Store.Runs(ctx, run.Filter{Revision: rev.ID})
	if err != nil {
		return nil, err
	}
	ids := make([]run.ID, len(chosen))
	for n, r := range chosen {
		ids[n] = r.ID
	}
	findings, err := i.Store.Findings(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(chosen), func(r run.Run) bool {
		return r.Revision != rev.ID || !run.Stopped(r, findings[r.ID]) || !o.seen(r, rev.Head, past)
	}), nil
}

// freed are the new runs of those that policy stopped and that nothing stops any more once these overrides are added. They are judged again.
func (i *Intake) freed(ctx context.Context, o order, stopped []run.Run, added []run.Override) ([]run.Run, error) {
	if len(stopped) == 0 {
		return nil, nil
	}
	given, err := i.Store.Overrides(ctx, o.pull.ID)
	if err != nil {
		return nil, err
	}
	given = append(given, added...)
	var again []run.Run
	for _, r := range stopped {
		findings, err := i.Store.Findings(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if v := run.Judge(r, findings[r.ID], given); v == run.VerdictPass || v == run.VerdictWarn {
			next := run.Successor(r, o.cause)
			next.Actor = o.by.Login
			again = append(again, next)
		}
	}
	return again, nil
}
