package fakehost

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// noteOn is the key under which GitLab says what a note is on.
const noteOn = "noteable_type" //nolint:misspell // GitLab's word

// gitlabNoteJSON is a comment, or a note of GitLab's own.
func (s *Server) gitlabNoteJSON(p *pull, id int64, author *user, body string, created, updated any, system bool) object {
	return object{
		"id": id, "body": body, "author": s.gitlabUser(author), "system": system, "internal": false, "created_at": created, "updated_at": updated,
		noteOn: "MergeRequest", "project_id": p.repo.id, "resolvable": false,
	}
}

func (s *Server) gitlabCommentJSON(c *comment) object {
	return s.gitlabNoteJSON(c.pull, c.id, c.author, c.body, fine(c.created), fine(c.updated), false)
}

// noted is what GitLab writes on a merge request for an entry of the timeline; "" is nothing.
func noted(e *Entry) string {
	switch e.Kind {
	case EntryPushed:
		return "added 1 commit\n\n<ul><li>" + e.SHA[:8] + "</li></ul>"
	case EntryReview:
		switch ReviewState(e.State) {
		case Approved:
			return "approved this merge request"
		case ChangesRequested:
			return "requested changes"
		case Commented, Dismissed:
		}
	case EntryDismissed:
		return "unapproved this merge request"
	case EntryDraft:
		return "marked this merge request as **draft**"
	case EntryReady:
		return "marked this merge request as **ready**"
	case EntryBase:
		return fmt.Sprintf("changed target branch from `%s` to `%s`", e.From, e.To)
	case EntryOpened, EntryComment, EntryStatus, EntryTitle, EntryClosed, EntryReopened, EntryMerged, EntryQueued, EntryDequeued:
	}
	return ""
}

// GET /projects/{project}/merge_requests/{number}/notes
func (s *Server) gitlabNotes(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for n, e := range p.timeline {
		if own := p.repo.comments[e.ID]; e.Kind == EntryComment && own != nil {
			out = append(out, s.gitlabCommentJSON(own))
		} else if words := noted(e); words != "" {
			id := p.id*1_000_000 + int64(n)
			out = append(out, s.gitlabNoteJSON(p, id, s.users[key(e.Actor)], words, fine(e.At), fine(e.At), true))
		}
	}
	if c.URL.Query().Get("sort") != "asc" {
		slices.Reverse(out)
	}
	return http.StatusOK, gitlabPage(c, out), nil
}

// quickAction carries out a line that begins with /close, for all the quick actions there are.
func (s *Server) quickAction(p *pull, u *user, body string) {
	if p.state == open && closeAction.MatchString(body) {
		s.finish(p, u)
	}
}

var closeAction = regexp.MustCompile(`(?m)^\s*/close\b`)

// gitlabNoteOf is the comment of a path.
func (s *Server) gitlabNoteOf(c *call) (*comment, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.PathValue("note"), 10, 64)
	if one := p.repo.comments[id]; err == nil && one != nil && one.pull == p {
		return one, nil
	}
	return nil, refuse(404, "404 Note Not Found")
}

