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

func posting(kind PostingKind, r Run) Posting {
	p := Posting{Kind: kind, Repo: r.Repo, Pull: r.Pull, Run: r.ID, Key: string(kind) + ":" + string(r.ID)}
	switch {
	case kind == PostResult:
		p.Key = Batch(r)
	case kind == PostMergeWaits && r.Kind == KindMerge: // one call for all that wait after a merge
		p.Key = fmt.Sprintf("%s:%d:%s", kind, r.Revision, r.Cause)
	}
	return p
}

// audit writes down what somebody did to a run.
func audit(r Run, actor string, by Action, outcome, detail string) Audit {
	return Audit{Actor: actor, Action: string(by), Repo: r.Repo, Pull: r.Pull, Run: r.ID, Outcome: outcome, Detail: detail}
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
	default: // has ended, or waits for a person
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
			c.Audit = append(c.Audit, audit(r, actor, ActCancel, "done", r.Label))
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

// Successor is a new run of the same project at the same revision for another cause.
func Successor(r Run, cause string) Run {
	r.Settings.Unlock = ""
	return Run{
		Repo: r.Repo, Revision: r.Revision, Pull: r.Pull, Project: r.Project, Label: r.Label, Dir: r.Dir, Work: r.Work, Kind: r.Kind,
		Cause: cause, Ordinal: r.Ordinal, Turn: r.Turn, Settings: r.Settings, Reviewed: r.Reviewed, State: Queued,
	}
}
