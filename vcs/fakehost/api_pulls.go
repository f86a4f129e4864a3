package fakehost

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// GET /repos/{owner}/{repo}/pulls
func (s *Server) listPulls(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	q := c.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = open
	}
	var list []*pull
	for _, p := range r.pulls() {
		if (state == "all" || p.state == state) && (q.Get("base") == "" || q.Get("base") == p.base) {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b *pull) int {
		if q.Get("sort") == "updated" {
			return a.updated.Compare(b.updated)
		}
		return a.created.Compare(b.created)
	})
	if direction := q.Get("direction"); direction == "desc" || direction == "" && q.Get("sort") != "updated" {
		slices.Reverse(list)
	}
	out := []object{}
	for _, p := range page(s, c, list) {
		out = append(out, s.pullJSON(p))
	}
	return http.StatusOK, out, nil
}

// GET /repos/{owner}/{repo}/pulls/{number}: asking is what makes GitHub compute mergeability.
func (s *Server) getPull(c *call) (int, any, error) {
	p, err := s.pullOf(c)
	if err != nil {
		return 0, nil, err
	}
	known := p.unknown == 0
	if !known {
		p.unknown--
	}
	return http.StatusOK, s.fullPullJSON(p, known), nil
}

// GET /repos/{owner}/{repo}/pulls/{number}/reviews
func (s *Server) listReviews(c *call) (int, any, error) {
	p, err := s.pullOf(c)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for _, w := range page(s, c, p.reviews) {
		out = append(out, s.reviewJSON(p, w, string(w.state)))
	}
	return http.StatusOK, out, nil
}

// GET /repos/{owner}/{repo}/pulls/{number}/commits: the first 250, without a word about the rest.
func (s *Server) listCommits(c *call) (int, any, error) {
	p, err := s.pullOf(c)
	if err != nil {
		return 0, nil, err
	}
	log, err := s.pullLog(p)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for _, one := range page(s, c, log[:min(len(log), 250)]) {
		out = append(out, s.commitJSON(p.repo, one))
	}
	return http.StatusOK, out, nil
}

// listComments lists; since is about the last change.
func (s *Server) listComments(c *call) (int, any, error) {
	p, err := s.pullOf(c)
	if err != nil {
		return 0, nil, err
	}
	list := p.comments
	if since := c.URL.Query().Get("since"); since != "" {
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return 0, nil, refuse(422, "since is not a time")
		}
		list = nil
		for _, one := range p.comments {
			if !one.updated.Truncate(time.Second).Before(at.Truncate(time.Second)) {
				list = append(list, one)
			}
		}
	}
	out := []object{}
	for _, one := range page(s, c, list) {
		out = append(out, s.commentJSON(one))
	}
	return http.StatusOK, out, nil
}

type bodyIn struct {
	Body    string `json:"body"`
	Content string `json:"content"`
}

// POST /repos/{owner}/{repo}/issues/{number}/comments
func (s *Server) postComment(c *call) (int, any, error) {
	p, err := s.pullOf(c)
	if err != nil {
		return 0, nil, err
	}
	var in bodyIn
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	made, err := s.comment(p.repo.name, p.number, c.user.Login, in.Body)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, s.commentJSON(made), nil
}

// commentOf is the comment of the path.
func (s *Server) commentOf(c *call) (*comment, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.PathValue("comment"), 10, 64)
	if err != nil || r.comments[id] == nil {
		return nil, refuse(404, "Not Found")
	}
	return r.comments[id], nil
}

// GET /repos/{owner}/{repo}/issues/{number}/comments, GET /repos/{owner}/{repo}/issues/comments/{comment}: ServeMux cannot tell them apart.
func (s *Server) getIssuePart(c *call) (int, any, error) {
	switch {
	case c.PathValue("number") == "comments":
		c.SetPathValue("comment", c.PathValue("below"))
		return s.getComment(c)
	case c.PathValue("below") == "comments":
		return s.listComments(c)
	}
	return 0, nil, refuse(404, "Not Found")
}

func (s *Server) getComment(c *call) (int, any, error) {
	one, err := s.commentOf(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.commentJSON(one), nil
}

// PATCH /repos/{owner}/{repo}/issues/comments/{comment}
func (s *Server) patchComment(c *call) (int, any, error) {
	one, err := s.commentOf(c)
	if err != nil {
		return 0, nil, err
	}
	var in bodyIn
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	if one, err = s.editComment(one.pull.repo.name, one.id, c.user.Login, in.Body); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.commentJSON(one), nil
}

// POST /repos/{owner}/{repo}/issues/comments/{comment}/reactions: 200 if it was there already.
func (s *Server) postReaction(c *call) (int, any, error) {
	one, err := s.commentOf(c)
	if err != nil {
		return 0, nil, err
	}
	var in bodyIn
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	made, fresh, err := s.react(one.pull.repo, c.user, one.id, in.Content)
	if err != nil {
		return 0, nil, err
	}
	code := http.StatusOK
	if fresh {
		code = http.StatusCreated
	}
	return code, object{
		"id": made.id, "node_id": node("REA", made.id), "content": made.content, "user": s.userJSON(c.user), "created_at": stamp(made.created),
	}, nil
}
