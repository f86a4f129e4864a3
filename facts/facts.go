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
	"slices"
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
	Newest(ctx context.Context, f run.Filter, projects ...run.ProjectID) (map[run.ProjectID]run.Run, error)
	Holds(ctx context.Context, repo run.RepoID) (map[run.ProjectID]run.PullID, error)
	Pauses(ctx context.Context) ([]run.Pause, error)
	Appliers(ctx context.Context, identities ...string) (map[string][]run.Project, error)
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
	s, err := g.shared(ctx, repo, pull, snap, runs)
	if err != nil {
		return nil, err
	}
	base := &base{g: g, repo: repo, snap: snap}
	moments := make([]run.Moment, len(runs))
	for i, r := range runs {
		m := run.Moment{
			Now: now, Run: r, Findings: s.findings[r.ID], Overrides: s.overrides, SameDiff: s.same, Shown: s.shown[r.Project],
			Unsaved: s.unsaved[r.Project], Known: snap != nil,
			Merged: r.Kind == run.KindMerge || r.Kind == run.KindDestroy && pull.State == string(vcs.PullMerged),
		}
		switch {
		case snap != nil:
			m.Pull = *snap
		case pull.ID == 0 && r.Kind == run.KindMerge: // a push: there is nothing to review, and who pushed it wrote it
			m.Known, m.Pull = true, vcs.Pull{State: vcs.PullMerged, Author: vcs.User{Login: r.Actor}}
		}
		m.Head = base.head(ctx, r)
		if by, held := s.holds[r.Project]; held && by != pull.ID {
			m.HeldBy = g.name(ctx, repo, by)
		}
		if r.State == run.Queued || r.State == run.Planned || r.State == run.Confirmed {
			m.Fresh = base.fresh(ctx, r)
		}
		m.Pause = Paused(s.pauses, repo, r)
		m.Owner = base.owner(ctx, r, s.appliers[r.Identity])
		if m.Pending, err = g.pending(ctx, r); err != nil {
			return nil, err
		}
		moments[i] = m
	}
	return moments, nil
}

// pending lists the projects whose changes a run's plan does not know, because they were to be applied first and were not.
func (g *Gatherer) pending(ctx context.Context, r run.Run) ([]run.Run, error) {
	if len(r.Settings.After) == 0 {
		return nil, nil
	}
	latest, err := g.Store.Newest(ctx, run.Filter{Revision: r.Revision}, r.Settings.After...)
	if err != nil {
		return nil, err
	}
	return run.Pending(r, latest), nil
}

// shared is what all runs of one decision have in common, read once for all of them.
type shared struct {
	findings  map[run.ID][]run.Finding
	overrides []run.Override
	holds     map[run.ProjectID]run.PullID
	pauses    []run.Pause
	same      map[string]bool
	shown     map[run.ProjectID][]run.Shown // oldest first
	unsaved   map[run.ProjectID]bool
	appliers  map[string][]run.Project // by the identity of their state
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
		if s.shown, err = g.shown(ctx, pull.ID); err != nil {
			return s, err
		}
	}
	if s.holds, err = g.Store.Holds(ctx, repo.ID); err != nil {
		return s, err
	}
	if s.pauses, err = g.Store.Pauses(ctx); err != nil {
		return s, err
	}
	unsaved, err := g.Store.Runs(ctx, run.Filter{Repo: repo.ID, Unsaved: true, Limit: 10_000})
	if err != nil {
		return s, err
	}
	s.unsaved = map[run.ProjectID]bool{}
	for _, r := range unsaved {
		s.unsaved[r.Project] = true
	}
	var states []string
	for _, r := range runs {
		if r.Identity != "" && !slices.Contains(states, r.Identity) {
			states = append(states, r.Identity)
		}
	}
	if s.appliers, err = g.Store.Appliers(ctx, states...); err != nil {
		return s, err
	}
	if snap != nil {
		s.same = g.sameDiff(ctx, repo, runs[0], *snap)
	}
	return s, nil
}

