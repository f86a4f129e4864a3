// Package operator is the operator's hand: it freezes applies and lets them go on, ends runs, frees what is held, and settles what waits for a
// person. Comment commands and the API do these things through it, so that both mean the same.
//
// It promises that whatever it did is an audit row in the same transaction, and that a refusal changes nothing. It leaves to callers whether
// the actor may. The decisions themselves are in package run; nothing here is kept in memory, so all functions are safe for concurrent use.
package operator

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// JobPauses is the kind of job that shows a pause, or its end, on everything it is about. Its key is the pause's selector; [Refresh] does it.
const JobPauses = "pauses"

// Everything is the selector of a pause of all projects.
const Everything = "//**"

// Pause stops applies of the projects that match selects, and returns once none of them can start any more. An empty match is [Everything].
// An error of the selector, or a missing reason, is a [*Fault].
func Pause(ctx context.Context, s run.Store, match, reason, actor string) (run.Pause, error) {
	match, err := parsed(match)
	if err != nil {
		return run.Pause{}, err
	}
	var set run.Pause
	_, err = s.Advance(ctx, run.Scope{Pauses: true}, func(snap run.Snapshot) (run.Change, error) {
		c, err := run.Freeze(snap, run.Pause{Match: match, Actor: actor, Reason: reason})
		if err != nil {
			return c, &Fault{err.Error()}
		}
		set, c.Jobs = c.Pause[0], []run.Job{{Kind: JobPauses, Key: match}}
		return c, nil
	})
	return set, err
}

// Resume ends the pause with exactly this selector; an empty one is [Everything]. What waited goes on by itself. Errors: run.ErrNotFound, a
// [*Fault].
func Resume(ctx context.Context, s run.Store, match, actor string) error {
	match, err := parsed(match)
	if err != nil {
		return err
	}
	_, err = s.Advance(ctx, run.Scope{Pauses: true}, func(snap run.Snapshot) (run.Change, error) {
		c, err := run.Resume(snap, match, actor)
		c.Jobs = []run.Job{{Kind: JobPauses, Key: match}}
		return c, err
	})
	return err
}

// Pauses lists the pauses, oldest first, and how many confirmed applies wait for the end of each.
func Pauses(ctx context.Context, s run.Store) (all []run.Pause, waiting []int, err error) {
	if all, err = s.Pauses(ctx); err != nil || len(all) == 0 {
		return nil, nil, err
	}
	confirmed, err := s.Runs(ctx, run.Filter{States: []run.State{run.Confirmed}, Limit: most})
	if err != nil {
		return nil, nil, err
	}
	waiting = make([]int, len(all))
	for _, r := range confirmed {
		repo, err := s.Repo(ctx, r.Repo)
		if err != nil {
			return nil, nil, err
		}
		for i, p := range all {
			if facts.Paused([]run.Pause{p}, repo, r) != nil {
				waiting[i]++
			}
		}
	}
	return all, waiting, nil
}

// most is more runs than wait at any time.
const most = 100_000

// Fault is bad input: what is wrong with it and how to say it right.
type Fault struct{ text string }

func (e *Fault) Error() string { return e.text }

func parsed(match string) (string, error) {
	if match == "" {
		return Everything, nil
	}
	if _, err := selector.Parse(match); err != nil {
		return "", &Fault{err.Error()}
	}
	return match, nil
}

