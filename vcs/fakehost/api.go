package fakehost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// bodyLimit bounds API requests; the largest is a comment.
const bodyLimit = 1 << 20

// call is one authenticated API request. The lock is held while it is answered.
type call struct {
	*http.Request
	user *user
	body []byte
	head http.Header // of the answer
}

// handler answers a call. A Refusal becomes its status code, any other error 500.
type handler func(c *call) (code int, answer any, err error)

func (s *Server) routes() http.Handler {
	mux, prefix, table := http.NewServeMux(), "/api/v3", map[string]handler{
		"GET /user":       s.getUser,
		"GET /user/repos": s.listRepos,
		"GET /orgs/{org}/teams/{team}/memberships/{user}":                s.getMembership,
		"GET /repos/{owner}/{repo}":                                      s.getRepo,
		"GET /repos/{owner}/{repo}/collaborators/{user}/permission":      s.getPermission,
		"GET /repos/{owner}/{repo}/branches/{branch}":                    s.getBranch,
		"GET /repos/{owner}/{repo}/rules/branches/{branch}":              s.getRules,
		"GET /repos/{owner}/{repo}/git/ref/{ref...}":                     s.getRef,
		"GET /repos/{owner}/{repo}/git/commits/{sha}":                    s.getCommit,
		"GET /repos/{owner}/{repo}/compare/{range}":                      s.compare,
		"POST /repos/{owner}/{repo}/statuses/{sha}":                      s.postStatus,
		"GET /repos/{owner}/{repo}/pulls":                                s.listPulls,
		"GET /repos/{owner}/{repo}/pulls/{number}":                       s.getPull,
		"GET /repos/{owner}/{repo}/pulls/{number}/reviews":               s.listReviews,
		"GET /repos/{owner}/{repo}/pulls/{number}/commits":               s.listCommits,
		"GET /repos/{owner}/{repo}/issues/{number}/{below}":              s.getIssuePart,
		"POST /repos/{owner}/{repo}/issues/{number}/comments":            s.postComment,
		"PATCH /repos/{owner}/{repo}/issues/comments/{comment}":          s.patchComment,
		"POST /repos/{owner}/{repo}/issues/comments/{comment}/reactions": s.postReaction,
	}
	if s.options.GitLab {
		prefix, table = "/api/v4", s.gitlabRoutes()
	}
	for pattern, h := range table {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+prefix+path, s.serve(h))
	}
	mux.HandleFunc("POST /api/graphql", s.serve(s.postQuery))
	mux.HandleFunc("/api/", s.serve(func(*call) (int, any, error) { return 0, nil, refuse(404, "Not Found") }))
	mux.HandleFunc("/", s.serveGit)
	answer := http.Handler(mux)
	if s.options.Judge != nil {
		answer = s.options.Judge.Answers(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		if !s.faulty(w, r) {
			answer.ServeHTTP(w, r)
		}
	})
}

// faulty lets the fault hook speak first, and says whether it gave the answer.
func (s *Server) faulty(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	hook := s.fault
	s.mu.Unlock()
	if hook == nil {
		return false
	}
	f := hook(r)
	if f == nil {
		return false
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-s.done:
		}
	}
	if f.Status == 0 {
		return false
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	maps.Copy(w.Header(), f.Header)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body) // best effort: the client may be gone
	return true
}

// serve authenticates, counts, answers under the lock and writes the answer after it.
func (s *Server) serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
		if err != nil {
			writeJSON(w, http.StatusRequestEntityTooLarge, object{"message": "Payload too large"})
			return
		}
		c := &call{Request: r, body: body, head: w.Header()}
		s.mu.Lock()
		code, answer, err := s.answer(c, h)
		s.mu.Unlock()
		if err != nil {
			code, answer = s.refusal(err)
		}
		writeJSON(w, code, answer)
	}
}

func (s *Server) answer(c *call, h handler) (int, any, error) {
	user, err := s.who(c.Request)
	if err != nil {
		return 0, nil, err
	}
	c.user = user
	if err := s.count(c); err != nil {
		return 0, nil, err
	}
	if err := s.countContent(c); err != nil {
		return 0, nil, err
	}
	return h(c)
}

// who reads the token: bearer, the older "token", or the password of basic authentication.
func (s *Server) who(r *http.Request) (*user, error) {
	token := ""
	if kind, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && (strings.EqualFold(kind, "bearer") || strings.EqualFold(kind, "token")) {
		token = value
	} else if _, password, ok := r.BasicAuth(); ok {
		token = password
	}
	if token == "" {
		return nil, refuse(401, "Requires authentication")
	}
	u := s.tokens[token]
	if u == nil {
		return nil, refuse(401, "Bad credentials")
	}
	return u, nil
}

