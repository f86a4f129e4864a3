package gitlab_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/gitlab"
)

const (
	token   = "between GitLab and us"
	signing = "whsec_YmV0d2VlbiBHaXRMYWIgYW5kIHVzLCAzMiBieXRlcyE="
	commit  = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
)

func offline(t testing.TB, secret string, now func() time.Time) *gitlab.Host {
	t.Helper()
	h, err := gitlab.New(gitlab.Options{URL: "http://127.0.0.1:1", Token: "s3cr3t-t0ken", WebhookSecret: secret, Now: now})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}

// load reads a fixture and changes it: "from=>to".
func load(t testing.TB, file string, changes ...string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/" + file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		from, to, _ := strings.Cut(change, "=>")
		if !bytes.Contains(body, []byte(from)) {
			t.Fatalf("%s has no %q", file, from)
		}
		body = bytes.Replace(body, []byte(from), []byte(to), 1)
	}
	return body
}

func header(event string) http.Header {
	return http.Header{"X-Gitlab-Event": {event}, "X-Gitlab-Token": {token}, "Idempotency-Key": {"f5e5f430-f57b-4e6e-9fac-d9128cd7232f"}}
}

var events = map[string]string{"merge_request": "Merge Request Hook", "note": "Note Hook", "push": "Push Hook", "pipeline": "Pipeline Hook"}

// changed puts more into the changes of an update.
func changed(fields string) []string {
	return []string{"ACTION=>update", `"changes": {=>"changes": {` + fields + `, `}
}

func TestParse(t *testing.T) {
	t.Parallel()
	h := offline(t, token, nil)
	for name, c := range map[string]struct {
		file    string
		changes []string
		kind    vcs.EventKind
		action  string
		ignored string
	}{
		"Opened":        {"merge_request", []string{"ACTION=>open"}, vcs.EventPull, "open", ""},
		"Closed":        {"merge_request", []string{"ACTION=>close"}, vcs.EventPull, "close", ""},
		"Reopened":      {"merge_request", []string{"ACTION=>reopen"}, vcs.EventPull, "reopen", ""},
		"Merged":        {"merge_request", []string{"ACTION=>merge"}, vcs.EventPull, "merge", ""},
		"Approval":      {"merge_request", []string{"ACTION=>approval"}, vcs.EventReview, "approval", ""},
		"Approved":      {"merge_request", []string{"ACTION=>approved"}, vcs.EventReview, "approved", ""},
		"Unapproval":    {"merge_request", []string{"ACTION=>unapproval"}, vcs.EventReview, "unapproval", ""},
		"Unapproved":    {"merge_request", []string{"ACTION=>unapproved"}, vcs.EventReview, "unapproved", ""},
		"NewCommits":    {"merge_request", []string{`"action": "ACTION"=>"action": "update", "oldrev": "` + commit + `"`}, vcs.EventPull, "update: new commits", ""},
		"TargetBranch":  {"merge_request", changed(`"target_branch": {"previous": "main", "current": "other"}`), vcs.EventPull, "update: target branch", ""},
		"Draft":         {"merge_request", changed(`"draft": {"previous": false, "current": true}, "title": {}`), vcs.EventPull, "update: draft", ""},
		"Title":         {"merge_request", changed(`"title": {"previous": "a", "current": "b"}, "description": {}`), vcs.EventPull, "update: title", ""},
		"Reviewers":     {"merge_request", changed(`"reviewers": [[], [{"id": 52, "state": "requested_changes"}]]`), vcs.EventReview, "update", ""},
		"ThreadsSolved": {"merge_request", []string{"ACTION=>update"}, vcs.EventReview, "update", ""},
		"NoChanges":     {"merge_request", []string{"ACTION=>update", `"changes": {"updated_at"=>"changes": null, "x": {"updated_at"`}, vcs.EventReview, "update", ""},
		"Description":   {"merge_request", changed(`"description": {"previous": "", "current": "planlatch apply"}`), "", "", "pull request description edited"},
		"Labels":        {"merge_request", changed(`"labels": {"previous": [], "current": []}`), "", "", "event label"},
		"Assignees":     {"merge_request", changed(`"assignees": {"previous": [], "current": []}`), "", "", "merge request update of another kind"},
		"LaterAction":   {"merge_request", []string{"ACTION=>levitate"}, "", "", "merge request action of another kind"},

		"Comment":             {"note", nil, vcs.EventComment, "create", ""},
		"CommentOfOldVersion": {"note", []string{`"action": "create",=>`}, vcs.EventComment, "", ""},
		"Edited":              {"note", []string{`"action": "create"=>"action": "update"`}, "", "", "comment edited"},
		"EditedOfOldVersion":  {"note", []string{`"action": "create",=>`, `"updated_at": "2026-03-01 10:01:00 UTC"=>"updated_at": "2026-03-01 10:02:00 UTC"`}, "", "", "comment edited"},
		"Deleted":             {"note", []string{`"action": "create"=>"action": "delete"`}, "", "", "comment deleted"},
		"System":              {"note", []string{`"system": false=>"system": true`}, "", "", "system note"},
		"Internal":            {"note", []string{`"internal": false=>"internal": true`}, "", "", "confidential comment"},
		"OnAnIssue":           {"note", []string{`"MergeRequest"=>"Issue"`}, "", "", "comment on an issue"},
		"OnACommit":           {"note", []string{`"MergeRequest"=>"Commit"`}, "", "", "comment on a commit"},
		"OnASnippet":          {"note", []string{`"MergeRequest"=>"Snippet"`}, "", "", "comment on a snippet"},
		"OfAProjectsToken":    {"note", []string{`"username": "bob"=>"username": "project_15_bot_3f2a"`}, "", "", "comment of a bot"},
		"OfAGroupsToken":      {"note", []string{`"username": "bob"=>"username": "group_2_bot"`}, "", "", "comment of a bot"},
		"OfADeletedAccount":   {"note", []string{`"username": "bob"=>"username": "ghost"`}, "", "", "comment of nobody"},
		"OfSomebodyElse":      {"note", []string{`"author_id": 52=>"author_id": 51`}, "", "", "comment of somebody else"},

		"Push":        {"push", nil, vcs.EventPush, "push", ""},
		"PushOfATag":  {"push", []string{"refs/heads/=>refs/tags/"}, "", "", "push of a tag"},
		"PushOfOther": {"push", []string{"refs/heads/=>refs/keep-around/"}, "", "", "push of another ref"},

		"Passed":   {"pipeline", nil, vcs.EventStatus, "success", ""},
		"Failed":   {"pipeline", []string{`"status": "success"=>"status": "failed"`}, vcs.EventStatus, "failed", ""},
		"Canceled": {"pipeline", []string{`"status": "success"=>"status": "canceled"`}, vcs.EventStatus, "canceled", ""},
		"Running":  {"pipeline", []string{`"status": "success"=>"status": "running"`}, "", "", "status pending"},
		"Manual":   {"pipeline", []string{`"status": "success"=>"status": "manual"`}, "", "", "status pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := h.Parse(header(events[c.file]), load(t, c.file, c.changes...))
			if ignored, ok := errors.AsType[*vcs.IgnoredError](err); ok || c.ignored != "" {
				if !ok || ignored.Reason != c.ignored {
					t.Fatalf("Parse() = %+v, %v, want ignored as %q", e, err, c.ignored)
				}
				return
			}
			if err != nil || e.Kind != c.kind || e.Action != c.action {
				t.Fatalf("Parse() = %+v, %v, want %s %q", e, err, c.kind, c.action)
			}
			if e.Delivery != "f5e5f430-f57b-4e6e-9fac-d9128cd7232f" || e.Repo.ID != "15" || e.Repo.Name != "acme/platform/infra" || e.Sender.ID == "" {
				t.Errorf("Parse() = %+v", e)
			}
		})
	}
}

