// Package fakehost is a GitHub on this machine: the part of its REST API that planlatch calls, its webhooks, and git over HTTP, on a
// loopback address. The demo and the tests use it.
//
// It promises what a program can see of GitHub: field names, status codes, pages with Link headers, limits, permissions, webhooks that are
// signed, delivered in the background and never retried by themselves, real git repositories with refs/pull/N/head, and merges that git
// really makes. State lives in memory and, for git, in one directory; [Server.Close] removes everything. Of GraphQL it has what
// schema.graphql says. The web pages of GitHub and apps are left out.
//
// People act through methods ([Server.Push], [Server.Comment], [Server.Merge], …), under the rules GitHub would hold them to; what they
// would see on the page of a pull request is [Server.Timeline]. All methods are safe for concurrent use. They need git 2.38 or later.
package fakehost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options say how the host behaves. The zero value is a well-behaved host in a temporary directory.
type Options struct {
	GitLab        bool                       // speak GitLab's API and webhooks, with its rules, instead of GitHub's: see gitlab.go
	Dir           string                     // where the directory with the repositories is made; empty: the system's temporary directory
	Now           func() time.Time           // nil: time.Now
	HookTimeout   time.Duration              // of one webhook delivery; 0: 10 s, as GitHub's
	SlowMergeable int                        // how often "mergeable" is null after a change, before it is known
	RateLimit     int                        // API calls per hour and account; 0: not counted
	ContentLimit  int                        // comments and reactions per minute and account, GitHub's secondary limit; 0: not counted
	FineGrained   bool                       // tokens are fine-grained ones, which cannot read check runs
	Fault         func(*http.Request) *Fault // see SetFault
	Judge         Judge                      // hears all that is said over the API and by webhooks, in tests; nil: nobody
}

// Judge decides, in tests, whether GitHub would say what the host says.
type Judge interface {
	// Answers wraps the API, behind faults.
	Answers(next http.Handler) http.Handler
	// Webhook is shown each delivery before it is sent.
	Webhook(event, action string, body []byte)
}

// Fault is what one request meets instead of its answer. Status 0 means the usual answer, after the delay.
type Fault struct {
	Status int
	Header http.Header
	Body   string
	Delay  time.Duration
}

// Refusal is GitHub's "no": a status code and a message, the same for a person's action and for an API call.
type Refusal struct {
	Code    int
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Message) }

func refuse(code int, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Server is one running host.
type Server struct {
	outputs sync.Map // of git commands whose output never changes
	URL     string   // http://127.0.0.1:port; the API is below /api/v3, as on an Enterprise server

	options Options
	dir     string
	git     string // the program
	web     *http.Server
	done    chan struct{}  // closed by Close
	work    sync.WaitGroup // the listener and the webhook workers
	calls   sync.WaitGroup // requests being answered
	close   sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every change
	lastID  int64
	users   map[string]*user // by lower-case login
	tokens  map[string]*user
	teams   map[string]*team // by "org/team"
	repos   map[string]*repo // by lower-case name, former names included
	hooks   []*hook
	sent    []*delivery
	calling map[string]*window   // API calls of an account
	lines   map[string]*pipeline // of GitLab, by repository and commit
	writing map[string]*window   // of those, comments and reactions
	fault   func(*http.Request) *Fault
}

// window counts calls until it ends.
type window struct {
	used int
	ends time.Time
}

// Start listens on a free loopback port and serves until Close.
func Start(o Options) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.HookTimeout <= 0 {
		o.HookTimeout = 10 * time.Second
	}
	dir, err := os.MkdirTemp(o.Dir, "fakehost-")
	if err != nil {
		return nil, fmt.Errorf("make directory for repositories: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("make directory for repositories: %w", err)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), os.RemoveAll(dir))
	}
	s := &Server{
		URL: "http://" + listen.Addr().String(), options: o, dir: dir, git: git, done: make(chan struct{}), changed: make(chan struct{}),
		lastID: 1000, users: map[string]*user{}, tokens: map[string]*user{}, teams: map[string]*team{}, repos: map[string]*repo{},
		calling: map[string]*window{}, writing: map[string]*window{}, lines: map[string]*pipeline{}, fault: o.Fault,
	}
	s.web = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	s.work.Go(func() {
		_ = s.web.Serve(listen) // ends when Close closes the listener
	})
	return s, nil
}

// Close stops serving and delivering, waits for both, and removes the repositories. Calling it again does nothing.
func (s *Server) Close() error {
	var err error
	s.close.Do(func() {
		close(s.done)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s.web.Shutdown(ctx) != nil {
			err = s.web.Close()
		}
		s.work.Wait()
		s.calls.Wait()
		err = errors.Join(err, os.RemoveAll(s.dir))
	})
	return err
}

// SetFault installs a function that is asked before every API and git request; nil answers mean the request goes on. nil removes it.
func (s *Server) SetFault(f func(*http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// wait blocks until ok is true, looking again after every change. ok is called with the lock held.
func (s *Server) wait(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		if ok() {
			s.mu.Unlock()
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("the host was closed")
		}
	}
}

// touch wakes everyone who waits.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) id() int64 {
	s.lastID++
	return s.lastID
}

func (s *Server) now() time.Time { return s.options.Now().UTC() }

// Clone is the address people give to git for a repository.
func (s *Server) Clone(repo string) string { return s.URL + "/" + repo + ".git" }

func key(name string) string { return strings.ToLower(name) }
