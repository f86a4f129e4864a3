package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
)

// phase is one execution of a run: how to start it, and what to make of its end.
type phase struct {
	name    string // plan | apply
	run     run.Run
	claimed time.Time // by this process, on its own clock; zero: by an earlier one
	prepare func(ctx context.Context) (prepared, error)
	settle  func(ctx context.Context, e ending) error
}

// prepared is an execution ready to start.
type prepared struct {
	spec  executor.Spec
	grant Grant
	done  func() // removes what was laid out for it
}

// ending is how an execution ended.
type ending struct {
	result  executor.Result
	lost    error        // executor.ErrLost: it vanished
	failed  string       // it never started: why, in one sentence
	stopped *notAdmitted // it never started, because of what policy found in its source
	stale   error        // an apply that never started because its plan cannot be applied any more: why
	early   bool         // it never started, because it was asked to end: failed or stale says by whom
	log     string       // the redacted log
}

// refusal is an error that is the project's or the operator's to mend: it ends the run with its text instead of being tried again.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// follow brings a running run to its end: it attaches to the execution, or starts it if it never was, and settles. When ctx ends first the
// execution goes on and the next life of this node follows it. claimed is when this process claimed the run; zero if it did not.
func (r *Runner) follow(ctx context.Context, running run.Run, claimed time.Time) {
	p := r.planPhase(running)
	if running.State == run.Applying {
		p = r.applyPhase(running, claimed)
	}
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		// What was listed or claimed a moment ago may be settled by now, and its execution removed.
		now, err := r.Store.Run(ctx, running.ID)
		if err == nil && (now.State != running.State || now.Execution != running.Execution) {
			return
		}
		if err == nil {
			err = r.carry(ctx, p)
		}
		if err == nil || errors.Is(err, run.ErrMoved) || ctx.Err() != nil {
			return
		}
		r.complain(ctx, p.name+" of run "+string(running.ID), err)
		if !r.later(ctx, r.ends(running.State), wait) {
			return
		}
	}
}

// carry does all that is left to do of a phase. It can be repeated from the start after any error.
func (r *Runner) carry(ctx context.Context, p phase) error {
	name := executor.Name(p.run.Execution)
	begun := time.Now()
	var e ending
	err := executor.ErrAbsent
	// What is not there yet is not asked for with credentials in hand: its source may not be allowed to run.
	if p.name != "plan" || !errors.Is(r.Exec.Renew(ctx, name), executor.ErrAbsent) {
		e, err = r.attach(ctx, p, name)
	}
	if errors.Is(err, executor.ErrAbsent) {
		e, err = r.start(ctx, p, name)
	}
	if err != nil {
		return err
	}
	ended := time.Now()
	if e.log, err = r.wholeLog(ctx, p.run.ID, p.name); err != nil {
		return err
	}
	r.veilEnding(ctx, p, &e)
	if err := p.settle(ctx, e); err != nil {
		return err
	}
	settled := time.Now()
	if err := r.Exec.Remove(ctx, name); err != nil {
		r.complain(ctx, "remove an execution", err)
	} else {
		r.forget(ctx, name)
	}
	steps := time.Duration(0)
	for _, s := range e.result.Steps {
		steps += s.Took
	}
	r.Log.Info("settled "+p.name, "run", p.run.ID, "project", p.run.Label, "ended", e.result.Ended, "steps", steps,
		"executed", ended.Sub(begun), "settling", settled.Sub(ended), "removing", time.Since(settled))
	return nil
}

// start prepares and starts an execution that never was, and follows it.
func (r *Runner) start(ctx context.Context, p phase, name executor.Name) (ending, error) {
	preparing, release := r.ends(p.run.State).bound(ctx)
	defer release()
	ready, err := p.prepare(preparing)
	if err == nil {
		defer ready.done()
	}
	looked := time.Now()
	if e, fault := r.unwanted(ctx, p); fault != nil || e.early {
		return e, fault
	}
	var no *refusal
	var old *staleness
	var stopped *notAdmitted
	switch {
	case errors.As(err, &stopped):
		return ending{failed: stopped.Error(), stopped: stopped}, nil
	case errors.As(err, &no):
		return ending{failed: no.text}, nil
	case errors.As(err, &old), errors.Is(err, errAltered):
		return ending{stale: err}, nil
	case err != nil:
		return ending{}, fmt.Errorf("prepare: %w", err)
	}
	if err := r.remember(ctx, name, ready.grant.hidden()); err != nil {
		return ending{}, err
	}
	err = r.begin(ctx, ready.spec, ready.grant.Secrets, looked)
	if err != nil && !errors.Is(err, executor.ErrExists) {
		if ctx.Err() != nil || errors.Is(err, errStoodStill) || disk.Full(err) || r.crowded() { // nothing runs, and the name may be used again
			return ending{}, err
		}
		return ending{failed: "it could not be started: " + err.Error()}, nil
	}
	return r.attach(ctx, p, name)
}

// errStoodStill keeps an execution from starting on what was known before a process stood still.
var errStoodStill = errors.New("this process stood still before it could start an execution, and looks again")

