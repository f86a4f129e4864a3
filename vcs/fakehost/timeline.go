package fakehost

import (
	"context"
	"slices"
	"time"
)

// EntryKind says what an entry of a timeline is.
type EntryKind string

// What happens on a pull request.
const (
	EntryOpened    EntryKind = "opened"
	EntryPushed    EntryKind = "pushed" // State is "forced" if commits were thrown away
	EntryComment   EntryKind = "comment"
	EntryReview    EntryKind = "review"
	EntryDismissed EntryKind = "dismissed" // To: whose review
	EntryStatus    EntryKind = "status"    // a commit status or a check run
	EntryBase      EntryKind = "base"      // From, To: branches
	EntryTitle     EntryKind = "title"     // From, To: titles
	EntryDraft     EntryKind = "draft"
	EntryReady     EntryKind = "ready"
	EntryClosed    EntryKind = "closed"
	EntryReopened  EntryKind = "reopened"
	EntryMerged    EntryKind = "merged"   // SHA on branch To
	EntryQueued    EntryKind = "queued"   // for branch To
	EntryDequeued  EntryKind = "dequeued" // Body: why, in GitHub's words
)

// Entry is one thing on the page of a pull request. A comment that is edited stays where it is and shows its last text.
type Entry struct {
	Kind        EntryKind
	At          time.Time
	Actor       string
	ID          int64 // of a comment or review
	Body        string
	Edits       []Edit
	Deleted     bool
	Reactions   []Reaction
	State       string // of a review or a status
	Context     string // of a status
	Description string
	URL         string
	SHA         string
	From, To    string
}

// Edit is one change of a comment or review.
type Edit struct {
	At     time.Time
	Actor  string
	Before string // the text it replaced
}

// Reaction is one small answer on a comment.
type Reaction struct {
	Actor   string
	Content string
}

// Timeline is everything that happened on a pull request, in order.
func (s *Server) Timeline(repo string, number int) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeline(repo, number)
}

func (s *Server) timeline(repo string, number int) ([]Entry, error) {
	r := s.repos[key(repo)]
	if r == nil {
		return nil, refuse(404, "no repository %s", repo)
	}
	p, err := r.pull(number)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(p.timeline))
	for _, e := range p.timeline {
		one := *e
		one.Edits, one.Reactions = slices.Clone(e.Edits), slices.Clone(e.Reactions)
		out = append(out, one)
	}
	return out, nil
}

// Wait returns the timeline as soon as ready says that it shows what is waited for, or with ctx's error. ready must not call the server.
func (s *Server) Wait(ctx context.Context, repo string, number int, ready func([]Entry) bool) ([]Entry, error) {
	var (
		seen    []Entry
		problem error
	)
	err := s.wait(ctx, func() bool {
		seen, problem = s.timeline(repo, number)
		return problem != nil || ready(seen)
	})
	if problem != nil {
		return nil, problem
	}
	return seen, err
}

// enter puts an entry on the timeline (nil: something changed that has no entry of its own) and marks the pull request as updated.
func (s *Server) enter(p *pull, e *Entry) {
	p.updated = s.now()
	if e != nil {
		e.At = p.updated
		p.timeline = append(p.timeline, e)
	}
	s.touch()
}
