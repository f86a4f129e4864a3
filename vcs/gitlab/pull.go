package gitlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// Pull reads the whole snapshot: the merge request first, then the rest at once. A push in between shows as an older head; the caller
// compares heads anyway.
func (h *Host) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := h.snapshot(ctx, r, number)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: get merge request %s!%d: %w", h.name, r.Name, number, err)
	}
	return p, nil
}

// parts is what a snapshot is made of besides the merge request itself.
type parts struct {
	project   *repository
	approvals approvals
	reviewers []reviewer
	statuses  []status
	external  []vcs.Check
	commits   []commit
	notes     []note
}

func (h *Host) snapshot(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	id, err := project(r)
	if err != nil {
		return vcs.Pull{}, err
	}
	at := []string{"projects", id, "merge_requests", strconv.Itoa(number)}
	got, err := get[*mergeRequest](ctx, h, nil, at...)
	if err != nil {
		return vcs.Pull{}, err
	}
	p, err := pullRequest(got)
	if err != nil {
		return vcs.Pull{}, err
	}
	if p.Number != number || r.ID != "" && r.ID != strconv.FormatInt(got.Target, 10) {
		return vcs.Pull{}, &vcs.RetryError{Err: fmt.Errorf("the answer is about number %d of project %d", p.Number, got.Target)}
	}
	all, err := h.parts(ctx, id, at, &p)
	if err != nil {
		return vcs.Pull{}, err
	}
	return h.fill(ctx, got, p, all)
}

