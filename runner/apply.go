package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

func (r *Runner) applyPhase(running run.Run, claimed time.Time) phase {
	p := phase{name: "apply", run: running, claimed: claimed}
	p.prepare = func(ctx context.Context) (prepared, error) { return r.prepareApply(ctx, p) }
	p.settle = func(ctx context.Context, e ending) error { return r.settleApply(ctx, p, e) }
	return p
}

// judgedFor is how long the gates that were judged at the claim may stand for an apply that has not started.
const judgedFor = time.Minute

// prepareApply lays out the stored plan file, whose bytes must be the reviewed ones.
func (r *Runner) prepareApply(ctx context.Context, p phase) (prepared, error) {
	running := p.run
	if p.claimed.IsZero() || time.Since(p.claimed) > judgedFor { // we died between claim and start, and were away, or could not start for long
		gates, _ := r.gates(ctx, running.Waiting())
		for _, g := range gates {
			if !g.Holds {
				return prepared{}, &staleness{"the server was away before it started, and now a gate is shut: " + g.Text}
			}
		}
		if len(gates) == 0 {
			return prepared{}, errors.New("the gates could not be judged again")
		}
	}
	g, err := r.prepareGround(ctx, running)
	if err != nil {
		return prepared{}, err
	}
	plan, err := r.plan(ctx, running)
	if err != nil {
		return prepared{}, err
	}
	files := map[string][]byte{filePlan: plan}
	if key := running.Blobs[blobLock]; key != "" {
		if files[fileLock], err = r.Blobs.Get(ctx, key); err != nil {
			r.Log.Warn("a stored lock file cannot be read", "run", running.ID, "error", err)
			return prepared{}, &staleness{"the lock file of the plan cannot be read"}
		}
		if files[fileLock], err = r.provide(ctx, &g, files[fileLock]); err != nil {
			return prepared{}, err
		}
	} else if _, err = r.provide(ctx, &g, nil); err != nil {
		return prepared{}, err
	}
	inputs, done, err := r.lay(ctx, files)
	if err != nil {
		return prepared{}, err
	}
	if err := r.entitle(ctx, &g, "apply"); err != nil {
		done()
		return prepared{}, err
	}
	return prepared{spec: r.applySpec(g, inputs), grant: g.grant, done: done}, nil
}

// settleApply keeps what the apply left, an unsaved state first of all, and writes the outcome.
func (r *Runner) settleApply(ctx context.Context, p phase, e ending) error {
	o := run.ApplyOutcome{Blobs: map[string]string{}}
	kept := views.Kept{}
	plan, err := r.keptPlan(ctx, p.run)
	known := err == nil && e.failed == "" && e.stale == nil
	if known {
		var done run.Counts
		done, kept.Left = report.Completed(e.log, plan)
		o.Counts = &done
	}
	steps := len(r.sequence(ground{run: p.run}, "apply"))
	done, reached := applied(e.result)
	switch {
	case e.stale != nil:
		o = refused(p.run, e.stale)
		o.Blobs = map[string]string{}
	case e.failed != "":
		o.Reason = "nothing was applied: " + e.failed
	case e.lost != nil:
		o.Interrupted, o.Reason = true, "its executor vanished; nobody knows how far it came"
	case e.result.OK(steps):
		o.Applied = true
	case done: // nothing is left to apply; the failure is for people to see, and another plan finds no changes
		o.Reason = "everything was applied, but " + why(e, steps)
	case reached && report.StalePlan(e.log): // what a step before it says is not the tool's word
		o = refused(p.run, &staleness{"the state has moved since the plan"})
		o.Blobs = map[string]string{}
	case killed(e.result):
		o.Interrupted, o.Asked, o.Reason = true, asked(e.result), why(e, steps)
	default:
		o.Asked, o.Reason = asked(e.result), why(e, steps)
	}
	if !o.Applied {
		kept.Failure = tail(e.log)
		if lock, ok := report.LockError(e.log); ok {
			kept.Lock = &lock
		}
	}
	if err := r.keepErrored(ctx, p, e, &o); err != nil {
		return err
	}
	if o.Interrupted && known {
		came := report.ProgressOf(e.log, plan)
		kept.Progress, kept.Left = &came, nil
	}
	if o.Blobs[views.KeptApply], err = views.Keep(ctx, r.Blobs, p.run.ID, unique(p.run.Execution), kept); err != nil {
		return err
	}
	if o.Latest, err = r.dependents(ctx, p.run); err != nil {
		return err
	}
	scope := run.Scope{Pull: p.run.Pull} // what a failure means for the others of the pull request is decided with it
	if p.run.Pull == 0 {
		for _, dependent := range o.Latest {
			scope.Runs = append(scope.Runs, run.At{ID: dependent.ID})
		}
	}
	return r.settled(ctx, p, scope, func(s run.Snapshot) (run.Change, error) { return run.SettleApply(s, p.run.ID, o) })
}

