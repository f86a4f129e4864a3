package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// pull looks at a pull request as it is now and does what its state asks for.
func (i *Intake) pull(ctx context.Context, p place, number int, cause string) (string, error) {
	defer i.one(p.repo.ID, number)()
	p, err := i.see(ctx, p, number)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		// A pull request that was opened a moment ago may not be served yet; the job is tried again a few times.
		return "", &vcs.RetryError{After: 2 * time.Second, Err: err}
	case err != nil:
		return "", err
	case !p.rules.Branch(p.snap.Base.Branch, p.repo.DefaultBranch):
		return i.elsewhere(ctx, p)
	}
	switch p.snap.State {
	case vcs.PullClosed:
		return i.closed(ctx, p)
	case vcs.PullMerged:
		return i.merged(ctx, p)
	default:
		return i.open(ctx, p, cause)
	}
}

// see reads the pull request and remembers it.
func (i *Intake) see(ctx context.Context, p place, number int) (place, error) {
	// First what we know, then what the host says: so the host's word is never older than what another replica has written, and what one
	// writes from now on is seen when we write ourselves.
	var err error
	p.was, err = i.Store.PullByNumber(ctx, p.repo.ID, number)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return p, err
	}
	snap, err := p.host.Pull(ctx, vcsRepo(p.repo), number)
	if err != nil {
		return p, fmt.Errorf("read pull request #%d: %w", number, err)
	}
	p.snap = snap
	p.pull = remembered(p.was, p.repo, snap)
	// A new one begins open, so that what its state causes is still to come, as it is when the handling of a known one is repeated.
	saved := p.pull
	saved.State, saved.Draft = string(vcs.PullOpen), false
	saved, err = i.Store.SavePull(ctx, saved)
	p.pull.ID = saved.ID
	return p, err
}

// remembered is the row of a pull request as the host describes it now.
func remembered(was run.Pull, repo run.Repo, snap vcs.Pull) run.Pull {
	pull := was
	pull.Repo, pull.Number = repo.ID, snap.Number
	pull.State, pull.Draft, pull.Fork = string(snap.State), snap.Draft, snap.Fork
	pull.Title, pull.URL, pull.Author = snap.Title, snap.URL, snap.Author.Login
	pull.HeadSHA, pull.HeadBranch, pull.BaseBranch = snap.Head.SHA, snap.Head.Branch, snap.Base.Branch
	pull.MergeCommit, pull.MergedBy = snap.MergeCommit, snap.MergedBy.Login
	pull.Updated = snap.Updated
	return pull
}

// elsewhere ends what a pull request had when its base became a branch that does not plan.
func (i *Intake) elsewhere(ctx context.Context, p place) (string, error) {
	outcome := fmt.Sprintf("ignored: base branch %s does not plan", p.snap.Base.Branch)
	if p.was.ID == 0 || p.was.BaseBranch == p.snap.Base.Branch {
		return outcome, nil
	}
	return outcome, i.end(ctx, p, "its base branch became "+p.snap.Base.Branch)
}

func (i *Intake) closed(ctx context.Context, p place) (string, error) {
	if p.was.State == string(vcs.PullClosed) {
		return "closed already", nil
	}
	return "closed", i.end(ctx, p, "the pull request was closed")
}

// end frees what a pull request holds and ends what waits for it.
func (i *Intake) end(ctx context.Context, p place, why string) error {
	return i.advance(ctx, p, run.Scope{Pull: p.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		return run.Close(s, p.pull, why)
	})
}

// open plans a pull request whose head or base branch is new to us, that was reopened, or that became ready.
func (i *Intake) open(ctx context.Context, p place, cause string) (string, error) {
	ignored := p.snap.Draft && p.rules.Drafts == "ignore"
	if p.snap.Draft && p.was.ID != 0 && !p.was.Draft { // a draft holds nothing
		_, err := i.Store.Advance(ctx, run.Scope{Pull: p.pull.ID}, func(s run.Snapshot) (run.Change, error) {
			if ignored {
				return run.Close(s, p.pull, "it became a draft")
			}
			return run.Draft(s, p.pull)
		})
		if err != nil {
			return "", err
		}
	}
	if ignored {
		return "ignored: draft", nil
	}
	last, err := i.Store.LatestRevision(ctx, p.pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return "", err
	}
	known := err == nil && last.Head == p.snap.Head.SHA && last.Branch == p.snap.Base.Branch
	reopened := p.was.State == string(vcs.PullClosed)
	ready := p.was.Draft && !p.snap.Draft && p.rules.Drafts == "ignore"
	if known && !reopened && !ready {
		return "nothing new to plan", i.advance(ctx, p, run.Scope{Pull: p.pull.ID}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActLook, Pull: &p.pull}, nil
		})
	}
	ok, err := i.trusted(ctx, p)
	if err != nil {
		return "", err
	}
	if !ok && p.rules.Forks == "ignore" {
		return "ignored: the author cannot write here", nil
	}
	return i.revise(ctx, p, request{cause: cause, why: "superseded by " + short(p.snap.Head.SHA), waits: !ok})
}

// merged freezes the review and plans the merge commit, once.
func (i *Intake) merged(ctx context.Context, p place) (string, error) {
	if _, err := i.Store.LatestRevision(ctx, p.pull.ID, run.KindMerge); err == nil {
		return "merged already", nil
	} else if !errors.Is(err, run.ErrNotFound) {
		return "", err
	}
	if p.snap.MergeCommit == "" {
		return "", &vcs.RetryError{After: 2 * time.Second, Err: errors.New("the host does not name the merge commit yet")}
	}
	frozen, err := json.Marshal(p.snap)
	if err != nil {
		return "", err
	}
	p.pull.Frozen = frozen
	return i.reviseMerge(ctx, p)
}

func short(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}
