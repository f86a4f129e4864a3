// Package facts gathers everything that the gates of a run are judged on, once, from the host, the store and git.
//
// It promises that report, checklist, confirm and the claim of an apply look at the same facts, and that whatever cannot be found out is
// left at its zero value, which keeps its gate shut. It writes nothing. A Gatherer is safe for concurrent use.
package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
)

// Rows is what a Gatherer reads of the store.
type Rows interface {
	Repo(ctx context.Context, id run.RepoID) (run.Repo, error)
	Pull(ctx context.Context, id run.PullID) (run.Pull, error)
	Revision(ctx context.Context, id run.RevisionID) (run.Revision, error)
	Runs(ctx context.Context, f run.Filter) ([]run.Run, error)
	Findings(ctx context.Context, runs ...run.ID) (map[run.ID][]run.Finding, error)
	Overrides(ctx context.Context, pull run.PullID) ([]run.Override, error)
	Holds(ctx context.Context, repo run.RepoID) (map[run.ProjectID]run.PullID, error)
	Pauses(ctx context.Context) ([]run.Pause, error)
}

// Gatherer gathers facts.
type Gatherer struct {
	Hosts map[string]vcs.Host
	Store Rows
	Git   *git.Mirrors
	Log   *slog.Logger
}

// patience is how long an unknown mergeability is asked again before it counts as no (semantics 19).
const patience = 30 * time.Second

// Snapshot reads a pull request from its host, or the one frozen at its merge.
func (g *Gatherer) Snapshot(ctx context.Context, repo run.Repo, pull run.Pull) (vcs.Pull, error) {
	if pull.State == string(vcs.PullMerged) && len(pull.Frozen) > 0 {
		var frozen vcs.Pull
		if err := json.Unmarshal(pull.Frozen, &frozen); err != nil {
			return vcs.Pull{}, fmt.Errorf("read the review frozen at merge: %w", err)
		}
		return frozen, nil
	}
	host, ok := g.Hosts[repo.Host]
	if !ok {
		return vcs.Pull{}, fmt.Errorf("host %q is not configured any more", repo.Host)
	}
	return host.Pull(ctx, VCS(repo), pull.Number)
}

// Settled is Snapshot, asked again while the host is still finding out whether the pull request can be merged.
func (g *Gatherer) Settled(ctx context.Context, repo run.Repo, pull run.Pull) (vcs.Pull, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := 250 * time.Millisecond; ; wait *= 2 {
		p, err := g.Snapshot(ctx, repo, pull)
		if err != nil || p.Mergeable != vcs.Unknown || p.State != vcs.PullOpen {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, nil
		case <-time.After(wait):
		}
	}
}

// Moments returns, for runs of one pull request (or of none), what their gates are judged on. snap is the one snapshot of the decision;
// nil says that it could not be read.
func (g *Gatherer) Moments(ctx context.Context, now time.Time, pull run.Pull, snap *vcs.Pull, runs []run.Run) ([]run.Moment, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	repo, err := g.Store.Repo(ctx, runs[0].Repo)
	if err != nil {
		return nil, err
	}
	shared, err := g.shared(ctx, repo, pull, snap, runs)
	if err != nil {
		return nil, err
	}
	moments := make([]run.Moment, len(runs))
	for i, r := range runs {
		m := run.Moment{
			Now: now, Run: r, Findings: shared.findings[r.ID], Overrides: shared.overrides, SameDiff: shared.same,
			Merged: r.Kind == run.KindMerge, Known: snap != nil,
		}
		if snap != nil {
			m.Pull = *snap
		}
		if by, held := shared.holds[r.Project]; held && by != pull.ID {
			m.HeldBy = g.name(ctx, by)
		}
		if m.Shown, m.Unsaved, err = g.history(ctx, r); err != nil {
			return nil, err
		}
		m.Fresh = g.fresh(ctx, repo, r, snap)
		m.Pause = paused(shared.pauses, repo, r)
		moments[i] = m
	}
	return moments, nil
}

type shared struct {
	findings  map[run.ID][]run.Finding
	overrides []run.Override
	holds     map[run.ProjectID]run.PullID
	pauses    []run.Pause
	same      map[string]bool
}

func (g *Gatherer) shared(ctx context.Context, repo run.Repo, pull run.Pull, snap *vcs.Pull, runs []run.Run) (shared, error) {
	var s shared
	var err error
	ids := make([]run.ID, len(runs))
	for i, r := range runs {
		ids[i] = r.ID
	}
	if s.findings, err = g.Store.Findings(ctx, ids...); err != nil {
		return s, err
	}
	if pull.ID != 0 {
		if s.overrides, err = g.Store.Overrides(ctx, pull.ID); err != nil {
			return s, err
		}
	}
	if s.holds, err = g.Store.Holds(ctx, repo.ID); err != nil {
		return s, err
	}
	if s.pauses, err = g.Store.Pauses(ctx); err != nil {
		return s, err
	}
	if snap != nil {
		s.same = g.sameDiff(ctx, repo, runs[0], *snap)
	}
	return s, nil
}

