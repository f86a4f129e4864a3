package run

import (
	"fmt"
	"slices"
	"time"
)

// name is how people call the origin of a revision: its pull request, or a push without one.
func (p Pull) name(rev RevisionID) string {
	if p.Number == 0 {
		return fmt.Sprintf("revision %d", rev)
	}
	return fmt.Sprintf("#%d", p.Number)
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
		if r.Pull != rev.Pull || rev.Pull == 0 || !replaces(rev.Kind, r.Kind) {
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

// replaces says whether a revision of one kind ends runs of another: a new head or base takes the plans to destroy with it that were made on
// the old one, and nothing else reaches beyond its kind.
func replaces(rev, r Kind) bool { return rev == r || rev == KindChange && r == KindDestroy }

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
		if by == p.ID && !busy[project] && !s.using(project) {
			c.Unhold = append(c.Unhold, project)
		}
	}
	return c, nil
}

// Draft takes back what was confirmed of a pull request that became a draft, and frees its holds. Its plans stay, and are worth reading.
func Draft(s Snapshot, p Pull) (Change, error) {
	c, err := Unlock(s, "")
	if err != nil {
		return Change{}, err
	}
	c.Pull = &p
	for _, r := range s.Runs {
		if r.State != Confirmed || r.Pull != p.ID || r.Kind == KindMerge {
			continue
		}
		if r, err = step(r, ActUnconfirm, "not applied: it became a draft"); err != nil {
			return Change{}, err
		}
		r.Confirmed, r.ConfirmedBy = time.Time{}, ""
		c.Runs = append(c.Runs, r)
	}
	return c, nil
}

// Merge freezes the review of a merged pull request, ends its waiting runs, frees the holds of projects that no merge run will apply, and
// adds the merge revision with its runs. Runs that are superseded already, by a later merge that has them in it, are only written down.
func Merge(s Snapshot, p Pull, rev Revision, runs []Run) (Change, error) {
	c := Change{Action: ActMerge, Pull: &p, Revision: &rev, Moved: moved(rev.Selection)}
	keep := map[ProjectID]bool{}
	for _, r := range runs {
		if r.State.Final() {
			r.Finished = s.Now
		} else {
			keep[r.Project] = true
		}
		c.New = append(c.New, r)
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
		if by == p.ID && !keep[project] && !s.using(project) {
			c.Unhold = append(c.Unhold, project)
		}
	}
	return c, nil
}

// moved tells which projects of a selection have the history of which: the new directory has the state of the deleted one.
func moved(selection []Selected) map[ProjectID]ProjectID {
	moved := map[ProjectID]ProjectID{}
	for _, to := range selection {
		for _, from := range selection {
			if to.From != "" && from.Deleted && from.Dir == to.From && from.Workspace == to.Workspace {
				moved[from.Project] = to.Project
			}
		}
	}
	return moved
}

// Unlock frees every hold of a pull request that no apply is using, or, if projects are named, those of them.
func Unlock(s Snapshot, actor string, projects ...ProjectID) (Change, error) {
	c := Change{Action: ActUnlock}
	for project, by := range s.Holds {
		if len(projects) > 0 && !slices.Contains(projects, project) {
			continue
		}
		if by == s.Pull.ID && !s.using(project) {
			c.Unhold = append(c.Unhold, project)
		}
	}
	slices.Sort(c.Unhold)
	p := s.Pull
	c.Pull = &p
	c.Audit = []Audit{{Actor: actor, Action: string(ActUnlock), Repo: p.Repo, Pull: p.ID, Outcome: "done", Detail: fmt.Sprintf("%d holds", len(c.Unhold))}}
	return c, nil
}
