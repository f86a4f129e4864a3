package fakehost

import "maps"

// emitPull sends the pull_request webhook of an action.
func (s *Server) emitPull(p *pull, action string, u *user, extra object) {
	o := object{"action": action, "number": p.number, "pull_request": s.fullPullJSON(p, p.unknown == 0)}
	maps.Copy(o, extra)
	s.emit("pull_request", p.repo, o, u)
}

func (s *Server) emitComment(c *comment, action string, u *user, extra object) {
	p := c.pull
	o := object{"action": action, "comment": s.commentJSON(c), "issue": object{
		"id": p.id, "number": p.number, "title": p.title, "state": p.state, "user": userJSON(p.author), "html_url": s.pullURL(p),
		"pull_request": object{"url": s.pullJSON(p)["url"], "html_url": s.pullURL(p), "merged_at": stamp(p.mergedAt)},
		"created_at":   stamp(p.created), "updated_at": stamp(p.updated), "comments": len(p.comments), "draft": p.draft,
	}}
	maps.Copy(o, extra)
	s.emit("issue_comment", p.repo, o, u)
}

// emitReview writes the state in lower case: webhooks do, the API does not.
func (s *Server) emitReview(p *pull, w *review, action string, u *user, extra object) {
	o := object{"action": action, "review": s.reviewJSON(p, w, key(string(w.state))), "pull_request": s.pullJSON(p)}
	maps.Copy(o, extra)
	s.emit("pull_request_review", p.repo, o, u)
}

func pushPayload(r *repo, u *user, branch, before, after string) object {
	return object{
		"ref": "refs/heads/" + branch, "before": before, "after": after, "created": before == zero, "deleted": after == zero, "forced": false,
		"base_ref": nil, "pusher": object{"name": u.Login, "email": u.Email}, "commits": []object{}, "head_commit": nil,
		"compare": r.name + "/compare/" + before + "..." + after,
	}
}

func (s *Server) statusPayload(r *repo, sha string, st *status) object {
	o := s.statusJSON(r, sha, st)
	o["sha"], o["name"], o["branches"], o["commit"] = sha, r.name, []object{}, object{"sha": sha}
	return o
}
