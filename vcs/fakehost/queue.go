package fakehost

import (
	"fmt"
	"slices"
)

// Group is the commit that a merge queue made of a pull request, on top of its base and those before it in the queue.
type Group struct {
	Head string // the commit
	Base string // what it is made on
	Ref  string // refs/heads/gh-readonly-queue/main/pr-7-…
}

// queued is a pull request in a merge queue.
type queued struct {
	Group
	pull *pull
	by   *user
}

// mergeQueue is the account that merges what passed a queue.
var mergeQueue = User{ID: 118344674, Login: "github-merge-queue[bot]", Name: "GitHub Merge Queue", Email: "noreply@github.com"}

// Enqueue puts a pull request at the end of its base's merge queue, as login, who needs write permission. Its own requirements must be
// met. The queue makes a commit of it and whatever is before it, asks for the checks of that commit (merge_group), and merges it once
// every required one is green there, or drops the pull request when one fails. A push to its head drops it too; one to the base makes
// every group anew.
func (s *Server) Enqueue(repo string, number int, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return err
	}
	p, err := r.pull(number)
	if err != nil {
		return err
	}
	if p.state != open || s.inQueue(p) != nil {
		return refuse(422, "#%d is not open, or already in the queue", number)
	}
	if state := s.mergeableState(p); state == "draft" || state == "dirty" || state == "blocked" {
		return refuse(422, "#%d cannot be queued: it is %s", number, state)
	}
	r.queues[p.base] = append(r.queues[p.base], &queued{pull: p, by: u})
	s.enter(p, &Entry{Kind: EntryQueued, Actor: u.Login, To: p.base})
	s.emitPull(p, "enqueued", u, nil)
	return s.advance(r, p.base)
}

// Dequeue takes a pull request out of its merge queue, as login, who needs write permission.
func (s *Server) Dequeue(repo string, number int, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return err
	}
	p, err := r.pull(number)
	if err != nil {
		return err
	}
	if s.inQueue(p) == nil {
		return refuse(422, "#%d is in no queue", number)
	}
	return s.leaveQueue(p, u, "MANUAL")
}

// Group is the commit whose checks a queued pull request waits for; ok is false if it is in no queue.
func (s *Server) Group(repo string, number int) (g Group, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return Group{}, false
	}
	p, err := r.pull(number)
	if err != nil {
		return Group{}, false
	}
	q := s.inQueue(p)
	if q == nil {
		return Group{}, false
	}
	return q.Group, true
}

func (s *Server) inQueue(p *pull) *queued {
	for _, q := range p.repo.queues[p.base] {
		if q.pull == p {
			return q
		}
	}
	return nil
}

// leaveQueue drops a pull request that is in a queue and moves the queue on.
func (s *Server) leaveQueue(p *pull, u *user, reason string) error {
	if err := s.drop(p, u, reason); err != nil {
		return err
	}
	return s.advance(p.repo, p.base)
}

// drop takes a pull request out of its queue, if it is in one.
func (s *Server) drop(p *pull, u *user, reason string) error {
	q := s.inQueue(p)
	if q == nil {
		return nil
	}
	p.repo.queues[p.base] = slices.DeleteFunc(p.repo.queues[p.base], func(o *queued) bool { return o == q })
	s.enter(p, &Entry{Kind: EntryDequeued, Actor: u.Login, Body: reason})
	s.emitPull(p, "dequeued", u, object{"reason": reason})
	if reason == "MERGE" {
		return s.destroy(q, "merged")
	}
	return s.destroy(q, "dequeued")
}

// advance makes the groups that are missing or outdated, then merges from the front what is green and drops what is red.
func (s *Server) advance(r *repo, base string) error {
	for len(r.queues[base]) > 0 {
		if err := s.makeGroups(r, base); err != nil {
			return err
		}
		if len(r.queues[base]) == 0 {
			break
		}
		q := r.queues[base][0]
		switch good, bad := s.required(r, base, q.Head); {
		case bad:
			if err := s.drop(q.pull, &user{User: mergeQueue}, "CI_FAILURE"); err != nil {
				return err
			}
		case !good:
			return nil
		default:
			if err := s.mergeGroup(q); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeGroups gives every entry a commit on top of the one before it.
func (s *Server) makeGroups(r *repo, base string) error {
	from := s.tip(r, base)
	for _, q := range slices.Clone(r.queues[base]) {
		if q.Head != "" && q.Base == from {
			from = q.Head
			continue
		}
		if err := s.destroy(q, "invalidated"); err != nil {
			return err
		}
		bot := &user{User: mergeQueue}
		if _, ok := s.mergeTree(r, from, q.pull.headSHA); !ok {
			if err := s.drop(q.pull, bot, "MERGE_CONFLICT"); err != nil {
				return err
			}
			continue
		}
		sha, err := s.mergeCommits(q.pull, bot, from, MergeCommit)
		if err != nil {
			return fmt.Errorf("queue #%d: %w", q.pull.number, err)
		}
		q.Group = Group{Head: sha, Base: from, Ref: fmt.Sprintf("refs/heads/gh-readonly-queue/%s/pr-%d-%s", base, q.pull.number, from)}
		if err := s.setRef(r, q.Ref, sha); err != nil {
			return fmt.Errorf("queue #%d: %w", q.pull.number, err)
		}
		s.emit("push", r, s.pushPayload(r, bot, q.Ref[len("refs/heads/"):], zero, sha), bot)
		s.emitGroup(q, base, "checks_requested", "")
		from = sha
	}
	return nil
}

// destroy removes the commit that was asked about, if there is one.
func (s *Server) destroy(q *queued, reason string) error {
	if q.Head == "" {
		return nil
	}
	r, g := q.pull.repo, q.Group
	if err := s.setRef(r, g.Ref, ""); err != nil {
		return fmt.Errorf("queue #%d: %w", q.pull.number, err)
	}
	s.emitGroup(q, q.pull.base, "destroyed", reason)
	bot := &user{User: mergeQueue}
	s.emit("push", r, s.pushPayload(r, bot, g.Ref[len("refs/heads/"):], g.Head, zero), bot)
	q.Group = Group{}
	return nil
}

// mergeGroup moves the base to the commit of the first entry.
func (s *Server) mergeGroup(q *queued) error {
	r, base, bot, sha := q.pull.repo, q.pull.base, &user{User: mergeQueue}, q.Head
	before := s.tip(r, base)
	if err := s.setRef(r, "refs/heads/"+base, sha); err != nil {
		return fmt.Errorf("merge #%d from the queue: %w", q.pull.number, err)
	}
	if err := s.drop(q.pull, bot, "MERGE"); err != nil {
		return err
	}
	s.merged(q.pull, bot, sha)
	return s.moved(r, bot, base, before, sha)
}

func (s *Server) emitGroup(q *queued, base, action, reason string) {
	commit, err := s.log(q.pull.repo, "-1", q.Head)
	if err != nil || len(commit) == 0 {
		return // cannot happen: we made it
	}
	o := object{"action": action, "merge_group": object{
		"head_sha": q.Head, "head_ref": q.Ref, "base_sha": q.Base, "base_ref": "refs/heads/" + base, "head_commit": simpleCommitJSON(commit[0]),
	}}
	if reason != "" {
		o["reason"] = reason
	}
	s.emit("merge_group", q.pull.repo, o, &user{User: mergeQueue})
}
