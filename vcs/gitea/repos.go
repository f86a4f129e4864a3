package gitea

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// Repo returns a repository by its full name; the old name of a renamed one works as long as Gitea redirects it.
func (h *Host) Repo(ctx context.Context, name string) (vcs.Repo, error) {
	r, err := h.repo(ctx, name)
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: get repository %s: %w", h.name, name, err)
	}
	return r, nil
}

func (h *Host) repo(ctx context.Context, name string) (vcs.Repo, error) {
	owner, repo, err := split(name)
	if err != nil {
		return vcs.Repo{}, err
	}
	got, resp, err := h.api(ctx).GetRepo(owner, repo)
	if err = explain(ctx, resp, err); err != nil {
		return vcs.Repo{}, err
	}
	r, ok := repositoryOf(got)
	if !ok {
		return vcs.Repo{}, &vcs.RetryError{Err: errors.New("the answer has no id or name")}
	}
	return r, nil
}

// writing calls f with owner and name, and once more with the new ones where the repository was renamed since r was read.
func (h *Host) writing(ctx context.Context, r vcs.Repo, f func(owner, repo string) error) error {
	owner, repo, err := split(r.Name)
	if err != nil {
		return err
	}
	err = f(owner, repo)
	if wire.Status(err)/100 != 3 {
		return err
	}
	now, err := h.repo(ctx, r.Name)
	if err != nil {
		return err
	}
	if r.ID != "" && now.ID != r.ID {
		return fmt.Errorf("%s is now another repository: %w", r.Name, vcs.ErrNotFound)
	}
	if owner, repo, err = split(now.Name); err != nil {
		return err
	}
	return f(owner, repo)
}

// List returns the repositories that our account owns or works in, through teams too; for an administrator of the whole host, all of
// them. What is merely public is not listed: on a public host that is everything.
func (h *Host) List(ctx context.Context) ([]vcs.Repo, error) {
	out, err := h.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: list repositories: %w", h.name, err)
	}
	return out, nil
}

func (h *Host) list(ctx context.Context) ([]vcs.Repo, error) {
	me, err := h.me(ctx)
	if err != nil {
		return nil, err
	}
	got, err := pages(ctx, func(o sdk.ListOptions) ([]*sdk.Repository, *sdk.Response, error) {
		if me.IsAdmin {
			return h.api(ctx).SearchRepos(sdk.SearchRepoOptions{ListOptions: o, Sort: "id", Order: "asc"})
		}
		return h.api(ctx).ListMyRepos(sdk.ListReposOptions{ListOptions: o})
	})
	if err != nil {
		return nil, err
	}
	out := make([]vcs.Repo, 0, len(got))
	seen := map[string]bool{} // a repository made during the listing moves others to the next page
	for _, g := range got {
		if r, ok := repositoryOf(g); ok && !seen[r.ID] {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	return out, nil
}

// Branch returns the commit of a branch.
func (h *Host) Branch(ctx context.Context, r vcs.Repo, name string) (string, error) {
	sha, err := h.branch(ctx, r, name)
	if err != nil {
		return "", fmt.Errorf("%s: get branch %q of %s: %w", h.name, name, r.Name, err)
	}
	return sha, nil
}

func (h *Host) branch(ctx context.Context, r vcs.Repo, name string) (string, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", vcs.ErrNotFound
	}
	b, resp, err := h.api(ctx).GetRepoBranch(owner, repo, name)
	if err = explain(ctx, resp, err); err != nil {
		return "", err
	}
	if b.Commit == nil || !commitID.MatchString(b.Commit.ID) {
		return "", &vcs.RetryError{Err: errors.New("the answer names no commit")}
	}
	return b.Commit.ID, nil
}

func repositoryOf(g *sdk.Repository) (vcs.Repo, bool) {
	if g == nil || g.ID <= 0 || g.FullName == "" {
		return vcs.Repo{}, false
	}
	return vcs.Repo{ID: strconv.FormatInt(g.ID, 10), Name: g.FullName, DefaultBranch: g.DefaultBranch, Private: g.Private}, true
}
