package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
)

// operations are the calls that vcs/github makes or vcs/fakehost answers, with the parameters named as GitHub's description does.
var operations = []string{
	"get /user",
	"get /user/repos",
	"get /orgs/{org}/teams/{team_slug}/memberships/{username}",
	"get /repos/{owner}/{repo}",
	"get /repos/{owner}/{repo}/collaborators/{username}/permission",
	"get /repos/{owner}/{repo}/branches/{branch}",
	"get /repos/{owner}/{repo}/rules/branches/{branch}",
	"get /repos/{owner}/{repo}/git/ref/{ref}",
	"get /repos/{owner}/{repo}/git/commits/{commit_sha}",
	"get /repos/{owner}/{repo}/compare/{basehead}",
	"post /repos/{owner}/{repo}/statuses/{sha}",
	"get /repos/{owner}/{repo}/pulls",
	"get /repos/{owner}/{repo}/pulls/{pull_number}",
	"get /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
	"get /repos/{owner}/{repo}/pulls/{pull_number}/commits",
	"get /repos/{owner}/{repo}/issues/{issue_number}/comments",
	"post /repos/{owner}/{repo}/issues/{issue_number}/comments",
	"get /repos/{owner}/{repo}/issues/comments/{comment_id}",
	"patch /repos/{owner}/{repo}/issues/comments/{comment_id}",
	"post /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
}

// webhooks are the deliveries that vcs/fakehost sends.
var webhooks = []string{
	"ping", "push", "status", "issues-opened", "issue-comment-created", "issue-comment-edited", "issue-comment-deleted",
	"check-run-created", "check-run-completed", "merge-group-checks-requested", "merge-group-destroyed",
	"pull-request-opened", "pull-request-edited", "pull-request-synchronize", "pull-request-closed", "pull-request-reopened",
	"pull-request-converted-to-draft", "pull-request-ready-for-review", "pull-request-labeled", "pull-request-enqueued",
	"pull-request-dequeued", "pull-request-review-submitted", "pull-request-review-edited", "pull-request-review-dismissed",
}

// writeREST keeps these operations, the webhooks, and what they refer to, without the prose.
func writeREST(raw []byte) error {
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("read description: %w", err)
	}
	paths, hooks := map[string]any{}, map[string]any{}
	for _, op := range operations {
		method, path, _ := strings.Cut(op, " ")
		found, ok := dig(all, "paths", path, method)
		if !ok {
			return fmt.Errorf("no operation %s", op)
		}
		item, _ := paths[path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[path] = item
		}
		item[method] = found
	}
	for _, name := range webhooks {
		found, ok := dig(all, "x-webhooks", name)
		if !ok {
			return fmt.Errorf("no webhook %s", name)
		}
		hooks[name] = found
	}
	out := map[string]any{
		"openapi": all["openapi"], "info": all["info"], "paths": clean(paths), "x-webhooks": clean(hooks), "components": map[string]any{},
	}
	for missing := true; missing; {
		missing = false
		for ref := range references(out, map[string]bool{}) {
			at := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
			if _, have := dig(out, at...); have {
				continue
			}
			found, ok := dig(all, at...)
			if !ok || len(at) != 3 {
				return fmt.Errorf("nothing at %s", ref)
			}
			put(out, clean(found), at...)
			missing = true
		}
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	if err := json.NewEncoder(z).Encode(out); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	return write("testdata/rest.json.gz", b.Bytes())
}

func dig(from any, at ...string) (any, bool) {
	for _, name := range at {
		o, _ := from.(map[string]any)
		next, ok := o[name]
		if !ok {
			return nil, false
		}
		from = next
	}
	return from, true
}

func put(into map[string]any, value any, at ...string) {
	for _, name := range at[:len(at)-1] {
		next, _ := into[name].(map[string]any)
		if next == nil {
			next = map[string]any{}
			into[name] = next
		}
		into = next
	}
	into[at[len(at)-1]] = value
}

// references collects every $ref below v.
func references(v any, into map[string]bool) map[string]bool {
	switch v := v.(type) {
	case map[string]any:
		for name, one := range v {
			if ref, ok := one.(string); ok && name == "$ref" {
				into[ref] = true
			} else {
				references(one, into)
			}
		}
	case []any:
		for _, one := range v {
			references(one, into)
		}
	}
	return into
}

// clean copies without examples, prose and extensions but the one that lets a parameter span slashes. Below "properties" the names are
// GitHub's own and all stay.
func clean(v any) any { return cleaned(v, false) }

func cleaned(v any, names bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, one := range v {
			if !names && (name == "examples" || name == "example" || name == "externalDocs" || name == "tags" || name == "title" ||
				name == "deprecated" || strings.HasPrefix(name, "x-") && name != "x-multi-segment") {
				continue
			}
			if text, prose := one.(string); prose && !names && (name == "description" || name == "summary") {
				if text == "" || name == "summary" {
					continue
				}
				one = "." // a response must have one
			}
			out[name] = cleaned(one, !names && (name == "properties" || name == "schemas"))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = cleaned(one, false)
		}
		return out
	}
	return v
}
