package fakehost

import "fmt"

// runJSON is a check run of an app.
func (s *Server) runJSON(r *repo, c *checkRun, sha string) object {
	var conclusion, completed any
	if c.Status == "completed" {
		conclusion, completed = c.Conclusion, stamp(c.at)
	}
	at := fmt.Sprintf("%s/repos/%s/check-runs/%d", s.api(), r.name, c.id)
	page := fmt.Sprintf("%s/%s/runs/%d", s.URL, r.name, c.id)
	return object{
		"id": c.id, "node_id": node("CR", c.id), "name": c.Name, "head_sha": sha, "external_id": "", "url": at, "html_url": page,
		"details_url": page, "status": c.Status, "conclusion": conclusion, "started_at": stamp(c.at), "completed_at": completed,
		"check_suite": object{"id": c.id}, "app": s.appJSON(r, c.App), "pull_requests": []object{},
		"output": object{"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": at + "/annotations"},
	}
}

func (s *Server) appJSON(r *repo, id int64) object {
	name := fmt.Sprintf("app-%d", id)
	return object{
		"id": id, "node_id": node("A", id), "slug": name, "name": name, "owner": s.organizationJSON(r), "description": nil,
		"external_url": "https://example.com/" + name, "html_url": s.URL + "/apps/" + name, "events": []string{"check_run"},
		"permissions": object{"checks": "write", "metadata": "read"}, "created_at": stamp(r.created), "updated_at": stamp(r.created),
	}
}

// issueJSON is an issue; a pull request is one too.
func (s *Server) issueJSON(r *repo, id int64, number int, title, state, page string, author *user, created, updated any) object {
	at := fmt.Sprintf("%s/repos/%s/issues/%d", s.api(), r.name, number)
	reactions := s.rollup(nil)
	reactions["url"] = at + "/reactions"
	return object{
		"id": id, "node_id": node("I", id), "number": number, "title": title, "body": nil, "state": state, "state_reason": nil, "locked": false,
		"active_lock_reason": nil, "user": s.userJSON(author), "assignee": nil, "assignees": []object{}, "labels": []object{}, "milestone": nil,
		"author_association": "CONTRIBUTOR", "comments": 0, "reactions": reactions, "created_at": created, "updated_at": updated,
		"closed_at": nil, "html_url": page, "url": at, "repository_url": s.api() + "/repos/" + r.name, "comments_url": at + "/comments",
		"events_url": at + "/events", "labels_url": at + "/labels{/name}", "timeline_url": at + "/timeline", "performed_via_github_app": nil,
	}
}

// simpleCommitJSON is a commit as webhooks show the one they are about.
func simpleCommitJSON(c logEntry) object {
	return object{
		"id": c.sha, "tree_id": c.tree, "message": c.message, "timestamp": c.committed,
		"author":    object{"name": c.authorName, "email": c.authorEmail},
		"committer": object{"name": c.committerName, "email": c.committerEmail},
	}
}