// GET /projects/{project}/merge_requests/{number}/notes/{note}
func (s *Server) gitlabNote(c *call) (int, any, error) {
	one, err := s.gitlabNoteOf(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.gitlabCommentJSON(one), nil
}

// POST /projects/{project}/merge_requests/{number}/notes: a line with a quick action is carried out, with the caller's rights.
func (s *Server) gitlabPostNote(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
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
	s.quickAction(p, c.user, in.Body)
	return http.StatusCreated, s.gitlabCommentJSON(made), nil
}

// PUT /projects/{project}/merge_requests/{number}/notes/{note}
func (s *Server) gitlabPutNote(c *call) (int, any, error) {
	one, err := s.gitlabNoteOf(c)
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
	s.quickAction(one.pull, c.user, in.Body)
	return http.StatusOK, s.gitlabCommentJSON(one), nil
}

// DELETE /projects/{project}/merge_requests/{number}/notes/{note}
func (s *Server) gitlabDeleteNote(c *call) (int, any, error) {
	one, err := s.gitlabNoteOf(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.deleteComment(one.pull.repo.name, one.id, c.user.Login)
}

// gitlabEmoji are GitLab's names of the reactions, where they differ.
var gitlabEmoji = map[string]string{"+1": "thumbsup", "-1": "thumbsdown", "hooray": "tada"}

// GET /projects/{project}/merge_requests/{number}/notes/{note}/award_emoji
func (s *Server) gitlabAwards(c *call) (int, any, error) {
	one, err := s.gitlabNoteOf(c)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for _, r := range one.reactions {
		name := r.content
		if other := gitlabEmoji[name]; other != "" {
			name = other
		}
		out = append(out, object{"id": r.id, "name": name, "user": s.gitlabUser(r.author)})
	}
	return http.StatusOK, gitlabPage(c, out), nil
}

// POST /projects/{project}/merge_requests/{number}/notes/{note}/award_emoji: 404 if it was there already. It touches the note.
func (s *Server) gitlabAward(c *call) (int, any, error) {
	one, err := s.gitlabNoteOf(c)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Name string `json:"name"`
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	content := in.Name
	for ours, theirs := range gitlabEmoji {
		if theirs == in.Name {
			content = ours
		}
	}
	made, fresh, err := s.react(one.pull.repo, c.user, one.id, content)
	switch {
	case err != nil:
		return 0, nil, err
	case !fresh:
		return 0, nil, refuse(404, "404 Award Emoji Name has already been taken Not Found")
	}
	one.updated = s.now()
	return http.StatusCreated, object{"id": made.id, "name": in.Name, "user": s.gitlabUser(c.user)}, nil
}

// lastWord is the last review of each person, oldest first: an approval or a request for changes before remarks.
func lastWords(p *pull) []*review {
	last := map[*user]*review{}
	var order []*user
	for _, w := range p.reviews {
		if last[w.author] == nil {
			order = append(order, w.author)
		} else if w.state == Commented {
			continue
		}
		last[w.author] = w
	}
	var out []*review
	for _, u := range order {
		out = append(out, last[u])
	}
	return out
}

// GET /projects/{project}/merge_requests/{number}/approvals
func (s *Server) gitlabApprovals(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return 0, nil, err
	}
	want, by := p.repo.protected[p.base].Approvals, []object{}
	for _, w := range lastWords(p) {
		if w.state == Approved {
			by = append(by, object{"user": s.gitlabUser(w.author), "approved_at": fine(w.submitted)})
		}
	}
	given, _ := s.reviews(p)
	left, rules := max(0, want-given), []object{}
	if left > 0 {
		rules = append(rules, object{"id": 1, "name": "All Members", "rule_type": "any_approver"})
	}
	return http.StatusOK, object{
		"id": p.id, "iid": p.number, "project_id": p.repo.id, "approved": left == 0, "approvals_required": want, "approvals_left": left,
		"approved_by": by, "approval_rules_left": rules,
	}, nil
}

// reviewerStates are GitLab's words for what a reviewer said.
var reviewerStates = map[ReviewState]string{
	Approved: "approved", ChangesRequested: "requested_changes", Commented: "reviewed", Dismissed: "unapproved",
}

// GET /projects/{project}/merge_requests/{number}/reviewers
func (s *Server) gitlabReviewers(c *call) (int, any, error) {
	p, err := s.gitlabPullOf(c)
	if err != nil {
		return 0, nil, err
	}
	out := []object{}
	for _, w := range lastWords(p) {
		out = append(out, object{"user": s.gitlabUser(w.author), "state": reviewerStates[w.state], "created_at": fine(p.created)})
	}
	return http.StatusOK, gitlabPage(c, out), nil
}

// gitlabReview says something about a merge request. Who approved already takes that back first, as GitLab's button does.
func (s *Server) gitlabReview(p *pull, u *user, state ReviewState, body string) (int64, error) {
	if state != Commented && (p.author == u || s.permission(p.repo, u).rank() < Write.rank()) {
		return 0, refuse(401, "401 Unauthorized")
	}
	for _, w := range lastWords(p) {
		if w.author == u && w.state == Approved && state != Commented {
			w.state = Dismissed
			s.enter(p, &Entry{Kind: EntryDismissed, Actor: u.Login, ID: w.id, To: u.Login})
			s.gitlabPull(p, "unapproval", u, nil)
		}
	}
	w := &review{id: s.id(), author: u, state: state, commit: p.headSHA, submitted: s.now()}
	w.entry = &Entry{Kind: EntryReview, Actor: u.Login, ID: w.id, State: string(state), SHA: w.commit}
	p.reviews = append(p.reviews, w)
	s.enter(p, w.entry)
	if body != "" {
		if _, err := s.comment(p.repo.name, p.number, u.Login, body); err != nil {
			return 0, err
		}
	}
	approvals, _ := s.reviews(p)
	switch {
	case state == Approved && approvals >= p.repo.protected[p.base].Approvals:
		s.gitlabPull(p, "approved", u, nil)
	case state == Approved:
		s.gitlabPull(p, "approval", u, nil)
	case state == ChangesRequested:
		who := []object{{"id": u.ID, "username": u.Login, "state": "requested_changes"}}
		s.gitlabPull(p, "update", u, object{"changes": object{"reviewers": object{"previous": []object{}, "current": who}}})
	}
	return w.id, nil
}
