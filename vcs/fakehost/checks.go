package fakehost

import (
	"slices"
	"time"
)

// Status is a commit status. State is pending, success, failure or error.
type Status struct {
	Context     string
	State       string
	Description string
	URL         string
}

// CheckRun is a check run of an app.
type CheckRun struct {
	Name       string
	Status     string // queued, in_progress or completed
	Conclusion string // of a completed one: success, failure, neutral, …
	App        int64  // id of the app; 0: some app
}

// Protection is what a branch asks for before a merge.
type Protection struct {
	Checks    []string         // contexts that must be green
	Apps      map[string]int64 // context → the only app that counts
	Approvals int              // of people with write permission
	Threads   bool             // every review conversation is resolved
	Queue     bool             // everyone but administrators merges through the merge queue
	RuleSet   bool             // as a rule set, which every reader sees, instead of the branch's own protection
}

type status struct {
	Status
	id      int64
	creator *user
	created time.Time
}

type checkRun struct {
	CheckRun
	id int64
	at time.Time
}

// statusLimit is how many statuses of one context a commit takes.
const statusLimit = 1000

// SetStatus sets a commit status as login, who needs write permission.
func (s *Server) SetStatus(repo, login, sha string, set Status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.setStatus(repo, login, sha, set)
	return err
}

func (s *Server) setStatus(repo, login, sha string, set Status) (*status, error) {
	r, u, err := s.may(repo, login, Write)
	if err != nil {
		return nil, err
	}
	if set.Context == "" {
		set.Context = "default"
	}
	if s.options.GitLab {
		return s.gitlabStatus(r, u, sha, "", set)
	}
	if !s.known(r, sha) {
		return nil, refuse(422, "No commit found for SHA: %s", sha)
	}
	same := 0
	for _, have := range r.statuses[sha] {
		if have.Context == set.Context {
			same++
		}
	}
	switch {
	case !slices.Contains([]string{"pending", "success", "failure", "error"}, set.State):
		return nil, refuse(422, "Validation Failed: state %q", set.State)
	case len([]rune(set.Description)) > 140:
		return nil, refuse(422, "Validation Failed: description is too long (maximum is 140 characters)")
	case len(set.Context) > 255:
		return nil, refuse(422, "Validation Failed: context is too long (maximum is 255 characters)")
	case same >= statusLimit:
		return nil, refuse(422, "Validation Failed: This SHA and context has reached the maximum number of statuses.")
	}
	made := &status{Status: set, id: s.id(), creator: u, created: s.now()}
	r.statuses[sha] = append(r.statuses[sha], made)
	s.onCommit(r, sha, Entry{
		Kind: EntryStatus, Actor: u.Login, ID: made.id, Context: set.Context, State: set.State, Description: set.Description, URL: set.URL, SHA: sha,
	})
	s.emit("status", r, s.statusPayload(r, sha, made), u)
	return made, s.judged(r, sha)
}

// SetCheckRun sets the check run of a name and app on a commit.
func (s *Server) SetCheckRun(repo, sha string, set CheckRun) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return refuse(404, "no repository %s", repo)
	}
	if !s.known(r, sha) {
		return refuse(422, "no commit %s", sha)
	}
	if set.App == 0 {
		set.App = 15368
	}
	r.runs[sha] = slices.DeleteFunc(r.runs[sha], func(have *checkRun) bool { return have.Name == set.Name && have.App == set.App })
	made := &checkRun{CheckRun: set, id: s.id(), at: s.now()}
	r.runs[sha] = append(r.runs[sha], made)
	word := set.Status
	if set.Status == "completed" {
		word = set.Conclusion
	}
	s.onCommit(r, sha, Entry{Kind: EntryStatus, Actor: "app", ID: made.id, Context: set.Name, State: word, SHA: sha})
	action := "created"
	if set.Status == "completed" {
		action = "completed"
	}
	s.emit("check_run", r, object{"action": action, "check_run": s.runJSON(r, made, sha)}, actionsBot())
	return s.judged(r, sha)
}

// Statuses is the last status of each context on a commit, in the order in which the contexts first came.
func (s *Server) Statuses(repo, sha string) ([]Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return nil, refuse(404, "no repository %s", repo)
	}
	var out []Status
	for _, st := range r.latest(sha) {
		out = append(out, st.Status)
	}
	return out, nil
}

