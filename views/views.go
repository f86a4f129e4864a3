// Package views gathers what report renders: one look at the store, the stored plans and the gates of a pull request or a run.
//
// It promises that comment, statuses and page of one moment are made from the same values, and that what leaves for a host, a chat or a webhook holds
// of a plan and a tool no more than the repository's style shows: only [Viewer.Run], which is for the page, ignores it. It writes nothing but the [Kept] part of a run,
// which the runner hands it when a phase settles. A Viewer is safe for concurrent use.
package views

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// Blobs reads and writes sealed objects.
type Blobs interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, data []byte) error
}

// Kept is what a settled phase leaves for renderings, redacted already. Its key is in run.Run.Blobs under KeptPlan or KeptApply.
type Kept struct {
	Plan     report.Plan
	Effect   run.Effect
	Failure  string           `json:",omitempty"` // redacted tail of the log of a phase that failed
	Lock     *report.LockInfo `json:",omitempty"`
	Left     []string         `json:",omitempty"` // apply: addresses it did not get to
	Progress *report.Progress `json:",omitempty"` // apply: how far it came, when nobody knows how it ended
	NoPolicy bool             `json:",omitempty"`
	Beside   []string         `json:",omitempty"` // projects that keep their state where this one does
}

// The names under which run.Run.Blobs holds the key of a Kept.
const (
	KeptPlan  = "view"
	KeptApply = "view_apply"
)

// Keep stores what renderings of a run need and returns its key.
func Keep(ctx context.Context, b Blobs, id run.ID, phase string, k Kept) (string, error) {
	data, err := json.Marshal(k)
	if err != nil {
		return "", fmt.Errorf("encode what is shown of a run: %w", err)
	}
	key := fmt.Sprintf("runs/%s/%s.json", id, phase)
	if err := b.Put(ctx, key, data); err != nil {
		return "", err
	}
	return key, nil
}

// Look is how a repository wants to be reported.
type Look struct {
	Prefix   string
	Mode     run.ApplyMode
	Style    report.Style
	Statuses int // per-project statuses up to this number
}

// Viewer gathers views.
type Viewer struct {
	Store run.Store
	Facts *facts.Gatherer
	Blobs Blobs
	Look  func(host, repo string) Look
	Link  func(repo run.Repo, id run.ID, log bool) string // the address of a run's page; nil: no links
	URL   string
}

// Read returns what is kept of a run's phase; a zero Kept when there is nothing.
func (v *Viewer) Read(ctx context.Context, r run.Run, name string) (Kept, error) {
	key := r.Blobs[name]
	if key == "" {
		return Kept{}, nil
	}
	data, err := v.Blobs.Get(ctx, key)
	if err != nil && v.forgotten(ctx, r.ID) {
		return Kept{}, nil
	}
	if err != nil {
		return Kept{}, fmt.Errorf("read what is shown of run %s: %w", r.ID, err)
	}
	var k Kept
	if err := json.Unmarshal(data, &k); err != nil {
		return Kept{}, fmt.Errorf("decode what is shown of run %s: %w", r.ID, err)
	}
	return k, nil
}

// forgotten says whether retention has removed what is shown of a run since the caller read its row.
func (v *Viewer) forgotten(ctx context.Context, id run.ID) bool {
	if v.Store == nil {
		return false
	}
	now, err := v.Store.Run(ctx, id)
	return err == nil && !now.LogGone.IsZero()
}

// ErrNothing says that nothing of a pull request was looked at yet.
var ErrNothing = errors.New("nothing was looked at yet")

// Pull returns the view of a pull request as it stands. The snapshot its gates were judged on is returned with it; it is nil when the
// host could not be asked, and then every gate that needs it is shut. Error: ErrNothing.
func (v *Viewer) Pull(ctx context.Context, id run.PullID) (report.View, *vcs.Pull, error) {
	pull, err := v.Store.Pull(ctx, id)
	if err != nil {
		return report.View{}, nil, err
	}
	repo, err := v.Store.Repo(ctx, pull.Repo)
	if err != nil {
		return report.View{}, nil, err
	}
	rev, runs, err := v.Current(ctx, pull)
	if err != nil {
		return report.View{}, nil, err
	}
	var snap *vcs.Pull
	if p, err := v.Facts.Snapshot(ctx, repo, pull); err == nil {
		snap = &p
	}
	view, err := v.of(ctx, repo, pull, rev, runs, snap)
	return report.Withhold(view), snap, err
}

