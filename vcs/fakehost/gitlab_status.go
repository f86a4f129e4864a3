package fakehost

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// pipeline is what GitLab makes of the statuses of a commit.
type pipeline struct {
	id       int64
	ref      string
	status   string // running, success, failed
	by       *user
	finished time.Time
}

func lineKey(r *repo, sha string) string { return fmt.Sprintf("%d/%s", r.id, sha) }

func (s *Server) pipelinePassed(p *pull) bool {
	line := s.lines[lineKey(p.repo, p.headSHA)]
	return line != nil && line.status == "success"
}

// gitlabStatus sets a status. One that has not ended goes on where it is, if its state machine lets it; after its end a new one begins.
func (s *Server) gitlabStatus(r *repo, u *user, sha, ref string, set Status) (*status, error) {
	if !s.known(r, sha) {
		return nil, refuse(404, "404 Commit Not Found")
	}
	line := s.lines[lineKey(r, sha)]
	if ref == "" && line != nil {
		ref = line.ref
	}
	if ref == "" {
		ref = s.branchWith(r, sha)
	}
	if ref == "" {
		return nil, refuse(404, "404 References for commit Not Found")
	}
	if len([]rune(set.Description)) > 255 {
		return nil, refuse(400, "description is too long (maximum is 255 characters)")
	}
	var now *status
	for _, have := range r.latest(sha) {
		if have.Context == set.Context && have.creator == u && (have.State == "pending" || have.State == "running") {
			now = have
		}
	}
	switch {
	case now == nil:
		now = &status{id: s.id(), creator: u}
		r.statuses[sha] = append(r.statuses[sha], now)
	case set.State == "pending":
		return nil, refuse(400, `Cannot transition status via :enqueue from :%s (Reason(s): Status cannot transition via "enqueue")`, now.State)
	case set.State == "running" && now.State == "running":
		return nil, refuse(400, `Cannot transition status via :run from :running (Reason(s): Status cannot transition via "run")`)
	}
	now.Status, now.created = set, s.now()
	s.onCommit(r, sha, Entry{
		Kind: EntryStatus, Actor: u.Login, ID: now.id, Context: set.Context, State: set.State, Description: set.Description, URL: set.URL, SHA: sha,
	})
	s.runPipeline(r, u, sha, ref)
	return now, nil
}

// branchWith is a branch that contains a commit.
func (s *Server) branchWith(r *repo, sha string) string {
	out, err := s.run(r.dir, "", nil, "for-each-ref", "--count=1", "--format=%(refname:lstrip=2)", "--contains="+sha, "refs/heads")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// runPipeline follows a status, and tells of it when the pipeline as a whole changed.
func (s *Server) runPipeline(r *repo, u *user, sha, ref string) {
	state := "success"
	for _, have := range r.latest(sha) {
		switch have.State {
		case "pending", "running":
			state = "running"
		case "failure", "error":
			if state != "running" {
				state = "failed"
			}
		}
	}
	line := s.lines[lineKey(r, sha)]
	if line == nil {
		line = &pipeline{id: s.id(), ref: ref, by: u}
		s.lines[lineKey(r, sha)] = line
	}
	if line.status == state {
		return
	}
	line.status, line.finished = state, time.Time{}
	if state != "running" {
		line.finished = s.now()
	}
	s.post("Pipeline Hook", state, r, object{
		"object_kind": "pipeline", "user": s.gitlabUser(line.by), "project": s.gitlabRepoJSON(r), "commit": object{"id": sha}, "builds": []object{},
		"object_attributes": object{
			"id": line.id, "ref": line.ref, "tag": false, "sha": sha, "source": "external", "status": state, "created_at": spaced(s.now()),
			"finished_at": spaced(line.finished),
		},
	})
}

// POST /projects/{project}/statuses/{sha}
func (s *Server) gitlabPostStatus(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Write)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		State       string `json:"state"`
		Name        string `json:"name"`
		Ref         string `json:"ref"`
		TargetURL   string `json:"target_url"`
		Description string `json:"description"`
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	state, ok := map[string]string{"pending": "pending", "running": "running", "success": "success", "failed": "failure"}[in.State]
	if !ok {
		return 0, nil, refuse(400, "state does not have a valid value")
	}
	sha := c.PathValue("sha")
	made, err := s.gitlabStatus(r, c.user, sha, in.Ref, Status{Context: in.Name, State: state, Description: in.Description, URL: in.TargetURL})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, s.gitlabStatusJSON(sha, made), nil
}

func (s *Server) gitlabStatusJSON(sha string, st *status) object {
	word := st.State
	if word == "failure" || word == "error" {
		word = "failed"
	}
	return object{
		"id": st.id, "sha": sha, "name": st.Context, "status": word, "description": st.Description, "target_url": orNull(st.URL),
		"allow_failure": false, "created_at": fine(st.created), "author": s.gitlabUser(st.creator),
	}
}

// GET /projects/{project}/repository/commits/{sha}/statuses
func (s *Server) gitlabStatuses(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	sha := c.PathValue("sha")
	if !s.known(r, sha) {
		return 0, nil, refuse(404, "404 Commit Not Found")
	}
	out := []object{}
	for _, st := range r.latest(sha) {
		out = append(out, s.gitlabStatusJSON(sha, st))
	}
	return http.StatusOK, gitlabPage(c, out), nil
}
