package fakehost

import (
	"fmt"
	"strconv"
	"strings"
)

func (s *Server) pullURL(p *pull) string {
	return fmt.Sprintf("%s/%s/pull/%d", s.URL, p.repo.name, p.number)
}

func (s *Server) branchJSON(r *repo, branch, sha string) object {
	owner, _, _ := strings.Cut(r.name, "/")
	o := object{"label": owner + ":" + branch, "ref": branch, "sha": sha, "user": s.ownerJSON(r), "repo": nil}
	if s.repos[key(r.name)] == r { // else the fork was deleted
		o["repo"] = s.repoJSON(r)
	}
	return o
}

// pullJSON is a pull request as lists show it: without merged, mergeable and the counts.
func (s *Server) pullJSON(p *pull) object {
	labels := []object{}
	for i, l := range p.labels {
		labels = append(labels, s.labelJSON(p.repo, int64(i+1), l))
	}
	repo := s.api() + "/repos/" + p.repo.name
	at, issue := fmt.Sprintf("%s/pulls/%d", repo, p.number), fmt.Sprintf("%s/issues/%d", repo, p.number)
	links := map[string]string{
		"self": at, "html": s.pullURL(p), "issue": issue, "comments": issue + "/comments", "review_comments": at + "/comments",
		"review_comment": repo + "/pulls/comments{/number}", "commits": at + "/commits", "statuses": repo + "/statuses/" + p.headSHA,
	}
	o := object{
		"id": p.id, "node_id": node("PR", p.id), "number": p.number, "state": p.state, "locked": false, "title": p.title, "body": text(p.body),
		"user": s.userJSON(p.author), "draft": p.draft, "html_url": s.pullURL(p), "diff_url": s.pullURL(p) + ".diff",
		"patch_url": s.pullURL(p) + ".patch", "url": at, "issue_url": issue, "labels": labels, "merge_commit_sha": text(p.mergeSHA),
		"created_at": stamp(p.created), "updated_at": stamp(p.updated), "closed_at": stamp(p.closedAt), "merged_at": stamp(p.mergedAt),
		"assignee": nil, "assignees": []object{}, "requested_reviewers": []object{}, "requested_teams": []object{}, "milestone": nil,
		"author_association": "CONTRIBUTOR", "auto_merge": nil, "active_lock_reason": nil,
		"head": s.branchJSON(p.headRepo, p.head, p.headSHA), "base": s.branchJSON(p.repo, p.base, p.baseSHA), "_links": linksJSON(links),
	}
	for _, name := range []string{"comments", "review_comments", "review_comment", "commits", "statuses"} {
		o[name+"_url"] = links[name]
	}
	return o
}

func linksJSON(links map[string]string) object {
	o := object{}
	for name, address := range links {
		o[name] = object{"href": address}
	}
	return o
}

func (s *Server) labelJSON(r *repo, id int64, name string) object {
	return object{
		"id": id, "node_id": node("LA", id), "url": s.api() + "/repos/" + r.name + "/labels/" + name, "name": name, "color": "ededed",
		"default": false, "description": nil,
	}
}

// fullPullJSON adds what only the pull request's own address and its webhooks tell. known says whether mergeability has been computed.
func (s *Server) fullPullJSON(p *pull, known bool) object {
	o := s.with(s.pullJSON(p), object{
		"merged": p.mergedBy != nil, "merged_by": s.userJSON(p.mergedBy), "mergeable": nil, "mergeable_state": "unknown", "rebaseable": nil,
		"comments": len(p.comments), "review_comments": 0, "maintainer_can_modify": false, "commits": 0,
		"additions": 0, "deletions": 0, "changed_files": 0,
	})
	if known && p.state == open {
		state := s.mergeableState(p)
		o["mergeable"], o["mergeable_state"] = state != "dirty", state
	}
	if commits, err := s.pullLog(p); err == nil {
		o["commits"] = len(commits)
	}
	s.countChanges(p, o)
	return o
}

// countChanges fills in how much the pull request changes.
func (s *Server) countChanges(p *pull, o object) {
	out, err := s.fixed(p.repo, "diff", "--numstat", p.baseSHA+"..."+p.headSHA)
	if err != nil {
		return // unrelated histories: nothing to count
	}
	files, added, deleted := 0, 0, 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		a, _ := strconv.Atoi(f[0]) // "-" for binary files
		d, _ := strconv.Atoi(f[1])
		files, added, deleted = files+1, added+a, deleted+d
	}
	o["changed_files"], o["additions"], o["deletions"] = files, added, deleted
}

