package run

import (
	"fmt"
	"slices"
	"strings"
)

// A project that depends on another one of the same revision is planned after it, but before it has applied: such a plan is a preview. It
// shows what to expect and is never applied (semantics 22). Which plans are previews is computed from the runs, never stored.

// Pending returns those of the latest runs of the projects that r depends on whose changes r's plan does not know: they have changes that
// were not applied when r was planned. A dependency that was never planned is pending, too, because nobody knows.
func Pending(r Run, latest map[ProjectID]Run) []Run {
	var pending []Run
	for _, id := range r.Settings.After {
		dep, ok := latest[id]
		if !ok {
			dep = Run{Project: id, Label: "a project it depends on"}
		}
		if dep.State == Unchanged || dep.State == Applied && (r.Started.IsZero() || dep.Finished.Before(r.Started)) {
			continue
		}
		pending = append(pending, dep)
	}
	return pending
}

// depends is the gate that keeps a preview from being applied.
func depends(pending []Run) Gate {
	labels := make([]string, len(pending))
	for i, p := range pending {
		labels[i] = p.Label
	}
	return Gate{GateDepends, false, fmt.Sprintf("%s applied first: this plan is a preview and is made again after that", strings.Join(labels, ", "))}
}

// Leads says whether the only thing that keeps a preview from being confirmed are dependencies that are confirmed already or by the same
// command, so that it may be confirmed as well: it is planned again after they have applied, and applies if its effect is the same.
func Leads(m Moment, with []Run) bool {
	return !slices.ContainsFunc(m.Pending, func(dep Run) bool {
		going := dep.State == Confirmed || dep.State == Applying || dep.State == Applied
		return !going && !slices.ContainsFunc(with, func(r Run) bool { return r.ID == dep.ID })
	})
}

// again plans anew what depends on a project that has just applied: previews that wait or were confirmed, and those that saw nothing to
// change. Others have been planned since, or will be. latest are the newest runs of the same revision.
func again(s Snapshot, applied Run, latest []Run, c *Change) error {
	for _, r := range latest {
		if r.Revision != applied.Revision || !slices.Contains(r.Settings.After, applied.Project) {
			continue
		}
		if live, err := s.find(r.ID); err == nil {
			r = live
		}
		next := Successor(r, "after:"+string(r.ID))
		switch r.State {
		case Unchanged:
			if !r.Started.Before(applied.ApplyStarted) {
				continue
			}
		case Planned, Confirmed:
			var err error
			if r, err = step(r, ActSupersede, "planned again after "+applied.Label+" has applied"); err != nil {
				return err
			}
			r.Finished = s.Now
			c.Runs = append(c.Runs, r)
		default:
			continue
		}
		c.New = append(c.New, next)
	}
	return nil
}

// retry begins the cause of a run that somebody who said apply after a failure wants to go on with.
const retry = "retry:"

// Retry plans again what an apply that failed has left, for somebody who wants it applied.
func Retry(failed Run, actor string) Run {
	next := Successor(failed, retry+string(failed.ID))
	next.Actor = actor
	return next
}

// Continues returns the run that r was made to replace because it had become stale by no fault of the change: a dependency applied, or
// the state moved. Whoever confirmed that one confirmed this one, if its effect is the same. After a failed apply it is whoever said apply
// again, if nothing is left but what was reviewed.
func Continues(r Run) (ID, bool) {
	for _, prefix := range []string{"after:", "stale:", retry} {
		if id, ok := strings.CutPrefix(r.Cause, prefix); ok {
			return ID(id), true
		}
	}
	return "", false
}