// begin starts an execution. After an error nothing runs and the name may be used again, so it tries three times: the machine may have killed a
// helper in the middle of it. What is wrong for good is wrong the third time, too. looked is when the run was last seen to be ours to start: if that
// was not a moment ago, this process stood still, and others may have taken it for gone since.
func (r *Runner) begin(ctx context.Context, spec executor.Spec, secrets executor.Secrets, looked time.Time) (err error) {
	for _, wait := range []time.Duration{0, 200 * time.Millisecond, time.Second} {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if time.Since(looked) > lapse {
			return errStoodStill
		}
		if err = r.Exec.Start(ctx, spec, secrets); err == nil || errors.Is(err, executor.ErrExists) || disk.Full(err) {
			return err
		}
	}
	return err
}

// attach follows an execution to its end and stores its log.
func (r *Runner) attach(ctx context.Context, p phase, name executor.Name) (ending, error) {
	from, err := r.Store.LogOffset(ctx, p.run.ID, p.name)
	if err != nil {
		return ending{}, err
	}
	secrets, err := r.withheld(ctx, p)
	if err != nil && !errors.Is(err, errForgotten) {
		return ending{}, err
	}
	log := newSink(r.Store, p.run.ID, p.name, from, r.liveSet(secrets))
	if err != nil {
		log.shut(err)
	}
	side, stop := context.WithCancel(ctx)
	defer stop()
	r.wg.Go(func() { log.every(side) })
	r.wg.Go(func() { r.renewing(side, name) })
	result, err := r.Exec.Attach(ctx, name, log, from)
	switch {
	case errors.Is(err, executor.ErrLost):
		return ending{lost: err}, log.end(ctx)
	case err != nil:
		return ending{}, err
	}
	return ending{result: result}, log.end(ctx)
}

// renewing tells an unattended execution that it is wanted, until ctx ends.
func (r *Runner) renewing(ctx context.Context, name executor.Name) {
	t := time.NewTicker(r.unattended() / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if !r.wanted() {
				continue
			}
			if err := r.Exec.Renew(ctx, name); err != nil && !errors.Is(err, executor.ErrAbsent) {
				r.complain(ctx, "renew an execution", err)
			}
		}
	}
}

// withheld lists every secret that must not appear in the log of a phase: the server's, what it was given, and what the plan marks sensitive,
// which is known when applying; a plan has that of the project's last one. Error: errForgotten.
func (r *Runner) withheld(ctx context.Context, p phase) ([]string, error) {
	secrets, err := r.hiddenFrom(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.name != "apply" {
		return append(secrets, r.remembered(ctx, p.run)...), nil
	}
	planJSON, err := r.Blobs.Get(ctx, p.run.Blobs[blobPlanJSON])
	if err != nil {
		return nil, err
	}
	sensitive, err := redact.Sensitive(planJSON)
	if err != nil {
		return nil, err
	}
	planned, err := r.hiddenIn(ctx, p.run) // variables of the plan are in its file
	return slices.Concat(secrets, sensitive, planned), err
}

// wholeLog reads the stored, redacted log of a phase.
func (r *Runner) wholeLog(ctx context.Context, id run.ID, phase string) (string, error) {
	var log strings.Builder
	for cursor := int64(0); ; {
		text, next, err := r.Store.Log(ctx, id, phase, cursor)
		if err != nil {
			return "", err
		}
		log.Write(text)
		if next == cursor {
			return log.String(), nil
		}
		cursor = next
	}
}

// output reads a whole output of an execution; nil without error if it was not produced.
func (r *Runner) output(ctx context.Context, res executor.Result, name executor.Name, file string) ([]byte, error) {
	for _, a := range res.Outputs {
		if a.Name != file {
			continue
		}
		f, err := r.Exec.Open(ctx, name, file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		return data, nil
	}
	return nil, nil
}

// why says in one sentence how an execution failed.
func why(e ending, steps int) string {
	switch {
	case e.failed != "":
		return e.failed
	case e.lost != nil:
		return "its executor vanished"
	case e.result.Ended != executor.EndExit:
		if n := len(e.result.Steps); e.result.Ended == executor.EndStart && n > 0 {
			return e.result.Steps[n-1].Label + ": " + e.result.Reason
		}
		if e.result.Reason != "" {
			return e.result.Reason
		}
		return "it ended by " + string(e.result.Ended)
	}
	for _, s := range e.result.Steps {
		if !s.OK {
			return fmt.Sprintf("%s failed (exit code %d)", s.Label, s.Exit)
		}
	}
	if len(e.result.Steps) < steps {
		return "it ended before its last step"
	}
	return ""
}

// ours refuses to settle a run that is no longer in the phase whose execution ended.
func ours(s run.Snapshot, p phase) error {
	if len(s.Runs) == 0 || s.Runs[0].Execution != p.run.Execution || s.Runs[0].State.Final() {
		return fmt.Errorf("settle %s: %w", p.run.Execution, run.ErrMoved)
	}
	return nil
}

// settled writes the end of a phase, whatever was asked of the run meanwhile. scope adds the runs that it has consequences for.
func (r *Runner) settled(ctx context.Context, p phase, scope run.Scope, decide func(run.Snapshot) (run.Change, error)) error {
	scope.Runs = append([]run.At{{ID: p.run.ID}}, scope.Runs...)
	_, err := r.Store.Advance(ctx, scope, func(s run.Snapshot) (run.Change, error) {
		if err := ours(s, p); err != nil {
			return run.Change{}, err
		}
		return decide(s)
	})
	return err
}
