package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// Preview is a plan that is only looked at: nothing of it is stored, and nothing can be applied from it.
type Preview struct {
	Repo run.Repo
	Run  run.Run // Label, Dir, Work, Kind and Settings; Execution names the execution
	Tree string  // the source on this machine
}

// Preview plans as the server does and returns what a report shows of it, in the state that the plan ended in: planned, unchanged, failed,
// or canceled when ctx ended. It needs neither Store nor Git. The execution is gone when it returns. An error is a fault of ours.
func (r *Runner) Preview(ctx context.Context, p Preview) (report.Project, error) {
	shown := report.Project{Run: p.Run}
	shown.Run.State, shown.Run.Started = run.Planning, time.Now()
	end := func(state run.State, reason string) (report.Project, error) {
		shown.Run.State, shown.Run.Reason = state, reason
		if shown.Run.Finished = time.Now(); state == run.Planned || state == run.Unchanged {
			shown.Run.Planned = shown.Run.Finished
		}
		return shown, nil
	}
	g := ground{run: p.Run, repo: p.Repo, tree: p.Tree}
	err := r.admit(ctx, g)
	if stopped, ok := errors.AsType[*notAdmitted](err); ok {
		shown.Findings = stopped.findings
		return end(run.Failed, stopped.Error())
	}
	if err == nil {
		g, err = r.equip(ctx, g)
	}
	var no *refusal
	switch {
	case ctx.Err() != nil:
		return end(run.Canceled, "")
	case errors.As(err, &no):
		return end(run.Failed, no.text)
	case err != nil:
		return shown, fmt.Errorf("prepare the plan of %s: %w", p.Run.Label, err)
	}
	shown.Run.Tool = g.tool.String()
	ready, err := r.preparePlan(ctx, &g)
	switch {
	case ctx.Err() != nil:
		return end(run.Canceled, "")
	case errors.As(err, &no):
		return end(run.Failed, no.text)
	case err != nil:
		return shown, fmt.Errorf("prepare the plan of %s: %w", p.Run.Label, err)
	}
	defer ready.done()
	spec := ready.spec
	e, l, err := r.once(ctx, spec, g.grant)
	switch {
	case ctx.Err() != nil:
		return end(run.Canceled, "")
	case errors.As(err, &no):
		return end(run.Failed, no.text)
	case err != nil:
		return shown, fmt.Errorf("plan %s: %w", p.Run.Label, err)
	}
	if e.failed != "" || e.lost != nil || !e.result.OK(len(spec.Steps)) {
		shown.Failure = tail(e.log)
		if lock, ok := report.LockError(e.log); ok {
			shown.Lock = &lock
		}
		return end(run.Failed, why(e, len(spec.Steps)))
	}
	a, err := r.assess(ctx, g, l)
	switch {
	case ctx.Err() != nil:
		return end(run.Canceled, "")
	case errors.As(err, &no):
		return end(run.Failed, no.text)
	case err != nil:
		return shown, fmt.Errorf("judge the plan of %s: %w", p.Run.Label, err)
	}
	a.planned.Started = shown.Run.Started
	shown.Run, shown.Plan, shown.Findings, shown.NoPolicy = a.planned, a.kept.Plan, a.findings, a.kept.NoPolicy
	if a.kept.Effect.Empty {
		return end(run.Unchanged, "")
	}
	return end(run.Planned, "")
}

// once runs an execution from its start to its removal. When ctx ends it is interrupted, and killed when its grace is over.
func (r *Runner) once(ctx context.Context, spec executor.Spec, grant Grant) (ending, left, error) {
	// What was started is ended and removed whatever becomes of ctx: it would go on without us. Its grace bounds how long that takes.
	after := context.WithoutCancel(ctx)
	if err := r.begin(ctx, spec, grant.Secrets, time.Now()); err != nil {
		return ending{failed: "it could not be started: " + err.Error()}, left{}, nil //nolint:nilerr // told as the outcome
	}
	var log bytes.Buffer
	clean := redact.New(&log, slices.Concat(r.o.Secrets, grant.hidden()))
	side, stop := context.WithCancel(after)
	var helpers sync.WaitGroup
	helpers.Go(func() { r.renewing(side, spec.Name) })
	helpers.Go(func() { r.interrupt(ctx, side, spec) })
	result, err := r.Exec.Attach(after, spec.Name, clean, 0)
	stop()
	helpers.Wait()
	e := ending{result: result}
	var l left
	switch {
	case errors.Is(err, executor.ErrLost):
		e.lost, err = err, nil
	case err == nil:
		l, err = r.leftovers(after, spec.Name, result)
	}
	err = errors.Join(err, clean.Close())
	e.log = strings.ToValidUTF8(log.String(), "?")
	return e, l, errors.Join(err, r.Exec.Remove(after, spec.Name))
}

// interrupt passes the end of ctx on to an execution, until it has ended by itself.
func (r *Runner) interrupt(ctx, ended context.Context, spec executor.Spec) {
	select {
	case <-ended.Done():
		return
	case <-ctx.Done():
	}
	if err := r.Exec.Cancel(ended, spec.Name, false); err != nil {
		r.complain(ended, "interrupt an execution", err)
	}
	grace := time.NewTimer(spec.Grace)
	defer grace.Stop()
	select {
	case <-ended.Done():
	case <-grace.C:
		if err := r.Exec.Cancel(ended, spec.Name, true); err != nil {
			r.complain(ended, "kill an execution", err)
		}
	}
}
