package fakehost

import (
	"fmt"
	"strings"
	"time"
)

// object is one JSON object in GitHub's words.
type object = map[string]any

// stamp writes a time as GitHub does, in whole seconds; a zero time is null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func actionsBot() *user { return &user{User: User{ID: 41898282, Login: "github-actions[bot]"}} }

func (s *Server) api() string { return s.URL + "/api/v3" }

func userJSON(u *user) any {
	if u == nil {
		return nil
	}
	kind := "User"
	if u.bot() {
		kind = "Bot"
	}
	return object{"id": u.ID, "node_id": fmt.Sprintf("U_%d", u.ID), "login": u.Login, "type": kind, "site_admin": false}
}

// ownerJSON is the account before the slash, which need not be a user of ours.
func (s *Server) ownerJSON(r *repo) object {
	owner, _, _ := strings.Cut(r.name, "/")
	if u := s.users[key(owner)]; u != nil {
		return object{"id": u.ID, "login": u.Login, "type": "User"}
	}
	return object{"id": r.id + 1_000_000, "login": owner, "type": "Organization"}
}

func (s *Server) repoJSON(r *repo) object {
	_, short, _ := strings.Cut(r.name, "/")
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	return object{
		"id": r.id, "node_id": fmt.Sprintf("R_%d", r.id), "name": short, "full_name": r.name, "owner": s.ownerJSON(r), "private": r.private,
		"visibility": visibility, "fork": r.parent != nil, "default_branch": r.branch, "html_url": s.URL + "/" + r.name,
		"url": s.api() + "/repos/" + r.name, "clone_url": s.Clone(r.name), "archived": false, "disabled": false,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(r.created),
	}
}

func (s *Server) pullURL(p *pull) string {
	return fmt.Sprintf("%s/%s/pull/%d", s.URL, p.repo.name, p.number)
}

func (s *Server) branchJSON(r *repo, branch, sha string) object {
	if r == nil {
		return object{"label": "unknown:" + branch, "ref": branch, "sha": sha, "user": nil, "repo": nil}
	}
	owner, _, _ := strings.Cut(r.name, "/")
	return object{"label": owner + ":" + branch, "ref": branch, "sha": sha, "user": s.ownerJSON(r), "repo": s.repoJSON(r)}
}

// pullJSON is a pull request as lists show it: without merged, mergeable and the counts.
func (s *Server) pullJSON(p *pull) object {
	labels := []object{}
	for _, l := range p.labels {
		labels = append(labels, object{"name": l})
	}
	headRepo := p.headRepo
	if headRepo != nil && s.repos[key(headRepo.name)] != headRepo {
		headRepo = nil // the fork was deleted
	}
	var mergeSHA any
	if p.mergeSHA != "" {
		mergeSHA = p.mergeSHA
	}
	at := fmt.Sprintf("%s/repos/%s/", s.api(), p.repo.name)
	return object{
		"id": p.id, "number": p.number, "state": p.state, "locked": false, "title": p.title, "body": p.body, "user": userJSON(p.author),
		"draft": p.draft, "html_url": s.pullURL(p), "url": fmt.Sprintf("%spulls/%d", at, p.number),
		"issue_url": fmt.Sprintf("%sissues/%d", at, p.number), "labels": labels, "merge_commit_sha": mergeSHA, "created_at": stamp(p.created),
		"updated_at": stamp(p.updated), "closed_at": stamp(p.closedAt), "merged_at": stamp(p.mergedAt), "assignees": []object{},
		"requested_reviewers": []object{}, "author_association": "CONTRIBUTOR",
		"head": s.branchJSON(headRepo, p.head, p.headSHA), "base": s.branchJSON(p.repo, p.base, p.baseSHA),
	}
}