// Protect sets what a branch asks for; the zero Protection asks for nothing.
func (s *Server) Protect(repo, branch string, p Protection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[key(repo)]
	if r == nil {
		return refuse(404, "no repository %s", repo)
	}
	r.protected[branch] = p
	s.touch()
	return nil
}

// known says whether the repository has a commit, in any branch or pull request.
func (s *Server) known(r *repo, sha string) bool {
	if r.commits[sha] {
		return true // commits never go away: nothing collects garbage
	}
	if len(sha) != len(zero) {
		return false
	}
	if _, err := s.run(r.dir, "", nil, "rev-parse", "--verify", "--quiet", sha+"^{commit}"); err != nil {
		return false
	}
	r.commits[sha] = true
	return true
}

// onCommit puts an entry on every pull request that has or had the commit as its head, or merged as it.
func (s *Server) onCommit(r *repo, sha string, e Entry) {
	for _, p := range r.pulls() {
		if p.shas[sha] {
			one := e
			updated := p.updated
			s.enter(p, &one)
			p.updated = updated // a status is no update of the pull request
		}
	}
	s.touch()
}

func (r *repo) latest(sha string) []*status {
	var out []*status
	at := map[string]int{}
	for _, st := range r.statuses[sha] {
		if i, ok := at[st.Context]; ok {
			out[i] = st
			continue
		}
		at[st.Context] = len(out)
		out = append(out, st)
	}
	return out
}

// mergeableState is GitHub's word for what the merge button would do.
func (s *Server) mergeableState(p *pull) string {
	if p.state != open {
		return "unknown"
	}
	if _, ok := s.mergeTree(p.repo, s.tip(p.repo, p.base), p.headSHA); !ok {
		return "dirty"
	}
	switch {
	case p.draft:
		return "draft"
	case !s.allowed(p):
		return "blocked"
	}
	for _, st := range p.repo.latest(p.headSHA) {
		if st.State != "success" {
			return "unstable"
		}
	}
	for _, c := range p.repo.runs[p.headSHA] {
		if !passed(c) {
			return "unstable"
		}
	}
	return "clean"
}

func passed(c *checkRun) bool {
	return c.Status == "completed" && slices.Contains([]string{"success", "neutral", "skipped"}, c.Conclusion)
}

// allowed says whether the protection of the base is satisfied.
func (s *Server) allowed(p *pull) bool {
	want := p.repo.protected[p.base]
	if s.options.GitLab {
		approvals, _ := s.reviews(p)
		return approvals >= want.Approvals && (len(want.Checks) == 0 || s.pipelinePassed(p))
	}
	if good, _ := s.required(p.repo, p.base, p.headSHA); !good {
		return false
	}
	approvals, against := s.reviews(p)
	return approvals >= want.Approvals && (want.Approvals == 0 || !against) && (!want.Threads || !slices.Contains(p.threads, false))
}

// reviews counts the people with write permission whose last word is an approval, and says whether one of them asks for changes.
func (s *Server) reviews(p *pull) (approvals int, against bool) {
	last := map[*user]ReviewState{}
	for _, w := range p.reviews {
		if w.state != Commented && s.permission(p.repo, w.author).rank() >= Write.rank() {
			last[w.author] = w.state
		}
	}
	for _, state := range last {
		against = against || state == ChangesRequested
		if state == Approved {
			approvals++
		}
	}
	return approvals, against
}

// required says whether every check that a branch asks for is green on a commit, and whether one is red.
func (s *Server) required(r *repo, branch, sha string) (good, bad bool) {
	want := r.protected[branch]
	good = true
	for _, name := range want.Checks {
		green, red := false, false
		for _, st := range r.latest(sha) {
			if st.Context == name && want.Apps[name] == 0 {
				green, red = green || st.State == "success", red || st.State == "failure" || st.State == "error"
			}
		}
		for _, c := range r.runs[sha] {
			if c.Name == name && (want.Apps[name] == 0 || want.Apps[name] == c.App) {
				green, red = green || passed(c), red || c.Status == "completed" && !passed(c)
			}
		}
		good, bad = good && green && !red, bad || red
	}
	return good, bad
}

// judged moves on the queues that wait for a commit.
func (s *Server) judged(r *repo, sha string) error {
	for base, queue := range r.queues {
		for _, q := range queue {
			if q.Head == sha {
				return s.advance(r, base)
			}
		}
	}
	return nil
}