// count keeps the primary rate limit and tells it in headers.
func (s *Server) count(c *call) error {
	if s.options.RateLimit <= 0 {
		return nil
	}
	w := s.calling[c.user.Login]
	if w == nil || !s.now().Before(w.ends) {
		w = &window{ends: s.now().Add(time.Hour)}
		s.calling[c.user.Login] = w
	}
	w.used++
	c.head.Set("X-RateLimit-Limit", strconv.Itoa(s.options.RateLimit))
	c.head.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, s.options.RateLimit-w.used)))
	c.head.Set("X-RateLimit-Reset", strconv.FormatInt(w.ends.Unix(), 10))
	if w.used > s.options.RateLimit {
		return refuse(403, "API rate limit exceeded for user ID %d.", c.user.ID)
	}
	return nil
}

// countContent keeps the secondary limit on what notifies people.
func (s *Server) countContent(c *call) error {
	if s.options.ContentLimit <= 0 || c.Method == http.MethodGet || !strings.Contains(c.URL.Path, "/issues/") {
		return nil
	}
	w := s.writing[c.user.Login]
	if w == nil || !s.now().Before(w.ends) {
		w = &window{ends: s.now().Add(time.Minute)}
		s.writing[c.user.Login] = w
	}
	if w.used++; w.used <= s.options.ContentLimit {
		return nil
	}
	c.head.Set("Retry-After", strconv.Itoa(int(w.ends.Sub(s.now()).Seconds())+1))
	return refuse(403, "You have exceeded a secondary rate limit and have been temporarily blocked from content creation. Please retry your request again later.")
}

func (s *Server) refusal(err error) (int, any) {
	var r *Refusal
	if !errors.As(err, &r) {
		return http.StatusInternalServerError, object{"message": "Server Error: " + err.Error()}
	}
	if s.options.GitLab {
		return r.Code, object{"message": r.Message}
	}
	o := object{"message": r.Message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(r.Code)}
	if r.Code == http.StatusUnprocessableEntity {
		o["message"], o["errors"] = "Validation Failed", []object{{"resource": "", "code": "custom", "field": "", "message": r.Message}}
	}
	return r.Code, o
}

func writeJSON(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer) //nolint:errchkjson // best effort: the client may be gone
	}
}

// read decodes the request's body.
func (c *call) read(into any) error {
	if err := json.Unmarshal(c.body, into); err != nil {
		return refuse(400, "Problems parsing JSON")
	}
	return nil
}

// repo is the repository of the path, seen by someone who may do as much as want. Who may not even read gets 404, and an old name leads
// to the new one.
func (s *Server) repo(c *call, want Permission) (*repo, error) {
	name := c.PathValue("owner") + "/" + c.PathValue("repo")
	r := s.repos[key(name)]
	if r == nil || s.permission(r, c.user).rank() < Read.rank() {
		return nil, refuse(404, "Not Found")
	}
	if key(r.name) != key(name) {
		code := http.StatusMovedPermanently
		if c.Method != http.MethodGet {
			code = http.StatusTemporaryRedirect
		}
		to := strings.Replace(c.URL.Path, "/repos/"+name, "/repos/"+r.name, 1)
		c.head.Set("Location", s.URL+to+"?"+c.URL.RawQuery)
		return nil, refuse(code, "Moved Permanently")
	}
	if s.permission(r, c.user).rank() < want.rank() {
		return nil, refuse(403, "Resource not accessible by personal access token")
	}
	return r, nil
}

// pullOf is the pull request of a call by somebody who may read it.
func (s *Server) pullOf(c *call) (*pull, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(c.PathValue("number"))
	if err != nil {
		return nil, refuse(404, "Not Found")
	}
	return r.pull(n)
}

// page cuts a list to the page asked for and sets the Link header.
func page[T any](s *Server, c *call, list []T) []T {
	query := c.URL.Query()
	number := func(name string, otherwise, most int) int {
		n, err := strconv.Atoi(query.Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return min(n, most)
	}
	size, at := number("per_page", 30, 100), number("page", 1, 1<<20)
	last := max(1, (len(list)+size-1)/size)
	var links []string
	link := func(rel string, n int) {
		q := url.Values{}
		maps.Copy(q, query)
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf("<%s%s?%s>; rel=%q", s.URL, c.URL.EscapedPath(), q.Encode(), rel))
	}
	if at > 1 {
		link("prev", at-1)
	}
	if at < last {
		link("next", at+1)
		link("last", last)
	}
	if at > 1 {
		link("first", 1)
	}
	if len(links) > 0 {
		c.head.Set("Link", strings.Join(links, ", "))
	}
	from := min((at-1)*size, len(list))
	return list[from:min(from+size, len(list))]
}
