package github

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// Repo returns a repository by its full name; an old name of a renamed one works as long as GitHub redirects it.
func (h *Host) Repo(ctx context.Context, name string) (vcs.Repo, error) {
	owner, repo, err := split(name)
	if err != nil {
		return vcs.Repo{}, err
	}
	got, _, err := h.api.Repositories.Get(ctx, owner, repo)
	if err = explain(ctx, err); err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: get repository %s: %w", h.name, name, err)
	}
	r, ok := repository(got)
	if !ok {
		return vcs.Repo{}, fmt.Errorf("%s: get repository %s: %w", h.name, name, &vcs.RetryError{Err: errors.New("the answer has no id or name")})
	}
	return r, nil
}

// List returns every repository our token is an owner, a collaborator or a member for.
func (h *Host) List(ctx context.Context) ([]vcs.Repo, error) {
	got, err := pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]*gh.Repository, *gh.Response, error) {
		return h.api.Repositories.ListByAuthenticatedUser(ctx, &gh.RepositoryListByAuthenticatedUserOptions{ListOptions: o})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: list repositories: %w", h.name, err)
	}
	repos := make([]vcs.Repo, 0, len(got))
	for _, g := range got {
		if r, ok := repository(g); ok {
			repos = append(repos, r)
		}
	}
	return repos, nil
}

// Branch returns the commit of a branch. It reads the ref, because the branch's own address would follow a rename.
func (h *Host) Branch(ctx context.Context, r vcs.Repo, name string) (string, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return "", err
	}
	if name == "" || strings.Contains(name, "..") { // git has no such name, and the address would be another
		return "", fmt.Errorf("branch %q: %w", name, vcs.ErrNotFound)
	}
	ref, _, err := h.api.Git.GetRef(ctx, owner, repo, "heads/"+name)
	if err = explain(ctx, err); err != nil {
		return "", fmt.Errorf("%s: get branch %s of %s: %w", h.name, name, r.Name, err)
	}
	sha := ref.GetObject().GetSHA()
	if ref.GetRef() == "" {
		return "", fmt.Errorf("%s: get branch %s of %s: %w", h.name, name, r.Name, &vcs.RetryError{Err: errors.New("the answer names no ref")})
	}
	if ref.GetRef() != "refs/heads/"+name || !commitID.MatchString(sha) {
		return "", fmt.Errorf("%s: branch %s of %s: %w", h.name, name, r.Name, vcs.ErrNotFound)
	}
	return sha, nil
}

func repository(g *gh.Repository) (vcs.Repo, bool) {
	r := vcs.Repo{
		ID: strconv.FormatInt(g.GetID(), 10), Name: g.GetFullName(),
		DefaultBranch: g.GetDefaultBranch(), Private: g.GetPrivate(),
	}
	return r, g.GetID() > 0 && r.Name != ""
}

// fetch reads one address below the API that go-github does not know, or does not escape.
func (h *Host) fetch(ctx context.Context, path string, query url.Values, into any) (*gh.Response, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := h.api.NewRequest("GET", path, nil)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", path, err)
	}
	return h.api.Do(ctx, req, into)
}