// Refresh asks for the comments and statuses of everything that a pause, or its end, holds up or lets go.
func Refresh(ctx context.Context, s run.Store, match string) error {
	about, err := selector.Parse(match)
	all := err != nil // a pause that cannot be read stops everything
	live, err := s.Runs(ctx, run.Filter{States: []run.State{run.Queued, run.Planning, run.Planned, run.Confirmed}, Limit: most})
	if err != nil {
		return err
	}
	var wanted []run.Posting
	seen := map[run.RevisionID]bool{}
	for _, r := range live {
		repo, err := s.Repo(ctx, r.Repo)
		if err != nil {
			return err
		}
		if seen[r.Revision] || !all && !about.Match(facts.Target(repo, r)) {
			continue
		}
		seen[r.Revision] = true
		rev, err := s.Revision(ctx, r.Revision)
		if err != nil {
			return err
		}
		heads := []string{rev.Head}
		if r.Pull != 0 {
			pull, err := s.Pull(ctx, r.Pull)
			if err != nil {
				return err
			}
			wanted = append(wanted, run.Posting{Kind: run.PostSummary, Repo: r.Repo, Pull: r.Pull, Key: strconv.FormatInt(int64(r.Pull), 10)})
			if pull.HeadSHA != rev.Head {
				heads = append(heads, pull.HeadSHA) // of a merged one: it shows what comes of the merge
			}
		}
		for _, head := range heads {
			wanted = append(wanted, run.Posting{Kind: run.PostStatuses, Repo: r.Repo, Pull: r.Pull, Key: head})
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return s.Want(ctx, wanted...)
}

// Cancel stops runs: what waits ends at once, what is running when its tool has stopped. It returns those that it stopped; others had ended
// already, or wait for a person. also is written down with it.
func Cancel(ctx context.Context, s run.Store, runs []run.Run, actor string, also ...run.Audit) ([]run.Run, error) {
	var ids []run.ID
	var at []run.At
	for _, r := range runs {
		if !r.State.Final() && r.State != run.Interrupted {
			ids, at = append(ids, r.ID), append(at, run.At{ID: r.ID})
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	res, err := s.Advance(ctx, run.Scope{Runs: at}, func(snap run.Snapshot) (run.Change, error) {
		c, err := run.Cancel(snap, ids, actor)
		c.Audit = append(c.Audit, also...)
		return c, err
	})
	return res.Runs, err
}

// Acknowledge settles an interrupted run, or one whose state was not saved, for somebody who has looked, and plans its project again to show
// what is left. Errors: run.ErrMoved, run.ErrIllegal.
func Acknowledge(ctx context.Context, s run.Store, r run.Run, actor string) (run.Run, error) {
	counts, err := Counts(ctx, s, r)
	if err != nil {
		return run.Run{}, err
	}
	res, err := s.Advance(ctx, run.Scope{Runs: []run.At{{ID: r.ID, Epoch: r.Epoch}}, Pull: r.Pull}, func(snap run.Snapshot) (run.Change, error) {
		return run.Acknowledge(snap, r.ID, actor, counts)
	})
	if err != nil {
		return run.Run{}, err
	}
	return res.Runs[0], nil
}

// Counts says whether the revision of a run is still the one that counts, so that another plan of it tells people something.
func Counts(ctx context.Context, s run.Store, r run.Run) (bool, error) {
	if r.Pull == 0 {
		newest, err := s.Newest(ctx, run.Filter{Kind: r.Kind}, r.Project)
		return newest[r.Project].ID == r.ID, err
	}
	latest, err := s.LatestRevision(ctx, r.Pull, r.Kind)
	if err != nil || latest.ID != r.Revision || r.Kind != run.KindDestroy {
		return latest.ID == r.Revision, err
	}
	change, err := s.LatestRevision(ctx, r.Pull, run.KindChange)
	return change.Head == latest.Head && change.Base == latest.Base, err
}

// Repaired settles a run whose state has been pushed to its backend, and plans its project again. Errors: run.ErrMoved, run.ErrIllegal.
func Repaired(ctx context.Context, s run.Store, r run.Run, actor string) (run.Run, error) {
	counts, err := Counts(ctx, s, r)
	if err != nil {
		return run.Run{}, err
	}
	res, err := s.Advance(ctx, run.Scope{Runs: []run.At{{ID: r.ID}}, Pull: r.Pull}, func(snap run.Snapshot) (run.Change, error) {
		return run.Repaired(snap, r.ID, actor, counts)
	})
	if err != nil {
		return run.Run{}, err
	}
	return res.Runs[0], nil
}

// Unlock frees the holds of a pull request, or of some of its projects, but for those that an apply is using. It returns the projects freed.
func Unlock(ctx context.Context, s run.Store, pull run.PullID, actor string, projects ...run.ProjectID) ([]run.ProjectID, error) {
	var freed []run.ProjectID
	_, err := s.Advance(ctx, run.Scope{Pull: pull}, func(snap run.Snapshot) (run.Change, error) {
		c, err := run.Unlock(snap, actor, projects...)
		freed = c.Unhold
		return c, err
	})
	return freed, err
}

// Record writes down what was done, or refused, where nothing else is written; and with it wants what is said about it.
func Record(ctx context.Context, s run.Store, a run.Audit, says ...run.Posting) error {
	if a.Action == "" {
		return errors.New("an audit row names its action")
	}
	_, err := s.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.Action(a.Action), Audit: []run.Audit{a}, Postings: says}, nil
	})
	if err != nil {
		return fmt.Errorf("write the audit row of %s: %w", a.Action, err)
	}
	return nil
}