// Commit returns the view of a commit that belongs to no pull request: one that was pushed to the branch, or that a merge queue made, whose
// projects may stand on the plans of pull requests. Error: ErrNothing.
func (v *Viewer) Commit(ctx context.Context, repo run.RepoID, sha string) (report.View, error) {
	rev, err := v.Store.BranchRevision(ctx, repo, sha)
	if errors.Is(err, run.ErrNotFound) {
		return report.View{}, ErrNothing
	}
	if err != nil {
		return report.View{}, err
	}
	of, err := v.Store.Repo(ctx, repo)
	if err != nil {
		return report.View{}, err
	}
	runs, err := v.latest(ctx, rev.ID)
	if err != nil {
		return report.View{}, err
	}
	view, err := v.of(ctx, of, run.Pull{}, rev, runs, nil)
	if err != nil {
		return view, err
	}
	for _, s := range rev.Selection {
		if s.Stands == "" || slices.ContainsFunc(runs, func(r run.Run) bool { return r.Project == s.Project }) {
			continue
		}
		p, err := v.standing(ctx, of, s.Stands)
		if err != nil {
			return view, err
		}
		view.Projects = append(view.Projects, p)
	}
	return report.Withhold(view), nil
}

// standing is a pull request's project as it is now.
func (v *Viewer) standing(ctx context.Context, repo run.Repo, id run.ID) (report.Project, error) {
	r, err := v.Store.Run(ctx, id)
	if err != nil {
		return report.Project{}, err
	}
	pull, err := v.Store.Pull(ctx, r.Pull)
	if err != nil {
		return report.Project{}, err
	}
	moments, err := v.Facts.Moments(ctx, time.Now(), pull, nil, []run.Run{r})
	if err != nil {
		return report.Project{}, err
	}
	return v.project(ctx, repo, moments[0])
}

// Current returns the revision that counts for a pull request and the latest run of each of its projects: before the merge the newest
// change, after it the merge, with what had been applied before. Error: ErrNothing.
func (v *Viewer) Current(ctx context.Context, pull run.Pull) (run.Revision, []run.Run, error) {
	change, err := v.Store.LatestRevision(ctx, pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return run.Revision{}, nil, err
	}
	if pull.State == string(vcs.PullMerged) {
		merge, err := v.Store.LatestRevision(ctx, pull.ID, run.KindMerge)
		switch {
		case err == nil:
			runs, err := v.latest(ctx, merge.ID)
			if err != nil {
				return run.Revision{}, nil, err
			}
			before, err := v.latest(ctx, change.ID)
			if err != nil {
				return run.Revision{}, nil, err
			}
			if runs, err = v.destroyed(ctx, merge, append(runs, appliedBefore(runs, before)...)); err != nil {
				return run.Revision{}, nil, err
			}
			runs, err = v.needsPerson(ctx, pull, runs)
			return merge, runs, err
		case !errors.Is(err, run.ErrNotFound):
			return run.Revision{}, nil, err
		}
	}
	if change.ID == 0 {
		return run.Revision{}, nil, ErrNothing
	}
	runs, err := v.latest(ctx, change.ID)
	if err != nil {
		return run.Revision{}, nil, err
	}
	if runs, err = v.destroyed(ctx, change, runs); err != nil {
		return run.Revision{}, nil, err
	}
	runs, err = v.needsPerson(ctx, pull, runs)
	return change, runs, err
}

// destroyed adds the runs that destroy what deleted directories left behind: those planned on the revision that counts, and any that began
// to apply.
func (v *Viewer) destroyed(ctx context.Context, current run.Revision, runs []run.Run) ([]run.Run, error) {
	rev, err := v.Store.LatestRevision(ctx, current.Pull, run.KindDestroy)
	if errors.Is(err, run.ErrNotFound) {
		return runs, nil
	}
	if err != nil {
		return nil, err
	}
	more, err := v.latest(ctx, rev.ID)
	if err != nil {
		return nil, err
	}
	now := rev.Head == current.Head && rev.Base == current.Base
	for _, r := range more {
		if now || !r.ApplyStarted.IsZero() {
			runs = append(runs, r)
		}
	}
	return runs, nil
}

