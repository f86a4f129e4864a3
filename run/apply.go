package run

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ApplyName is the executor's name for the one apply of a run.
func ApplyName(id ID) string { return fmt.Sprintf("%s-apply", id) }

// Confirm confirms planned runs, all of them or none, and takes their holds. The caller has judged every gate; gates are those of each run,
// in the order of ids, for the audit. Error: ErrMoved if a hold was taken meanwhile.
func Confirm(s Snapshot, ids []ID, actor string, gates ...[]Gate) (Change, error) {
	c := Change{Action: ActConfirm, Hold: map[ProjectID]PullID{}}
	for n, id := range ids {
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
		maps.Copy(c.Hold, hold(r))
		c.Runs = append(c.Runs, r)
		detail := r.Label
		if n < len(gates) {
			detail += ": " + judged(gates[n])
		}
		c.Audit = append(c.Audit, audit(r, actor, ActConfirm, "done", detail))
	}
	return c, nil
}

func confirmed(r Run, by string, now time.Time) (Run, error) {
	r, err := step(r, ActConfirm, "")
	if err != nil {
		return Run{}, err
	}
	r.Confirmed, r.ConfirmedBy = now, by
	return r, nil
}

// Batch names the runs that were confirmed together, whose results people get in one comment: those of one command, or those that one
// merge applied by itself.
func Batch(r Run) string {
	if r.Kind == KindMerge && r.Confirmed.Equal(r.Planned) {
		return fmt.Sprintf("result:%d:%s", r.Revision, r.Cause)
	}
	return fmt.Sprintf("result:%d:%d", r.Revision, r.Confirmed.UnixMicro())
}

// ConfirmedFor is how long a confirmed apply may wait before it is asked for anew.
const ConfirmedFor = 24 * time.Hour

// ClaimApply gives a confirmed run, its slot and its hold to a node, if every gate of the caller's fresh snapshot holds; else the run goes
// back to planned and says why. Only a pause sends nothing back: the run waits for its end. Errors: ErrPaused; ErrMoved if slot or hold is
// taken.
func ClaimApply(s Snapshot, id ID, gates []Gate, o Owner) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if g, ok := paused(gates); ok {
		return Change{}, fmt.Errorf("%w: %s", ErrPaused, g.Text)
	}
	if why := closed(s, r, gates); why != "" {
		return unconfirm(r, why, gates)
	}
	if s.taken(r) || s.held(r) {
		return Change{}, fmt.Errorf("slot or hold of %s: %w", r.Label, ErrMoved)
	}
	if s.full(r) {
		return Change{}, fmt.Errorf("%s has %d runs at work: %w", s.Pull.name(r.Revision), s.Running, ErrMoved)
	}
	if r, err = step(r, ActClaimApply, ""); err != nil {
		return Change{}, err
	}
	r.Node, r.Deadline, r.Execution, r.ApplyStarted = o.Node, o.Deadline, ApplyName(r.ID), s.Now
	return Change{
		Action: ActClaimApply, Runs: []Run{r}, Take: map[ProjectID]ID{r.Project: r.ID}, Hold: hold(r),
		Audit: []Audit{audit(r, r.ConfirmedBy, ActClaimApply, "done", r.Label+": "+judged(gates))},
	}, nil
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

func unconfirm(r Run, why string, gates []Gate) (Change, error) {
	actor := r.ConfirmedBy
	r, err := step(r, ActUnconfirm, "not applied: "+why)
	if err != nil {
		return Change{}, err
	}
	r.Confirmed, r.ConfirmedBy = time.Time{}, ""
	c := Change{
		Action: ActUnconfirm, Runs: []Run{r}, Postings: []Posting{posting(PostMergeWaits, r)},
		Audit: []Audit{audit(r, actor, ActUnconfirm, "refused", r.Label+": "+why+"; "+judged(gates))},
	}
	if stale(gates) {
		c.Jobs = lookAgain(r)
	}
	return c, nil
}

