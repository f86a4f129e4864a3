package run

import (
	"fmt"
	"time"
)

// PlanName is the executor's name for an attempt to plan; it is never used twice because the attempt grows with every claim.
func PlanName(id ID, attempt int) string { return fmt.Sprintf("%s-plan-%d", id, attempt) }

// ClaimPlan gives a queued run and its project's slot to a node. Error: ErrMoved if the slot is taken.
func ClaimPlan(s Snapshot, id ID, o Owner) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if s.taken(r) {
		return Change{}, fmt.Errorf("slot of %s: %w", r.Label, ErrMoved)
	}
	if s.full(r) {
		return Change{}, fmt.Errorf("%s has %d runs at work: %w", s.Pull.name(r.Revision), s.Running, ErrMoved)
	}
	if r, err = step(r, ActClaimPlan, ""); err != nil {
		return Change{}, err
	}
	r.Attempt++
	r.Node, r.Deadline, r.Execution = o.Node, o.Deadline, PlanName(r.ID, r.Attempt)
	if r.Started.IsZero() {
		r.Started = s.Now
	}
	c := Change{Action: ActClaimPlan, Runs: []Run{r}, Take: map[ProjectID]ID{r.Project: r.ID}}
	if r.Settings.Lock == LockPlan && !s.held(r) {
		c.Hold = hold(r)
	}
	return c, nil
}

// Recheck has a pull request looked at again once its plans that are being made have settled: to stop them for a base that moved would mean
// that a busy branch lets no plan be finished. Its scope is the pull; the change is empty when nothing is being planned.
func Recheck(s Snapshot) Change {
	c := Change{Action: ActRecheck}
	for _, r := range s.Runs {
		if r.State == Planning && r.Stop == "" && r.Pull == s.Pull.ID && (r.Kind == KindChange || r.Kind == KindDestroy) {
			r.Recheck = true
			c.Runs = append(c.Runs, r)
		}
	}
	return c
}

// PlanOutcome is what became of the execution of a plan.
type PlanOutcome struct {
	Failed    string // one sentence; empty: it planned
	Lost      bool   // the execution vanished: plan again
	Stray     bool   // with Lost: nobody knows whether it did, its node is silent
	Stopped   bool   // its server had to stop: plan again
	Unlock    string // it failed because an earlier plan of ours left this lock in the backend: free it and plan again, once for each
	Unchanged bool
	Planned   Run // the fields a plan fills in: Tool, digests, Blobs, Counts, NoBackend, Settings.Backend
	Findings  []Finding
	Confirm   string // who stands for an apply without another word: of a merge, or of an equal plan that was confirmed; empty: it waits
	Waits     string // a merge run that may not: why
}

// SettlePlan ends planning. What was asked of the run meanwhile (cancel, supersede) wins over how the execution ended.
func SettlePlan(s Snapshot, id ID, o PlanOutcome) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	by, reason := o.action(r)
	if r, err = step(r, by, reason); err != nil {
		return Change{}, err
	}
	c := Change{Action: by, Free: []ProjectID{r.Project}}
	r.Node, r.Deadline = "", time.Time{}
	r.Stray = r.Stray || o.Stray
	if by == ActRequeue {
		r.Started = time.Time{}
	} else {
		r = filled(r, o.Planned)
		r.Planned = s.Now
		c.Findings = map[ID][]Finding{r.ID: o.Findings}
	}
	if r.State.Final() {
		r.Finished = s.Now
	}
	if r.Recheck {
		r.Recheck, c.Jobs = false, lookAgain(r)
	}
	if by == ActFail && o.Unlock != "" && r.Settings.Unlock != o.Unlock {
		cause := "unlock:" + o.Unlock
		if AfterDoubt(r) {
			cause = left + cause
		}
		next := Successor(r, cause)
		next.Settings.Unlock = o.Unlock
		c.New = []Run{next}
		r.Reason += "; planned again without the lock that an earlier plan left"
	}
	if r.State == Planned {
		if r, err = goesOn(s, r, o, &c); err != nil {
			return Change{}, err
		}
	}
	c.Runs = []Run{r}
	if r.Turn > 0 && (r.State == Planned || r.State == Confirmed || r.State == Unchanged) {
		err = contained(s, r, &c)
	}
	return c, err
}

// mostAttempts is how often a plan whose execution is lost begins: what kills the machine it runs on shall not do so for ever.
const mostAttempts = 10

// action is what the end of a planning run comes to, and why.
func (o PlanOutcome) action(r Run) (Action, string) {
	switch {
	case r.Stop == Canceled:
		return ActCancel, r.StopWhy
	case r.Stop == Superseded:
		return ActSupersede, r.StopWhy
	case o.Lost && r.Attempt >= mostAttempts:
		return ActFail, fmt.Sprintf("its execution was lost %d times; is the machine short of memory?", r.Attempt)
	case o.Lost:
		if o.Stray {
			return ActRequeue, "planned again: its node fell silent"
		}
		return ActRequeue, "planned again: its execution was lost"
	case o.Stopped:
		return ActRequeue, "planned again: its server was stopped"
	case o.Failed != "":
		return ActFail, o.Failed
	case o.Unchanged:
		return ActUnchanged, ""
	}
	return ActPlanned, o.Waits
}

// goesOn confirms a plan for which somebody stands, or calls for a person if it is a merge's.
func goesOn(s Snapshot, r Run, o PlanOutcome, c *Change) (Run, error) {
	_, continues := Continues(r)
	switch {
	case o.Confirm != "" && (continues || r.Kind == KindMerge):
		r, err := confirmed(r, o.Confirm, s.Now)
		if err != nil {
			return r, err
		}
		c.Audit = append(c.Audit, audit(r, o.Confirm, ActConfirm, "done", r.Label+": it has the effect that was reviewed, and its gates held"))
		if !s.held(r) {
			c.Hold = hold(r)
		}
		return r, nil
	case r.Kind == KindMerge:
		c.Postings = append(c.Postings, posting(PostMergeWaits, r))
		c.Audit = append(c.Audit, audit(r, "", ActConfirm, "refused", r.Label+": "+o.Waits))
	}
	return r, nil
}

// contained ends the merges of the same project that a later one's plan has in it: what they wait for, it does (semantics 2). One that was
// confirmed and has not begun is no exception: its plan is not what the project is about to become, and its hold would keep the later one out.
func contained(s Snapshot, later Run, c *Change) error {
	for _, r := range s.Runs {
		if r.Turn == 0 || r.Turn >= later.Turn || r.Project != later.Project || r.State != Planned && r.State != Queued && r.State != Confirmed {
			continue
		}
		if r.Pull != later.Pull && r.Pull != 0 && s.Holds[r.Project] == r.Pull {
			c.Unhold = append(c.Unhold, r.Project)
		}
		r, err := step(r, ActSupersede, "contained in "+s.Pull.name(later.Revision))
		if err != nil {
			return err
		}
		r.Finished = s.Now
		c.Runs = append(c.Runs, r)
	}
	return nil
}

// filled copies what a plan found out into r.
func filled(r, from Run) Run {
	r.Tool, r.Partial, r.Identity, r.NoBackend, r.RestOf = from.Tool, from.Partial, from.Identity, from.NoBackend, from.RestOf
	r.InputsDigest, r.PlanDigest, r.EffectDigest, r.PolicyDigest = from.InputsDigest, from.PlanDigest, from.EffectDigest, from.PolicyDigest
	r.Blobs, r.Counts = from.Blobs, from.Counts
	return r
}
