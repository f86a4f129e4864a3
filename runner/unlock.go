package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// unlockTime bounds an execution that frees a lock.
const unlockTime = 5 * time.Minute

// ForceUnlock frees a backend's own lock and tells what came of it: the job operator.JobForceUnlock. It can be repeated: a lock has an id,
// so that another one, which somebody took since, is never freed.
func (r *Runner) ForceUnlock(ctx context.Context, key string) error {
	var f operator.Forced
	if err := json.Unmarshal([]byte(key), &f); err != nil {
		return nil //nolint:nilerr // a job of another release; the person will ask again
	}
	if r.draining.isShut() {
		return errDraining // the job is done by another replica, or after the restart
	}
	stopped, err := r.Store.Run(ctx, f.Run)
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	repo, err := r.Store.Repo(ctx, stopped.Repo)
	if err != nil {
		return err
	}
	failure, err := r.freeLock(ctx, stopped, f.Lock)
	if err != nil {
		return fmt.Errorf("free the lock of %s: %w", stopped.Label, err)
	}
	current, err := operator.Counts(ctx, r.Store, stopped)
	if err != nil {
		return err
	}
	row := run.Audit{Actor: f.Actor, Action: operator.JobForceUnlock, Repo: stopped.Repo, Pull: stopped.Pull, Run: stopped.ID, Outcome: "done", Detail: "freed " + f.Lock}
	if failure != "" {
		row.Outcome, row.Detail = "refused", "could not free "+f.Lock
	}
	_, err = r.Store.Advance(ctx, run.Scope{Runs: []run.At{{ID: stopped.ID}}, Pull: stopped.Pull}, func(s run.Snapshot) (run.Change, error) {
		c := run.Change{Action: run.ActUnlock, Audit: []run.Audit{row}}
		if failure == "" && current {
			c.New = run.Unstuck(s, stopped, f.Lock)
		}
		c.Postings = []run.Posting{{
			Kind: run.PostReply, Repo: stopped.Repo, Pull: stopped.Pull, Key: f.Reply, Body: report.Freed(r.style(repo), stopped, f.Lock, failure, len(c.New) > 0),
		}}
		return c, nil
	})
	if errors.Is(err, run.ErrExists) { // it was told and planned before
		return nil
	}
	return err
}

// style is how much of a tool's words a repository is told.
func (r *Runner) style(repo run.Repo) report.Style {
	if r.o.Style == nil {
		return report.StyleFull
	}
	return r.o.Style(repo.Host, repo.Name)
}

// freeLock runs force-unlock with what an apply of the project may do. failure is what stopped it, for people.
func (r *Runner) freeLock(ctx context.Context, stopped run.Run, lock string) (failure string, err error) {
	if wraps(stopped.Settings.Steps) {
		return "a wrapper stands in the place of the tool: free the lock with the wrapper's own command", nil
	}
	defer r.borrow(stopped.ID)()
	stopped.Execution = fmt.Sprintf("%s-unlock-%x", stopped.ID, time.Now().UnixNano())
	g, err := r.stand(ctx, stopped)
	if err == nil {
		err = r.admit(ctx, g)
	}
	if err == nil {
		g, err = r.equip(ctx, g)
	}
	if err == nil {
		inputs, done, layErr := r.layLock(ctx, &g) // for what init needs
		if err = layErr; err == nil {
			defer done()
			err = r.entitle(ctx, &g, "apply")
		}
		if err == nil {
			spec := r.base(g, "apply")
			spec.Inputs, spec.Steps = inputs, unlockSteps(g, lock)
			spec.Limits.Wall, spec.Grace, spec.Unattended = unlockTime, r.o.PlanGrace, r.unattended()
			return r.freeing(ctx, spec, g.grant)
		}
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return no.text, nil
	}
	if no, ok := errors.AsType[*notAdmitted](err); ok {
		return no.Error(), nil
	}
	return "", err
}

func (r *Runner) freeing(ctx context.Context, spec executor.Spec, grant Grant) (failure string, err error) {
	e, _, err := r.once(ctx, spec, grant)
	switch {
	case err != nil:
		return "", err
	case ctx.Err() != nil:
		return "", ctx.Err()
	case e.lost == nil && e.result.OK(len(spec.Steps)):
		return "", nil
	}
	failure = redact.String(slices.Concat(r.o.Secrets, grant.hidden()))(why(e, len(spec.Steps)))
	if said := report.Excerpt(e.log); said != "" {
		failure += "\n" + said
	}
	return failure, nil
}

func unlockSteps(g ground, lock string) []executor.Step {
	list := assembly{facts: stepFacts(g, "apply"), steps: g.run.Settings.Steps}
	list.around("before_init")
	list.own(initStep(g))
	return append(list.out, executor.Step{Label: "force-unlock", Argv: []string{g.tool.Path, "force-unlock", "-force", lock}})
}

// leftByOurPlan says whether a lock of the backend is one that a plan of ours on the same state took and can no longer give back, because
// its execution has ended (semantics 28). A lock of an apply is a person's to free.
func (r *Runner) leftByOurPlan(ctx context.Context, of run.Run, lock report.LockInfo) bool {
	holder, ours := r.holder(ctx, lock)
	if !ours || lock.ID[0] == '-' || lock.Operation != "OperationTypePlan" || holder.Stray {
		return false // it may be at work somewhere: its node fell silent
	}
	if holder.ID == of.ID { // an earlier attempt of this very plan, which was lost; this one has ended
		return true
	}
	if holder.Planned.IsZero() || holder.State.Running() || holder.State == run.Interrupted || !holder.ApplyStarted.IsZero() {
		return false
	}
	return r.oneState(ctx, holder, of)
}

// leftByOurApply tells in words of an apply of ours on the same state that is over and left a lock; empty if it was no such. A lock of an
// apply is a person's to free.
func (r *Runner) leftByOurApply(ctx context.Context, of run.Run, lock report.LockInfo) string {
	holder, ours := r.holder(ctx, lock)
	if !ours || holder.ID == of.ID || holder.ApplyStarted.IsZero() || !holder.State.Final() || holder.Unsaved || !r.oneState(ctx, holder, of) {
		return ""
	}
	return fmt.Sprintf("the apply of our run %s, which is %s: %s", holder.ID, holder.State, cmp.Or(holder.Reason, "it has ended"))
}

// holder is the run of ours whose execution has a lock of the backend: its host name says so.
func (r *Runner) holder(ctx context.Context, lock report.LockInfo) (run.Run, bool) {
	_, host, _ := strings.Cut(lock.Who, "@")
	id, ours := strings.CutPrefix(host, "planlatch-")
	if !ours || lock.ID == "" {
		return run.Run{}, false
	}
	holder, err := r.Store.Run(ctx, run.ID(id))
	return holder, err == nil
}

// oneState says whether two runs are of one state.
func (r *Runner) oneState(ctx context.Context, a, b run.Run) bool {
	if a.Project == b.Project {
		return true
	}
	twins, err := r.Store.Twins(ctx, b.Project)
	return err == nil && slices.ContainsFunc(twins, func(t run.Project) bool { return t.ID == a.Project })
}
