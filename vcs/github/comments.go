package github

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// Limits says how long a comment may be, with room to spare.
func (h *Host) Limits() vcs.Limits { return vcs.Limits{Comment: commentLimit} }

// CommentsSince asks for what changed since, because GitHub cannot filter by creation, and adds the bodies of reviews. It leaves out comments that
// were edited after they were written: everybody who may write can edit the words of others, and words that somebody else put into a person's
// mouth must not be taken for a command.
func (h *Host) CommentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	out, err := h.commentsSince(ctx, r, number, since)
	if err != nil {
		return nil, fmt.Errorf("%s: list comments of %s#%d: %w", h.name, r.Name, number, err)
	}
	return out, nil
}

func (h *Host) commentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return nil, err
	}
	got, err := pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]*gh.IssueComment, *gh.Response, error) {
		opts := gh.IssueListCommentsOptions{ListOptions: o}
		if !since.IsZero() {
			opts.Since = &since
		}
		return h.api.Issues.ListComments(ctx, owner, repo, number, &opts)
	})
	if err != nil {
		return nil, err
	}
	reviews, err := h.allReviews(ctx, owner, repo, number)
	if err != nil {
		return nil, fmt.Errorf("reviews: %w", err)
	}
	since = since.Truncate(time.Second) // GitHub tells whole seconds
	var out []vcs.Comment
	for _, c := range got {
		if at := c.GetCreatedAt().UTC(); c.GetID() != 0 && !at.Before(since) && !c.GetUpdatedAt().After(at) {
			out = append(out, vcs.Comment{ID: strconv.FormatInt(c.GetID(), 10), Author: account(c.GetUser()), Body: c.GetBody(), Created: at})
		}
	}
	for _, w := range reviews {
		at := w.GetSubmittedAt().UTC()
		if _, ok := reviewState(w.GetState()); ok && w.GetID() != 0 && w.GetBody() != "" && !at.Before(since) {
			out = append(out, vcs.Comment{ID: reviewID(w.GetID()), Author: account(w.GetUser()), Body: w.GetBody(), Created: at, Review: true})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Created.Before(out[j].Created) })
	return out, nil
}

// Comment edits the comment known if it is on this pull request and ours, else our newest one with marker, else creates one. The author
// is asked for each time, because an administrator's token could overwrite anyone's words.
func (h *Host) Comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (string, error) {
	id, err := h.comment(ctx, r, number, known, marker, body)
	if err != nil {
		return "", fmt.Errorf("%s: comment on %s#%d: %w", h.name, r.Name, number, err)
	}
	return id, nil
}

func (h *Host) comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (string, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return "", err
	}
	if known != "" || marker != "" {
		self, err := h.Self(ctx)
		if err != nil {
			return "", err
		}
		id, err := h.ownComment(ctx, owner, repo, number, known, marker, self)
		if err != nil {
			return "", err
		}
		if id != 0 {
			_, _, err = h.api.Issues.EditComment(ctx, owner, repo, id, &gh.IssueComment{Body: &body})
			if err = explain(ctx, err); err == nil {
				return strconv.FormatInt(id, 10), nil
			} else if !errors.Is(err, vcs.ErrNotFound) {
				return "", fmt.Errorf("edit: %w", err)
			} // deleted a moment ago: write a new one
		}
	}
	made, _, err := h.api.Issues.CreateComment(ctx, owner, repo, number, &gh.IssueComment{Body: &body})
	if err = explain(ctx, err); err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	if made.GetID() == 0 {
		return "", &vcs.RetryError{Err: errors.New("create: the answer has no id")}
	}
	return strconv.FormatInt(made.GetID(), 10), nil
}

// ownComment finds the comment to edit; 0 means there is none.
func (h *Host) ownComment(ctx context.Context, owner, repo string, number int, known, marker string, self vcs.User) (int64, error) {
	if id, err := strconv.ParseInt(known, 10, 64); err == nil && id > 0 {
		c, _, err := h.api.Issues.GetComment(ctx, owner, repo, id)
		err = explain(ctx, err)
		switch {
		case err == nil && account(c.GetUser()).ID == self.ID && strings.HasSuffix(c.GetIssueURL(), "/issues/"+strconv.Itoa(number)):
			return id, nil
		case err != nil && !errors.Is(err, vcs.ErrNotFound):
			return 0, fmt.Errorf("get comment %s: %w", known, err)
		}
	}
	if marker == "" {
		return 0, nil
	}
	return h.newestOwn(ctx, owner, repo, number, marker, self)
}

// newestOwn looks for marker among our own comments, from the last page to the first: ours is mostly near the end of a long conversation.
func (h *Host) newestOwn(ctx context.Context, owner, repo string, number int, marker string, self vcs.User) (int64, error) {
	get := func(page int) ([]*gh.IssueComment, *gh.Response, error) {
		got, resp, err := h.api.Issues.ListComments(ctx, owner, repo, number, &gh.IssueListCommentsOptions{
			ListOptions: gh.ListOptions{Page: page, PerPage: pageSize},
		})
		if err = explain(ctx, err); err != nil {
			return nil, nil, fmt.Errorf("list comments: %w", err)
		}
		return got, resp, nil
	}
	first, resp, err := get(1)
	if err != nil {
		return 0, err
	}
	newest := func(page []*gh.IssueComment) int64 {
		var id int64
		for _, c := range page {
			if account(c.GetUser()).ID == self.ID && strings.Contains(c.GetBody(), marker) {
				id = max(id, c.GetID())
			}
		}
		return id
	}
	if resp.LastPage > pageLimit {
		return 0, fmt.Errorf("list comments: the list is longer than %d pages", pageLimit)
	}
	for page := resp.LastPage; page > 1; page-- {
		got, _, err := get(page)
		if err != nil {
			return 0, err
		}
		if id := newest(got); id != 0 {
			return id, nil
		}
	}
	return newest(first), nil
}

// React acknowledges a comment. The body of a review takes no reaction over this API: nothing happens.
func (h *Host) React(ctx context.Context, r vcs.Repo, number int, comment string, with vcs.Reaction) error {
	if strings.HasPrefix(comment, reviewPrefix) {
		return nil
	}
	owner, repo, err := split(r.Name)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(comment, 10, 64)
	if err != nil || id <= 0 {
		return fmt.Errorf("%s: react on %s#%d: comment %q: %w", h.name, r.Name, number, comment, vcs.ErrNotFound)
	}
	_, _, err = h.api.Reactions.CreateIssueCommentReaction(ctx, owner, repo, id, string(with))
	if err = explain(ctx, err); err != nil {
		return fmt.Errorf("%s: react on %s#%d: %w", h.name, r.Name, number, err)
	}
	return nil
}