// dependents lists the newest runs of the same revision that come after a run's project.
func (r *Runner) dependents(ctx context.Context, of run.Run) ([]run.Run, error) {
	all, err := r.Store.Runs(ctx, run.Filter{Revision: of.Revision})
	if err != nil {
		return nil, err
	}
	seen := map[run.ProjectID]bool{}
	return slices.DeleteFunc(all, func(o run.Run) bool {
		older := seen[o.Project]
		seen[o.Project] = true
		return older || !slices.Contains(o.Settings.After, of.Project)
	}), nil
}

// keepErrored stores the state that the tool could not save: the only copy there is.
func (r *Runner) keepErrored(ctx context.Context, p phase, e ending, o *run.ApplyOutcome) error {
	if e.failed != "" || e.stale != nil {
		return nil //nolint:nilerr // it never ran
	}
	name, file := executor.Name(p.run.Execution), erroredFile(p.run.Settings.Steps)
	read := func() ([]byte, error) { return r.output(ctx, e.result, name, file) }
	if e.lost != nil { // the tool may have outlived its shim, which would have listed the file
		read = func() ([]byte, error) { return r.leftBehind(ctx, name, file) }
	}
	state, err := read()
	if err != nil || len(state) == 0 {
		return err
	}
	key := fmt.Sprintf("runs/%s/%s/errored.tfstate", p.run.ID, unique(p.run.Execution))
	if err := r.Blobs.Put(ctx, key, state); err != nil {
		return fmt.Errorf("keep the unsaved state: %w", err)
	}
	o.Blobs[BlobErrored] = key
	o.Doubt, o.Told = false, ""
	o.Unsaved, o.Stale, o.Interrupted, o.Applied = true, false, false, false
	o.Reason = "state not saved: " + o.Reason
	return nil
}

// leftBehind reads a file of an execution that vanished; nil if there is none.
func (r *Runner) leftBehind(ctx context.Context, name executor.Name, file string) ([]byte, error) {
	f, err := r.Exec.Open(ctx, name, file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, executor.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of an execution that vanished: %w", file, err)
	}
	defer func() { _ = f.Close() }() // read only
	return io.ReadAll(f)
}

// killed says whether a step was ended by a signal, so that nobody knows how far it came.
func killed(res executor.Result) bool {
	if res.Ended == executor.EndKilled || res.Ended == executor.EndLost {
		return true
	}
	return len(res.Steps) > 0 && res.Steps[len(res.Steps)-1].Exit < 0
}

// asked says whether an execution ended because we asked it to.
func asked(res executor.Result) bool {
	return res.Ended == executor.EndCanceled || res.Ended == executor.EndKilled && res.Reason == executor.KilledOnRequest
}

func (r *Runner) keptPlan(ctx context.Context, of run.Run) (report.Plan, error) {
	key := of.Blobs[views.KeptPlan]
	if key == "" {
		return report.Plan{}, errors.New("no plan is kept")
	}
	k, err := (&views.Viewer{Blobs: r.Blobs}).Read(ctx, of, views.KeptPlan)
	return k.Plan, err
}
