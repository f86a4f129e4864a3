package gitea

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// commentLimit is ours, in characters: Gitea has none, but renders on each view what it stores.
const commentLimit = 65_536

// Limits says how long a comment may be.
func (h *Host) Limits() vcs.Limits { return vcs.Limits{Comment: commentLimit} }

func commentID(id int64) string { return strconv.FormatInt(id, 10) }

// CommentsSince leaves out what was edited after it was written: everybody who may write can edit the words of others on Gitea, and words
// that somebody else put into a person's mouth must not be taken for a command.
func (h *Host) CommentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	out, err := h.commentsSince(ctx, r, number, since.Truncate(time.Second)) // Gitea tells whole seconds
	if err != nil {
		return nil, fmt.Errorf("%s: list comments of %s#%d: %w", h.name, r.Name, number, h.orMissing(ctx, r, number, err))
	}
	return out, nil
}

func (h *Host) commentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return nil, err
	}
	got, resp, err := h.api(ctx).ListIssueComments(owner, repo, int64(number), sdk.ListIssueCommentOptions{Since: since}) // of updates
	if err = explain(ctx, resp, err); err != nil {
		return nil, err
	}
	var out []vcs.Comment
	for _, c := range got {
		if c == nil || c.ID <= 0 || c.OriginalAuthor != "" || c.Updated.After(c.Created) || c.Created.Before(since) {
			continue
		}
		out = append(out, vcs.Comment{ID: commentID(c.ID), Author: person(c.Poster), Body: c.Body, Created: c.Created.UTC()})
	}
	bodies, err := h.reviewBodies(ctx, owner, repo, number)
	if err != nil {
		return nil, fmt.Errorf("reviews: %w", err)
	}
	for _, c := range bodies {
		if !c.Created.Before(since) {
			out = append(out, c)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Created.Before(out[j].Created) })
	return out, nil
}

// reviewBodies reads the bodies of reviews off the timeline, which tells when each was submitted.
func (h *Host) reviewBodies(ctx context.Context, owner, repo string, number int) ([]vcs.Comment, error) {
	reviews, err := h.reviews(ctx, owner, repo, number)
	if err != nil || len(reviews) == 0 {
		return nil, err
	}
	events, err := h.timeline(ctx, owner, repo, number, codeComments(reviews))
	if err != nil {
		return nil, err
	}
	var out []vcs.Comment
	ordinal := 0
	for _, e := range events {
		if e.Type != "review" {
			continue
		}
		ordinal++
		author := e.User.user()
		if strings.TrimSpace(e.Body) == "" || author.ID == "" || e.OriginalAuthor != "" || e.Updated.After(e.Created) {
			continue
		}
		out = append(out, vcs.Comment{
			ID: reviewID(ordinal, author, e.Body), Author: author, Body: e.Body, Created: e.Created.UTC(), Review: true,
		})
	}
	return out, nil
}

// Comment edits the comment known if it is on this pull request and ours, else our newest one with marker, else creates one. The author
// is asked for each time, because any account that may write could overwrite anyone's words.
func (h *Host) Comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (string, error) {
	var id int64
	err := h.writing(ctx, r, func(owner, repo string) (err error) {
		id, err = h.comment(ctx, owner, repo, number, known, marker, body)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s: comment on %s#%d: %w", h.name, r.Name, number, h.orMissing(ctx, r, number, err))
	}
	return commentID(id), nil
}

func (h *Host) comment(ctx context.Context, owner, repo string, number int, known, marker, body string) (int64, error) {
	own, err := h.ownComment(ctx, owner, repo, number, known, marker)
	if err != nil {
		return 0, err
	}
	if own != nil {
		if own.Body == body {
			return own.ID, nil
		}
		_, resp, err := h.api(ctx).EditIssueComment(owner, repo, own.ID, sdk.EditIssueCommentOption{Body: body})
		if err = explain(ctx, resp, err); err == nil {
			return own.ID, nil
		} else if !errors.Is(err, vcs.ErrNotFound) {
			return 0, fmt.Errorf("edit %d: %w", own.ID, err)
		} // deleted a moment ago: write a new one
	}
	made, resp, err := h.api(ctx).CreateIssueComment(owner, repo, int64(number), sdk.CreateIssueCommentOption{Body: body})
	if err = explain(ctx, resp, err); err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	if made.ID <= 0 {
		return 0, &vcs.RetryError{Err: errors.New("create: the answer has no id")}
	}
	return made.ID, nil
}

// ownComment finds the comment to edit; nil means there is none.
func (h *Host) ownComment(ctx context.Context, owner, repo string, number int, known, marker string) (*sdk.Comment, error) {
	if known == "" && marker == "" {
		return nil, nil //nolint:nilnil // documented: nothing to look for
	}
	self, err := h.Self(ctx)
	if err != nil {
		return nil, err
	}
	if id, err := strconv.ParseInt(known, 10, 64); err == nil && id > 0 {
		c, resp, err := h.api(ctx).GetIssueComment(owner, repo, id)
		err = explain(ctx, resp, err)
		switch {
		case err == nil && person(c.Poster).ID == self.ID && onIssue(c, number):
			return c, nil
		case err != nil && !errors.Is(err, vcs.ErrNotFound):
			return nil, fmt.Errorf("get %s: %w", known, err)
		}
	}
	if marker == "" {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	all, resp, err := h.api(ctx).ListIssueComments(owner, repo, int64(number), sdk.ListIssueCommentOptions{}) // Gitea has no pages here
	if err = explain(ctx, resp, err); err != nil {
		return nil, fmt.Errorf("look for our comment: %w", err)
	}
	var newest *sdk.Comment
	for _, c := range all {
		if c != nil && person(c.Poster).ID == self.ID && strings.Contains(c.Body, marker) && (newest == nil || c.ID > newest.ID) {
			newest = c
		}
	}
	return newest, nil
}

// onIssue says whether a comment is on that pull request, by the address Gitea gives it.
func onIssue(c *sdk.Comment, number int) bool {
	want := strconv.Itoa(number)
	return path.Base(c.PRURL) == want || path.Base(c.IssueURL) == want
}

// React adds a reaction; Gitea takes the same one again. The body of a review is not a comment to react on: nothing happens.
func (h *Host) React(ctx context.Context, r vcs.Repo, number int, comment string, with vcs.Reaction) error {
	if strings.HasPrefix(comment, reviewPrefix) {
		return nil
	}
	err := h.writing(ctx, r, func(owner, repo string) error { return h.react(ctx, owner, repo, comment, with) })
	if err != nil {
		return fmt.Errorf("%s: react to comment %s of %s#%d: %w", h.name, comment, r.Name, number, err)
	}
	return nil
}

func (h *Host) react(ctx context.Context, owner, repo, comment string, with vcs.Reaction) error {
	id, err := strconv.ParseInt(comment, 10, 64)
	if err != nil || id <= 0 {
		return fmt.Errorf("no such id: %w", vcs.ErrNotFound)
	}
	_, resp, err := h.api(ctx).PostIssueCommentReaction(owner, repo, id, string(with))
	return explain(ctx, resp, err)
}

// orMissing asks once more where Gitea answered 500: that is also its answer about a pull request that does not exist.
func (h *Host) orMissing(ctx context.Context, r vcs.Repo, number int, err error) error {
	if wire.Status(err) != 500 {
		return err
	}
	owner, repo, bad := split(r.Name)
	if bad != nil {
		return err
	}
	_, resp, look := h.api(ctx).GetPullRequest(owner, repo, int64(number))
	if look = explain(ctx, resp, look); errors.Is(look, vcs.ErrNotFound) {
		return look
	}
	return err
}
