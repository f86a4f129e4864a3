package intake

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// retry goes on where applies failed, when apply is said and nothing is planned: a saved plan cannot be applied again, so the projects are
// planned anew, and what is left of the reviewed effect applies without another word (semantics 26). otherwise is the answer if none failed.
func (i *Intake) retry(ctx context.Context, o order, otherwise answer) (answer, error) {
	rev, runs, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) {
		return otherwise, nil
	}
	if err != nil {
		return answer{}, err
	}
	chosen, _, ok := o.named(runs)
	if !ok {
		return otherwise, nil
	}
	failed := slices.DeleteFunc(slices.Clone(chosen), func(r run.Run) bool { return r.Revision != rev.ID || !o.sawFail(r) })
	busy := slices.ContainsFunc(chosen, func(r run.Run) bool { return !r.State.Final() || r.Unsaved })
	if len(failed) == 0 || busy || rev.Kind == run.KindChange && rev.Head != o.snap.Head.SHA {
		return otherwise, nil
	}
	if a, ok, err := i.may(ctx, o, selected(failed)); err != nil || !ok {
		return a, err
	}
	var again []run.Run
	for _, f := range failed {
		counts, err := operator.Counts(ctx, i.Store, f)
		if err != nil {
			return answer{}, err
		}
		if !counts {
			return otherwise, nil
		}
		again = append(again, run.Retry(f, o.by.Login))
	}
	_, err = i.Store.Advance(ctx, run.Scope{Pull: o.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		return run.Revise(s, rev, again, "planned again for "+o.by.Login)
	})
	if errors.Is(err, run.ErrExists) {
		err = nil
	}
	return answer{}, err
}

// sawFail says whether the commenter could know that the apply of a run had failed, so that "apply" means to go on. One who says it twice in
// a row does not.
func (o order) sawFail(r run.Run) bool {
	return r.State == run.Failed && !r.ApplyStarted.IsZero() && !r.Unsaved &&
		r.Finished.Truncate(time.Second).Before(o.comment.Created.Truncate(time.Second))
}
