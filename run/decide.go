package run

import (
	"fmt"
	"time"
)

// find returns a run of the snapshot.
func (s Snapshot) find(id ID) (Run, error) {
	for _, r := range s.Runs {
		if r.ID == id {
			return r, nil
		}
	}
	return Run{}, fmt.Errorf("run %s: %w", id, ErrNotFound)
}

// taken says whether another run has the slot of r's project.
func (s Snapshot) taken(r Run) bool {
	by, ok := s.Slots[r.Project]
	return ok && by != r.ID
}

// held says whether another pull has the hold of r's project.
func (s Snapshot) held(r Run) bool {
	by, ok := s.Holds[r.Project]
	return ok && by != r.Pull
}

// hold returns the hold to take for r, if its lock policy and its pull ask for one.
func hold(r Run) map[ProjectID]PullID {
	if r.Pull == 0 || r.Settings.Lock == LockNone {
		return nil
	}
	return map[ProjectID]PullID{r.Project: r.Pull}
}

// Owner is the node that takes a run, and until when the phase may last.
type Owner struct {
	Node     string
	Deadline time.Time
}

// PlanName is the executor's name for an attempt to plan; it is never used twice because the attempt grows with every claim.
func PlanName(id ID, attempt int) string { return fmt.Sprintf("%s-plan-%d", id, attempt) }

// ApplyName is the executor's name for the one apply of a run.
func ApplyName(id ID) string { return fmt.Sprintf("%s-apply", id) }

// ClaimPlan gives a queued run and its project's slot to a node. Error: ErrMoved if the slot is taken.
func ClaimPlan(s Snapshot, id ID, o Owner) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if s.taken(r) {
		return Change{}, fmt.Errorf("slot of %s: %w", r.Label, ErrMoved)
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

// PlanOutcome is what became of the execution of a plan.
type PlanOutcome struct {
	Failed    string // one sentence; empty: it planned
	Lost      bool   // the execution vanished: plan again
	Unchanged bool
	Planned   Run // the fields a plan fills in: Tool, digests, Blobs, Counts, NoBackend, Settings.Backend
	Findings  []Finding
	Confirm   string // a merge run that may apply by itself: who stands for it; empty: it waits
	Waits     string // a merge run that may not: why
}

// SettlePlan ends planning. What was asked of the run meanwhile (cancel, supersede) wins over how the execution ended.
func SettlePlan(s Snapshot, id ID, o PlanOutcome) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	by, reason := ActPlanned, o.Waits
	switch {
	case r.Stop == Canceled:
		by, reason = ActCancel, r.StopWhy
	case r.Stop == Superseded:
		by, reason = ActSupersede, r.StopWhy
	case o.Lost:
		by, reason = ActRequeue, "planned again: its execution was lost"
	case o.Failed != "":
		by, reason = ActFail, o.Failed
	case o.Unchanged:
		by, reason = ActUnchanged, ""
	}
	if r, err = step(r, by, reason); err != nil {
		return Change{}, err
	}
	c := Change{Action: by, Free: []ProjectID{r.Project}, Postings: mergedHead(s, r)}
	r.Node, r.Deadline = "", time.Time{}
	if by != ActRequeue {
		r = filled(r, o.Planned)
		r.Planned = s.Now
		c.Findings = map[ID][]Finding{r.ID: o.Findings}
	}
	if r.State.Final() {
		r.Finished = s.Now
	}
	if r.State == Planned && r.Kind == KindMerge {
		if o.Confirm != "" {
			if r, err = confirmed(r, o.Confirm, s.Now); err != nil {
				return Change{}, err
			}
			if !s.held(r) {
				c.Hold = hold(r)
			}
		} else {
			c.Postings = append(c.Postings, posting(PostMergeWaits, r))
		}
	}
	c.Runs = []Run{r}
	return c, nil
}

// filled copies what a plan found out into r.
func filled(r, from Run) Run {
	r.Tool, r.Partial, r.NoBackend = from.Tool, from.Partial, from.NoBackend
	r.InputsDigest, r.PlanDigest, r.EffectDigest, r.PolicyDigest = from.InputsDigest, from.PlanDigest, from.EffectDigest, from.PolicyDigest
	r.Blobs, r.Counts = from.Blobs, from.Counts
	return r
}

func confirmed(r Run, by string, now time.Time) (Run, error) {
	r, err := step(r, ActConfirm, "")
	if err != nil {
		return Run{}, err
	}
	r.Confirmed, r.ConfirmedBy = now, by
	return r, nil
}

func posting(kind PostingKind, r Run) Posting {
	p := Posting{Kind: kind, Repo: r.Repo, Pull: r.Pull, Run: r.ID, Key: string(kind) + ":" + string(r.ID)}
	if kind == PostResult {
		p.Key = Batch(r)
	}
	return p
}

