package gitea

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	sdk "code.gitea.io/sdk/gitea"
	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// How long Pull itself waits for Gitea to agree with itself: a pull request opened right after a push may not be there for a moment, its
// branch moves before its own ref does, and "unmergeable" also means "still checking".
var (
	appears = []time.Duration{150 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond}
	agrees  = []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond}
	settles = []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}
)

// errMoved says that a push came while the snapshot was read.
var errMoved = errors.New("the head is moving")

// Pull reads the whole snapshot, all of it of one head.
func (h *Host) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	var p vcs.Pull
	err := again(ctx, agrees, errMoved, func() (err error) {
		p, err = h.snapshot(ctx, r, number)
		return err
	})
	if errors.Is(err, errMoved) {
		err = &vcs.RetryError{Err: err}
	}
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: get pull request %s#%d: %w", h.name, r.Name, number, err)
	}
	return p, nil
}

func (h *Host) snapshot(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return vcs.Pull{}, err
	}
	got, err := h.settled(ctx, owner, repo, number)
	if err != nil {
		return vcs.Pull{}, err
	}
	// A namesake that was created after the repository was deleted inherits nothing.
	if got.Base != nil && r.ID != "" && r.ID != strconv.FormatInt(got.Base.RepoID, 10) {
		return vcs.Pull{}, fmt.Errorf("%s is now another repository: %w", r.Name, vcs.ErrNotFound)
	}
	p, err := pullRequest(got)
	if err != nil {
		return vcs.Pull{}, err
	}
	if p.Number != number {
		return vcs.Pull{}, &vcs.RetryError{Err: fmt.Errorf("the answer is about number %d", p.Number)}
	}
	at, err := h.headRef(ctx, owner, repo, number)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("head: %w", err)
	}
	if p.State != vcs.PullOpen {
		p.Head.SHA = at // Gitea answers with the branch's commit, which goes on moving after the pull request ended
	}
	if p.Head.SHA != at {
		return vcs.Pull{}, errMoved
	}
	return h.fill(ctx, owner, repo, got, p)
}

