package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/planlatch/planlatch/vcs"
)

// deliveryID is what GitHub sends as the id: a GUID. Anything short and printable passes, so that a new form does not lose deliveries.
var deliveryID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,100}$`)

// Parse reads one webhook delivery. Both content types that GitHub offers are understood, JSON and form.
func (h *Host) Parse(header http.Header, body []byte) (vcs.Event, error) {
	if !h.signed(header.Get("X-Hub-Signature-256"), body) {
		return vcs.Event{}, vcs.ErrSignature // also when only the older SHA-1 signature is there
	}
	kind := header.Get("X-GitHub-Event")
	read, ok := readers[kind]
	if !ok {
		if kind == "" {
			return vcs.Event{}, fmt.Errorf("%w: no X-GitHub-Event header", vcs.ErrMalformed)
		}
		return vcs.Event{}, &vcs.IgnoredError{Reason: ignoredEvent(kind)}
	}
	id := header.Get("X-GitHub-Delivery")
	if !deliveryID.MatchString(id) {
		return vcs.Event{}, fmt.Errorf("%w: no usable X-GitHub-Delivery header", vcs.ErrMalformed)
	}
	body, err := jsonOf(header.Get("Content-Type"), body)
	if err != nil {
		return vcs.Event{}, fmt.Errorf("%w: %w", vcs.ErrMalformed, err)
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
func (h *Host) signed(header string, body []byte) bool {
	hexed, ok := strings.CutPrefix(header, "sha256=")
	if !ok {
		return false
	}
	got, err := hex.DecodeString(hexed)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, h.secret)
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

// jsonOf unpacks the form encoding, which is what GitHub's own page preselects for a new webhook.
func jsonOf(contentType string, body []byte) ([]byte, error) {
	if kind, _, _ := mime.ParseMediaType(contentType); kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("form: %w", err)
	}
	return []byte(form.Get("payload")), nil
}

// readers holds the events that can be ours. Each fills the event or says why it is not.
var readers = map[string]func(*payload, *vcs.Event) error{
	"pull_request":        readPull,
	"issue_comment":       readComment,
	"pull_request_review": readReview,
	"push":                readPush,
	"status":              readStatus,
	"check_run":           readCheckRun,
	"merge_group":         readMergeGroup,
}

// ignoredEvent keeps the reasons few, since they are counted and the header is the sender's word.
func ignoredEvent(kind string) string {
	switch kind {
	case "ping", "issues", "label", "create", "delete", "fork", "star", "watch", "release", "check_suite", "member",
		"membership", "team", "repository", "workflow_run", "workflow_job", "deployment", "deployment_status", "commit_comment",
		"pull_request_review_comment", "pull_request_review_thread", "installation", "installation_repositories":
		return "event " + kind
	}
	return "event of another kind"
}

func readPull(p *payload, e *vcs.Event) error {
	if p.Pull == nil {
		return missing("pull_request", "pull request")
	}
	switch p.Action {
	case "opened", "synchronize", "reopened", "ready_for_review", "converted_to_draft", "closed":
	case "edited":
		if p.Changes.Base == nil && p.Changes.Title == nil {
			return &vcs.IgnoredError{Reason: "pull request description edited"}
		}
	default:
		return &vcs.IgnoredError{Reason: "pull request action of another kind"} // labels, assignees, reviewers, auto-merge, …
	}
	e.Kind, e.Number, e.At = vcs.EventPull, p.Pull.number(p), p.Pull.UpdatedAt.Time
	return numbered("pull_request", e)
}

func readComment(p *payload, e *vcs.Event) error {
	if p.Issue == nil || p.Comment == nil {
		return missing("issue_comment", "issue or comment")
	}
	switch {
	case p.Action == "edited" || p.Action == "deleted":
		return &vcs.IgnoredError{Reason: "comment " + p.Action}
	case p.Action != "created":
		return &vcs.IgnoredError{Reason: "comment action of another kind"}
	case p.Issue.Pull == nil:
		return &vcs.IgnoredError{Reason: "comment on an issue"}
	}
	author := p.Comment.User.user()
	switch {
	case author.ID == "" || p.Comment.ID <= 0:
		return missing("issue_comment", "author or id of the comment")
	case author.Bot || e.Sender.Bot:
		return &vcs.IgnoredError{Reason: "comment of a bot"}
	}
	e.Kind, e.Number, e.At = vcs.EventComment, p.Issue.Number, p.Comment.CreatedAt.Time
	e.Comment = &vcs.Comment{ID: number(p.Comment.ID), Author: author, Body: p.Comment.Body, Created: p.Comment.CreatedAt.Time}
	return numbered("issue_comment", e)
}

// readReview hands out the body only when it is new and a person's, since it may hold commands and an edited one is not a command.
func readReview(p *payload, e *vcs.Event) error {
	if p.Pull == nil || p.Review == nil {
		return missing("pull_request_review", "pull request or review")
	}
	e.Kind, e.Number, e.At = vcs.EventReview, p.Pull.number(p), p.Pull.UpdatedAt.Time
	switch p.Action {
	case "submitted":
		e.At = p.Review.SubmittedAt.Time
		author := p.Review.User.user()
		if p.Review.Body != "" && p.Review.ID > 0 && author.ID != "" && !author.Bot && !e.Sender.Bot {
			e.Comment = &vcs.Comment{ID: reviewID(p.Review.ID), Author: author, Body: p.Review.Body, Created: e.At, Review: true}
		}
	case "edited", "dismissed":
	default:
		return &vcs.IgnoredError{Reason: "review action of another kind"}
	}
	return numbered("pull_request_review", e)
}

func readPush(p *payload, e *vcs.Event) error {
	branch, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	switch {
	case strings.HasPrefix(p.Ref, "refs/tags/"):
		return &vcs.IgnoredError{Reason: "push of a tag"}
	case !ok || branch == "":
		return &vcs.IgnoredError{Reason: "push of another ref"}
	case strings.HasPrefix(branch, "gh-readonly-queue/"):
		return &vcs.IgnoredError{Reason: "push of a merge queue"} // merge_group tells of it
	case !commitID.MatchString(p.Before) || !commitID.MatchString(p.After):
		return missing("push", "commit before or after")
	}
	e.Kind = vcs.EventPush
	e.Push = &vcs.Push{Branch: branch, Before: p.Before, After: p.After}
	if e.Sender.ID == "" {
		e.Sender = vcs.User{Login: p.Pusher.Name}
	}
	return nil
}

func readStatus(p *payload, e *vcs.Event) error {
	switch {
	case ours(p.Context):
		return &vcs.IgnoredError{Reason: "status of our own"}
	case p.State == "pending":
		return &vcs.IgnoredError{Reason: "status pending"}
	case !commitID.MatchString(p.SHA):
		return missing("status", "commit")
	}
	e.Kind, e.SHA, e.At, e.Action = vcs.EventStatus, p.SHA, p.UpdatedAt.Time, p.State
	return nil
}

func readCheckRun(p *payload, e *vcs.Event) error {
	switch {
	case p.CheckRun == nil:
		return missing("check_run", "check run")
	case p.Action != "completed":
		return &vcs.IgnoredError{Reason: "check run not completed"}
	case ours(p.CheckRun.Name):
		return &vcs.IgnoredError{Reason: "status of our own"}
	case !commitID.MatchString(p.CheckRun.HeadSHA):
		return missing("check_run", "commit")
	}
	e.Kind, e.SHA, e.At = vcs.EventStatus, p.CheckRun.HeadSHA, p.CheckRun.CompletedAt.Time
	return nil
}

// readMergeGroup reads the commit that a merge queue wants judged. A destroyed group was merged, or thrown away for another one that is
// asked about by itself: in both cases nothing is left to do.
func readMergeGroup(p *payload, e *vcs.Event) error {
	switch {
	case p.Action == "destroyed":
		return &vcs.IgnoredError{Reason: "merge group destroyed"}
	case p.Action != "checks_requested":
		return &vcs.IgnoredError{Reason: "merge group action of another kind"}
	case p.MergeGroup == nil:
		return missing("merge_group", "merge group")
	}
	g := p.MergeGroup
	branch, ok := strings.CutPrefix(g.BaseRef, "refs/heads/")
	switch {
	case !ok || branch == "" || !strings.HasPrefix(g.HeadRef, "refs/heads/"):
		return missing("merge_group", "head or base ref")
	case !commitID.MatchString(g.HeadSHA) || !commitID.MatchString(g.BaseSHA):
		return missing("merge_group", "head or base commit")
	}
	e.Kind = vcs.EventQueue
	e.Queue = &vcs.Queue{Branch: branch, Base: g.BaseSHA, Head: g.HeadSHA, Ref: g.HeadRef}
	return nil
}

func missing(kind, what string) error {
	return fmt.Errorf("%w: %s event without %s", vcs.ErrMalformed, kind, what)
}

func numbered(kind string, e *vcs.Event) error {
	if e.Number <= 0 {
		return missing(kind, "the number of the pull request")
	}
	return nil
}