// sameDiff finds the reviewed commits whose own change is the head's. What cannot be compared is not the same.
func (g *Gatherer) sameDiff(ctx context.Context, repo run.Repo, r run.Run, snap vcs.Pull) map[string]bool {
	same := map[string]bool{}
	for _, review := range snap.Reviews {
		if review.Commit == "" || review.Commit == snap.Head.SHA || same[review.Commit] {
			continue
		}
		rev, err := g.Store.Revision(ctx, r.Revision)
		if err != nil {
			return same
		}
		m := g.Git.Repo(repo.Host, repo.HostID)
		head, err := m.PatchID(ctx, rev.Base, snap.Head.SHA)
		if err != nil || head == "" {
			return same
		}
		reviewed, err := m.PatchID(ctx, rev.Base, review.Commit)
		same[review.Commit] = err == nil && reviewed == head
	}
	return same
}

// history lists what was shown of a run's project on its pull request, and whether an earlier apply of the project left its state unsaved.
func (g *Gatherer) history(ctx context.Context, r run.Run) ([]run.Shown, bool, error) {
	runs, err := g.Store.Runs(ctx, run.Filter{Project: r.Project})
	if err != nil {
		return nil, false, err
	}
	var shown []run.Shown
	unsaved := false
	heads := map[run.RevisionID]string{}
	for i := len(runs) - 1; i >= 0; i-- { // oldest first
		old := runs[i]
		unsaved = unsaved || old.Unsaved
		if old.Pull == 0 || old.Pull != r.Pull || old.Posted.IsZero() || old.EffectDigest == "" {
			continue
		}
		head, ok := heads[old.Revision]
		if !ok {
			rev, err := g.Store.Revision(ctx, old.Revision)
			if err != nil {
				return nil, false, err
			}
			head = rev.Head
			heads[old.Revision] = head
		}
		shown = append(shown, run.Shown{Head: head, Effect: old.EffectDigest, Deletes: old.Counts.Destroy+old.Counts.Replace > 0, At: old.Posted})
	}
	return shown, unsaved, nil
}

// fresh says whether the base branch still gives the run the inputs it was planned from.
func (g *Gatherer) fresh(ctx context.Context, repo run.Repo, r run.Run, snap *vcs.Pull) vcs.Tri {
	if snap == nil || r.Kind == run.KindMerge {
		return vcs.Unknown
	}
	fresh, err := g.compare(ctx, repo, r, *snap)
	if err != nil {
		g.Log.Warn("whether a plan is up to date could not be found out", "run", r.ID, "error", err)
		return vcs.Unknown
	}
	return fresh
}

func (g *Gatherer) compare(ctx context.Context, repo run.Repo, r run.Run, snap vcs.Pull) (vcs.Tri, error) {
	rev, err := g.Store.Revision(ctx, r.Revision)
	if err != nil {
		return vcs.Unknown, err
	}
	if rev.Head != snap.Head.SHA || rev.Branch != snap.Base.Branch {
		return vcs.No, nil
	}
	host, ok := g.Hosts[repo.Host]
	if !ok {
		return vcs.Unknown, errors.New("the host is not configured any more")
	}
	tip, err := host.Branch(ctx, VCS(repo), snap.Base.Branch)
	if err != nil {
		return vcs.Unknown, err
	}
	if tip == rev.Base {
		return vcs.Yes, nil
	}
	m := g.Git.Repo(repo.Host, repo.HostID)
	if ok, err := m.Has(ctx, tip); err != nil {
		return vcs.Unknown, err
	} else if !ok {
		remote, err := host.Remote(ctx, VCS(repo))
		if err != nil {
			return vcs.Unknown, err
		}
		if err := m.Fetch(ctx, remote, "refs/heads/"+snap.Base.Branch); err != nil {
			return vcs.Unknown, err
		}
	}
	merged, err := m.Merge(ctx, tip, rev.Head)
	if err != nil {
		return vcs.Unknown, err
	}
	if len(merged.Conflicts) > 0 {
		return vcs.No, nil
	}
	then, err := Inputs(ctx, m, rev.Tree, r)
	if err != nil {
		return vcs.Unknown, err
	}
	now, err := Inputs(ctx, m, merged.Tree, r)
	if err != nil {
		return vcs.Unknown, err
	}
	if then == now {
		return vcs.Yes, nil
	}
	return vcs.No, nil
}

// name writes a pull as people do.
func (g *Gatherer) name(ctx context.Context, id run.PullID) string {
	p, err := g.Store.Pull(ctx, id)
	if err != nil {
		return "another pull request"
	}
	return fmt.Sprintf("#%d", p.Number)
}

func paused(pauses []run.Pause, repo run.Repo, r run.Run) *run.Pause {
	for _, p := range pauses {
		s, err := selector.Parse(p.Match)
		if err != nil || s.Match(Target(repo, r)) { // a pause that cannot be read stops everything
			return &p
		}
	}
	return nil
}

// Target is what selectors match a run by.
func Target(repo run.Repo, r run.Run) selector.Target {
	return selector.Target{Host: repo.Host, Repo: repo.Name, Dir: r.Dir, Workspace: r.Work}
}

// VCS is a stored repository as its host's adapter knows it.
func VCS(r run.Repo) vcs.Repo {
	return vcs.Repo{ID: r.HostID, Name: r.Name, DefaultBranch: r.DefaultBranch}
}
