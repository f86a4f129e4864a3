package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// This file finds out, right before an apply, whether the stored plan still is what was reviewed and what policy allows. Whether the change
// and the state moved is found out by facts and by the tool.

// gates judges a confirmed run now. When the facts cannot be had there are no gates, which is a no. anew is what policy says of the plan if it
// is another policy than when the plan was made.
func (r *Runner) gates(ctx context.Context, waiting run.Run) (gates []run.Gate, anew *policy.Judgement) {
	m, err := r.moment(ctx, waiting)
	if err == nil {
		anew, err = r.judgedAnew(ctx, waiting)
	}
	if err != nil {
		r.complain(ctx, "judge the gates of a run", err)
		return nil, nil
	}
	if anew != nil {
		m.Run.PolicyDigest, m.Findings = anew.Digest, anew.Findings
	}
	gates = run.Gates(m)
	for n, g := range gates {
		if anew != nil && g.Name == run.GatePolicy && !g.Holds {
			gates[n].Text = "policy has changed since the plan was made and says no now: " + g.Text
		}
	}
	return gates, anew
}

// judgedAnew asks policy again about the stored plan of a run if it is not the policy that judged it; nil if it is.
func (r *Runner) judgedAnew(ctx context.Context, of run.Run) (*policy.Judgement, error) {
	repo, err := r.Store.Repo(ctx, of.Repo)
	if err != nil {
		return nil, err
	}
	g := ground{run: of, repo: repo}
	if g.rev, err = r.Store.Revision(ctx, of.Revision); err != nil {
		return nil, fmt.Errorf("read the revision: %w", err)
	}
	if r.Policy.Digest(g.judged()) == of.PolicyDigest {
		return nil, nil //nolint:nilnil // documented above
	}
	planJSON, err := r.Blobs.Get(ctx, of.Blobs[blobPlanJSON])
	if err != nil {
		return nil, fmt.Errorf("read the stored plan: %w", err)
	}
	if g.hidden, err = r.hiddenIn(ctx, of); err != nil {
		return nil, err
	}
	now, _, err := r.o.Fixed(facts.Target(repo, of), "plan") // a plan of an earlier version kept nothing of it
	if err != nil {
		return nil, fmt.Errorf("read provider configurations: %w", err)
	}
	g.hidden = slices.Concat(r.o.Secrets, g.hidden, now.hidden())
	j, err := r.judge(ctx, g, planJSON)
	if err != nil || !r.Policy.JudgesSource(g.judged()) {
		return &j, err
	}
	if g, err = r.stand(ctx, of); err != nil {
		return nil, fmt.Errorf("read the source again: %w", err)
	}
	onSource, err := r.judgeSource(ctx, g)
	j = j.With(onSource)
	return &j, err
}

// rejudge judges the plans that wait for people again where policy has changed, which it does between two lives of the server. It makes
// nothing safe, since a claim judges by itself; it makes the reports true.
func (r *Runner) rejudge(ctx context.Context) {
	waiting, err := r.Store.Runs(ctx, run.Filter{States: []run.State{run.Planned}, Limit: 100_000})
	if err != nil {
		r.complain(ctx, "list the plans that policy may see in another way", err)
		return
	}
	for _, of := range waiting {
		anew, err := r.judgedAnew(ctx, of)
		if err == nil && anew != nil {
			err = r.advance(ctx, of, func(s run.Snapshot) (run.Change, error) { return run.Rejudge(s, of.ID, anew.Digest, anew.Findings) })
		}
		if err != nil && !errors.Is(err, run.ErrMoved) {
			r.complain(ctx, "judge a stored plan again", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// keptWhole says whether the stored plan of a run can be read and is the one that was reviewed; else what becomes of the run.
func (r *Runner) keptWhole(ctx context.Context, of run.Run) (run.ApplyOutcome, bool) {
	_, err := r.plan(ctx, of)
	if err == nil {
		_, err = r.Blobs.Get(ctx, of.Blobs[blobPlanJSON]) // what tells secrets in the log, and policy
		if err != nil {
			err = refuse("the stored plan cannot be read")
		}
	}
	if err == nil || ctx.Err() != nil { // a stop is no news about the plan
		return run.ApplyOutcome{}, true
	}
	r.Log.Warn("a stored plan is not applied", "run", of.ID, "error", err)
	return refused(of, err), false
}

// errAltered says that a stored plan file is another one than that of the run.
var errAltered = errors.New("the stored plan is not the one that was reviewed: its digest differs")

// plan reads the plan file of a run, whose bytes must be the reviewed ones.
func (r *Runner) plan(ctx context.Context, of run.Run) ([]byte, error) {
	plan, err := r.Blobs.Get(ctx, of.Blobs[blobPlan])
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		r.Log.Warn("a stored plan cannot be read", "run", of.ID, "error", err)
		return nil, &staleness{"the stored plan cannot be read"}
	case digest(plan) != of.PlanDigest:
		return nil, errAltered
	}
	return plan, nil
}

// staleness is why a plan is not applied that another one of the same project can take the place of.
type staleness struct{ text string }

func (e *staleness) Error() string { return e.text }

// refused is the outcome of an apply whose plan was refused before anything was done. Where a plan file was swapped, somebody must look.
func refused(of run.Run, why error) run.ApplyOutcome {
	o := run.ApplyOutcome{Stale: true, Doubt: errors.Is(why, errAltered), Reason: why.Error() + "; planned again"}
	detail := why.Error()
	if o.Doubt {
		detail += ". Somebody has changed what the server keeps: have its operator look before you apply"
	}
	o.Told = report.Reply{Code: report.Stale, Projects: []string{of.Label}, Detail: detail}.Text()
	return o
}