// shown lists the plans of a pull request that people could see, per project, oldest first.
func (g *Gatherer) shown(ctx context.Context, pull run.PullID) (map[run.ProjectID][]run.Shown, error) {
	runs, err := g.Store.Runs(ctx, run.Filter{Pull: pull, Limit: 10_000})
	if err != nil {
		return nil, err
	}
	shown := map[run.ProjectID][]run.Shown{}
	heads := map[run.RevisionID]string{}
	for _, r := range slices.Backward(runs) {
		if r.Posted.IsZero() || r.EffectDigest == "" {
			continue
		}
		head, ok := heads[r.Revision]
		if !ok {
			rev, err := g.Store.Revision(ctx, r.Revision)
			if err != nil {
				return nil, err
			}
			head = rev.Head
			heads[r.Revision] = head
		}
		shown[r.Project] = append(shown[r.Project], run.Shown{Head: head, Effect: r.EffectDigest, Deletes: r.Counts.Destroy+r.Counts.Replace > 0, At: r.Posted})
	}
	return shown, nil
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
		if errors.Is(err, git.ErrObject) && g.Refetch(ctx, repo, rev) == nil {
			head, err = m.PatchID(ctx, rev.Base, snap.Head.SHA)
		}
		if err != nil || head == "" {
			return same
		}
		reviewed, err := m.PatchID(ctx, rev.Base, review.Commit)
		same[review.Commit] = err == nil && reviewed == head
	}
	return same
}

// base is the base branch as it is now, looked at once for all runs of a decision and only if one of them asks.
type base struct {
	g    *Gatherer
	repo run.Repo
	snap *vcs.Pull

	tip   string
	rev   map[run.RevisionID]run.Revision
	trees map[run.RevisionID]string // the revision's head merged with the tip; empty when they conflict
}

// fresh says whether the base branch still gives a run the inputs it was planned from, or, of a merge run, still has its commit.
func (b *base) fresh(ctx context.Context, r run.Run) vcs.Tri {
	compare := b.compare
	if r.Kind == run.KindMerge {
		compare = b.contains
	} else if b.snap == nil {
		return vcs.Unknown
	}
	fresh, err := compare(ctx, r)
	if err != nil {
		b.g.Log.Warn("whether a plan is up to date could not be found out", "run", r.ID, "error", err)
		return vcs.Unknown
	}
	return fresh
}

// head says whether a run of a pull request is of the head and base branch that it has now.
func (b *base) head(ctx context.Context, r run.Run) vcs.Tri {
	if b.snap == nil || r.Kind != run.KindChange && r.Kind != run.KindDestroy {
		return vcs.Unknown
	}
	rev, err := b.revision(ctx, r)
	switch {
	case err != nil:
		return vcs.Unknown
	case rev.Head != b.snap.Head.SHA || rev.Branch != b.snap.Base.Branch:
		return vcs.No
	}
	return vcs.Yes
}

// Stale lists those of a pull request's runs that were, or are to be, planned from something else than its head and base give now; runs that
// apply or have applied are not asked. What could not be found out is an error.
func (g *Gatherer) Stale(ctx context.Context, repo run.Repo, snap vcs.Pull, runs []run.Run) (stale []run.Run, tip string, err error) {
	b := &base{g: g, repo: repo, snap: &snap}
	for _, r := range runs {
		tried := !r.ApplyStarted.IsZero()
		if r.State == run.Canceled || r.State == run.Superseded || tried || r.Kind != run.KindChange && r.Kind != run.KindDestroy {
			continue
		}
		fresh, err := b.compare(ctx, r)
		if err != nil {
			return nil, "", fmt.Errorf("find out whether %s is up to date: %w", r.Label, err)
		}
		if fresh == vcs.No {
			stale = append(stale, r)
		}
	}
	return stale, b.tip, nil
}

// revision is the revision of a run.
func (b *base) revision(ctx context.Context, r run.Run) (run.Revision, error) {
	if rev, ok := b.rev[r.Revision]; ok {
		return rev, nil
	}
	rev, err := b.g.Store.Revision(ctx, r.Revision)
	if err != nil {
		return rev, err
	}
	if b.rev == nil {
		b.rev, b.trees = map[run.RevisionID]run.Revision{}, map[run.RevisionID]string{}
	}
	b.rev[r.Revision] = rev
	return rev, nil
}

// look asks the host, once, where the branch points to.
func (b *base) look(ctx context.Context, branch string) error {
	if b.tip != "" {
		return nil
	}
	host, ok := b.g.Hosts[b.repo.Host]
	if !ok {
		return errors.New("the host is not configured any more")
	}
	var err error
	b.tip, err = host.Branch(ctx, VCS(b.repo), branch)
	return err
}

