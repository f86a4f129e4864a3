package github

import (
	"context"
	"errors"
	"regexp"
	"sort"
	"strings"

	gh "github.com/google/go-github/v60/github"
)

// listedCommits is how many commits of a pull request GitHub lists at most.
const listedCommits = 250

var (
	coAuthor = regexp.MustCompile(`(?im)^co-authored-by:[^<\n]*<([^<>\s]+@[^<>\s]+)>\s*$`)
	// 1234567+login@users.noreply.github.com, or without the number; Enterprise has its own domain after "users.noreply".
	noReply = regexp.MustCompile(`(?i)^(?:\d+\+)?([a-z0-9_\[\]-]+)@users\.noreply\.`)
)

// contributors names everyone who wrote or committed one of the pull request's own commits: logins as GitHub matched them, e-mail
// addresses (lower case) as git has them, co-authors from the trailers, and logins told by GitHub's no-reply addresses.
func (h *Host) contributors(ctx context.Context, owner, repo string, pr *gh.PullRequest) ([]string, error) {
	commits, err := h.commits(ctx, owner, repo, pr)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	login := func(u *gh.User) {
		if l := u.GetLogin(); l != "" {
			names[l] = true
		}
	}
	email := func(e string) {
		if e = strings.TrimSpace(e); e == "" {
			return
		}
		names[strings.ToLower(e)] = true
		if m := noReply.FindStringSubmatch(e); m != nil {
			names[m[1]] = true
		}
	}
	for _, c := range commits {
		login(c.GetAuthor())
		login(c.GetCommitter())
		email(c.GetCommit().GetAuthor().GetEmail())
		email(c.GetCommit().GetCommitter().GetEmail())
		for _, m := range coAuthor.FindAllStringSubmatch(c.GetCommit().GetMessage(), -1) {
			email(m[1])
		}
	}
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	sort.Strings(out)
	return out, nil
}

// commits lists the pull request's commits. The list ends at 250 without saying so; beyond, the comparison of base and head has them all.
func (h *Host) commits(ctx context.Context, owner, repo string, pr *gh.PullRequest) ([]*gh.RepositoryCommit, error) {
	if pr.GetCommits() < listedCommits {
		return pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]*gh.RepositoryCommit, *gh.Response, error) {
			return h.api.PullRequests.ListCommits(ctx, owner, repo, pr.GetNumber(), &o)
		})
	}
	base, head := pr.GetBase().GetSHA(), pr.GetHead().GetSHA()
	if !commitID.MatchString(base) || !commitID.MatchString(head) {
		return nil, errors.New("the answer has no base or head commit")
	}
	return pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]*gh.RepositoryCommit, *gh.Response, error) {
		c, resp, err := h.api.Repositories.CompareCommits(ctx, owner, repo, base, head, &o)
		if err != nil {
			return nil, resp, err
		}
		return c.Commits, resp, nil
	})
}