// mergedHead wants the statuses of the head that was merged, which show what came of the merge commit's apply (semantics 42).
func mergedHead(s Snapshot, r Run) []Posting {
	if r.Kind != KindMerge || s.Pull.ID == 0 || s.Pull.HeadSHA == "" {
		return nil
	}
	return []Posting{{Kind: PostStatuses, Repo: r.Repo, Pull: r.Pull, Key: s.Pull.HeadSHA}}
}

// Batch names the runs that were confirmed together, whose results people get in one comment: those of one command, or those that one
// merge applied by itself.
func Batch(r Run) string {
	if r.Kind == KindMerge && r.Confirmed.Equal(r.Planned) {
		return fmt.Sprintf("result:%d:%s", r.Revision, r.Cause)
	}
	return fmt.Sprintf("result:%d:%d", r.Revision, r.Confirmed.UnixMicro())
}

// Confirm confirms planned runs, all of them or none, and takes their holds. The caller has judged every gate. Error: ErrMoved if a hold
// was taken meanwhile.
func Confirm(s Snapshot, ids []ID, actor string) (Change, error) {
	c := Change{Action: ActConfirm, Hold: map[ProjectID]PullID{}}
	for _, id := range ids {
		r, err := s.find(id)
		if err != nil {
			return Change{}, err
		}
		if s.held(r) {
			return Change{}, fmt.Errorf("hold of %s: %w", r.Label, ErrMoved)
		}
		if r, err = confirmed(r, actor, s.Now); err != nil {
			return Change{}, err
		}
		for project, pull := range hold(r) {
			c.Hold[project] = pull
		}
		c.Runs = append(c.Runs, r)
		c.Audit = append(c.Audit, Audit{Actor: actor, Action: string(ActConfirm), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: "done", Detail: r.Label})
	}
	return c, nil
}

// ConfirmedFor is how long a confirmed apply may wait before it is asked for anew.
const ConfirmedFor = 24 * time.Hour

// ClaimApply gives a confirmed run, its slot and its hold to a node, if every gate of the caller's fresh snapshot holds; else the run goes
// back to planned and says why. Error: ErrMoved if slot or hold is taken.
func ClaimApply(s Snapshot, id ID, gates []Gate, o Owner) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if why := closed(s, r, gates); why != "" {
		return unconfirm(r, why)
	}
	if s.taken(r) || s.held(r) {
		return Change{}, fmt.Errorf("slot or hold of %s: %w", r.Label, ErrMoved)
	}
	if r, err = step(r, ActClaimApply, ""); err != nil {
		return Change{}, err
	}
	r.Node, r.Deadline, r.Execution, r.ApplyStarted = o.Node, o.Deadline, ApplyName(r.ID), s.Now
	return Change{Action: ActClaimApply, Runs: []Run{r}, Take: map[ProjectID]ID{r.Project: r.ID}, Hold: hold(r)}, nil
}

// closed returns why a confirmed run may not start now; empty if it may.
func closed(s Snapshot, r Run, gates []Gate) string {
	if len(gates) == 0 {
		return "its gates could not be judged"
	}
	if s.Now.Sub(r.Confirmed) > ConfirmedFor {
		return "it waited longer than 24 hours: say apply again"
	}
	for _, g := range gates {
		if !g.Holds {
			return g.Text
		}
	}
	return ""
}

func unconfirm(r Run, why string) (Change, error) {
	actor := r.ConfirmedBy
	r, err := step(r, ActUnconfirm, "not applied: "+why)
	if err != nil {
		return Change{}, err
	}
	r.Confirmed, r.ConfirmedBy = time.Time{}, ""
	return Change{
		Action: ActUnconfirm, Runs: []Run{r}, Postings: []Posting{posting(PostMergeWaits, r)},
		Audit: []Audit{{Actor: actor, Action: string(ActUnconfirm), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: "refused", Detail: why}},
	}, nil
}

// Waiting is an applying run as it was before its claim, for a second judgement of its gates.
func (r Run) Waiting() Run {
	r.State = Confirmed
	return r
}

// ApplyOutcome is what became of the execution of an apply. At most one of the flags is set; none: it failed with Reason.
type ApplyOutcome struct {
	Applied     bool
	Stale       bool              // the tool refused the saved plan before it did anything
	Interrupted bool              // it vanished, or was killed: nobody knows how far it came
	Unsaved     bool              // it failed and could not save its state
	Reason      string            // one sentence
	Blobs       map[string]string // added to the run's
	Counts      *Counts           // what was done, where known
}

