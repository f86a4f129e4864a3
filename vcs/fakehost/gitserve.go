package fakehost

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"net/url"
	"regexp"
	"sort"
	"strconv"
)

// pushLimit bounds one git request, which is held in memory.
const pushLimit = 256 << 20

var gitPath = regexp.MustCompile(`^/((?:[^/]+/)+[^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)$`)

// serveGit is git's smart HTTP protocol, answered by git http-backend. Fetching takes read permission, which everyone has in a public
// repository; pushing takes a token with write permission. Who may not read is asked for a password, or told there is nothing.
func (s *Server) serveGit(w http.ResponseWriter, req *http.Request) {
	m := gitPath.FindStringSubmatch(req.URL.Path)
	if m == nil {
		http.NotFound(w, req)
		return
	}
	service := m[2]
	if service == "info/refs" {
		service = req.URL.Query().Get("service")
	}
	want := Read
	if service == "git-receive-pack" {
		want = Write
	}
	s.mu.Lock()
	r := s.repos[key(m[1])]
	u, code := s.gitUser(req, r, want)
	s.mu.Unlock()
	if code != 0 {
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		}
		http.Error(w, http.StatusText(code), code)
		return
	}
	// The CGI bridge takes no chunked bodies, which git sends for large packs, and a push is applied under the lock: read it first.
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, pushLimit))
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	inner := req.Clone(req.Context())
	inner.Body, inner.ContentLength, inner.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	inner.URL = &url.URL{Path: "/" + strconv.FormatInt(r.id, 10) + ".git/" + m[2], RawQuery: req.URL.RawQuery}
	inner.Header.Del("Authorization") // the bridge would put it into the environment
	if m[2] != "git-receive-pack" {
		s.backend(u).ServeHTTP(w, inner)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.heads(r)
	if err == nil {
		s.backend(u).ServeHTTP(w, inner)
		err = s.pushed(r, u, before)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// gitUser says who asks and whether they may; code 0 means yes.
func (s *Server) gitUser(req *http.Request, r *repo, want Permission) (u *user, code int) {
	if req.Header.Get("Authorization") != "" {
		var err error
		if u, err = s.who(req); err != nil {
			return nil, http.StatusUnauthorized
		}
	}
	switch {
	case u == nil && (r == nil || r.private || want != Read):
		return nil, http.StatusUnauthorized
	case u == nil:
		return nil, 0
	case r == nil || s.permission(r, u).rank() < Read.rank():
		return nil, http.StatusNotFound
	case s.permission(r, u).rank() < want.rank():
		return nil, http.StatusForbidden
	}
	return u, 0
}

func (s *Server) backend(u *user) *cgi.Handler {
	env := s.environment("GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1")
	if u != nil {
		env = append(env, "REMOTE_USER="+u.Login)
	}
	return &cgi.Handler{Path: s.git, Args: []string{"http-backend"}, Dir: s.dir, Root: "/", Env: env, Stderr: io.Discard}
}

// pushed follows a push over HTTP by comparing the branches.
func (s *Server) pushed(r *repo, u *user, before map[string]string) error {
	after, err := s.heads(r)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	order := make([]string, 0, len(names))
	for name := range names {
		order = append(order, name)
	}
	sort.Strings(order)
	for _, name := range order {
		if err := s.moved(r, u, name, before[name], after[name]); err != nil {
			return err
		}
	}
	return nil
}
