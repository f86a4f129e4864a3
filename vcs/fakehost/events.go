package fakehost

import "maps"

// emitPull sends the pull_request webhook of an action.
func (s *Server) emitPull(p *pull, action string, u *user, extra object) {
	if s.options.GitLab {
		s.gitlabPull(p, action, u, extra)
		return
	}
	o := object{"action": action, "number": p.number, "pull_request": s.fullPullJSON(p, p.unknown == 0)}
	maps.Copy(o, extra)
	s.emit("pull_request", p.repo, o, u)
}

func (s *Server) emitComment(c *comment, action string, u *user, extra object) {
	p := c.pull
	if s.options.GitLab {
		s.gitlabComment(c, action, u)
		return
	}
	issue := s.issueJSON(p.repo, p.id, p.number, p.title, p.state, s.pullURL(p), p.author, stamp(p.created), stamp(p.updated))
	at, _ := s.pullJSON(p)["url"].(string)
	issue["comments"], issue["draft"], issue["closed_at"] = len(p.comments), p.draft, stamp(p.closedAt)
	issue["pull_request"] = object{
		"url": at, "html_url": s.pullURL(p), "diff_url": s.pullURL(p) + ".diff", "patch_url": s.pullURL(p) + ".patch", "merged_at": stamp(p.mergedAt),
	}
	o := object{"action": action, "comment": s.commentJSON(c), "issue": issue}
	maps.Copy(o, extra)
	s.emit("issue_comment", p.repo, o, u)
}

// emitReview writes the state in lower case: webhooks do, the API does not.
func (s *Server) emitReview(p *pull, w *review, action string, u *user, extra object) {
	o := object{"action": action, "review": s.reviewJSON(p, w, key(string(w.state))), "pull_request": s.pullJSON(p)}
	maps.Copy(o, extra)
	s.emit("pull_request_review", p.repo, o, u)
}

func (s *Server) pushPayload(r *repo, u *user, branch, before, after string) object {
	return object{
		"ref": "refs/heads/" + branch, "before": before, "after": after, "created": before == zero, "deleted": after == zero, "forced": false,
		"base_ref": nil, "pusher": object{"name": u.Login, "email": u.Email}, "commits": []object{}, "head_commit": nil,
		"compare": s.URL + "/" + r.name + "/compare/" + before + "..." + after,
	}
}

func (s *Server) statusPayload(r *repo, sha string, st *status) object {
	o := s.with(s.statusJSON(r, sha, st), object{"sha": sha, "name": r.name, "branches": []object{}})
	if commit, err := s.log(r, "-1", sha); err == nil && len(commit) > 0 {
		o["commit"] = s.commitJSON(r, commit[0])
	}
	return o
}