func TestParseTellsWhatACommentSays(t *testing.T) {
	t.Parallel()
	got, err := offline(t, token, nil).Parse(header("Note Hook"), load(t, "note"))
	if err != nil {
		t.Fatal(err)
	}
	bob, at := vcs.User{ID: "52", Login: "bob"}, time.Date(2026, 3, 1, 10, 1, 0, 0, time.UTC)
	want := vcs.Event{
		Kind: vcs.EventComment, Delivery: got.Delivery, Number: 7, Action: "create", Sender: bob, At: at,
		Repo:    vcs.Repo{ID: "15", Name: "acme/platform/infra", DefaultBranch: "main", Private: true},
		Comment: &vcs.Comment{ID: "1244", Author: bob, Body: "planlatch plan", Created: at},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse() differs (-want +got):\n%s", diff)
	}
}

func TestParseIgnoresOtherEventsBeforeReadingThem(t *testing.T) {
	t.Parallel()
	h := offline(t, token, nil)
	for event, want := range map[string]string{
		"System Hook": "system hook", "Tag Push Hook": "push of a tag", "Job Hook": "event job", "Emoji Hook": "event emoji",
		"Confidential Note Hook": "confidential comment", "Made Up Hook": "event of another kind",
	} {
		_, err := h.Parse(header(event), []byte("no JSON at all"))
		if ignored, ok := errors.AsType[*vcs.IgnoredError](err); !ok || ignored.Reason != want {
			t.Errorf("Parse(%s) = %v, want ignored as %q", event, err, want)
		}
	}
	if _, err := h.Parse(header("Push Hook"), []byte("{")); !errors.Is(err, vcs.ErrMalformed) {
		t.Errorf("Parse(half a body) = %v, want ErrMalformed", err)
	}
}

