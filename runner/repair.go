package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// pushTimeout bounds how long writing a state back may take: a state is a file of some megabytes.
const pushTimeout = 10 * time.Minute

const stepPush = "state push"

// PushState writes the state that a run's apply could not save to its backend, as the apply itself would have: the same source, tool,
// credentials and sandbox. The tool checks serial and lineage under the state's own lock, and nothing overrules it. failed says in a few
// lines why it was not written; empty: it was, and may be pushed again without harm.
//
// It settles nothing. When ctx ends the tool is interrupted; a caller that may go away lets it outlive the call. A push that a server left
// behind when it was killed goes on without it; the next call follows that one instead of pushing beside it.
func (r *Runner) PushState(ctx context.Context, of run.Run) (failed string, err error) {
	if !of.Unsaved || of.Blobs[BlobErrored] == "" {
		return "its state was saved", nil
	}
	if !r.hold(of.ID) {
		return "its state is being pushed already", nil
	}
	defer r.release(of.ID)
	if r.draining.isShut() { // looked at only now, so that a drain which begins later waits for us
		return "the server is stopping: push it again when it is back", nil
	}
	defer r.borrow(of.ID)()
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	ctx, release := r.hurrying.bound(ctx)
	defer release()
	if done, err := r.followPush(ctx, of.ID); done || err != nil {
		return "", err
	}
	ready, err := r.preparePush(ctx, of)
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no.text, nil
	case err != nil:
		return "", fmt.Errorf("prepare the push of a state: %w", err)
	}
	defer ready.done()
	e, _, err := r.once(ctx, ready.spec, ready.grant)
	if err != nil {
		return "", fmt.Errorf("push a state: %w", err)
	}
	r.Log.Info("pushed a state back", "run", of.ID, "project", of.Label, "ended", e.result.Ended, "ok", e.failed == "" && e.result.OK(len(ready.spec.Steps)))
	if e.failed == "" && e.lost == nil && e.result.OK(len(ready.spec.Steps)) {
		return "", nil
	}
	failed = why(e, len(ready.spec.Steps))
	if lock, ok := report.LockError(e.log); ok {
		failed += fmt.Sprintf("; its state is locked by %s: free it with the tool's force-unlock %s once nothing of its holder runs", lock.Who, lock.ID)
	}
	if said := report.Excerpt(e.log); said != "" {
		failed += "\n" + said
	}
	return failed, nil
}

// pushName begins the names of the executions that push the state of a run.
func pushName(id run.ID) string { return string(id) + "-push-" }

// followPush waits for pushes that another life of this node began, and removes them. done says that one of them has pushed the state.
func (r *Runner) followPush(ctx context.Context, id run.ID) (done bool, err error) {
	all, err := r.Exec.List(ctx)
	if err != nil {
		return false, fmt.Errorf("look for a push that was left behind: %w", err)
	}
	for _, name := range all {
		if !strings.HasPrefix(string(name), pushName(id)) {
			continue
		}
		result, err := r.Exec.Attach(ctx, name, io.Discard, 0)
		if err != nil && !errors.Is(err, executor.ErrLost) && !errors.Is(err, executor.ErrAbsent) {
			return false, fmt.Errorf("follow a push that was left behind: %w", err)
		}
		n := len(result.Steps)
		done = done || err == nil && result.OK(n) && n > 0 && result.Steps[n-1].Label == stepPush
		r.Log.Info("followed a push of a state that was left behind", "run", id, "execution", name, "ended", result.Ended, "ok", done)
		if err := r.Exec.Remove(ctx, name); err != nil {
			return done, fmt.Errorf("remove a push that was left behind: %w", err)
		}
	}
	return done, nil
}

// release lets go of a run that hold marked.
func (r *Runner) release(id run.ID) {
	r.mu.Lock()
	delete(r.active, id)
	r.mu.Unlock()
	r.poke()
}

// preparePush lays out the kept state where the apply ran.
func (r *Runner) preparePush(ctx context.Context, of run.Run) (prepared, error) {
	if wraps(of.Settings.Steps) {
		return prepared{}, refuse("this project has steps of its own in place of the tool's, which only its owners know how to push a state with: " +
			"get it with planlatch state pull, push it with them, then acknowledge the run")
	}
	of.Execution = fmt.Sprintf("%s%x", pushName(of.ID), time.Now().UnixNano())
	g, err := r.prepareGround(ctx, of)
	if err != nil {
		return prepared{}, err
	}
	files := map[string][]byte{}
	if files[fileErrored], err = r.Blobs.Get(ctx, of.Blobs[BlobErrored]); err != nil {
		return prepared{}, refuse("the kept state cannot be read: %v", err)
	}
	var lock []byte
	if key := of.Blobs[blobLock]; key != "" {
		if lock, err = r.Blobs.Get(ctx, key); err != nil {
			return prepared{}, refuse("the stored lock file cannot be read: %v", err)
		}
	}
	if lock, err = r.provide(ctx, &g, lock); err != nil {
		return prepared{}, err
	}
	if lock != nil {
		files[fileLock] = lock
	}
	inputs, done, err := r.lay(ctx, files)
	if err != nil {
		return prepared{}, err
	}
	if err := r.entitle(ctx, &g, "apply"); err != nil {
		done()
		return prepared{}, err
	}
	return prepared{spec: r.pushSpec(g, inputs), grant: g.grant, done: done}, nil
}

// pushSpec is what an apply does before it applies, and the push of the kept state. There is no -force in it.
func (r *Runner) pushSpec(g ground, inputs []executor.File) executor.Spec {
	s := r.base(g, "apply")
	s.Inputs = inputs
	list := assembly{facts: stepFacts(g, "apply"), steps: g.run.Settings.Steps}
	list.around("before_init")
	list.own(initStep(g))
	push := executor.Step{Label: stepPush, Argv: []string{g.tool.Path, "state", "push", "-no-color", r.lockTimeout(), fileErrored}}
	s.Steps = slices.Concat(list.out, []executor.Step{push})
	s.Limits.Wall, s.Grace = pushTimeout, r.o.PlanGrace
	return s
}