// contains says whether the branch still has a merge run's commit.
func (b *base) contains(ctx context.Context, r run.Run) (vcs.Tri, error) {
	rev, err := b.revision(ctx, r)
	if err != nil {
		return vcs.Unknown, err
	}
	if overtaken, err := b.overtaken(ctx, r, rev); err != nil || overtaken {
		return vcs.No, err // an error is taken for unknown
	}
	if err := b.look(ctx, rev.Branch); err != nil {
		return vcs.Unknown, err
	}
	if b.tip == rev.Head {
		return vcs.Yes, nil
	}
	if err := b.fetch(ctx, rev.Branch); err != nil {
		return vcs.Unknown, err
	}
	ok, err := b.g.Git.Repo(b.repo.Host, b.repo.HostID).IsAncestor(ctx, rev.Head, b.tip)
	switch {
	case err != nil:
		return vcs.Unknown, err
	case ok:
		return vcs.Yes, nil
	}
	return vcs.No, nil
}

// overtaken says whether a later merge of the project was planned, which has this one's changes in it. It usually has ended this run; the
// two may have met while both were being written down.
func (b *base) overtaken(ctx context.Context, r run.Run, rev run.Revision) (bool, error) {
	newest, err := b.g.Store.Newest(ctx, run.Filter{Kind: run.KindMerge, States: run.Decided()}, r.Project)
	if err != nil || newest[r.Project].Turn <= r.Turn {
		return false, err
	}
	later, err := b.g.Store.Revision(ctx, newest[r.Project].Revision)
	return later.Branch == rev.Branch, err
}

func (b *base) compared(ctx context.Context, r run.Run) (vcs.Tri, error) {
	rev, err := b.revision(ctx, r)
	if err != nil {
		return vcs.Unknown, err
	}
	if rev.Head != b.snap.Head.SHA || rev.Branch != b.snap.Base.Branch {
		return vcs.No, nil
	}
	if err := b.look(ctx, rev.Branch); err != nil {
		return vcs.Unknown, err
	}
	if b.tip == rev.Base {
		return vcs.Yes, nil
	}
	tree, err := b.planned(ctx, r, rev)
	if err != nil || tree == "" {
		return vcs.No, err // a conflict; or an error, which its caller takes for unknown
	}
	m := b.g.Git.Repo(b.repo.Host, b.repo.HostID)
	then, err := Inputs(ctx, m, rev.Tree, r)
	if err != nil {
		return vcs.Unknown, err
	}
	now, err := Inputs(ctx, m, tree, r)
	if err != nil {
		return vcs.Unknown, err
	}
	if then == now {
		return vcs.Yes, nil
	}
	return vcs.No, nil
}

// planned returns the tree that a run would be planned from now: of the base alone where a deleted directory is destroyed.
func (b *base) planned(ctx context.Context, r run.Run, rev run.Revision) (string, error) {
	if r.Kind == run.KindDestroy {
		return b.tip, b.fetch(ctx, rev.Branch)
	}
	return b.merged(ctx, rev)
}

// merged returns the tree that a revision's head and the tip of its base give now.
func (b *base) merged(ctx context.Context, rev run.Revision) (string, error) {
	if tree, ok := b.trees[rev.ID]; ok {
		return tree, nil
	}
	if err := b.fetch(ctx, rev.Branch); err != nil {
		return "", err
	}
	merged, err := b.g.Git.Repo(b.repo.Host, b.repo.HostID).Merge(ctx, b.tip, rev.Head)
	if err != nil {
		return "", err
	}
	tree := merged.Tree
	if len(merged.Conflicts) > 0 {
		tree = ""
	}
	b.trees[rev.ID] = tree
	return tree, nil
}

// fetch brings the tip of the branch into the mirror if it is not there.
func (b *base) fetch(ctx context.Context, branch string) error {
	m := b.g.Git.Repo(b.repo.Host, b.repo.HostID)
	if ok, err := m.Has(ctx, b.tip); err != nil || ok {
		return err
	}
	remote, err := b.g.Hosts[b.repo.Host].Remote(ctx, VCS(b.repo))
	if err != nil {
		return err
	}
	return m.Fetch(ctx, remote, "refs/heads/"+branch)
}

// name writes a pull as people of a repository do, for people of that repository.
func (g *Gatherer) name(ctx context.Context, here run.Repo, id run.PullID) string {
	p, err := g.Store.Pull(ctx, id)
	if err != nil {
		return "another pull request"
	}
	if p.Repo != here.ID { // it holds the same state; what it is called may be nobody's business here
		return "a pull request of another repository"
	}
	return fmt.Sprintf("#%d", p.Number)
}

// Paused returns the pause that keeps a run from applying; nil if none does.
func Paused(pauses []run.Pause, repo run.Repo, r run.Run) *run.Pause {
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
