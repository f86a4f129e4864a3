package fakehost

import (
	"fmt"
	"strings"
)

// MergeMethod is how the commits get into the base.
type MergeMethod string

// GitHub's merge methods.
const (
	MergeCommit MergeMethod = "merge"
	Squash      MergeMethod = "squash"
	Rebase      MergeMethod = "rebase"
	FastForward MergeMethod = "fast-forward" // GitLab's
)

// Merge merges a pull request as login, who needs write permission, and returns the commit that the base then has. Drafts and conflicts
// are refused; a merge that branch protection blocks is refused to all but administrators.
func (s *Server) Merge(repo string, number int, login string, method MergeMethod) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return "", err
	}
	p, err := r.pull(number)
	if err != nil {
		return "", err
	}
	if p.state != open {
		return "", refuse(405, "#%d is not open", number)
	}
	switch state := s.mergeableState(p); {
	case state == "draft":
		return "", refuse(405, "#%d is still a draft", number)
	case state == "dirty":
		return "", refuse(405, "#%d has conflicts with %s", number, p.base)
	case state == "blocked" && s.permission(r, u) != Admin:
		return "", refuse(405, "#%d is blocked by the protection of %s", number, p.base)
	}
	if r.protected[p.base].Queue && s.permission(r, u) != Admin {
		return "", refuse(405, "changes to %s must be made through the merge queue", p.base)
	}
	if err := s.leaveQueue(p, u, "MANUAL"); err != nil {
		return "", err
	}
	before := s.tip(r, p.base)
	if s.options.GitLab && (method == Rebase || method == FastForward) { // there the branch itself is rebased, before the merge
		if err := s.rebaseBranch(p, u, before); err != nil {
			return "", fmt.Errorf("merge #%d: %w", number, err)
		}
		if method == Rebase { // semi-linear
			method = MergeCommit
		}
	}
	p.method = method
	sha, err := s.mergeCommits(p, u, before, method)
	if err != nil {
		return "", fmt.Errorf("merge #%d: %w", number, err)
	}
	if err := s.setRef(r, "refs/heads/"+p.base, sha); err != nil {
		return "", fmt.Errorf("merge #%d: %w", number, err)
	}
	s.merged(p, u, sha)
	return sha, s.moved(r, u, p.base, before, sha)
}

// mergeCommits writes the commits of a merge and returns the last.
func (s *Server) mergeCommits(p *pull, u *user, base string, method MergeMethod) (string, error) {
	if method == FastForward {
		return p.headSHA, nil // it is on top of the base: see Merge
	}
	if method == Rebase {
		return s.rebase(p.repo, base, p.headSHA, webFlow)
	}
	tree, ok := s.mergeTree(p.repo, base, p.headSHA)
	if !ok {
		return "", refuse(405, "conflicts with %s", p.base)
	}
	owner, _, _ := strings.Cut(p.headRepo.name, "/")
	args := []string{"commit-tree", tree, "-p", base}
	author, message := u.User, fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s\n", p.number, owner, p.head, p.title)
	switch method {
	case Squash:
		author, message = p.author.User, fmt.Sprintf("%s (#%d)\n", p.title, p.number)
	case MergeCommit:
		args = append(args, "-p", p.headSHA)
	default:
		return "", refuse(422, "no merge method %q", method)
	}
	return s.run(p.repo.dir, message, identity(author, webFlow, s.now()), args...)
}