// SettleApply ends applying. The slot is freed unless nobody knows what the state holds; the hold stays until merge, close or unlock, but
// goes with an applied merge.
func SettleApply(s Snapshot, id ID, o ApplyOutcome) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	by := ActFail
	switch {
	case o.Applied:
		by = ActApplied
	case o.Stale:
		by = ActSupersede
	case o.Interrupted:
		by = ActInterrupt
	}
	if r.State == Interrupted && by == ActInterrupt {
		return Change{Action: by}, nil // still unknown
	}
	if r, err = step(r, by, o.Reason); err != nil {
		return Change{}, err
	}
	c := Change{Action: by, Postings: mergedHead(s, r)}
	r.Deadline, r.Unsaved = time.Time{}, o.Unsaved
	blobs := make(map[string]string, len(r.Blobs)+len(o.Blobs))
	for k, v := range r.Blobs {
		blobs[k] = v
	}
	for k, v := range o.Blobs {
		blobs[k] = v
	}
	r.Blobs = blobs
	if o.Counts != nil {
		r.Counts = *o.Counts
	}
	kind := PostResult
	switch {
	case by == ActInterrupt:
		kind = PostInterrupted
	default:
		r.Finished, r.Node = s.Now, ""
		if !o.Unsaved {
			c.Free = []ProjectID{r.Project}
		}
	}
	// A closed pull request freed its other holds when it closed and left this one to us.
	over := s.Pull.State == "closed" && by != ActInterrupt && !o.Unsaved
	if (by == ActApplied && r.Kind == KindMerge || over) && s.Holds[r.Project] == r.Pull && r.Pull != 0 {
		c.Unhold = []ProjectID{r.Project}
	}
	c.Runs = []Run{r}
	if by == ActSupersede {
		next := Successor(r, "stale:"+string(r.ID))
		c.New = []Run{next}
	} else {
		c.Postings = append(c.Postings, posting(kind, r))
	}
	c.Audit = []Audit{{Actor: r.ConfirmedBy, Action: string(by), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: "done", Detail: r.Reason}}
	if by == ActFail || by == ActInterrupt {
		return halted(s, r, c)
	}
	return c, nil
}

// halted sends back what was to apply after a run of the same pull request that failed, unless the failed project lets the others go on.
func halted(s Snapshot, failed Run, c Change) (Change, error) {
	if failed.Settings.OnFailure == "continue" || failed.Pull == 0 {
		return c, nil
	}
	for _, r := range s.Runs {
		if r.State != Confirmed || r.Pull != failed.Pull || r.ID == failed.ID {
			continue
		}
		r, err := step(r, ActUnconfirm, fmt.Sprintf("not started because the apply of %s failed", failed.Label))
		if err != nil {
			return Change{}, err
		}
		r.Confirmed, r.ConfirmedBy = time.Time{}, ""
		c.Runs = append(c.Runs, r)
	}
	return c, nil
}

// Successor is a new run of the same project at the same revision for another cause.
func Successor(r Run, cause string) Run {
	return Run{
		Repo: r.Repo, Revision: r.Revision, Pull: r.Pull, Project: r.Project, Label: r.Label, Dir: r.Dir, Work: r.Work, Kind: r.Kind,
		Cause: cause, Ordinal: r.Ordinal, Settings: r.Settings, Reviewed: r.Reviewed, State: Queued,
	}
}

// Supersede replaces planned, queued or confirmed runs by successors, because what they were planned on has changed. Runs that moved on
// meanwhile are left alone.
func Supersede(s Snapshot, id ID, why, cause string) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	c := Change{Action: ActSupersede}
	if r.State != Planned && r.State != Confirmed {
		return c, nil
	}
	next := Successor(r, cause)
	if r, err = step(r, ActSupersede, why); err != nil {
		return Change{}, err
	}
	r.Finished = s.Now
	c.Runs, c.New = []Run{r}, []Run{next}
	return c, nil
}

// Stop asks a run to end, as canceled or superseded. A waiting one ends at once, a planning one when its execution has ended; an applying
// one ignores supersede, and on cancel is interrupted so that the tool can save its state. Others are left alone: ok is false.
func Stop(s Snapshot, r Run, as State, why string) (_ Run, ok bool) {
	by := ActCancel
	if as == Superseded {
		by = ActSupersede
	}
	switch r.State {
	case Queued, Planned, Confirmed:
		next, err := step(r, by, why)
		if err != nil {
			return r, false
		}
		next.Finished = s.Now
		return next, true
	case Planning:
		if r.Stop == "" {
			r.Stop, r.StopWhy = as, why
			return r, true
		}
	case Applying:
		if r.Stop == "" && as == Canceled {
			r.Stop, r.StopWhy = as, why
			return r, true
		}
	}
	return r, false
}

// Cancel stops the named runs for a person.
func Cancel(s Snapshot, ids []ID, actor string) (Change, error) {
	c := Change{Action: ActCancel}
	for _, id := range ids {
		r, err := s.find(id)
		if err != nil {
			return Change{}, err
		}
		if r, ok := Stop(s, r, Canceled, "canceled by "+actor); ok {
			c.Runs = append(c.Runs, r)
			c.Audit = append(c.Audit, Audit{Actor: actor, Action: string(ActCancel), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: "done", Detail: r.Label})
		}
	}
	return c, nil
}

