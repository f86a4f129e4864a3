package gitlab

import (
	"context"
	"errors"
	"fmt"

	"github.com/planlatch/planlatch/vcs"
)

// Repo reads a repository by its path. GitLab leads from the old path of a renamed one to the new.
func (h *Host) Repo(ctx context.Context, name string) (vcs.Repo, error) {
	id, err := project(vcs.Repo{Name: name})
	var got *repository
	if err == nil {
		got, err = get[*repository](ctx, h, nil, "projects", id)
	}
	r, ok := got.repo()
	if err == nil && !ok {
		err = &vcs.RetryError{Err: errors.New("the answer has no id or path")}
	}
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: get repository %s: %w", h.name, name, err)
	}
	return r, nil
}

// List returns every project that our account is a member of, itself or by a group. On gitlab.com a token sees all that is public.
func (h *Host) List(ctx context.Context) ([]vcs.Repo, error) {
	alive := false
	got, err := list[*repository](ctx, h, filter{Membership: true, Archived: &alive, OrderBy: "id", Sort: "asc"}, "projects")
	if err != nil {
		return nil, fmt.Errorf("%s: list repositories: %w", h.name, err)
	}
	var out []vcs.Repo
	for _, g := range got {
		if r, ok := g.repo(); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// Branch returns the commit a branch points to.
func (h *Host) Branch(ctx context.Context, r vcs.Repo, name string) (string, error) {
	id, err := project(r)
	var sha string
	if err == nil {
		sha, err = h.branch(ctx, id, name)
	}
	if err != nil {
		return "", fmt.Errorf("%s: get branch %s of %s: %w", h.name, name, r.Name, err)
	}
	return sha, nil
}

func (h *Host) branch(ctx context.Context, project, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("branch %q: %w", name, vcs.ErrNotFound) // the address of the list of branches
	}
	b, err := get[struct {
		Name   string `json:"name"`
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}](ctx, h, nil, "projects", project, "repository", "branches", name)
	switch {
	case err != nil:
		return "", err
	case b.Name != name: // a short form of it
		return "", fmt.Errorf("branch %q: %w", name, vcs.ErrNotFound)
	case !commitID.MatchString(b.Commit.ID):
		return "", &vcs.RetryError{Err: errors.New("the answer has no commit")}
	}
	return b.Commit.ID, nil
}