func TestDeliveryIDIsTheSameInEveryAttempt(t *testing.T) {
	t.Parallel()
	h := offline(t, token, nil)
	id := func(change func(http.Header), edits ...string) string {
		t.Helper()
		head := header("Push Hook")
		head.Set("X-Gitlab-Event-UUID", "of-this-attempt")
		change(head)
		e, err := h.Parse(head, load(t, "push", edits...))
		if err != nil {
			t.Fatalf("Parse() = %v", err)
		}
		return e.Delivery
	}
	if got := id(func(http.Header) {}); got != "f5e5f430-f57b-4e6e-9fac-d9128cd7232f" {
		t.Errorf("with a key: %q", got)
	}
	if got := id(func(h http.Header) { h.Del("Idempotency-Key") }); got != "of-this-attempt" {
		t.Errorf("before GitLab 17.4: %q", got)
	}
	bare := func(h http.Header) {
		h.Set("Idempotency-Key", "not an id\n")
		h.Del("X-Gitlab-Event-UUID")
	}
	first, again, other := id(bare), id(bare), id(bare, "feature/one=>feature/two")
	if first != again || first == other || len(first) < 32 {
		t.Errorf("without both: %q, the same again %q, another %q", first, again, other)
	}
}

func TestSignedDeliveryIsRefusedWhenItIsOldOrUnsigned(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	body := load(t, "push")
	signed := func() http.Header {
		h := http.Header{"X-Gitlab-Event": {"Push Hook"}, "Idempotency-Key": {"another"}, "Webhook-Id": {"the-id"}, "Webhook-Timestamp": {"1772359200"}}
		h.Set("Webhook-Signature", "v1,AAAA v1,"+sign("the-id.1772359200.", body))
		return h
	}
	for name, c := range map[string]struct {
		now    time.Time
		change func(http.Header)
		good   bool
	}{
		"Good":         {at.Add(time.Minute), func(http.Header) {}, true},
		"Old":          {at.Add(6 * time.Minute), func(http.Header) {}, false},
		"OfTheFuture":  {at.Add(-6 * time.Minute), func(http.Header) {}, false},
		"AnotherID":    {at, func(h http.Header) { h.Set("Webhook-Id", "another") }, false},
		"AnotherTime":  {at, func(h http.Header) { h.Set("Webhook-Timestamp", "1772359201") }, false},
		"OnlyTheToken": {at, func(h http.Header) { h.Del("Webhook-Signature"); h.Set("X-Gitlab-Token", signing) }, false},
		"NoVersion":    {at, func(h http.Header) { h.Set("Webhook-Signature", sign("the-id.1772359200.", body)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := signed()
			c.change(head)
			e, err := offline(t, signing, func() time.Time { return c.now }).Parse(head, body)
			if c.good && (err != nil || e.Delivery != "the-id") || !c.good && !errors.Is(err, vcs.ErrSignature) {
				t.Errorf("Parse() = %+v, %v", e, err)
			}
		})
	}
	if _, err := offline(t, token, nil).Parse(signed(), body); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Parse(signed, where a token is expected) = %v, want ErrSignature", err)
	}
}

// FuzzParse feeds deliveries with the right token: whoever knows it may still send anything.
func FuzzParse(f *testing.F) {
	for file, event := range events {
		f.Add(event, load(f, file))
	}
	f.Add("Merge Request Hook", []byte(`{"project":{"id":1,"path_with_namespace":"a/b"},"object_attributes":{"iid":1e99,"action":"open"},"changes":[]}`))
	f.Add("Note Hook", []byte(`{"project":{"id":1,"path_with_namespace":"a/b"},"user":null,"object_attributes":{"id":1,"noteable_type":"MergeRequest"}}`))
	h := offline(f, token, nil)
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		e, err := h.Parse(header(event), body)
		var ignored *vcs.IgnoredError
		switch {
		case err == nil:
			if e.Kind == "" || e.Delivery == "" || e.Repo.ID == "" || e.Repo.Name == "" {
				t.Errorf("Parse() = %+v lacks what every event has", e)
			}
			if e.Kind == vcs.EventComment && (e.Comment == nil || e.Comment.Author.ID == "" || e.Comment.Author.Bot || e.Number <= 0) {
				t.Errorf("Parse() = %+v is a comment of nobody", e)
			}
		case errors.As(err, &ignored):
			if len(ignored.Reason) > 60 {
				t.Errorf("the reason is not a constant: %q", ignored.Reason)
			}
		case !errors.Is(err, vcs.ErrMalformed):
			t.Errorf("Parse() = %v, want one of the port's errors", err)
		}
	})
}
