package fakehost

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// BodyLimit is how many characters a comment may have.
const BodyLimit = 65_536

// ReviewState is what a review says, in the API's words.
type ReviewState string

// The states of a review.
const (
	Approved         ReviewState = "APPROVED"
	ChangesRequested ReviewState = "CHANGES_REQUESTED"
	Commented        ReviewState = "COMMENTED"
	Dismissed        ReviewState = "DISMISSED"
)

type comment struct {
	id               int64
	pull             *pull
	author           *user
	body             string
	created, updated time.Time
	reactions        []*reaction
	entry            *Entry
}

type reaction struct {
	id      int64
	author  *user
	content string
	created time.Time
}

type review struct {
	id        int64
	author    *user
	state     ReviewState
	body      string
	commit    string
	submitted time.Time
	entry     *Entry
}

// Comment writes a comment as login and returns its id.
func (s *Server) Comment(repo string, number int, login, body string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.comment(repo, number, login, body)
	if err != nil {
		return 0, err
	}
	return c.id, nil
}

func (s *Server) comment(repo string, number int, login, body string) (*comment, error) {
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return nil, err
	}
	p, err := r.pull(number)
	if err != nil {
		return nil, err
	}
	if err := s.checkBody(body); err != nil {
		return nil, err
	}
	c := &comment{id: s.id(), pull: p, author: u, body: body, created: s.now(), updated: s.now()}
	c.entry = &Entry{Kind: EntryComment, Actor: u.Login, ID: c.id, Body: body}
	p.comments = append(p.comments, c)
	r.comments[c.id] = c
	s.enter(p, c.entry)
	s.emitComment(c, "created", u, nil)
	return c, nil
}

func (s *Server) checkBody(body string) error {
	limit := BodyLimit
	if s.options.GitLab {
		limit = noteLimit
	}
	switch {
	case body == "":
		return refuse(422, "body cannot be blank")
	case utf8.RuneCountInString(body) > limit:
		return refuse(422, "Body is too long (maximum is %d characters)", limit)
	}
	return nil
}

// CommentOnIssue opens an issue, which takes the next number and is no pull request, and comments on it. Only the webhooks tell of it.
func (s *Server) CommentOnIssue(repo, login, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return err
	}
	if err := s.checkBody(body); err != nil {
		return err
	}
	r.numbered = append(r.numbered, nil)
	now := stamp(s.now())
	s.gitlabIssueComment(r, u, body)
	number := len(r.numbered)
	page := fmt.Sprintf("%s/%s/issues/%d", s.URL, r.name, number)
	issue := s.issueJSON(r, s.id(), number, "An issue", open, page, u, now, now)
	s.emit("issues", r, object{"action": "opened", "issue": issue}, u)
	s.emit("issue_comment", r, object{
		"action": "created", "issue": issue, "comment": s.noteJSON(r, s.id(), number, page, u, body, now, now, s.rollup(nil)),
	}, u)
	return nil
}

// ownComment finds a comment that login may change: their own, or any with write permission.
func (s *Server) ownComment(repo string, id int64, login string) (*comment, *user, error) {
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return nil, nil, err
	}
	c := r.comments[id]
	switch {
	case c == nil:
		return nil, nil, refuse(404, "no comment %d in %s", id, repo)
	case c.author != u && s.permission(r, u).rank() < s.othersWords().rank():
		return nil, nil, refuse(403, "%s may not change the comment of %s", login, c.author.Login)
	}
	return c, u, nil
}

// EditComment replaces the text of a comment.
func (s *Server) EditComment(repo string, id int64, login, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.editComment(repo, id, login, body)
	return err
}

func (s *Server) editComment(repo string, id int64, login, body string) (*comment, error) {
	c, u, err := s.ownComment(repo, id, login)
	if err != nil {
		return nil, err
	}
	if err := s.checkBody(body); err != nil {
		return nil, err
	}
	from := c.body
	c.body, c.updated = body, s.now()
	c.entry.Edits = append(c.entry.Edits, Edit{At: c.updated, Actor: u.Login, Before: from})
	c.entry.Body = body
	s.enter(c.pull, nil)
	s.emitComment(c, "edited", u, object{"changes": object{"body": object{"from": from}}})
	return c, nil
}

// DeleteComment removes a comment.
func (s *Server) DeleteComment(repo string, id int64, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleteComment(repo, id, login)
}