// needsPerson puts the runs of a pull request that wait for a person, because they were interrupted or could not save their state, in front
// of what was queued behind them: nothing else of their projects can run, and only they can be acknowledged.
func (v *Viewer) needsPerson(ctx context.Context, pull run.Pull, runs []run.Run) ([]run.Run, error) {
	ended, err := v.Store.Runs(ctx, run.Filter{Pull: pull.ID, States: []run.State{run.Interrupted, run.Failed}})
	if err != nil {
		return nil, err
	}
	for _, stuck := range ended {
		if stuck.State != run.Interrupted && !stuck.Unsaved {
			continue
		}
		at := slices.IndexFunc(runs, func(r run.Run) bool { return r.Project == stuck.Project })
		switch {
		case at < 0:
			runs = append(runs, stuck)
		case runs[at].State == run.Queued || runs[at].State.Final() && runs[at].ID < stuck.ID:
			runs[at] = stuck
		}
	}
	return runs, nil
}

// latest lists the newest run of each project of a revision.
func (v *Viewer) latest(ctx context.Context, rev run.RevisionID) ([]run.Run, error) {
	if rev == 0 {
		return nil, nil
	}
	all, err := v.Store.Runs(ctx, run.Filter{Revision: rev})
	if err != nil {
		return nil, err
	}
	var runs []run.Run
	seen := map[run.ProjectID]bool{}
	for _, r := range all {
		if !seen[r.Project] {
			seen[r.Project] = true
			runs = append(runs, r)
		}
	}
	return runs, nil
}

// appliedBefore picks the runs whose projects no merge run covers and that had begun to apply when the pull request was merged.
func appliedBefore(merge, before []run.Run) []run.Run {
	covered := map[run.ProjectID]bool{}
	for _, r := range merge {
		covered[r.Project] = true
	}
	var runs []run.Run
	for _, r := range before {
		if !covered[r.Project] && !r.ApplyStarted.IsZero() {
			runs = append(runs, r)
		}
	}
	return runs
}

func (v *Viewer) of(ctx context.Context, repo run.Repo, pull run.Pull, rev run.Revision, runs []run.Run, snap *vcs.Pull) (report.View, error) {
	look := v.Look(repo.Host, repo.Name)
	view := report.View{
		Pull: pull, Repo: repo, Revision: rev.ID, Kind: rev.Kind, Head: rev.Head, Base: rev.Base, BaseBranch: rev.Branch, Selection: rev.Selection,
		Problems: rev.Problems, Conflict: rev.Tree == "" && len(rev.Problems) > 0 && rev.Problems[0].Key == ConflictKey, Notes: rev.Notes,
		Prefix: look.Prefix, Mode: look.Mode, Style: look.Style, URL: v.URL, Known: rev.Known,
	}
	if at := slices.Index(rev.Notes, WaitsNote); at >= 0 {
		view.Untrusted = len(runs) == 0 && pull.State == string(vcs.PullOpen)
		view.Notes = slices.Delete(slices.Clone(rev.Notes), at, at+1)
	}
	moments, err := v.Facts.Moments(ctx, time.Now(), pull, snap, runs)
	if err != nil {
		return view, err
	}
	for _, m := range moments {
		p, err := v.project(ctx, repo, m)
		if err != nil {
			return view, err
		}
		if m.Pause != nil && view.Pause == nil && !m.Run.State.Final() && m.Run.Settings.Apply != run.ApplyOff {
			view.Pause = m.Pause
		}
		view.Projects = append(view.Projects, p)
	}
	return view, v.elsewhere(ctx, &view)
}

// WaitsNote is what the revision of a pull request that nobody may run yet tells people.
const WaitsNote = "waits for a maintainer: the author cannot write here, so nothing runs before somebody who can says `planlatch plan`"

// ConflictKey marks the problem of a revision whose head and base do not merge.
const ConflictKey = "conflict"

// Run returns the view of one run alone, as its page shows it to whoever may see it: whole, whatever the style.
func (v *Viewer) Run(ctx context.Context, id run.ID) (report.View, error) {
	r, err := v.Store.Run(ctx, id)
	if err != nil {
		return report.View{}, err
	}
	return v.runs(ctx, []run.Run{r})
}

// Runs returns the view of some runs of one revision.
func (v *Viewer) Runs(ctx context.Context, runs []run.Run) (report.View, error) {
	view, err := v.runs(ctx, runs)
	return report.Withhold(view), err
}

func (v *Viewer) runs(ctx context.Context, runs []run.Run) (report.View, error) {
	first := runs[0]
	repo, err := v.Store.Repo(ctx, first.Repo)
	if err != nil {
		return report.View{}, err
	}
	rev, err := v.Store.Revision(ctx, first.Revision)
	if err != nil {
		return report.View{}, err
	}
	var pull run.Pull
	var snap *vcs.Pull
	if first.Pull != 0 {
		if pull, err = v.Store.Pull(ctx, first.Pull); err != nil {
			return report.View{}, err
		}
		if slices.ContainsFunc(runs, func(r run.Run) bool { return !r.State.Final() }) {
			if p, err := v.Facts.Snapshot(ctx, repo, pull); err == nil {
				snap = &p
			}
		}
	}
	return v.of(ctx, repo, pull, rev, runs, snap)
}