// fullPullJSON adds what only the pull request's own address and its webhooks tell. known says whether mergeability has been computed.
func (s *Server) fullPullJSON(p *pull, known bool) object {
	o := s.pullJSON(p)
	o["merged"], o["merged_by"], o["mergeable"], o["mergeable_state"] = p.mergedBy != nil, userJSON(p.mergedBy), nil, "unknown"
	if known && p.state == open {
		state := s.mergeableState(p)
		o["mergeable"], o["mergeable_state"] = state != "dirty", state
	}
	commits, err := s.pullLog(p)
	if err == nil {
		o["commits"] = len(commits)
	}
	o["comments"], o["review_comments"] = len(p.comments), 0
	return o
}

// pullLog lists the pull request's own commits, oldest first.
func (s *Server) pullLog(p *pull) ([]logEntry, error) { return s.log(p.repo, p.baseSHA+".."+p.headSHA) }

func (s *Server) commentJSON(c *comment) object {
	return object{
		"id": c.id, "node_id": fmt.Sprintf("IC_%d", c.id), "user": userJSON(c.author), "body": c.body, "created_at": stamp(c.created),
		"updated_at": stamp(c.updated), "html_url": fmt.Sprintf("%s#issuecomment-%d", s.pullURL(c.pull), c.id),
		"url":       fmt.Sprintf("%s/repos/%s/issues/comments/%d", s.api(), c.pull.repo.name, c.id),
		"issue_url": fmt.Sprintf("%s/repos/%s/issues/%d", s.api(), c.pull.repo.name, c.pull.number), "author_association": "CONTRIBUTOR",
	}
}

func (s *Server) reviewJSON(p *pull, w *review, state string) object {
	return object{
		"id": w.id, "node_id": fmt.Sprintf("PRR_%d", w.id), "user": userJSON(w.author), "body": w.body, "state": state, "commit_id": w.commit,
		"submitted_at": stamp(w.submitted), "html_url": fmt.Sprintf("%s#pullrequestreview-%d", s.pullURL(p), w.id),
		"pull_request_url": fmt.Sprintf("%s/repos/%s/pulls/%d", s.api(), p.repo.name, p.number), "author_association": "CONTRIBUTOR",
	}
}

func (s *Server) statusJSON(r *repo, sha string, st *status) object {
	var target any
	if st.URL != "" {
		target = st.URL
	}
	return object{
		"id": st.id, "url": fmt.Sprintf("%s/repos/%s/statuses/%s", s.api(), r.name, sha), "state": st.State, "context": st.Context,
		"description": st.Description, "target_url": target, "created_at": stamp(st.created), "updated_at": stamp(st.created),
	}
}

func runJSON(c *checkRun, sha string) object {
	var conclusion, completed any
	if c.Status == "completed" {
		conclusion, completed = c.Conclusion, stamp(c.at)
	}
	return object{
		"id": c.id, "name": c.Name, "head_sha": sha, "status": c.Status, "conclusion": conclusion, "started_at": stamp(c.at),
		"completed_at": completed, "app": object{"id": c.App, "slug": "app"}, "pull_requests": []object{},
	}
}

// commitJSON matches authors by e-mail, as GitHub does.
func (s *Server) commitJSON(r *repo, c logEntry) object {
	parents := []object{}
	for _, p := range c.parents {
		parents = append(parents, object{"sha": p})
	}
	return object{
		"sha": c.sha, "url": fmt.Sprintf("%s/repos/%s/commits/%s", s.api(), r.name, c.sha), "parents": parents,
		"author": userJSON(s.byEmail(c.authorEmail)), "committer": userJSON(s.byEmail(c.committerEmail)),
		"commit": object{
			"message":   c.message,
			"author":    object{"name": c.authorName, "email": c.authorEmail, "date": c.authored},
			"committer": object{"name": c.committerName, "email": c.committerEmail, "date": c.committed},
		},
	}
}

func (s *Server) byEmail(email string) *user {
	if email == webFlow.Email {
		return &user{User: webFlow}
	}
	for _, u := range s.users {
		if strings.EqualFold(u.Email, email) {
			return u
		}
	}
	return nil
}