// pullLog lists the pull request's own commits, oldest first.
func (s *Server) pullLog(p *pull) ([]logEntry, error) { return s.log(p.repo, p.baseSHA+".."+p.headSHA) }

func (s *Server) commentJSON(c *comment) object {
	return s.noteJSON(c.pull.repo, c.id, c.pull.number, s.pullURL(c.pull), c.author, c.body, stamp(c.created), stamp(c.updated), s.rollup(c))
}

// noteJSON is a comment on a pull request or an issue.
func (s *Server) noteJSON(r *repo, id int64, number int, page string, author *user, body string, created, updated any, reactions object) object {
	at := fmt.Sprintf("%s/repos/%s/issues/comments/%d", s.api(), r.name, id)
	reactions["url"] = at + "/reactions"
	return object{
		"id": id, "node_id": node("IC", id), "user": s.userJSON(author), "body": body, "created_at": created, "updated_at": updated,
		"html_url": fmt.Sprintf("%s#issuecomment-%d", page, id), "url": at, "performed_via_github_app": nil, "reactions": reactions,
		"issue_url": fmt.Sprintf("%s/repos/%s/issues/%d", s.api(), r.name, number), "author_association": "CONTRIBUTOR",
	}
}

// rollup counts the reactions of a comment.
func (s *Server) rollup(c *comment) object {
	o := object{"total_count": 0}
	for _, kind := range reactions {
		o[kind] = 0
	}
	if c == nil {
		return o
	}
	count := map[string]int{}
	for _, r := range c.reactions {
		count[r.content]++
		o[r.content] = count[r.content]
	}
	o["total_count"] = len(c.reactions)
	return o
}

func (s *Server) reviewJSON(p *pull, w *review, state string) object {
	page, at := fmt.Sprintf("%s#pullrequestreview-%d", s.pullURL(p), w.id), fmt.Sprintf("%s/repos/%s/pulls/%d", s.api(), p.repo.name, p.number)
	return object{
		"id": w.id, "node_id": node("PRR", w.id), "user": s.userJSON(w.author), "body": w.body, "state": state, "commit_id": w.commit,
		"submitted_at": stamp(w.submitted), "html_url": page, "pull_request_url": at, "author_association": "CONTRIBUTOR",
		"_links": linksJSON(map[string]string{"html": page, "pull_request": at}),
	}
}

func (s *Server) statusJSON(r *repo, sha string, st *status) object {
	return object{
		"id": st.id, "node_id": node("SC", st.id), "url": fmt.Sprintf("%s/repos/%s/statuses/%s", s.api(), r.name, sha), "state": st.State,
		"context": st.Context, "description": text(st.Description), "target_url": text(st.URL), "avatar_url": nil,
		"creator": s.userJSON(st.creator), "created_at": stamp(st.created), "updated_at": stamp(st.created),
	}
}

// commitJSON matches authors by e-mail, as GitHub does.
func (s *Server) commitJSON(r *repo, c logEntry) object {
	at := s.api() + "/repos/" + r.name
	parents := []object{}
	for _, p := range c.parents {
		parents = append(parents, object{"sha": p, "url": at + "/commits/" + p, "html_url": s.URL + "/" + r.name + "/commit/" + p})
	}
	return object{
		"sha": c.sha, "node_id": "C_" + c.sha, "url": at + "/commits/" + c.sha, "html_url": s.URL + "/" + r.name + "/commit/" + c.sha,
		"comments_url": at + "/commits/" + c.sha + "/comments", "parents": parents,
		"author": s.userJSON(s.byEmail(c.authorEmail)), "committer": s.userJSON(s.byEmail(c.committerEmail)),
		"commit": object{
			"message": c.message, "url": at + "/git/commits/" + c.sha, "comment_count": 0, "verification": unverified(),
			"tree":      object{"sha": c.tree, "url": at + "/git/trees/" + c.tree},
			"author":    object{"name": c.authorName, "email": c.authorEmail, "date": c.authored},
			"committer": object{"name": c.committerName, "email": c.committerEmail, "date": c.committed},
		},
	}
}

// gitCommitJSON is the commit as git has it.
func (s *Server) gitCommitJSON(r *repo, c logEntry) object {
	full := s.commitJSON(r, c)
	o, _ := full["commit"].(object)
	delete(o, "comment_count")
	return s.with(o, object{"sha": c.sha, "node_id": full["node_id"], "html_url": full["html_url"], "parents": full["parents"]})
}

func unverified() object {
	return object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
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
