package github_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs"
)

// TestPublishedPayloadsAreRead reads payloads that real GitHubs sent (see testdata/examples/README.md): each is one event or is ignored.
func TestPublishedPayloadsAreRead(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"check_run.completed":             "status of ec26c3e57ca3a959ca5aad62de7213c562f8c821 completed",
		"check_run.created":               "ignored: check run not completed",
		"check_run.rerequested":           "ignored: check run not completed",
		"check_suite.completed":           "ignored: event check_suite",
		"check_suite.requested":           "ignored: event check_suite",
		"issue_comment.created":           "ignored: comment on an issue",
		"issue_comment.deleted":           "ignored: comment deleted",
		"issue_comment.edited":            "ignored: comment edited",
		"merge_group.checks_requested":    "queue main: 2ffea6db159f6b6c47a24e778fb9ef40cf6b1c7d on 380387fbc80638b734a49e1be1c4dfec1c01b33c",
		"ping":                            "ignored: event ping",
		"pull_request.closed":             "pull #2 closed",
		"pull_request.converted_to_draft": "pull #2 converted_to_draft",
		"pull_request.labeled":            "ignored: pull request action of another kind",
		"pull_request.opened":             "pull #2 opened",
		"pull_request.ready_for_review":   "pull #2 ready_for_review",
		"pull_request.reopened":           "pull #2 reopened",
		"pull_request.synchronize":        "pull #2 synchronize",
		"pull_request_review.dismissed":   "review #2 dismissed",
		"pull_request_review.submitted":   "review #2 submitted",
		"push.branch":                     "push master: 0000000000000000000000000000000000000000 to 6113728f27ae82c7b1a177c8d03f9e96e0adf246",
		"push.tag":                        "ignored: push of a tag",
		"push.tag_deleted":                "ignored: push of a tag",
		"status":                          "status of 6113728f27ae82c7b1a177c8d03f9e96e0adf246 success",
	}
	got := map[string]string{}
	for _, file := range payloads(t, "examples") {
		event, body := payload(t, file)
		e, err := parser(t).Parse(signed(event, body), body)
		if err == nil && e.Sender.Login != "Codertocat" {
			t.Errorf("Parse(%s).Sender = %v, want Codertocat", file, e.Sender)
		}
		got[strings.TrimPrefix(file, "examples/")] = told(e, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse() differs (-want +got):\n%s", d)
	}
}

// told writes what Parse returned in one line.
func told(e vcs.Event, err error) string {
	var ignored *vcs.IgnoredError
	switch {
	case errors.As(err, &ignored):
		return ignored.Error()
	case err != nil:
		return "error: " + err.Error()
	case e.Kind == vcs.EventPush:
		return fmt.Sprintf("push %s: %s to %s", e.Push.Branch, e.Push.Before, e.Push.After)
	case e.Kind == vcs.EventQueue:
		return fmt.Sprintf("queue %s: %s on %s", e.Queue.Branch, e.Queue.Head, e.Queue.Base)
	case e.Kind == vcs.EventStatus:
		return fmt.Sprintf("status of %s %s", e.SHA, e.Action)
	}
	return fmt.Sprintf("%s #%d %s", e.Kind, e.Number, e.Action)
}
