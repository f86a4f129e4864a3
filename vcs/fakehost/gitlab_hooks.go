package fakehost

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// spaced writes a time as GitLab's webhooks do; a zero time is null.
func spaced(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// gitlabHeaders are what comes with a delivery. A secret of the form whsec_… signs, as Standard Webhooks has it; any other is sent along.
func (s *Server) gitlabHeaders(h *hook, d Delivery) map[string]string {
	headers := map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitLab/18.5.0", "X-Gitlab-Event": d.Event, "Idempotency-Key": d.ID,
		"X-Gitlab-Event-UUID": guid(), "X-Gitlab-Webhook-UUID": "hook-" + strconv.FormatInt(h.id, 10), "X-Gitlab-Instance": s.URL,
	}
	encoded, signs := strings.CutPrefix(h.secret, "whsec_")
	if !signs {
		headers["X-Gitlab-Token"] = h.secret
		return headers
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return headers
	}
	at := strconv.FormatInt(s.now().Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(d.ID + "." + at + "."))
	mac.Write(d.Body)
	headers["Webhook-Id"], headers["Webhook-Timestamp"] = d.ID, at
	headers["Webhook-Signature"] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return headers
}

// gitlabActions are GitLab's words for what happens to a pull request, where it has one of its own.
var gitlabActions = map[string]string{"opened": "open", "reopened": "reopen", "closed": "close"}

// gitlabPull tells of a merge request. extra is what GitHub would tell besides, or the changes as GitLab says them.
func (s *Server) gitlabPull(p *pull, action string, u *user, extra object) {
	o := s.gitlabPullJSON(p)
	for _, name := range []string{"author", "merged_by", "merge_user", "web_url", "references", "sha", "labels", "user_notes_count"} {
		delete(o, name) // deliveries say these otherwise or not at all
	}
	o["author_id"], o["url"], o["last_commit"] = p.author.ID, s.gitlabPullURL(p), object{"id": p.headSHA}
	o["created_at"], o["updated_at"], o["action"] = spaced(p.created), spaced(p.updated), action
	if word := gitlabActions[action]; word != "" {
		o["action"] = word
	}
	if action == "closed" && p.mergedBy != nil {
		o["action"] = "merge"
	}
	changes := object{"updated_at": object{"previous": nil, "current": spaced(p.updated)}}
	given, _ := extra["changes"].(object)
	for name, change := range given {
		if name == "base" || name == "body" {
			name = map[string]string{"base": "target_branch", "body": "description"}[name]
			change = object{"previous": "", "current": o[name]}
		}
		changes[name] = change
	}
	switch action {
	case "synchronize":
		o["oldrev"] = extra["before"]
		o["action"] = "update"
	case "converted_to_draft", "ready_for_review":
		changes["draft"] = object{"previous": !p.draft, "current": p.draft}
		changes["title"] = object{"previous": p.title, "current": gitlabTitle(p)}
		o["action"] = "update"
	case "labeled":
		changes["labels"] = object{"previous": []object{}, "current": []object{}}
		o["action"] = "update"
	case "edited":
		o["action"] = "update"
	}
	word, _ := o["action"].(string)
	s.post("Merge Request Hook", word, p.repo, object{
		"object_kind": "merge_request", "event_type": "merge_request", "user": s.gitlabUser(u), "project": s.gitlabRepoJSON(p.repo),
		"object_attributes": o, "changes": changes, "labels": []object{}, "reviewers": []object{},
	})
}

// gitlabComment tells of a comment that was written or changed; GitLab says nothing of a deleted one.
func (s *Server) gitlabComment(c *comment, action string, u *user) {
	word := map[string]string{"created": "create", "edited": "update"}[action]
	if word == "" {
		return
	}
	s.post("Note Hook", word, c.pull.repo, s.gitlabNoteHook(c.pull.repo, u, object{
		"id": c.id, "note": c.body, noteOn: "MergeRequest", "author_id": c.author.ID, "action": word,
		"created_at": spaced(c.created), "updated_at": spaced(c.updated), "system": false, "project_id": c.pull.repo.id, "type": nil,
	}, "merge_request", object{"id": c.pull.id, "iid": c.pull.number, "state": gitlabState(c.pull), "title": gitlabTitle(c.pull)}))
}

func (s *Server) gitlabNoteHook(r *repo, u *user, note object, of string, thing object) object {
	return object{
		"object_kind": "note", "event_type": "note", "user": s.gitlabUser(u), "project_id": r.id, "project": s.gitlabRepoJSON(r),
		"object_attributes": note, of: thing,
	}
}

// gitlabIssueComment tells of a comment on an issue.
func (s *Server) gitlabIssueComment(r *repo, u *user, body string) {
	if !s.options.GitLab {
		return
	}
	now := spaced(s.now())
	s.post("Note Hook", "create", r, s.gitlabNoteHook(r, u, object{
		"id": s.id(), "note": body, noteOn: "Issue", "author_id": u.ID, "action": "create", "created_at": now, "updated_at": now, "system": false,
	}, "issue", object{"id": s.id(), "iid": len(r.numbered), "state": "opened"}))
}

// gitlabPush tells of a branch that was made, moved or deleted.
func (s *Server) gitlabPush(r *repo, u *user, branch, before, after string) {
	if !s.options.GitLab {
		return
	}
	s.post("Push Hook", "", r, object{
		"object_kind": "push", "event_name": "push", "before": before, "after": after, "ref": "refs/heads/" + branch, "checkout_sha": orNull(after),
		"user_id": u.ID, "user_name": u.Name, "user_username": u.Login, "user_email": "", "project_id": r.id, "project": s.gitlabRepoJSON(r),
		"commits": []object{}, "total_commits_count": 0,
	})
}
