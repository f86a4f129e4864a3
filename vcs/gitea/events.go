package gitea

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/planlatch/planlatch/vcs"
)

// deliveryID is what Gitea sends as the id: a GUID. Anything short and printable passes, so that a new form does not lose deliveries.
var deliveryID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,100}$`)

// readers are the events that are ours. Gitea names them twice: X-Gitea-Event has these words, X-Gitea-Event-Type finer ones that share
// some of them with another meaning ("pull_request_comment" is a review here and a plain comment there).
var readers = map[string]func(*payload, *vcs.Event) error{
	"pull_request":          readPull,
	"issue_comment":         readComment,
	"pull_request_approved": readReview,
	"pull_request_rejected": readReview,
	"pull_request_comment":  readReview,
	"push":                  readPush,
	"delete":                readDelete,
	"status":                readStatus,
}

// foreign are the finer names of events that are not ours, by which they are told before anything is decoded.
var foreign = map[string]string{
	"issue_comment":               "comment on an issue",
	"pull_request_label":          "event label",
	"pull_request_assign":         "event assign",
	"pull_request_milestone":      "event milestone",
	"pull_request_review_request": "event review request",
}

// others are the events of Gitea that are never ours; a name that is not among these is ignored under one common reason, so that nobody
// can fill the counters with made-up ones.
var others = map[string]string{
	"create": "event create", "fork": "event fork", "issues": "event issues", "wiki": "event wiki", "repository": "event repository",
	"release": "event release", "package": "event package", "workflow_run": "event workflow run", "workflow_job": "event workflow job",
}

// Parse reads one webhook delivery. The webhook must send JSON: of a form Gitea signs something else than what it sends.
//
// A review's delivery has no id of the review; its Comment is named by what both the delivery and [Host.CommentsSince] know of it.
// Redelivering by hand gives the same body a new id.
func (h *Host) Parse(header http.Header, body []byte) (vcs.Event, error) {
	if !h.signed(header, body) {
		if strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			return vcs.Event{}, fmt.Errorf("%w: the webhook sends a form, set its content type to application/json", vcs.ErrSignature)
		}
		return vcs.Event{}, vcs.ErrSignature
	}
	kind := header.Get("X-Gitea-Event")
	read, ok := readers[kind]
	if !ok {
		if kind == "" {
			return vcs.Event{}, fmt.Errorf("%w: no X-Gitea-Event header", vcs.ErrMalformed)
		}
		return vcs.Event{}, ignored(others[kind], "event of another kind")
	}
	if reason, ok := foreign[header.Get("X-Gitea-Event-Type")]; ok {
		return vcs.Event{}, &vcs.IgnoredError{Reason: reason}
	}
	id := header.Get("X-Gitea-Delivery")
	if !deliveryID.MatchString(id) {
		return vcs.Event{}, fmt.Errorf("%w: no usable X-Gitea-Delivery header", vcs.ErrMalformed)
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return vcs.Event{}, fmt.Errorf("%w: %s event: %w", vcs.ErrMalformed, kind, err)
	}
	e := vcs.Event{Delivery: id, Action: p.Action, Sender: p.Sender.user()}
	if e.Repo, ok = p.Repository.repo(); !ok {
		return vcs.Event{}, fmt.Errorf("%w: %s event without a repository", vcs.ErrMalformed, kind)
	}
	if err := read(&p, &e); err != nil {
		return vcs.Event{}, err
	}
	return e, nil
}

// signed compares in constant time; a header that is no signature compares with nothing.
func (h *Host) signed(header http.Header, body []byte) bool {
	given := header.Get("X-Gitea-Signature")
	if given == "" {
		given = strings.TrimPrefix(header.Get("X-Hub-Signature-256"), "sha256=")
	}
	got, err := hex.DecodeString(given)
	if err != nil || len(got) != sha256.Size {
		return false
	}
	mac := hmac.New(sha256.New, h.secret)
	_, _ = mac.Write(body) // a hash never fails
	return hmac.Equal(got, mac.Sum(nil))
}

// readPull takes what changes a pull request's code, state or target. Draft and ready are edits of the title: on Gitea a draft is a
// title with a prefix.
func readPull(p *payload, e *vcs.Event) error {
	switch p.Action {
	case "opened", "synchronized", "reopened", "closed", "deleted":
	case "edited":
		if p.Changes == nil || p.Changes.Title == nil && p.Changes.Ref == nil {
			return &vcs.IgnoredError{Reason: "pull request description edited"}
		}
	case "label_updated", "label_cleared":
		return &vcs.IgnoredError{Reason: "event label"}
	default:
		return &vcs.IgnoredError{Reason: "pull request action of another kind"} // assignees, milestones, reviewers, …
	}
	if p.PullRequest == nil || !number(p.PullRequest.Number, e) {
		return fmt.Errorf("%w: pull_request event without a pull request", vcs.ErrMalformed)
	}
	e.Kind = vcs.EventPull
	if p.PullRequest.Updated != nil {
		e.At = p.PullRequest.Updated.UTC()
	}
	return nil
}

// readComment takes new comments of people on pull requests.
func readComment(p *payload, e *vcs.Event) error {
	switch p.Action {
	case "created":
	case "edited":
		return &vcs.IgnoredError{Reason: "comment edited"}
	case "deleted":
		return &vcs.IgnoredError{Reason: "comment deleted"}
	default:
		return &vcs.IgnoredError{Reason: "comment action of another kind"}
	}
	if p.Issue == nil || p.Comment == nil || p.Comment.ID <= 0 || !number(p.Issue.Number, e) {
		return fmt.Errorf("%w: issue_comment event without an issue or a comment", vcs.ErrMalformed)
	}
	if !p.IsPull && p.Issue.PullRequest == nil {
		return &vcs.IgnoredError{Reason: "comment on an issue"}
	}
	author := p.Comment.User.user()
	switch {
	case author.Bot:
		return &vcs.IgnoredError{Reason: "comment of a bot"}
	case author.ID == "" || p.Comment.OriginalAuthor != "":
		return &vcs.IgnoredError{Reason: "comment of nobody"} // a deleted account, or brought along from another host
	}
	e.Kind, e.At = vcs.EventComment, p.Comment.Created.UTC()
	e.Comment = &vcs.Comment{ID: commentID(p.Comment.ID), Author: author, Body: p.Comment.Body, Created: e.At}
	return nil
}

// readReview takes submitted reviews. Gitea sends nothing when a review is dismissed.
func readReview(p *payload, e *vcs.Event) error {
	if p.PullRequest == nil || !number(p.PullRequest.Number, e) {
		return fmt.Errorf("%w: review event without a pull request", vcs.ErrMalformed)
	}
	e.Kind = vcs.EventReview
	if p.PullRequest.Updated != nil {
		e.At = p.PullRequest.Updated.UTC()
	}
	if p.Review != nil && strings.TrimSpace(p.Review.Content) != "" && !e.Sender.Bot && e.Sender.ID != "" {
		e.Comment = &vcs.Comment{
			ID: reviewID(p.PullRequest.Reviewed, e.Sender, p.Review.Content), Author: e.Sender, Body: p.Review.Content, Created: e.At, Review: true,
		}
	}
	return nil
}

// readPush takes branches that were made or moved.
func readPush(p *payload, e *vcs.Event) error {
	branch, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	switch {
	case strings.HasPrefix(p.Ref, "refs/tags/"):
		return &vcs.IgnoredError{Reason: "push of a tag"}
	case !ok && strings.HasPrefix(p.Ref, "refs/"):
		return &vcs.IgnoredError{Reason: "push of another ref"}
	case branch == "" || !ok || !commitID.MatchString(p.Before) || !commitID.MatchString(p.After):
		return fmt.Errorf("%w: push event without a branch or commits", vcs.ErrMalformed)
	}
	e.Kind, e.Push = vcs.EventPush, &vcs.Push{Branch: branch, Before: p.Before, After: p.After}
	return nil
}

// readDelete takes deleted branches, for which Gitea has an event of their own. It does not say which commit they pointed to.
func readDelete(p *payload, e *vcs.Event) error {
	switch {
	case p.RefType == "tag":
		return &vcs.IgnoredError{Reason: "push of a tag"}
	case p.RefType != "branch" || p.Ref == "":
		return fmt.Errorf("%w: delete event without a branch", vcs.ErrMalformed)
	}
	e.Kind, e.Push = vcs.EventPush, &vcs.Push{Branch: p.Ref, After: strings.Repeat("0", 40)}
	return nil
}

// readStatus takes results of other tools.
func readStatus(p *payload, e *vcs.Event) error {
	switch {
	case ours(p.Context):
		return &vcs.IgnoredError{Reason: "status of our own"}
	case p.State == "pending":
		return &vcs.IgnoredError{Reason: "status pending"}
	case !commitID.MatchString(p.SHA):
		return fmt.Errorf("%w: status event without a commit", vcs.ErrMalformed)
	}
	e.Kind, e.SHA, e.Action, e.At = vcs.EventStatus, p.SHA, p.State, p.Created.UTC()
	return nil
}

// ours says whether a context is one that planlatch sets itself.
func ours(context string) bool {
	return strings.HasPrefix(context, "planlatch/") || strings.HasPrefix(context, "planlatch-trial/")
}

// number sets the event's pull request; false if there is none of that number.
func number(n int64, e *vcs.Event) bool {
	if n <= 0 || n > 1<<31-1 {
		return false
	}
	e.Number = int(n)
	return true
}

func ignored(reason, otherwise string) error {
	if reason == "" {
		reason = otherwise
	}
	return &vcs.IgnoredError{Reason: reason}
}
