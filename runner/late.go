package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// orphaned settles a run whose node is gone: a plan is planned again, an apply waits for a person, because it may still run over there.
func (r *Runner) orphaned(ctx context.Context, o run.Run) {
	kept := map[string]string{}
	if o.State == run.Applying {
		var err error
		if kept, err = r.soFar(ctx, o); err != nil {
			r.complain(ctx, "keep what is known of an apply on a lost node", err) // it is interrupted all the same
		}
	}
	err := r.advance(ctx, o, func(s run.Snapshot) (run.Change, error) {
		if o.State == run.Planning {
			return run.SettlePlan(s, o.ID, run.PlanOutcome{Lost: true, Stray: true})
		}
		return run.SettleApply(s, o.ID, run.ApplyOutcome{
			Interrupted: true, Reason: fmt.Sprintf("node %s is unreachable; the apply may still run there", o.Node), Blobs: kept,
		})
	})
	if err != nil && !errors.Is(err, run.ErrMoved) {
		r.complain(ctx, "settle a run of a lost node", err)
	}
}

// soFar keeps what the log of an apply told before its node fell silent.
func (r *Runner) soFar(ctx context.Context, o run.Run) (map[string]string, error) {
	log, err := r.wholeLog(ctx, o.ID, "apply")
	if err != nil {
		return nil, err
	}
	kept := views.Kept{Failure: tail(log)}
	if plan, err := r.keptPlan(ctx, o); err == nil {
		came := report.ProgressOf(log, plan)
		kept.Progress = &came
	}
	key, err := views.Keep(ctx, r.Blobs, o.ID, unique(o.Execution), kept)
	if err != nil {
		return nil, err
	}
	blobs := maps.Clone(o.Blobs)
	if blobs == nil {
		blobs = map[string]string{}
	}
	blobs[views.KeptApply] = key
	return blobs, nil
}

// late settles applies of this node that others gave up as interrupted while it was unreachable: what they came to is known here, or will be
// when they end. One that was acknowledged meanwhile has been settled by a person.
func (r *Runner) late(ctx context.Context) error {
	doubtful, err := r.Store.Runs(ctx, run.Filter{States: []run.State{run.Interrupted}, Limit: 1000})
	if err != nil {
		return err
	}
	for _, d := range doubtful {
		r.mu.Lock()
		gone := r.gone[d.ID]
		r.mu.Unlock()
		if d.Node == r.o.Node.ID && !gone && r.hold(d.ID) {
			r.go_(func() { r.followLate(ctx, d) }, d.ID, false)
		}
	}
	return nil
}

// followLate follows an apply in doubt to its end, if it is here, and never starts it.
func (r *Runner) followLate(ctx context.Context, d run.Run) {
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gone[d.ID] = true
	}
	p := r.applyPhase(d, time.Time{})
	name := executor.Name(d.Execution)
	e, err := r.attach(ctx, p, name)
	if errors.Is(err, executor.ErrAbsent) { // it never began, or was looked at and removed: nobody here knows more
		forget()
		return
	}
	if err == nil {
		e.log, err = r.wholeLog(ctx, d.ID, "apply")
	}
	if err == nil {
		err = p.settle(ctx, e)
	}
	if err == nil || errors.Is(err, run.ErrMoved) {
		forget()
		if err = r.Exec.Remove(ctx, name); err == nil {
			r.forget(ctx, name)
		}
	}
	if err != nil {
		r.complain(ctx, "settle a late apply", err) // the next look tries again
		return
	}
	r.Log.Info("settled a late apply", "run", d.ID, "project", d.Label, "lost", e.lost != nil, "ended", e.result.Ended)
}

// afterTry compares a plan with the last apply of its project at this revision, if that failed or was interrupted. rest is the digest of the
// reviewed effect of which the plan is what was left; empty if something else is to be done now (semantics 26). twice are the addresses that
// it would create although the log of an interrupted apply shows that they were: the state never heard of them.
func (r *Runner) afterTry(ctx context.Context, planned run.Run, kept views.Kept) (rest string, twice []string, err error) {
	tried, err := r.Store.Runs(ctx, run.Filter{Revision: planned.Revision, Project: planned.Project, States: []run.State{run.Failed, run.Applied}})
	if err != nil {
		return "", nil, err
	}
	at := slices.IndexFunc(tried, func(t run.Run) bool { return !t.ApplyStarted.IsZero() }) // the newest comes first
	if at < 0 || tried[at].State != run.Failed {
		return "", nil, nil
	}
	last, viewer := tried[at], &views.Viewer{Blobs: r.Blobs}
	came, err := viewer.Read(ctx, last, views.KeptApply)
	if err != nil {
		return "", nil, err
	}
	before, err := viewer.Read(ctx, last, views.KeptPlan)
	if err != nil {
		return "", nil, err
	}
	if !last.Partial && !planned.Partial && kept.Effect.Minus(before.Effect) {
		rest = cmp.Or(last.RestOf, last.EffectDigest)
	}
	return rest, report.Twice(kept.Plan, came.Progress), nil
}