// Revise adds a revision, or with a zero rev.ID and a known key the one that exists, and its runs, and ends the live runs of the same pull
// and kind that they replace: all of other revisions, and those of the same project.
func Revise(s Snapshot, rev Revision, runs []Run, why string) (Change, error) {
	c := Change{Action: ActRevise, Revision: &rev, New: runs}
	again := map[ProjectID]bool{}
	for _, r := range runs {
		again[r.Project] = true
	}
	for _, r := range s.Runs {
		if r.Pull != rev.Pull || rev.Pull == 0 || (r.Kind == KindMerge) != (rev.Kind == KindMerge) {
			continue
		}
		if r.Revision == rev.ID && !again[r.Project] {
			continue
		}
		if r, ok := Stop(s, r, Superseded, why); ok {
			c.Runs = append(c.Runs, r)
		}
	}
	return c, nil
}

// Close ends what waits for a pull request that was closed or became a draft, and frees its holds; what is applying, interrupted or left
// its state unsaved keeps both until it is settled.
func Close(s Snapshot, p Pull, why string) (Change, error) {
	c := Change{Action: ActClose, Pull: &p}
	busy := map[ProjectID]bool{}
	for _, r := range s.Runs {
		if r.State == Applying || r.State == Interrupted {
			busy[r.Project] = true
			continue
		}
		if r.Kind == KindMerge {
			continue
		}
		if r, ok := Stop(s, r, Canceled, why); ok {
			c.Runs = append(c.Runs, r)
		}
	}
	for project, by := range s.Holds {
		if _, running := s.Slots[project]; by == p.ID && !busy[project] && !running {
			c.Unhold = append(c.Unhold, project)
		}
	}
	return c, nil
}

// Merge freezes the review of a merged pull request, ends its waiting runs, frees the holds of projects that no merge run will apply, and
// adds the merge revision with its runs.
func Merge(s Snapshot, p Pull, rev Revision, runs []Run) (Change, error) {
	c := Change{Action: ActMerge, Pull: &p, Revision: &rev, New: runs}
	keep := map[ProjectID]bool{}
	for _, r := range runs {
		keep[r.Project] = true
	}
	for _, r := range s.Runs {
		if r.Pull != p.ID || r.Kind == KindMerge {
			continue
		}
		if r.State == Applying || r.State == Interrupted {
			keep[r.Project] = true
			continue
		}
		if r, ok := Stop(s, r, Superseded, "merged: planned again on the merge commit"); ok {
			c.Runs = append(c.Runs, r)
		}
	}
	for project, by := range s.Holds {
		if by == p.ID && !keep[project] {
			c.Unhold = append(c.Unhold, project)
		}
	}
	return c, nil
}

// Adopt gives a running run to another life of its node, or to a node that reaches its executor. The execution keeps its name.
func Adopt(s Snapshot, id ID, o Owner) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if r, err = step(r, ActAdopt, r.Reason); err != nil {
		return Change{}, err
	}
	r.Node = o.Node
	return Change{Action: ActAdopt, Runs: []Run{r}}, nil
}

// Acknowledge settles an interrupted run, or one whose state was not saved, after a person looked: slot and, with unhold, hold are freed.
func Acknowledge(s Snapshot, id ID, actor string) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	c := Change{Action: ActAcknowledge, Free: []ProjectID{r.Project}}
	switch {
	case r.State == Interrupted:
		if r, err = step(r, ActAcknowledge, "interrupted; acknowledged by "+actor); err != nil {
			return Change{}, err
		}
		r.Finished = s.Now
	case r.State == Failed && r.Unsaved:
		r.Unsaved, r.Reason = false, r.Reason+"; acknowledged by "+actor
	default:
		return Change{}, fmt.Errorf("%s a run that is %s: %w", ActAcknowledge, r.State, ErrIllegal)
	}
	c.Runs = []Run{r}
	c.Audit = []Audit{{Actor: actor, Action: string(ActAcknowledge), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: "done", Detail: r.Label}}
	return c, nil
}

// Unlock frees every hold of a pull request that no apply is using.
func Unlock(s Snapshot, actor string) (Change, error) {
	c := Change{Action: ActUnlock}
	for project, by := range s.Holds {
		if _, running := s.Slots[project]; by == s.Pull.ID && !running {
			c.Unhold = append(c.Unhold, project)
		}
	}
	p := s.Pull
	c.Pull = &p
	c.Audit = []Audit{{Actor: actor, Action: string(ActUnlock), Repo: p.Repo, Pull: p.ID, Outcome: "done", Detail: fmt.Sprintf("%d holds", len(c.Unhold))}}
	return c, nil
}
