package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// This file plans commits that are no pull request's: those that a merge queue is about to make, and those that were pushed to a branch.

// queue gives a commit of a merge queue its statuses: from the plans of pull requests where these were made from the same inputs, else from
// plans of its own, which nobody ever applies (semantics 43).
func (i *Intake) queue(ctx context.Context, p place, e vcs.Event) (string, error) {
	if e.Queue == nil || !p.rules.Branch(e.Queue.Branch, p.repo.DefaultBranch) {
		return "ignored: branch does not plan", nil
	}
	q := e.Queue
	mirror, err := i.fetchRefs(ctx, p, q.Ref, "refs/heads/"+q.Branch)
	if err != nil {
		return "", err
	}
	rev := run.Revision{Repo: p.repo.ID, Branch: q.Branch, Head: q.Head, Base: q.Base, Kind: run.KindQueue}
	runs, err := i.planCommit(ctx, p, mirror, &rev, request{cause: "queue:" + q.Head})
	if err != nil {
		return "", err
	}
	all := len(runs)
	if runs, err = i.standing(ctx, mirror, &rev, runs); err != nil {
		return "", err
	}
	return fmt.Sprintf("merge queue: %d projects, %d of them to plan", all, len(runs)), i.writeCommit(ctx, rev, runs)
}

// standing finds for each project a plan of a pull request that was made from the inputs it has now, and returns the runs that are left.
func (i *Intake) standing(ctx context.Context, mirror *git.Mirror, rev *run.Revision, runs []run.Run) ([]run.Run, error) {
	var left []run.Run
	for _, r := range runs {
		inputs, err := facts.Inputs(ctx, mirror, rev.Tree, r)
		if err != nil {
			return nil, err
		}
		planned, err := i.Store.Runs(ctx, run.Filter{Project: r.Project, Kind: run.KindChange, States: run.Decided(), Limit: 50})
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(planned, func(o run.Run) bool { return o.InputsDigest == inputs && !o.Partial })
		if at < 0 {
			left = append(left, r)
			continue
		}
		for n := range rev.Selection {
			if rev.Selection[n].Project == r.Project {
				rev.Selection[n].Stands = planned[at].ID
			}
		}
	}
	return left, nil
}

// pushGrace is how long a push waits for the news of the pull request whose merge it is.
const pushGrace = 15 * time.Second

// pushed is the job that looks at a push once it is clear whether it was a merge.
func pushed(repo run.Repo, e vcs.Event, now time.Time) run.Job {
	key := fmt.Sprintf("%d/%s/%s/%s/%s", repo.ID, e.Push.Before, e.Push.After, e.Sender.Login, e.Push.Branch)
	return run.Job{Kind: JobPushed, Key: key, At: now.Add(pushGrace)}
}

// Pushed plans what was pushed to a branch without a pull request. It waits for a person: nobody has reviewed it (semantics 21).
func (i *Intake) Pushed(ctx context.Context, key string) error {
	part := strings.SplitN(key, "/", 5)
	if len(part) != 5 {
		return nil // not a job of ours
	}
	before, after, who, branch := part[1], part[2], part[3], part[4]
	id, err := strconv.ParseInt(part[0], 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not a job of ours
	}
	if strings.Trim(before, "0") == "" || strings.Trim(after, "0") == "" {
		return nil // a branch was made or deleted
	}
	repo, err := i.Store.Repo(ctx, run.RepoID(id))
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	host, ok := i.Hosts[repo.Host]
	if err != nil || !ok || !i.Config.Allows(repo.Host, repo.Name) {
		return err
	}
	p := place{host: host, name: repo.Host, repo: repo, rules: i.Config.Rules(repo.Host, repo.Name)}
	if merge, err := i.isMerge(ctx, p, branch, after); err != nil || merge {
		return err
	}
	mirror, err := i.fetchRefs(ctx, p, "refs/heads/"+branch)
	if err != nil {
		return err
	}
	if here, err := mirror.Has(ctx, before); err != nil || !here {
		return err // what it was before a force push is gone, so nobody can tell what changed
	}
	rev := run.Revision{Repo: repo.ID, Branch: branch, Head: after, Base: before, Kind: run.KindMerge}
	runs, err := i.planCommit(ctx, p, mirror, &rev, request{cause: "push:" + after, actor: who})
	if err != nil {
		return err
	}
	runs = slices.DeleteFunc(runs, func(r run.Run) bool { return r.Settings.Apply == run.ApplyOff })
	if err := i.inOrder(ctx, mirror, rev, runs); err != nil {
		return err
	}
	i.Log.Info("planning a push without a pull request", "repo", repo.Name, "branch", branch, "commit", after, "projects", len(runs))
	return i.writeCommit(ctx, rev, runs)
}

// isMerge says whether a commit is the merge of a pull request, and has that looked at if it is news.
func (i *Intake) isMerge(ctx context.Context, p place, branch, commit string) (bool, error) {
	pulls, err := p.host.UpdatedSince(ctx, vcsRepo(p.repo), i.Now().Add(-time.Hour))
	if err != nil {
		return false, fmt.Errorf("list pull requests: %w", err)
	}
	for _, pull := range pulls {
		if pull.State != vcs.PullMerged || pull.Base.Branch != branch {
			continue
		}
		if pull.MergeCommit == "" { // some hosts tell it only when asked for the one
			if pull, err = p.host.Pull(ctx, vcsRepo(p.repo), pull.Number); err != nil {
				return false, err
			}
		}
		if pull.MergeCommit == commit {
			_, err := i.pull(ctx, p, pull.Number, "push:"+commit)
			return true, err
		}
	}
	return false, nil
}

// fetchRefs brings refs into the mirror.
func (i *Intake) fetchRefs(ctx context.Context, p place, refs ...string) (*git.Mirror, error) {
	mirror := i.Git.Repo(p.repo.Host, p.repo.HostID)
	remote, err := p.host.Remote(ctx, vcsRepo(p.repo))
	if err != nil {
		return nil, fmt.Errorf("ask for access: %w", err)
	}
	if err := mirror.Fetch(ctx, remote, refs...); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	return mirror, nil
}

// planCommit fills a revision of a commit as it is with what it touches, and makes the runs.
func (i *Intake) planCommit(ctx context.Context, p place, mirror *git.Mirror, rev *run.Revision, q request) ([]run.Run, error) {
	var err error
	if rev.Tree, err = mirror.Tree(ctx, rev.Head); err != nil {
		return nil, fmt.Errorf("read the commit: %w", err)
	}
	changed, err := mirror.ChangedBetween(ctx, rev.Base, rev.Head)
	if problem, ok := beyond(err); ok {
		rev.Problems = []run.Problem{problem}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sel, err := i.selection(ctx, p, mirror, *rev, changed)
	if err != nil {
		return nil, err
	}
	rev.Problems, rev.Notes, rev.Known = sel.Problems, sel.Notes, len(sel.All)
	if rev.Selection, err = i.save(ctx, p, sel.Projects); err != nil || len(rev.Problems) > 0 {
		return nil, err
	}
	return i.runs(p, *rev, rev.Selection, q), nil
}

// writeCommit stores a revision that belongs to no pull request, once.
func (i *Intake) writeCommit(ctx context.Context, rev run.Revision, runs []run.Run) error {
	_, err := i.Store.Advance(ctx, run.Scope{Repo: rev.Repo, Branch: rev.Branch}, func(s run.Snapshot) (run.Change, error) {
		return run.Revise(s, rev, runs, "")
	})
	if errors.Is(err, run.ErrExists) {
		return nil
	}
	return err
}