// Waiting returns the runs that wait for a person with r after a merge, and whether no other of that merge is still being planned.
func (v *Viewer) Waiting(ctx context.Context, r run.Run) (runs []run.Run, planned bool, err error) {
	if r.Kind != run.KindMerge {
		return []run.Run{r}, true, nil
	}
	all, err := v.latest(ctx, r.Revision)
	if err != nil {
		return nil, false, err
	}
	planned = true
	for _, other := range all {
		if other.State == run.Planned {
			runs = append(runs, other)
		}
		planned = planned && other.State != run.Queued && other.State != run.Planning
	}
	return runs, planned || time.Since(r.Planned) > enough, nil
}

// Batch returns the runs whose results belong into one comment with r's, and whether all of them have ended.
func (v *Viewer) Batch(ctx context.Context, r run.Run) (runs []run.Run, ended bool, err error) {
	all, err := v.Store.Runs(ctx, run.Filter{Revision: r.Revision})
	if err != nil {
		return nil, false, err
	}
	ended = true
	for _, other := range all {
		switch {
		case !other.ApplyStarted.IsZero() && run.Batch(other) == run.Batch(r):
			runs = append(runs, other)
			ended = ended && !other.State.Running()
		case other.State == run.Confirmed && run.Batch(other) == run.Batch(r), // still to come
			r.Kind == run.KindMerge && other.Cause == r.Cause && (other.State == run.Queued || other.State == run.Planning):
			ended = false
		}
	}
	return runs, ended || !r.Finished.IsZero() && time.Since(r.Finished) > enough, nil
}

// enough is how long news waits for the rest of it: a project may be stuck behind one that needs a person.
const enough = 10 * time.Minute

func (v *Viewer) project(ctx context.Context, repo run.Repo, m run.Moment) (report.Project, error) {
	r := m.Run
	p := report.Project{Run: r, Findings: m.Findings, Overrides: m.Overrides, HeldBy: m.HeldBy}
	plan, err := v.Read(ctx, r, KeptPlan)
	if err != nil {
		return p, err
	}
	apply, err := v.Read(ctx, r, KeptApply)
	if err != nil {
		return p, err
	}
	p.Plan, p.Failure, p.Lock, p.NoPolicy, p.Beside = plan.Plan, plan.Failure, plan.Lock, plan.NoPolicy, plan.Beside
	if r.Blobs[KeptApply] != "" {
		p.Failure, p.Lock, p.Left, p.Progress = apply.Failure, apply.Lock, apply.Left, apply.Progress
	}
	if r.State == run.Planned || r.State == run.Confirmed {
		p.Gates = run.Gates(m)
		if len(m.Pending) > 0 {
			p.After = m.Pending[0].Label
		}
	}
	if r.State == run.Queued || r.State == run.Confirmed {
		if p.Position, p.HeldBy, err = v.keeps(ctx, repo, r); err != nil && !errors.Is(err, run.ErrNotFound) {
			return p, err
		}
		if p.Waits, err = v.waits(ctx); err != nil {
			return p, err
		}
	}
	if r.Kind == run.KindMerge && r.Reviewed != "" {
		if p.Reviewed, err = v.reviewed(ctx, r.Reviewed); err != nil {
			return p, err
		}
	}
	if v.Link != nil {
		p.RunURL, p.LogURL = v.Link(repo, r.ID, false), v.Link(repo, r.ID, true)
	}
	return p, nil
}

// alive is how lately a node that works must have beaten.
const alive = 30 * time.Second

// waits says why no node starts a run; empty if one does, or if there is none that could say.
func (v *Viewer) waits(ctx context.Context) (string, error) {
	nodes, err := v.Store.Nodes(ctx, alive)
	if err != nil || len(nodes) == 0 {
		return "", err
	}
	for _, n := range nodes {
		if n.Note == "" {
			return "", nil
		}
	}
	return "the server is " + nodes[0].Note, nil
}

func (v *Viewer) reviewed(ctx context.Context, id run.ID) (*report.Reviewed, error) {
	r, err := v.Store.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	kept, err := v.Read(ctx, r, KeptPlan)
	if err != nil {
		return nil, err
	}
	return &report.Reviewed{Run: r, Plan: kept.Plan}, nil
}