// parts reads all that has addresses of its own, and the tip of the base.
func (h *Host) parts(ctx context.Context, id string, at []string, p *vcs.Pull) (parts, error) {
	var all parts
	group, gctx := errgroup.WithContext(ctx)
	read := func(what string, f func(ctx context.Context) error) {
		group.Go(func() error {
			if err := f(gctx); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	below := func(name string) []string { return append(slices.Clip(at), name) }
	read("base", func(ctx context.Context) error {
		if p.State != vcs.PullOpen {
			return nil // the branch goes on moving after the merge request ended
		}
		tip, err := h.branch(ctx, id, p.Base.Branch)
		if errors.Is(err, vcs.ErrNotFound) {
			return nil // deleted: nothing can be merged into it
		}
		p.Base.SHA = tip
		return err
	})
	read("project", func(ctx context.Context) (err error) {
		all.project, all.external, err = h.settings(ctx, id, below("status_checks"))
		return err
	})
	read("approvals", func(ctx context.Context) (err error) {
		all.approvals, err = get[approvals](ctx, h, nil, below("approvals")...)
		return err
	})
	read("reviewers", func(ctx context.Context) (err error) {
		all.reviewers, err = list[reviewer](ctx, h, filter{}, below("reviewers")...)
		if errors.Is(err, vcs.ErrNotFound) {
			return nil // before GitLab 13.8
		}
		return err
	})
	read("statuses", func(ctx context.Context) (err error) {
		all.statuses, err = list[status](ctx, h, filter{}, "projects", id, "repository", "commits", p.Head.SHA, "statuses")
		return err
	})
	read("commits", func(ctx context.Context) (err error) {
		all.commits, err = list[commit](ctx, h, filter{}, below("commits")...)
		return err
	})
	read("notes", func(ctx context.Context) (err error) {
		all.notes, err = list[note](ctx, h, filter{OrderBy: "created_at", Sort: "asc"}, below("notes")...)
		return err
	})
	if err := group.Wait(); err != nil {
		return parts{}, err
	}
	return all, nil
}

// settings reads what the project asks for before a merge. The checks of services outside are asked for only where they count.
func (h *Host) settings(ctx context.Context, id string, statusChecks []string) (*repository, []vcs.Check, error) {
	of, err := get[*repository](ctx, h, nil, "projects", id)
	if err == nil && of == nil {
		err = &vcs.RetryError{Err: errors.New("the answer is empty")}
	}
	if err != nil || !of.ChecksNeeded {
		return of, nil, err
	}
	external, err := h.externalChecks(ctx, statusChecks)
	return of, external, err
}

// fill judges what was read.
func (h *Host) fill(ctx context.Context, got *mergeRequest, p vcs.Pull, all parts) (vcs.Pull, error) {
	p.Reviews = reviews(all.approvals, all.reviewers, all.notes)
	project := strconv.FormatInt(got.Target, 10)
	err := vcs.Weigh(ctx, p.Reviews, func(ctx context.Context, who vcs.User) (vcs.Permission, error) { return h.role(ctx, project, who.ID) })
	if err != nil {
		return vcs.Pull{}, err
	}
	p.Checks = append(checks(all.statuses, all.project), all.external...)
	p.Mergeable, p.MergeBlocked = mergeable(got, p, all.approvals)
	if p.Contributors, err = h.contributors(ctx, p.Author, all.commits, all.notes); err != nil {
		return vcs.Pull{}, fmt.Errorf("contributors: %w", err)
	}
	return p, nil
}

// UpdatedSince lists what changed at or after since.
func (h *Host) UpdatedSince(ctx context.Context, r vcs.Repo, since time.Time) ([]vcs.Pull, error) {
	out, err := h.updatedSince(ctx, r, since.Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("%s: list merge requests of %s: %w", h.name, r.Name, err)
	}
	return out, nil
}

func (h *Host) updatedSince(ctx context.Context, r vcs.Repo, since time.Time) ([]vcs.Pull, error) {
	id, err := project(r)
	if err != nil {
		return nil, err
	}
	f := filter{State: "all", Scope: "all", OrderBy: "updated_at", Sort: "desc", UpdatedAfter: &since}
	got, err := list[*mergeRequest](ctx, h, f, "projects", id, "merge_requests")
	if err != nil {
		return nil, err
	}
	var out []vcs.Pull
	seen := map[int]bool{} // an update during the listing moves others to the next page, so they come twice
	for _, g := range got {
		p, err := pullRequest(g)
		if err != nil {
			return nil, err
		}
		if !seen[p.Number] && !p.Updated.Before(since) {
			seen[p.Number] = true
			out = append(out, p)
		}
	}
	return out, nil
}

// pullRequest reads what the merge request itself says. An answer too thin to tell what is asked is worth another try.
func pullRequest(g *mergeRequest) (vcs.Pull, error) {
	if g == nil || g.IID <= 0 || g.IID > 1<<31-1 || g.Base == "" || !commitID.MatchString(g.SHA) {
		return vcs.Pull{}, &vcs.RetryError{Err: errors.New("the answer has no number, head or base")}
	}
	p := vcs.Pull{
		Number: int(g.IID), Title: g.Title, URL: g.WebURL, Author: g.Author.user(), Draft: g.Draft || g.WIP,
		Fork: g.Source <= 0 || g.Source != g.Target, // a deleted fork is null
		Head: vcs.Ref{Branch: g.Head, SHA: g.SHA}, Base: vcs.Ref{Branch: g.Base}, Updated: g.Updated.UTC(),
	}
	if g.Refs != nil {
		p.Base.SHA = g.Refs.Start // the base when the head was last pushed
	}
	switch g.State {
	case "opened", "locked": // locked: being merged at this moment
		p.State = vcs.PullOpen
	case "closed":
		p.State = vcs.PullClosed
	case "merged":
		p.State, p.MergedAt, p.MergedBy = vcs.PullMerged, g.MergedAt.UTC(), g.MergeUser.user()
		if p.MergedBy.ID == "" {
			p.MergedBy = g.MergedBy.user()
		}
		// A fast-forward makes no merge commit; with squash its commit is the squashed one, without it the head itself.
		for _, sha := range []string{g.Merge, g.Squash, g.SHA} {
			if p.MergeCommit == "" && commitID.MatchString(sha) {
				p.MergeCommit = sha
			}
		}
	default:
		return vcs.Pull{}, &vcs.RetryError{Err: fmt.Errorf("the answer has state %q", wire.OneLine(g.State))}
	}
	return p, nil
}