func (s *Server) deleteComment(repo string, id int64, login string) error {
	c, u, err := s.ownComment(repo, id, login)
	if err != nil {
		return err
	}
	delete(c.pull.repo.comments, id)
	c.pull.comments = slices.DeleteFunc(c.pull.comments, func(o *comment) bool { return o == c })
	c.entry.Deleted = true
	s.enter(c.pull, nil)
	s.emitComment(c, "deleted", u, nil)
	return nil
}

var reactions = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

// react adds a reaction; fresh is false if it was there.
func (s *Server) react(r *repo, u *user, id int64, content string) (made *reaction, fresh bool, err error) {
	c := r.comments[id]
	switch {
	case c == nil:
		return nil, false, refuse(404, "Not Found")
	case !slices.Contains(reactions, content):
		return nil, false, refuse(422, "Validation Failed")
	}
	for _, have := range c.reactions {
		if have.author == u && have.content == content {
			return have, false, nil
		}
	}
	made = &reaction{id: s.id(), author: u, content: content, created: s.now()}
	c.reactions = append(c.reactions, made)
	c.entry.Reactions = append(c.entry.Reactions, Reaction{Actor: u.Login, Content: content})
	s.touch()
	return made, true, nil
}

// Review submits a review on the present head as login and returns its id. Nobody approves their own pull request.
func (s *Server) Review(repo string, number int, login string, state ReviewState, body string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return 0, err
	}
	p, err := r.pull(number)
	if err != nil {
		return 0, err
	}
	if s.options.GitLab {
		return s.gitlabReview(p, u, state, body)
	}
	switch {
	case state != Approved && state != ChangesRequested && state != Commented:
		return 0, refuse(422, "no review state %q", state)
	case p.author == u && state == Approved:
		return 0, refuse(422, "Can not approve your own pull request")
	case p.author == u && state == ChangesRequested:
		return 0, refuse(422, "Can not request changes on your own pull request")
	case body == "" && state != Approved:
		return 0, refuse(422, "body cannot be blank")
	}
	w := &review{id: s.id(), author: u, state: state, body: body, commit: p.headSHA, submitted: s.now()}
	w.entry = &Entry{Kind: EntryReview, Actor: u.Login, ID: w.id, Body: body, State: string(state), SHA: w.commit}
	p.reviews = append(p.reviews, w)
	s.enter(p, w.entry)
	s.emitReview(p, w, "submitted", u, nil)
	return w.id, nil
}

// SetThreads says of each review conversation of a pull request whether it is resolved.
func (s *Server) SetThreads(repo string, number int, resolved ...bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return refuse(404, "no repository %s", repo)
	}
	p, err := r.pull(number)
	if err != nil {
		return err
	}
	p.threads = resolved
	s.enter(p, nil)
	return nil
}

// EditReview replaces the text of a review.
func (s *Server) EditReview(repo string, number int, id int64, login, body string) error {
	return s.changeReview(repo, number, id, login, func(p *pull, w *review, u *user) error {
		if w.author != u {
			return refuse(403, "%s may not change the review of %s", login, w.author.Login)
		}
		from := w.body
		w.body, w.entry.Body = body, body
		w.entry.Edits = append(w.entry.Edits, Edit{At: s.now(), Actor: u.Login, Before: from})
		s.enter(p, nil)
		s.emitReview(p, w, "edited", u, object{"changes": object{"body": object{"from": from}}})
		return nil
	})
}

// DismissReview takes an approval or a request for changes back; it takes write permission.
func (s *Server) DismissReview(repo string, number int, id int64, login, message string) error {
	return s.changeReview(repo, number, id, login, func(p *pull, w *review, u *user) error {
		switch {
		case s.permission(p.repo, u).rank() < Write.rank():
			return refuse(403, "%s may not dismiss reviews", login)
		case w.state != Approved && w.state != ChangesRequested:
			return refuse(422, "Can not dismiss a review that says %s", w.state)
		}
		w.state = Dismissed
		w.entry.State = string(Dismissed)
		s.enter(p, &Entry{Kind: EntryDismissed, Actor: u.Login, ID: w.id, Body: message, To: w.author.Login})
		s.emitReview(p, w, "dismissed", u, nil)
		return nil
	})
}

func (s *Server) changeReview(repo string, number int, id int64, login string, change func(*pull, *review, *user) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return err
	}
	p, err := r.pull(number)
	if err != nil {
		return err
	}
	for _, w := range p.reviews {
		if w.id == id {
			return change(p, w, u)
		}
	}
	return refuse(404, "no review %d on #%d", id, number)
}
