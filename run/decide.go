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

// full says whether the pull of r, the first run, has as many runs at work as its repository lets it have at once.
func (s Snapshot) full(r Run) bool {
	return r.Settings.Parallel > 0 && r.Pull != 0 && s.Running >= r.Settings.Parallel
}

// using says whether an apply is at work in a project, or left it in doubt, so that its hold must stay. A plan needs no hold, whoever makes it.
func (s Snapshot) using(p ProjectID) bool {
	_, taken := s.Slots[p]
	return taken && s.Users[p] != Planning
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

// Supersede replaces a confirmed run whose plan can no longer be applied by a successor, as o says.
func Supersede(s Snapshot, id ID, o ApplyOutcome) (Change, error) {
	r, err := s.find(id)
	if err != nil {
		return Change{}, err
	}
	if r.State != Confirmed {
		return Change{}, fmt.Errorf("%s a run that is %s: %w", ActSupersede, r.State, ErrMoved)
	}
	if r, err = step(r, ActSupersede, o.Reason); err != nil {
		return Change{}, err
	}
	r.Finished = s.Now
	return Change{
		Action: ActSupersede, Runs: []Run{r}, New: []Run{replacing(r, o.Doubt)}, Postings: told(r, o.Told),
		Audit: []Audit{audit(r, r.ConfirmedBy, ActSupersede, "refused", r.Label+": "+o.Reason)},
	}, nil
}

// replacing is the successor of a run whose plan was refused. Unless there is doubt, it goes on by itself if its effect is the same.
func replacing(r Run, doubt bool) Run {
	if doubt {
		return Successor(r, "doubt:"+string(r.ID))
	}
	return Successor(r, "stale:"+string(r.ID))
}

// told says on the pull request of a run why its plan was refused.
func told(r Run, text string) []Posting {
	if r.Pull == 0 || text == "" {
		return nil
	}
	return []Posting{{Kind: PostReply, Repo: r.Repo, Pull: r.Pull, Run: r.ID, Key: "stale:" + string(r.ID), Body: text}}
}

// Successor is a new run of the same project at the same revision for another cause.
func Successor(r Run, cause string) Run {
	r.Settings.Unlock = ""
	return Run{
		Repo: r.Repo, Revision: r.Revision, Pull: r.Pull, Project: r.Project, Label: r.Label, Dir: r.Dir, Work: r.Work, Kind: r.Kind,
		Cause: cause, Ordinal: r.Ordinal, Turn: r.Turn, Settings: r.Settings, Reviewed: r.Reviewed, State: Queued,
	}
}
