package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// commentLimit is ours, in characters: GitLab takes a million, which nobody reads and which its page renders on each view.
const commentLimit = 100_000

// Limits says how long a comment may be.
func (h *Host) Limits() vcs.Limits { return vcs.Limits{Comment: commentLimit} }

// editSlack is how far apart the two times of a note may be that nobody edited.
const editSlack = time.Second

// CommentsSince leaves out what was changed after it was written: a Maintainer can edit the words of others, and words that somebody else
// put into a person's mouth must not be taken for a command. (An award changes that time too; who reacted has read the comment.)
func (h *Host) CommentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	out, err := h.commentsSince(ctx, r, number, since.Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("%s: list comments of %s!%d: %w", h.name, r.Name, number, err)
	}
	return out, nil
}

func (h *Host) commentsSince(ctx context.Context, r vcs.Repo, number int, since time.Time) ([]vcs.Comment, error) {
	all, err := h.notes(ctx, r, number, "asc")
	if err != nil {
		return nil, err
	}
	var out []vcs.Comment
	for _, n := range all {
		author := n.Author.user()
		if n.ID <= 0 || n.Internal || author.ID == "" || n.Created.Before(since) || n.Updated.Sub(n.Created) > editSlack {
			continue
		}
		out = append(out, vcs.Comment{ID: commentID(n.ID), Author: author, Body: n.Body, Created: n.Created.UTC()})
	}
	return out, nil
}

// notes lists what people wrote on a merge request.
func (h *Host) notes(ctx context.Context, r vcs.Repo, number int, sort string) ([]note, error) {
	at, err := notesAt(r, number)
	if err != nil {
		return nil, err
	}
	all, err := list[note](ctx, h, filter{OrderBy: "created_at", Sort: sort}, at...)
	var people []note
	for _, n := range all {
		if !n.System {
			people = append(people, n)
		}
	}
	return people, err
}

// notesAt is the address of the notes of a merge request, or of what is below them.
func notesAt(r vcs.Repo, number int, below ...string) ([]string, error) {
	id, err := project(r)
	return append([]string{"projects", id, "merge_requests", strconv.Itoa(number), "notes"}, below...), err
}

func commentID(id int64) string { return strconv.FormatInt(id, 10) }

// Comment edits the note known if it is on this merge request and ours, else our newest one with marker, else creates one. The author is
// looked at each time, because a Maintainer's token could overwrite anyone's words.
func (h *Host) Comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (string, error) {
	id, err := h.comment(ctx, r, number, known, marker, harmless(body))
	if err != nil {
		return "", fmt.Errorf("%s: comment on %s!%d: %w", h.name, r.Name, number, err)
	}
	return commentID(id), nil
}

// commentIn is what a note is written with.
type commentIn struct {
	Body string `json:"body"`
}

func (h *Host) comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (int64, error) {
	own, err := h.ownNote(ctx, r, number, known, marker)
	if err != nil {
		return 0, err
	}
	if own.ID > 0 && own.Body == body {
		return own.ID, nil
	}
	if own.ID > 0 {
		at, err := notesAt(r, number, commentID(own.ID))
		if err == nil {
			_, err = send[note](ctx, h, http.MethodPut, commentIn{body}, at...)
		}
		if !errors.Is(err, vcs.ErrNotFound) { // else deleted a moment ago: write a new one
			return own.ID, err
		}
	}
	at, err := notesAt(r, number)
	if err != nil {
		return 0, err
	}
	made, err := send[note](ctx, h, http.MethodPost, commentIn{body}, at...)
	if err == nil && made.ID <= 0 {
		err = &vcs.RetryError{Err: errors.New("create: the answer has no id")}
	}
	return made.ID, err
}

// ownNote finds the note to edit; one without an id means there is none.
func (h *Host) ownNote(ctx context.Context, r vcs.Repo, number int, known, marker string) (note, error) {
	if known == "" && marker == "" {
		return note{}, nil
	}
	self, err := h.Self(ctx)
	if err != nil {
		return note{}, err
	}
	if id, err := strconv.ParseInt(known, 10, 64); err == nil && id > 0 {
		at, err := notesAt(r, number, known)
		if err != nil {
			return note{}, err
		}
		n, err := get[note](ctx, h, nil, at...)
		switch {
		case err == nil && n.ID == id && !n.System && n.Author.user().ID == self.ID:
			return n, nil
		case err != nil && !errors.Is(err, vcs.ErrNotFound):
			return note{}, fmt.Errorf("get %s: %w", known, err)
		}
	}
	if marker == "" {
		return note{}, nil
	}
	all, err := h.notes(ctx, r, number, "desc")
	if err != nil {
		return note{}, fmt.Errorf("look for our comment: %w", err)
	}
	var newest note
	for _, n := range all {
		if n.Author.user().ID == self.ID && strings.Contains(n.Body, marker) && n.ID > newest.ID {
			newest = n
		}
	}
	return newest, nil
}

// quickAction is how a line begins that GitLab may carry out: /merge, /approve. Which lines are in a fence it decides by rules of its own,
// so all are kept from beginning so, wherever they are.
var quickAction = regexp.MustCompile(`(?m)(^|\r)([^\S\r\n]*/)`)

// harmless puts an invisible space before such lines. It reads the same.
func harmless(body string) string { return quickAction.ReplaceAllString(body, "$1\u200b$2") }

// awards are GitLab's names of our reactions.
var awards = map[vcs.Reaction]string{vcs.ReactionSeen: "eyes", vcs.ReactionDone: "thumbsup", vcs.ReactionRefused: "confused"}

// award is a reaction; it is set with its name alone.
type award struct {
	Name string   `json:"name"`
	User *account `json:"user,omitempty"`
}

// React awards an emoji.
func (h *Host) React(ctx context.Context, r vcs.Repo, number int, comment string, with vcs.Reaction) error {
	if err := h.react(ctx, r, number, comment, with); err != nil {
		return fmt.Errorf("%s: react to comment %s of %s!%d: %w", h.name, comment, r.Name, number, err)
	}
	return nil
}

func (h *Host) react(ctx context.Context, r vcs.Repo, number int, comment string, with vcs.Reaction) error {
	if id, err := strconv.ParseInt(comment, 10, 64); err != nil || id <= 0 {
		return fmt.Errorf("no such id: %w", vcs.ErrNotFound)
	}
	name, ok := awards[with]
	if !ok {
		return fmt.Errorf("reaction %q is none of ours", with)
	}
	at, err := notesAt(r, number, comment, "award_emoji")
	if err != nil {
		return err
	}
	_, err = h.call(ctx, http.MethodPost, at, award{Name: name}, nil)
	if !errors.Is(err, vcs.ErrNotFound) {
		return err
	}
	// "Not found" is also the answer to an award that is there already.
	self, look := h.Self(ctx)
	if look != nil {
		return look
	}
	all, look := list[award](ctx, h, filter{}, at...)
	if look != nil {
		return look
	}
	for _, a := range all {
		if a.Name == name && a.User.user().ID == self.ID {
			return nil
		}
	}
	return err
}
