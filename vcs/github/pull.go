package github

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// Pull reads the whole snapshot: the pull request first, then reviews, checks, the rules of its base and the commits.
func (h *Host) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := h.pull(ctx, r, number)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: get pull request %s#%d: %w", h.name, r.Name, number, err)
	}
	return p, nil
}

func (h *Host) pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return vcs.Pull{}, err
	}
	got, _, err := h.api.PullRequests.Get(ctx, owner, repo, number)
	if err != nil {
		return vcs.Pull{}, explain(ctx, err)
	}
	// A namesake that was created after the repository was deleted inherits nothing.
	if id := got.GetBase().GetRepo().GetID(); r.ID != "" && id != 0 && r.ID != strconv.FormatInt(id, 10) {
		return vcs.Pull{}, fmt.Errorf("%s is now another repository: %w", r.Name, vcs.ErrNotFound)
	}
	p := pullRequest(got)
	if p.Number != number || !commitID.MatchString(p.Head.SHA) || p.Base.Branch == "" {
		return vcs.Pull{}, &vcs.RetryError{Err: errors.New("the answer has no number, head or base")}
	}
	if p.Reviews, err = h.reviews(ctx, owner, repo, number); err != nil {
		return vcs.Pull{}, fmt.Errorf("reviews: %w", err)
	}
	err = vcs.Weigh(ctx, p.Reviews, func(ctx context.Context, who vcs.User) (vcs.Permission, error) {
		return h.Permission(ctx, r, who.Login)
	})
	if err != nil {
		return vcs.Pull{}, err
	}
	look, err := h.look(ctx, owner, repo, number, p.Head.SHA)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("checks: %w", err)
	}
	rules, err := h.rules(ctx, owner, repo, p.Base.Branch)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("rules of %s: %w", p.Base.Branch, err)
	}
	if p.State == vcs.PullOpen && commitID.MatchString(rules.tip) {
		p.Base.SHA = rules.tip // what the pull request says is the tip at its last push
	}
	p.Mergeable, p.MergeBlocked = mergeable(got)
	rules.take(look.protection)
	if p.State == vcs.PullOpen && got.GetMergeableState() == "blocked" && rules.onlyOursMissing(look) {
		p.Mergeable, p.MergeBlocked = vcs.Yes, ""
	}
	p.Checks = rules.judge(look.seen, p.Mergeable == vcs.Yes)
	if p.Contributors, err = h.contributors(ctx, owner, repo, got); err != nil {
		return vcs.Pull{}, fmt.Errorf("commits: %w", err)
	}
	return p, nil
}

// UpdatedSince lists by the time of the last update, newest first, until one is older than since.
func (h *Host) UpdatedSince(ctx context.Context, r vcs.Repo, since time.Time) ([]vcs.Pull, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return nil, err
	}
	since = since.Truncate(time.Second) // GitHub tells whole seconds
	var out []vcs.Pull
	seen := map[int]bool{} // an update during the listing moves others to the next page, so they come twice
	for page := 1; page <= pageLimit; {
		got, resp, err := h.api.PullRequests.List(ctx, owner, repo, &gh.PullRequestListOptions{
			State: "all", Sort: "updated", Direction: "desc", ListOptions: gh.ListOptions{Page: page, PerPage: pageSize},
		})
		if err = explain(ctx, err); err != nil {
			return nil, fmt.Errorf("%s: list pull requests of %s: %w", h.name, r.Name, err)
		}
		for _, g := range got {
			p := pullRequest(g)
			if !p.Updated.IsZero() && p.Updated.Before(since) {
				return out, nil
			}
			if p.Number > 0 && !seen[p.Number] {
				seen[p.Number] = true
				out = append(out, p)
			}
		}
		if resp.NextPage <= page {
			return out, nil
		}
		page = resp.NextPage
	}
	return nil, fmt.Errorf("%s: list pull requests of %s: the list is longer than %d pages", h.name, r.Name, pageLimit)
}

// pullRequest reads what the pull request itself says. In lists GitHub leaves merged and mergeable out; merged_at is always there.
func pullRequest(g *gh.PullRequest) vcs.Pull {
	p := vcs.Pull{
		Number: g.GetNumber(), Title: g.GetTitle(), URL: g.GetHTMLURL(), Author: account(g.GetUser()), State: vcs.PullOpen, Draft: g.GetDraft(),
		Head:    vcs.Ref{Branch: g.GetHead().GetRef(), SHA: g.GetHead().GetSHA()},
		Base:    vcs.Ref{Branch: g.GetBase().GetRef(), SHA: g.GetBase().GetSHA()},
		Updated: g.GetUpdatedAt().UTC(),
	}
	// The head's repository is null once a fork is deleted: what is not known to be ours is a fork.
	head, base := g.GetHead().GetRepo().GetID(), g.GetBase().GetRepo().GetID()
	p.Fork = head == 0 || head != base
	switch {
	case g.GetMerged() || !g.GetMergedAt().IsZero():
		p.State = vcs.PullMerged
		p.MergeCommit = g.GetMergeCommitSHA() // before the merge this is a trial merge that nobody asked for
		p.MergedBy = account(g.GetMergedBy())
		p.MergedAt = g.GetMergedAt().UTC()
	case g.GetState() != "open":
		p.State = vcs.PullClosed
	}
	return p
}

// mergeable reads GitHub's verdict. It is computed in the background: null, and any word we do not know, is unknown.
func mergeable(g *gh.PullRequest) (vcs.Tri, string) {
	base := g.GetBase().GetRef()
	if g.Mergeable == nil {
		return vcs.Unknown, ""
	}
	switch g.GetMergeableState() {
	case "clean", "has_hooks", "unstable": // unstable: a check failed that is not required
		if *g.Mergeable {
			return vcs.Yes, ""
		}
		return vcs.Unknown, ""
	case "dirty":
		return vcs.No, "conflicts with " + base
	case "behind":
		return vcs.No, "the rules of " + base + " want the branch to be updated first"
	case "blocked":
		return vcs.No, "the rules of " + base + " are not met: a required review or check is missing"
	case "draft":
		return vcs.No, "draft"
	}
	if !*g.Mergeable {
		return vcs.No, "conflicts with " + base
	}
	return vcs.Unknown, ""
}
