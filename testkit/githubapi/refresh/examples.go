package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// examples says which published payloads vcs/github is tested with: event, action, and which of those there are.
var examples = []struct {
	event, action string
	index         int
	file          string
}{
	{"issue_comment", "created", 0, "issue_comment.created"},
	{"issue_comment", "edited", 0, "issue_comment.edited"},
	{"issue_comment", "deleted", 0, "issue_comment.deleted"},
	{"pull_request", "opened", 0, "pull_request.opened"},
	{"pull_request", "synchronize", 0, "pull_request.synchronize"},
	{"pull_request", "closed", 0, "pull_request.closed"},
	{"pull_request", "reopened", 0, "pull_request.reopened"},
	{"pull_request", "ready_for_review", 0, "pull_request.ready_for_review"},
	{"pull_request", "converted_to_draft", 0, "pull_request.converted_to_draft"},
	{"pull_request", "labeled", 0, "pull_request.labeled"},
	{"pull_request_review", "submitted", 0, "pull_request_review.submitted"},
	{"pull_request_review", "dismissed", 0, "pull_request_review.dismissed"},
	{"push", "", 0, "push.tag"},
	{"push", "", 1, "push.tag_deleted"},
	{"push", "", 5, "push.branch"},
	{"status", "", 0, "status"},
	{"check_run", "created", 0, "check_run.created"},
	{"check_run", "completed", 0, "check_run.completed"},
	{"check_run", "rerequested", 0, "check_run.rerequested"},
	{"check_suite", "completed", 0, "check_suite.completed"},
	{"check_suite", "requested", 0, "check_suite.requested"},
	{"merge_group", "checks_requested", 0, "merge_group.checks_requested"},
	{"ping", "", 0, "ping"},
}

// writeExamples writes the chosen payloads, one file each, and says where they are from.
func writeExamples(raw []byte) error {
	var all []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("read examples: %w", err)
	}
	const dir = "../../vcs/github/testdata/examples/"
	for _, want := range examples {
		var found json.RawMessage
		n := 0
		for _, event := range all {
			for _, one := range event.Examples {
				var head struct {
					Action string `json:"action"`
				}
				if event.Name != want.event || json.Unmarshal(one, &head) != nil || head.Action != want.action {
					continue
				}
				if n == want.index {
					found = one
				}
				n++
			}
		}
		if found == nil {
			return fmt.Errorf("no example %d of %s %s", want.index, want.event, want.action)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, found, "", " "); err != nil {
			return fmt.Errorf("write %s: %w", want.file, err)
		}
		b.WriteByte('\n')
		if err := write(dir+want.file+".json", b.Bytes()); err != nil {
			return err
		}
	}
	return write(dir+"README.md", []byte("Payloads that GitHub's users contributed to the npm package `"+examplesPackage+
		"` (MIT licence, <https://github.com/octokit/webhooks>),\nchosen and written here by `go generate ./testkit/githubapi`.\n"))
}
