package gitlab

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// deliveryID is what GitLab sends as an id: a UUID. Anything short and printable passes, so that a new form does not lose deliveries.
var deliveryID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,100}$`)

// signatureAge is how far the time of a signed delivery may be from our clock. GitLab signs each attempt anew.
const signatureAge = 5 * time.Minute

// readers are the events that are ours, by X-Gitlab-Event.
var readers = map[string]func(*payload, *vcs.Event) error{
	"Merge Request Hook": readMergeRequest,
	"Note Hook":          readNote,
	"Push Hook":          readPush,
	"Pipeline Hook":      readPipeline,
}

// others are the events of GitLab that are never ours; a name that is not among these is ignored under one common reason, so that nobody
// can fill the counters with made-up ones. A system hook repeats what the hooks of projects tell.
var others = map[string]string{
	"System Hook": "system hook", "Tag Push Hook": "push of a tag", "Issue Hook": "event issue", "Confidential Issue Hook": "event issue",
	"Work Item Hook": "event work item", "Confidential Note Hook": "confidential comment", "Wiki Page Hook": "event wiki",
	"Job Hook": "event job", "Deployment Hook": "event deployment", "Feature Flag Hook": "event feature flag", "Release Hook": "event release",
	"Emoji Hook": "event emoji", "Resource Access Token Hook": "event access token", "Member Hook": "event member",
	"Subgroup Hook": "event subgroup", "Project Hook": "event project", "Milestone Hook": "event milestone", "Vulnerability Hook": "event vulnerability",
}

// Parse reads one webhook delivery. Its id is the Idempotency-Key, the same in every attempt (of a signed delivery the webhook-id, which
// is the same and signed); before GitLab 17.4 the event's UUID; and where there is neither, what the body is.
func (h *Host) Parse(header http.Header, body []byte) (vcs.Event, error) {
	if err := h.verify(header, body); err != nil {
		return vcs.Event{}, err
	}
	kind := header.Get("X-Gitlab-Event")
	read, ok := readers[kind]
	if !ok {
		if kind == "" {
			return vcs.Event{}, fmt.Errorf("%w: no X-Gitlab-Event header", vcs.ErrMalformed)
		}
		return vcs.Event{}, ignored(others[kind], "event of another kind")
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return vcs.Event{}, fmt.Errorf("%w: %s: %w", vcs.ErrMalformed, kind, err)
	}
	e := vcs.Event{Delivery: h.delivery(header, kind, body), Sender: p.sender()}
	if e.Repo, ok = p.Project.repo(); !ok {
		return vcs.Event{}, fmt.Errorf("%w: %s without a project", vcs.ErrMalformed, kind)
	}
	if err := read(&p, &e); err != nil {
		return vcs.Event{}, err
	}
	return e, nil
}

// verify compares in constant time. A webhook has a secret token, which comes with each delivery as it is, or a signing token, which signs
// id, time and body as Standard Webhooks does; the form of the configured secret says which, and the other is never accepted instead.
func (h *Host) verify(header http.Header, body []byte) error {
	if h.key == nil {
		// Of hashes, because the comparison itself tells of different lengths.
		given, want := sha256.Sum256([]byte(header.Get("X-Gitlab-Token"))), sha256.Sum256(h.secret)
		if subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
			return vcs.ErrSignature
		}
		return nil
	}
	id, at := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, h.key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, at) // a hash never fails
	_, _ = mac.Write(body)
	want := mac.Sum(nil)
	good := false
	for one := range strings.FieldsSeq(header.Get("Webhook-Signature")) { // several while a token is exchanged
		encoded, ok := strings.CutPrefix(one, "v1,")
		got, err := base64.StdEncoding.Strict().DecodeString(encoded)
		good = good || ok && err == nil && hmac.Equal(got, want)
	}
	if !good || !deliveryID.MatchString(id) {
		return vcs.ErrSignature
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return vcs.ErrSignature
	}
	if off := h.now().Sub(time.Unix(seconds, 0)).Abs(); off > signatureAge {
		return fmt.Errorf("%w: it was made %s from now: an old delivery again, or a clock that is wrong", vcs.ErrSignature, off.Round(time.Second))
	}
	return nil
}

func (h *Host) delivery(header http.Header, kind string, body []byte) string {
	names := []string{"Idempotency-Key", "X-Gitlab-Event-UUID"}
	if h.key != nil {
		names = []string{"Webhook-Id"}
	}
	for _, name := range names {
		if id := header.Get(name); deliveryID.MatchString(id) {
			return id
		}
	}
	sum := sha256.Sum256([]byte(kind + "\n" + string(body)))
	return "sha256:" + hex.EncodeToString(sum[:16])
}

// readMergeRequest tells the updates apart by what changed.
func readMergeRequest(p *payload, e *vcs.Event) error {
	a := p.Attributes
	if a == nil || !number(a.IID, e) {
		return fmt.Errorf("%w: Merge Request Hook without a merge request", vcs.ErrMalformed)
	}
	e.Kind, e.Action, e.At = vcs.EventPull, a.Action, a.Updated.Time
	switch a.Action {
	case "open", "reopen", "close", "merge":
	case "approved", "approval", "unapproved", "unapproval":
		e.Kind = vcs.EventReview
	case "update":
		return readUpdate(p, e)
	default:
		return &vcs.IgnoredError{Reason: "merge request action of another kind"}
	}
	return nil
}

// readUpdate: new commits have the commit before. Reviewers and their words, and resolved threads (of which GitLab tells without saying
// what changed), are for the checklist only.
func readUpdate(p *payload, e *vcs.Event) error {
	has := func(names ...string) bool {
		for _, name := range names {
			if _, ok := p.Changes[name]; ok {
				return true
			}
		}
		return false
	}
	// What goes along with every change.
	rest := len(p.Changes)
	for _, name := range []string{"updated_at", "updated_by_id", "last_edited_at", "last_edited_by_id"} {
		if has(name) {
			rest--
		}
	}
	switch {
	case p.Attributes.OldRev != "":
		e.Action = "update: new commits"
	case has("target_branch"):
		e.Action = "update: target branch"
	case has("draft", "work_in_progress"):
		e.Action = "update: draft"
	case has("title"):
		e.Action = "update: title"
	case has("state", "state_id", "merge_status"):
		e.Action = "update: state"
	case has("reviewers", "blocking_discussions_resolved"), rest == 0:
		e.Kind = vcs.EventReview
	case has("description"):
		return &vcs.IgnoredError{Reason: "pull request description edited"}
	case has("labels"):
		return &vcs.IgnoredError{Reason: "event label"}
	default:
		return &vcs.IgnoredError{Reason: "merge request update of another kind"} // assignees, milestone, time spent, …
	}
	return nil
}

// elsewhere is what else people comment on.
var elsewhere = map[string]string{
	"Issue": "comment on an issue", "WorkItem": "comment on an issue", "Commit": "comment on a commit", "Snippet": "comment on a snippet",
}

// readNote takes new comments of people on merge requests. GitLab tells nothing of deleted ones.
func readNote(p *payload, e *vcs.Event) error {
	a := p.Attributes
	if a == nil || a.ID <= 0 {
		return fmt.Errorf("%w: Note Hook without a note", vcs.ErrMalformed)
	}
	switch {
	case a.On != "MergeRequest":
		return ignored(elsewhere[a.On], "comment on something else")
	case a.System:
		return &vcs.IgnoredError{Reason: "system note"}
	case a.Internal:
		return &vcs.IgnoredError{Reason: "confidential comment"}
	case a.Action == "delete", a.Action == "destroy":
		return &vcs.IgnoredError{Reason: "comment deleted"}
	case a.Action == "update", a.Action == "" && a.Updated.After(a.Created.Time): // old versions name no action
		return &vcs.IgnoredError{Reason: "comment edited"}
	case a.Action != "" && a.Action != "create":
		return &vcs.IgnoredError{Reason: "comment action of another kind"}
	case e.Sender.Bot:
		return &vcs.IgnoredError{Reason: "comment of a bot"}
	case e.Sender.ID == "":
		return &vcs.IgnoredError{Reason: "comment of nobody"}
	case e.Sender.ID != strconv.FormatInt(a.AuthorID, 10):
		return &vcs.IgnoredError{Reason: "comment of somebody else"}
	}
	if p.MergeRequest == nil || !number(p.MergeRequest.IID, e) {
		return fmt.Errorf("%w: Note Hook without a merge request", vcs.ErrMalformed)
	}
	e.Kind, e.Action, e.At = vcs.EventComment, a.Action, a.Created.Time
	e.Comment = &vcs.Comment{ID: strconv.FormatInt(a.ID, 10), Author: e.Sender, Body: a.Note, Created: e.At}
	return nil
}

// readPush takes branches that were made, moved or deleted.
func readPush(p *payload, e *vcs.Event) error {
	branch, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	switch {
	case strings.HasPrefix(p.Ref, "refs/tags/"):
		return &vcs.IgnoredError{Reason: "push of a tag"}
	case !ok && strings.HasPrefix(p.Ref, "refs/"):
		return &vcs.IgnoredError{Reason: "push of another ref"}
	case branch == "" || !ok || !commitID.MatchString(p.Before) || !commitID.MatchString(p.After):
		return fmt.Errorf("%w: Push Hook without a branch or commits", vcs.ErrMalformed)
	}
	e.Kind, e.Action, e.Push = vcs.EventPush, "push", &vcs.Push{Branch: branch, Before: p.Before, After: p.After}
	return nil
}

// readPipeline takes results. A pipeline is made of the statuses of a commit, ours among them, and does not say whose moved it.
func readPipeline(p *payload, e *vcs.Event) error {
	a := p.Attributes
	if a == nil {
		return fmt.Errorf("%w: Pipeline Hook without a pipeline", vcs.ErrMalformed)
	}
	switch stateOf(a.Status, false) {
	case vcs.StatusPending:
		return &vcs.IgnoredError{Reason: "status pending"}
	case vcs.StatusSuccess, vcs.StatusFailure, vcs.StatusError:
	}
	if !commitID.MatchString(a.SHA) {
		return fmt.Errorf("%w: Pipeline Hook without a commit", vcs.ErrMalformed)
	}
	e.Kind, e.SHA, e.Action, e.At = vcs.EventStatus, a.SHA, a.Status, a.Finished.Time
	return nil
}

// number sets the event's merge request; false if there is none of that number.
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
