package fakehost

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// NewPull describes a pull request to open.
type NewPull struct {
	Title string
	Body  string
	Head  string // branch, or "owner:branch" of a fork
	Base  string // empty: the default branch
	Draft bool
}

const (
	open   = "open"
	closed = "closed"
)

type pull struct {
	id               int64
	repo             *repo
	number           int
	title, body      string
	author           *user
	state            string // open or closed, as GitHub says
	draft            bool
	headRepo         *repo // nil once deleted
	head, base       string
	headSHA, baseSHA string          // baseSHA is the base as of the last push or change of base: GitHub does not follow the branch
	shas             map[string]bool // every head there was, and the merge
	created, updated time.Time
	closedAt         time.Time
	mergedAt         time.Time
	mergedBy         *user
	mergeSHA         string
	method           MergeMethod
	labels           []string
	comments         []*comment
	reviews          []*review
	threads          []bool // review conversations: resolved?
	timeline         []*Entry
	unknown          int // how often mergeable is still null
}

// OpenPull opens a pull request as login and returns its number.
func (s *Server) OpenPull(repo, login string, n NewPull) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Read)
	if err != nil {
		return 0, err
	}
	if n.Base == "" {
		n.Base = r.branch
	}
	headRepo, branch := r, n.Head
	if owner, b, ok := strings.Cut(n.Head, ":"); ok {
		branch, headRepo = b, s.repos[key(owner+"/"+path.Base(r.name))]
		if headRepo == nil || headRepo != r && headRepo.parent != r {
			return 0, refuse(422, "no fork of %s by %s", repo, owner)
		}
	}
	if s.permission(headRepo, u).rank() < Write.rank() {
		return 0, refuse(403, "%s may not: it takes write permission in %s", login, headRepo.name)
	}
	p := &pull{
		id: s.id(), repo: r, number: len(r.numbered) + 1, title: n.Title, body: n.Body, author: u, state: open, draft: n.Draft,
		headRepo: headRepo, head: branch, base: n.Base, headSHA: s.tip(headRepo, branch), baseSHA: s.tip(r, n.Base),
		shas: map[string]bool{}, created: s.now(), updated: s.now(), unknown: s.options.SlowMergeable,
	}
	switch {
	case p.title == "":
		return 0, refuse(422, "a pull request needs a title")
	case p.headSHA == "":
		return 0, refuse(422, "no branch %s in %s", branch, headRepo.name)
	case p.baseSHA == "":
		return 0, refuse(422, "no branch %s in %s", n.Base, repo)
	}
	for _, o := range r.pulls() {
		if o.state == open && o.headRepo == headRepo && o.head == branch && o.base == n.Base {
			return 0, refuse(422, "a pull request already exists for %s", n.Head)
		}
	}
	if err := s.takeHead(p); err != nil {
		return 0, err
	}
	if s.contains(r, p.baseSHA, p.headSHA) {
		return 0, refuse(422, "no commits between %s and %s", n.Base, n.Head)
	}
	r.numbered = append(r.numbered, p)
	s.enter(p, &Entry{Kind: EntryOpened, Actor: u.Login, Body: n.Body, SHA: p.headSHA, To: n.Base, State: draftWord(n.Draft)})
	s.emitPull(p, "opened", u, nil)
	return p.number, nil
}

func draftWord(draft bool) string {
	if draft {
		return "draft"
	}
	return ""
}

// takeHead brings the head's commits into the repository and points refs/pull/N/head at them.
func (s *Server) takeHead(p *pull) error {
	if p.headRepo != p.repo {
		if _, err := s.run(p.repo.dir, "", nil, "fetch", "--quiet", p.headRepo.dir, "refs/heads/"+p.head); err != nil {
			return fmt.Errorf("take head of #%d: %w", p.number, err)
		}
	}
	p.shas[p.headSHA] = true
	if err := s.setRef(p.repo, s.headRef(p.number), p.headSHA); err != nil {
		return fmt.Errorf("take head of #%d: %w", p.number, err)
	}
	return nil
}

// headMoved follows a push to the head branch; a deleted branch closes the pull request.
func (s *Server) headMoved(p *pull, u *user, after string) error {
	if after == "" {
		return s.finish(p, u)
	}
	if p.headSHA == after {
		return nil
	}
	if err := s.leaveQueue(p, u, "BRANCH_PROTECTIONS"); err != nil {
		return err
	}
	before := p.headSHA
	p.headSHA, p.baseSHA, p.unknown = after, s.tip(p.repo, p.base), s.options.SlowMergeable
	if err := s.takeHead(p); err != nil {
		return err
	}
	forced := ""
	if !s.contains(p.repo, after, before) {
		forced = "forced"
	}
	s.enter(p, &Entry{Kind: EntryPushed, Actor: u.Login, SHA: after, From: before, State: forced})
	s.emitPull(p, "synchronize", u, object{"before": before, "after": after})
	return nil
}

// baseMoved follows a push to the base branch. Commits that got there by another way make the pull request merged.
func (s *Server) baseMoved(p *pull, u *user, after string) error {
	p.unknown = s.options.SlowMergeable
	switch {
	case after == "":
		return s.finish(p, u)
	case s.contains(p.repo, after, p.headSHA):
		if err := s.drop(p, u, "ALREADY_MERGED"); err != nil {
			return err
		}
		s.merged(p, u, p.headSHA)
	}
	return nil
}