// stale says whether what a run was planned from may have changed. What could not be found out may have.
func stale(gates []Gate) bool {
	return len(gates) == 0 || slices.ContainsFunc(gates, func(g Gate) bool { return !g.Holds && (g.Name == GateHead || g.Name == GateUpToDate) })
}

// lookAgain asks for a look at the pull request of a run whose plan may be stale: only with git and host at hand can it be planned on what
// there is now.
func lookAgain(r Run) []Job {
	if r.Pull == 0 {
		return nil
	}
	return []Job{{Kind: JobStale, Key: strconv.FormatInt(int64(r.Pull), 10)}}
}

// Rejudged adds to a change of a run what the policy of today says of its stored plan.
func Rejudged(c Change, id ID, policy string, findings []Finding) Change {
	for n := range c.Runs {
		if c.Runs[n].ID == id {
			c.Runs[n].PolicyDigest = policy
			c.Findings = map[ID][]Finding{id: findings}
		}
	}
	return c
}

// Rejudge writes down what the policy of today says of the stored plan of a planned run.
func Rejudge(s Snapshot, id ID, policy string, findings []Finding) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if r, err = step(r, ActRejudge, r.Reason); err != nil {
		return Change{}, err
	}
	return Rejudged(Change{Action: ActRejudge, Runs: []Run{r}}, id, policy, findings), nil
}

// Waiting is an applying run as it was before its claim, for a second judgement of its gates.
func (r Run) Waiting() Run {
	r.State = Confirmed
	return r
}

// ApplyOutcome is what became of the execution of an apply. At most one of the flags is set; none: it failed with Reason.
type ApplyOutcome struct {
	Applied     bool
	Stale       bool              // the plan was refused, by the tool or by us, before anything was done
	Doubt       bool              // with Stale: nobody's word for this plan counts for the next one, whatever that does
	Told        string            // with Stale: what the pull request is told
	Interrupted bool              // it vanished, or was killed: nobody knows how far it came
	Unsaved     bool              // it failed and could not save its state
	Asked       bool              // it ended because it was asked to: by a person, else by the stop of its server
	Reason      string            // one sentence
	Blobs       map[string]string // added to the run's
	Counts      *Counts           // what was done, where known
	Latest      []Run             // the newest run of each project of the revision, for those that depend on this one
}

func (o ApplyOutcome) action() Action {
	switch {
	case o.Applied:
		return ActApplied
	case o.Stale:
		return ActSupersede
	case o.Interrupted:
		return ActInterrupt
	default:
		return ActFail
	}
}

// reason says who asked an apply to end, where somebody did; Reason says how it ended.
func (o ApplyOutcome) reason(r Run) string {
	if !o.Asked {
		return o.Reason
	}
	who := r.StopWhy
	if who == "" {
		who = "its server was stopped"
	}
	switch {
	case o.Unsaved:
		return "state not saved: " + who
	case o.Interrupted:
		return who + "; the tool did not end within its grace and was killed"
	}
	return who + "; the tool was interrupted and ended by itself"
}

// SettleApply ends applying. The slot is freed unless nobody knows what the state holds; the hold stays until merge, close or unlock, but
// goes with an applied merge.
func SettleApply(s Snapshot, id ID, o ApplyOutcome) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	by := o.action()
	if r.State == Interrupted && by == ActInterrupt { // still unknown, but its log may tell more
		return Change{Action: by, Runs: []Run{withBlobs(r, o.Blobs)}}, nil
	}
	if r, err = step(r, by, o.reason(r)); err != nil {
		return Change{}, err
	}
	c := Change{Action: by}
	r.Deadline, r.Unsaved = time.Time{}, o.Unsaved
	r = withBlobs(r, o.Blobs)
	if o.Counts != nil {
		r.Counts = *o.Counts
	}
	kind := PostResult
	if by == ActInterrupt {
		kind = PostInterrupted
	} else {
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
		c.New, c.Postings = []Run{replacing(r, o.Doubt)}, append(c.Postings, told(r, o.Told)...)
	} else {
		c.Postings = append(c.Postings, posting(kind, r))
	}
	c.Audit = []Audit{audit(r, r.ConfirmedBy, by, "done", r.Reason)}
	switch by {
	case ActFail, ActInterrupt:
		return halted(s, r, c)
	case ActApplied:
		err = again(s, r, o.Latest, &c)
	default: // a stale one has its successor
	}
	return c, err
}