// fill adds what has addresses of its own to a pull request.
func (h *Host) fill(ctx context.Context, owner, repo string, got *sdk.PullRequest, p vcs.Pull) (vcs.Pull, error) {
	var (
		reviews  []*sdk.PullReview
		rules    rules
		statuses []vcs.Check
		commits  []commit
		events   []event
	)
	group, gctx := errgroup.WithContext(ctx)
	read := func(what string, f func(ctx context.Context) error) {
		group.Go(func() error {
			if err := f(gctx); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	read("reviews", func(ctx context.Context) (err error) {
		if reviews, err = h.reviews(ctx, owner, repo, p.Number); err != nil {
			return err
		}
		events, err = h.timeline(ctx, owner, repo, p.Number, codeComments(reviews))
		return err
	})
	read("rules of "+p.Base.Branch, func(ctx context.Context) (err error) {
		rules, err = h.rules(ctx, owner, repo, p.Base.Branch)
		return err
	})
	read("statuses", func(ctx context.Context) (err error) {
		statuses, err = h.statuses(ctx, owner, repo, p.Head.SHA)
		return err
	})
	read("commits", func(ctx context.Context) (err error) {
		commits, err = h.commits(ctx, owner, repo, p.Number)
		if p.State == vcs.PullClosed && errors.Is(err, vcs.ErrNotFound) {
			return nil // its base branch is gone, so Gitea cannot say which commits are its own; nothing is judged on it any more
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return vcs.Pull{}, err
	}
	if len(commits) > 0 && commits[0].SHA != p.Head.SHA {
		return vcs.Pull{}, errMoved
	}
	p.Reviews = lastWords(reviews, events)
	r := vcs.Repo{Name: owner + "/" + repo}
	err := vcs.Weigh(ctx, p.Reviews, func(ctx context.Context, who vcs.User) (vcs.Permission, error) {
		return h.permission(ctx, r, who.Login)
	})
	if err != nil {
		return vcs.Pull{}, err
	}
	p.Contributors = contributors(commits, events)
	p.Checks = rules.judge(statuses)
	p.Mergeable, p.MergeBlocked = h.mergeable(got, p, rules, reviews)
	return p, nil
}

// settled reads a pull request, with a little patience for one that is not there yet or whose conflicts are still looked for.
func (h *Host) settled(ctx context.Context, owner, repo string, number int) (*sdk.PullRequest, error) {
	var got *sdk.PullRequest
	read := func() error {
		var resp *sdk.Response
		var err error
		got, resp, err = h.api(ctx).GetPullRequest(owner, repo, int64(number))
		return explain(ctx, resp, err)
	}
	if err := again(ctx, appears, vcs.ErrNotFound, read); err != nil {
		return nil, err
	}
	err := again(ctx, settles, errChecking, func() error {
		if !h.mayBeChecking(got) {
			return nil
		}
		if err := read(); err != nil {
			return err
		}
		if h.mayBeChecking(got) {
			return errChecking
		}
		return nil
	})
	if err != nil && !errors.Is(err, errChecking) {
		return nil, err
	}
	return got, nil
}

var errChecking = errors.New("the host is checking for conflicts")

// headRef reads the pull request's own ref, which is what git fetches.
func (h *Host) headRef(ctx context.Context, owner, repo string, number int) (string, error) {
	ref := fmt.Sprintf("pull/%d/head", number)
	found, resp, err := h.api(ctx).GetRepoRefs(owner, repo, ref)
	if err = explain(ctx, resp, err); err != nil {
		return "", err
	}
	for _, f := range found { // Gitea lists all refs that begin so
		if f != nil && f.Ref == "refs/"+ref && f.Object != nil && commitID.MatchString(f.Object.SHA) {
			return f.Object.SHA, nil
		}
	}
	return "", &vcs.RetryError{Err: errors.New("the answer names no commit")}
}

// UpdatedSince lists by the time of the last update, newest first, until one is older than since.
func (h *Host) UpdatedSince(ctx context.Context, r vcs.Repo, since time.Time) ([]vcs.Pull, error) {
	out, err := h.updatedSince(ctx, r, since.Truncate(time.Second)) // Gitea tells whole seconds
	if err != nil {
		return nil, fmt.Errorf("%s: list pull requests of %s: %w", h.name, r.Name, err)
	}
	return out, nil
}

func (h *Host) updatedSince(ctx context.Context, r vcs.Repo, since time.Time) ([]vcs.Pull, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{} // an update during the listing moves others to the next page, so they come twice
	var out []vcs.Pull
	for page := 1; page <= pageLimit; page++ {
		got, resp, err := h.api(ctx).ListRepoPullRequests(owner, repo, sdk.ListPullRequestsOptions{
			State: sdk.StateAll, Sort: "recentupdate", ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize},
		})
		if err = explain(ctx, resp, err); err != nil {
			return nil, err
		}
		for _, g := range got {
			p, err := pullRequest(g)
			if err != nil {
				return nil, err
			}
			if p.Updated.Before(since) {
				return out, nil
			}
			if seen[p.Number] {
				continue
			}
			seen[p.Number] = true
			if p.State != vcs.PullOpen {
				if p.Head.SHA, err = h.headRef(ctx, owner, repo, p.Number); err != nil {
					return nil, fmt.Errorf("head of #%d: %w", p.Number, err)
				}
			}
			out = append(out, p)
		}
		if resp.NextPage <= page {
			return out, nil
		}
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}

// pullRequest reads what the pull request itself says. An answer too thin to tell what is asked is worth another try.
func pullRequest(g *sdk.PullRequest) (vcs.Pull, error) {
	if g == nil || g.Index <= 0 || g.Head == nil || g.Base == nil || g.Base.Ref == "" {
		return vcs.Pull{}, &vcs.RetryError{Err: errors.New("the answer has no number, head or base")}
	}
	p := vcs.Pull{
		Number: int(g.Index), Title: g.Title, URL: g.HTMLURL, Author: person(g.Poster), Draft: g.Draft,
		Fork: g.Head.RepoID != g.Base.RepoID, // a deleted fork is -1
		Head: vcs.Ref{Branch: g.Head.Name, SHA: g.Head.Sha},
		Base: vcs.Ref{Branch: g.Base.Ref, SHA: g.Base.Sha},
	}
	if p.Head.Branch == "" {
		p.Head.Branch = g.Head.Ref // pushed to refs/for/…: there is no branch
	}
	if g.Updated != nil {
		p.Updated = g.Updated.UTC()
	}
	switch {
	case g.HasMerged:
		p.State, p.MergedBy = vcs.PullMerged, person(g.MergedBy)
		if g.MergedCommitID != nil {
			p.MergeCommit = *g.MergedCommitID
		}
		if g.Merged != nil {
			p.MergedAt = g.Merged.UTC()
		}
	case g.State == sdk.StateClosed:
		p.State = vcs.PullClosed
	case g.State == sdk.StateOpen:
		p.State = vcs.PullOpen
	default:
		return vcs.Pull{}, &vcs.RetryError{Err: fmt.Errorf("the answer has state %q", wire.OneLine(string(g.State)))}
	}
	if p.State == vcs.PullOpen && !commitID.MatchString(p.Head.SHA) {
		return vcs.Pull{}, &vcs.RetryError{Err: errors.New("the answer has no head commit")}
	}
	return p, nil
}

// again calls f, and after each of the pauses once more while it returns target.
func again(ctx context.Context, pauses []time.Duration, target error, f func() error) error {
	for i := 0; ; i++ {
		err := f()
		if !errors.Is(err, target) || i == len(pauses) {
			return err
		}
		timer := time.NewTimer(pauses[i])
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-timer.C:
		}
	}
}