// finish closes without a merge.
func (s *Server) finish(p *pull, u *user) error {
	if err := s.drop(p, u, "MANUAL"); err != nil {
		return err
	}
	p.state, p.closedAt = closed, s.now()
	s.enter(p, &Entry{Kind: EntryClosed, Actor: u.Login})
	s.emitPull(p, "closed", u, nil)
	return s.advance(p.repo, p.base)
}

func (s *Server) merged(p *pull, u *user, sha string) {
	p.state, p.closedAt, p.mergedAt, p.mergedBy, p.mergeSHA = closed, s.now(), s.now(), u, sha
	p.shas[sha] = true
	s.enter(p, &Entry{Kind: EntryMerged, Actor: u.Login, SHA: sha, To: p.base})
	s.emitPull(p, "closed", u, nil)
}

// pullFor finds a pull request and someone who may act on it: its author, or anyone who may write.
func (s *Server) pullFor(repo string, number int, login string) (*pull, *user, error) {
	r, u, err := s.in(repo, login)
	if err != nil {
		return nil, nil, err
	}
	p, err := r.pull(number)
	if err != nil {
		return nil, nil, err
	}
	if p.author != u && s.permission(r, u).rank() < Write.rank() {
		return nil, nil, refuse(403, "%s may not: it takes %s permission in %s", login, Write, r.name)
	}
	return p, u, nil
}

func (r *repo) pull(number int) (*pull, error) {
	if number < 1 || number > len(r.numbered) || r.numbered[number-1] == nil {
		return nil, refuse(404, "no pull request #%d in %s", number, r.name)
	}
	return r.numbered[number-1], nil
}

// pulls lists the pull requests by number.
func (r *repo) pulls() []*pull {
	return slices.DeleteFunc(slices.Clone(r.numbered), func(p *pull) bool { return p == nil })
}

// ClosePull closes a pull request without merging it.
func (s *Server) ClosePull(repo string, number int, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil {
		return err
	}
	if p.state != open {
		return refuse(422, "#%d is not open", number)
	}
	return s.finish(p, u)
}

// Reopen opens a closed pull request again, with the head its branch has now.
func (s *Server) Reopen(repo string, number int, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil {
		return err
	}
	if p.state == open || p.mergedBy != nil {
		return refuse(422, "#%d cannot be reopened", number)
	}
	head := s.tip(p.headRepo, p.head)
	if head == "" || s.tip(p.repo, p.base) == "" {
		return refuse(422, "#%d cannot be reopened: its branch is gone", number)
	}
	p.state, p.closedAt, p.headSHA, p.baseSHA, p.unknown = open, time.Time{}, head, s.tip(p.repo, p.base), s.options.SlowMergeable
	if err := s.takeHead(p); err != nil {
		return err
	}
	s.enter(p, &Entry{Kind: EntryReopened, Actor: u.Login, SHA: head})
	s.emitPull(p, "reopened", u, nil)
	return nil
}

// SetDraft turns a pull request into a draft, or marks it ready for review.
func (s *Server) SetDraft(repo string, number int, login string, draft bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil || p.draft == draft {
		return err
	}
	if err := s.leaveQueue(p, u, "MANUAL"); err != nil {
		return err
	}
	p.draft = draft
	kind, action := EntryReady, "ready_for_review"
	if draft {
		kind, action = EntryDraft, "converted_to_draft"
	}
	s.enter(p, &Entry{Kind: kind, Actor: u.Login})
	s.emitPull(p, action, u, nil)
	return nil
}

// SetBase retargets a pull request.
func (s *Server) SetBase(repo string, number int, login, base string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil {
		return err
	}
	sha := s.tip(p.repo, base)
	if sha == "" || p.state != open {
		return refuse(422, "#%d cannot go into %s", number, base)
	}
	if err := s.leaveQueue(p, u, "MANUAL"); err != nil {
		return err
	}
	from, fromSHA := p.base, p.baseSHA
	p.base, p.baseSHA, p.unknown = base, sha, s.options.SlowMergeable
	s.enter(p, &Entry{Kind: EntryBase, Actor: u.Login, From: from, To: base})
	s.emitPull(p, "edited", u, object{"changes": object{"base": object{"ref": object{"from": from}, "sha": object{"from": fromSHA}}}})
	return nil
}

// SetTitle renames a pull request.
func (s *Server) SetTitle(repo string, number int, login, title string) error {
	return s.edit(repo, number, login, "title", title)
}

// SetBody changes the description of a pull request.
func (s *Server) SetBody(repo string, number int, login, body string) error {
	return s.edit(repo, number, login, "body", body)
}

func (s *Server) edit(repo string, number int, login, field, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil {
		return err
	}
	var from string
	if field == "title" {
		from, p.title = p.title, to
		s.enter(p, &Entry{Kind: EntryTitle, Actor: u.Login, From: from, To: to})
	} else {
		from, p.body = p.body, to
		s.enter(p, nil)
	}
	s.emitPull(p, "edited", u, object{"changes": object{field: object{"from": from}}})
	return nil
}

// Label puts a label on a pull request.
func (s *Server) Label(repo string, number int, login, label string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u, err := s.pullFor(repo, number, login)
	if err != nil {
		return err
	}
	p.labels = append(p.labels, label)
	s.enter(p, nil)
	s.emitPull(p, "labeled", u, object{"label": object{"name": label}})
	return nil
}
