package fakehost

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// NewRepo describes a repository to create.
type NewRepo struct {
	Private bool
	Branch  string            // the default branch; empty: main
	Files   map[string]string // of the first commit, by path; nil: an empty repository
	By      string            // who makes the first commit; needed with Files
}

// Commit is one change to push.
type Commit struct {
	Message string
	Files   map[string]string // path → content; one that begins with #! can be executed
	Links   map[string]string // path → where a symbolic link leads
	Modules map[string]string // path → the commit of a submodule
	Delete  []string          // files and directories
	From    string            // branch or commit to start from: needed for a new branch (empty: the default branch) and with Force
	Force   bool              // throw away what the branch had
}

type repo struct {
	id          int64
	name        string // owner/name
	private     bool
	branch      string // the default branch
	dir         string
	created     time.Time
	parent      *repo // of a fork
	permissions map[string]Permission
	numbered    []*pull // number 1 first; nil where the number is an issue's
	comments    map[int64]*comment
	statuses    map[string][]*status // by commit, oldest first
	runs        map[string][]*checkRun
	protected   map[string]Protection
	queues      map[string][]*queued // by base branch, the next one first
	commits     map[string]bool      // known to be there
}

var repoForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(?:/[A-Za-z0-9_.-]+)+$`)

// CreateRepo makes a repository.
func (s *Server) CreateRepo(name string, n NewRepo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.createRepo(name, n)
	if err != nil || n.Files == nil {
		return err
	}
	u := s.users[key(n.By)]
	if u == nil {
		return refuse(404, "no user %q to make the first commit", n.By)
	}
	sha, err := s.commit(r, u, r.branch, "", Commit{Message: "Initial commit", Files: n.Files})
	if err != nil {
		return fmt.Errorf("first commit of %s: %w", name, err)
	}
	s.emit("push", r, s.pushPayload(r, u, r.branch, zero, sha), u)
	s.gitlabPush(r, u, r.branch, zero, sha)
	return nil
}

func (s *Server) createRepo(name string, n NewRepo) (*repo, error) {
	if !repoForm.MatchString(name) || strings.Count(name, "/") > 1 && !s.options.GitLab || strings.HasSuffix(name, ".git") || strings.HasSuffix(name, "/..") {
		return nil, refuse(422, "repository %q is not written owner/name", name)
	}
	if s.repos[key(name)] != nil {
		return nil, refuse(422, "name already exists on this account: %s", name)
	}
	if n.Branch == "" {
		n.Branch = "main"
	}
	id := s.id()
	r := &repo{
		id: id, name: name, private: n.Private, branch: n.Branch, dir: filepath.Join(s.dir, strconv.FormatInt(id, 10)+".git"), created: s.now(),
		permissions: map[string]Permission{}, comments: map[int64]*comment{}, statuses: map[string][]*status{}, runs: map[string][]*checkRun{},
		protected: map[string]Protection{}, queues: map[string][]*queued{}, commits: map[string]bool{},
	}
	if err := s.initialise(r); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	s.repos[key(name)] = r
	s.touch()
	return r, nil
}

// RepoID is the id of a repository, which renames do not change.
func (s *Server) RepoID(name string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(name)]
	if r == nil {
		return 0, refuse(404, "no repository %s", name)
	}
	return r.id, nil
}

// RenameRepo gives a repository another name. The old one keeps leading to it, as on GitHub, until somebody takes it.
func (s *Server) RenameRepo(name, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(name)]
	if r == nil {
		return refuse(404, "no repository %s", name)
	}
	if !repoForm.MatchString(to) || s.repos[key(to)] != nil {
		return refuse(422, "name %q cannot be taken", to)
	}
	s.repos[key(to)] = r
	r.name = to
	s.touch()
	return nil
}

// DeleteRepo removes a repository with everything in it. A later one of the same name is another repository.
func (s *Server) DeleteRepo(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(name)]
	if r == nil {
		return refuse(404, "no repository %s", name)
	}
	for k, other := range s.repos {
		if other == r {
			delete(s.repos, k)
		}
	}
	s.touch()
	return nil
}

// Fork makes login's own copy of a repository and returns its name.
func (s *Server) Fork(name, login string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(name, login, Read)
	if err != nil {
		return "", err
	}
	fork, err := s.createRepo(u.Login+"/"+path.Base(r.name), NewRepo{Private: r.private, Branch: r.branch})
	if err != nil {
		return "", err
	}
	fork.parent = r
	if _, err := s.run(fork.dir, "", nil, "fetch", "--quiet", r.dir, "+refs/heads/*:refs/heads/*"); err != nil {
		return "", fmt.Errorf("fork %s: %w", name, err)
	}
	return fork.name, nil
}

// Push makes one commit on a branch as login, and returns it. Whoever pushes must have write permission.
func (s *Server) Push(repo, login, branch string, c Commit) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return "", err
	}
	before := s.tip(r, branch)
	from := before
	if before == "" || c.Force {
		start := c.From
		if start == "" {
			start = r.branch
		}
		from, err = s.run(r.dir, "", nil, "rev-parse", "--verify", "--quiet", start+"^{commit}")
		if err != nil && (c.From != "" || before != "") {
			return "", refuse(422, "no branch or commit %q to start from", start)
		}
	}
	if c.Message == "" {
		c.Message = "Update " + branch
	}
	sha, err := s.commit(r, u, branch, from, c)
	if err != nil {
		return "", fmt.Errorf("push to %s of %s: %w", branch, repo, err)
	}
	return sha, s.moved(r, u, branch, before, sha)
}

// DeleteBranch removes a branch; open pull requests from it or into it are closed.
func (s *Server) DeleteBranch(repo, login, branch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return err
	}
	before := s.tip(r, branch)
	if before == "" {
		return refuse(404, "no branch %s in %s", branch, repo)
	}
	if err := s.setRef(r, "refs/heads/"+branch, ""); err != nil {
		return err
	}
	return s.moved(r, u, branch, before, "")
}

// Tip is the commit of a branch.
func (s *Server) Tip(repo, branch string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return "", refuse(404, "no repository %s", repo)
	}
	sha := s.tip(r, branch)
	if sha == "" {
		return "", refuse(404, "no branch %s in %s", branch, repo)
	}
	return sha, nil
}

// moved does what follows a push: the webhook, the heads of pull requests, and pull requests whose commits are now in their base.
func (s *Server) moved(r *repo, u *user, branch, before, after string) error {
	if before == after {
		return nil
	}
	s.gitlabPush(r, u, branch, orZero(before), orZero(after))
	s.emit("push", r, s.pushPayload(r, u, branch, orZero(before), orZero(after)), u)
	for _, base := range s.repos {
		if base != r && base.parent != r && r.parent != base {
			continue
		}
		for _, p := range base.pulls() {
			if p.state != open {
				continue
			}
			switch {
			case p.headRepo == r && p.head == branch:
				if err := s.headMoved(p, u, after); err != nil {
					return err
				}
			case base == r && p.base == branch:
				if err := s.baseMoved(p, u, after); err != nil {
					return err
				}
			}
		}
	}
	s.touch()
	return s.advance(r, branch)
}

func orZero(sha string) string {
	if sha == "" {
		return zero
	}
	return sha
}