func withBlobs(r Run, more map[string]string) Run {
	blobs := maps.Clone(r.Blobs)
	if blobs == nil {
		blobs = map[string]string{}
	}
	maps.Copy(blobs, more)
	r.Blobs = blobs
	return r
}

// halted sends back what was to apply after a run of the same pull request that failed. If the failed project lets the others go on, only
// those that depend on it.
func halted(s Snapshot, failed Run, c Change) (Change, error) {
	if failed.Pull == 0 {
		return c, nil
	}
	for _, r := range s.Runs {
		goesOn := failed.Settings.OnFailure == "continue" && !slices.Contains(r.Settings.After, failed.Project)
		if r.State != Confirmed || r.Pull != failed.Pull || r.ID == failed.ID || goesOn {
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

// Acknowledge settles an interrupted run, or one whose state was not saved, after a person looked: its slot is freed. If current, which says
// that its revision is still the one that counts, it is planned again, so that people see what is left.
func Acknowledge(s Snapshot, id ID, actor string, current bool) (Change, error) {
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
	if current {
		c.New = whatIsLeft(s, r)
	}
	c.Audit = []Audit{audit(r, actor, ActAcknowledge, "done", r.Label)}
	return c, nil
}

// left begins the cause of a plan that shows what an apply in doubt has left.
const left = "left:"

// AfterDoubt says whether a run was made to show what an apply in doubt, interrupted or with an unsaved state, has left. It never applies
// without another word.
func AfterDoubt(r Run) bool { return strings.HasPrefix(r.Cause, left) }

// whatIsLeft is the plan of a project after a person settled its apply; none if another is under way or the pull request is not planned any more.
func whatIsLeft(s Snapshot, r Run) []Run {
	over := r.Kind != KindMerge && r.Pull != 0 && (s.Pull.State != "open" || s.Pull.Draft)
	under := slices.ContainsFunc(s.Runs, func(o Run) bool { return o.Project == r.Project && o.ID != r.ID && !o.State.Final() })
	if over || under {
		return nil
	}
	return []Run{Successor(r, left+string(r.ID))}
}

// Unstuck plans a project again that stopped at a lock of its backend which is free now.
func Unstuck(s Snapshot, stopped Run, lock string) []Run {
	if stopped.State != Failed || !stopped.ApplyStarted.IsZero() {
		return nil
	}
	next := whatIsLeft(s, stopped)
	for i := range next {
		next[i].Cause = "freed:" + lock
		if AfterDoubt(stopped) { // it still waits for a word
			next[i].Cause = left + next[i].Cause
		}
	}
	return next
}

// Repaired settles a run whose state could not be saved and now is in its backend: its slot is freed and, if current, the project planned
// again.
func Repaired(s Snapshot, id ID, actor string, current bool) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if r.State != Failed || !r.Unsaved {
		return Change{}, fmt.Errorf("%s of a run that is %s: %w", ActStatePush, r.State, ErrIllegal)
	}
	r.Unsaved, r.Reason = false, r.Reason+"; its state was pushed by "+actor
	c := Change{Action: ActStatePush, Runs: []Run{r}, Audit: []Audit{audit(r, actor, ActStatePush, "done", r.Label)}}
	if s.Slots[r.Project] == r.ID {
		c.Free = []ProjectID{r.Project}
	}
	if current {
		c.New = whatIsLeft(s, r)
	}
	return c, nil
}
