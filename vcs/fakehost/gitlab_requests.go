package fakehost

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func byID(list []object) {
	slices.SortFunc(list, func(a, b object) int {
		x, _ := a["id"].(int64)
		y, _ := b["id"].(int64)
		return cmp.Compare(x, y)
	})
}

// gitlabPullOf is the merge request of a path.
func (s *Server) gitlabPullOf(c *call) (*pull, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(c.PathValue("number"))
	if err != nil {
		return nil, refuse(400, "merge_request_iid is invalid")
	}
	p, err := r.pull(n)
	if err != nil {
		return nil, refuse(404, "404 Not found")
	}
	return p, nil
}

func (s *Server) gitlabPullURL(p *pull) string {
	return fmt.Sprintf("%s/%s/-/merge_requests/%d", s.URL, p.repo.name, p.number)
}

// gitlabState is GitLab's word for where a merge request is.
func gitlabState(p *pull) string {
	switch {
	case p.mergedBy != nil:
		return "merged"
	case p.state == open:
		return "opened"
	}
	return "closed"
}

// gitlabTitle has the prefix that makes a draft.
func gitlabTitle(p *pull) string {
	if p.draft {
		return "Draft: " + p.title
	}
	return p.title
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) gitlabPullJSON(p *pull) object {
	var source, merge, squash any
	if p.headRepo != nil && s.repos[key(p.headRepo.name)] == p.headRepo {
		source = p.headRepo.id
	}
	switch p.method {
	case Squash:
		squash = orNull(p.mergeSHA)
	case FastForward: // the head is the commit
	default:
		merge = orNull(p.mergeSHA)
	}
	status := s.gitlabMergeStatus(p)
	return object{
		"id": p.id, "iid": p.number, "project_id": p.repo.id, "title": gitlabTitle(p), "description": p.body, "state": gitlabState(p),
		"draft": p.draft, "work_in_progress": p.draft, "author": s.gitlabUser(p.author), "source_project_id": source,
		"target_project_id": p.repo.id, "source_branch": p.head, "target_branch": p.base, "sha": p.headSHA, "merge_commit_sha": merge,
		"squash_commit_sha": squash, "detailed_merge_status": status, "has_conflicts": status == "conflict", "merged_by": s.gitlabUser(p.mergedBy),
		"merge_user": s.gitlabUser(p.mergedBy), "merged_at": fine(p.mergedAt), "closed_at": fine(p.closedAt), "created_at": fine(p.created),
		"updated_at": fine(p.updated), "web_url": s.gitlabPullURL(p), "labels": p.labels, "user_notes_count": len(p.comments),
		"references": object{"full": fmt.Sprintf("%s!%d", p.repo.name, p.number)},
	}
}

// gitlabMergeStatus names the first thing that keeps it from being merged. Pipelines are looked at last.
func (s *Server) gitlabMergeStatus(p *pull) string {
	want := p.repo.protected[p.base]
	approvals, _ := s.reviews(p)
	_, clean := s.mergeTree(p.repo, s.tip(p.repo, p.base), p.headSHA)
	switch {
	case p.state != open:
		return "not_open"
	case p.unknown > 0:
		return "checking"
	case p.draft:
		return "draft_status"
	case approvals < want.Approvals:
		return "not_approved"
	case !clean:
		return "conflict"
	case len(want.Checks) > 0 && !s.pipelinePassed(p):
		if line := s.lines[lineKey(p.repo, p.headSHA)]; line != nil && line.status == "running" {
			return "ci_still_running"
		}
		return "ci_must_pass"
	}
	return "mergeable"
}

// GET /projects/{project}/merge_requests
func (s *Server) gitlabRequests(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	q := c.URL.Query()
	after, _ := time.Parse(time.RFC3339, q.Get("updated_after")) // none: all
	var list []*pull
	for _, p := range r.pulls() {
		if !p.updated.Before(after) && (q.Get("state") == "" || q.Get("state") == "all" || q.Get("state") == gitlabState(p)) {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b *pull) int {
		if q.Get("order_by") == "updated_at" {
			return b.updated.Compare(a.updated)
		}
		return b.created.Compare(a.created)
	})
	out := []object{}
	for _, p := range gitlabPage(c, list) {
		out = append(out, s.gitlabPullJSON(p))
	}
	return http.StatusOK, out, nil
}

// GET /projects/{project}/merge_requests/{number}: asking is what makes GitLab look for conflicts.
func (s *Server) gitlabRequest(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return 0, nil, err
	}
	o := s.gitlabPullJSON(p)
	p.unknown = max(0, p.unknown-1)
	o["diff_refs"] = object{"base_sha": p.baseSHA, "start_sha": p.baseSHA, "head_sha": p.headSHA}
	if line := s.lines[lineKey(p.repo, p.headSHA)]; line != nil {
		o["head_pipeline"] = object{"id": line.id, "sha": p.headSHA, "status": line.status, "ref": line.ref, "yaml_errors": nil}
	}
	return http.StatusOK, o, nil
}

// GET /projects/{project}/repository/commits/{sha}/merge_requests
func (s *Server) gitlabCommitRequests(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for _, p := range r.pulls() {
		if p.shas[c.PathValue("sha")] {
			out = append(out, s.gitlabPullJSON(p))
		}
	}
	return http.StatusOK, gitlabPage(c, out), nil
}

// GET /projects/{project}/merge_requests/{number}/commits: newest first.
func (s *Server) gitlabCommits(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return 0, nil, err
	}
	log, err := s.pullLog(p)
	if err != nil {
		return 0, nil, err
	}
	slices.Reverse(log)
	out := []object{}
	for _, one := range gitlabPage(c, log) {
		out = append(out, object{
			"id": one.sha, "message": one.message, "parent_ids": one.parents, "author_name": one.authorName, "author_email": one.authorEmail,
			"authored_date": one.authored, "committer_name": one.committerName, "committer_email": one.committerEmail, "committed_date": one.committed,
		})
	}
	return http.StatusOK, out, nil
}

// rebaseBranch replays a branch on its base, which moves the branch.
func (s *Server) rebaseBranch(p *pull, u *user, base string) error {
	if p.headRepo != p.repo {
		return refuse(403, "the branch of a fork is not rebased here")
	}
	if s.contains(p.repo, p.headSHA, base) {
		return nil
	}
	before := p.headSHA
	sha, err := s.rebase(p.repo, base, before, u.User)
	if err != nil {
		return err
	}
	if err := s.setRef(p.repo, "refs/heads/"+p.head, sha); err != nil {
		return err
	}
	return s.moved(p.repo, u, p.head, before, sha)
}
