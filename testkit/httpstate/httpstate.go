// Package httpstate is a state server for tests: it speaks the protocol of the tools' `http` backend, for one state, on a loopback port.
//
// It promises to be strict. What the protocol asks of a client is demanded: credentials, a lock before a change, the lock's own id with
// it, a body that is what its digest says. A client that gets this wrong is refused, and the test that started the server fails with what
// was wrong. A test can hold the lock as somebody else, look at the state, let readers wait, and have saves answered with 500.
//
// A Server ends with its test. It is safe for concurrent use. Only tests import it.
package httpstate

import (
	"crypto/md5" //nolint:gosec // the protocol's checksum
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lock is who holds the state, as the tools write it.
type Lock struct {
	ID        string
	Operation string
	Info      string
	Who       string
	Version   string
	Created   time.Time
	Path      string
}

// Server keeps one state.
type Server struct {
	URL      string // the state, and where it is locked and unlocked
	Address  string // host:port, for rules about networks
	User     string
	Password string

	t       testing.TB
	mu      sync.Mutex
	state   []byte
	lock    *Lock
	failing bool
	stalled chan struct{} // closed when reading may go on
	refused int
	ended   bool
}

// New starts a server without state.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, User: "states", Password: rand.Text()}
	server := httptest.NewServer(s)
	s.Address = server.Listener.Addr().String()
	s.URL = server.URL + "/state"
	t.Cleanup(func() {
		server.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true // nothing may complain to a test that is over
	})
	return s
}

// State returns the saved state; false if there is none.
func (s *Server) State() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.state), s.state != nil
}

// Held returns who holds the lock; false if nobody does.
func (s *Server) Held() (Lock, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return Lock{}, false
	}
	return *s.lock, true
}

// Hold takes the lock as somebody else, since a time, and returns its id. Somebody else's lock that is in the way fails the test.
func (s *Server) Hold(t testing.TB, who string, since time.Time) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		t.Fatalf("Hold(%s): it is locked by %s", who, s.lock.Who)
	}
	return s.hold("OperationTypeApply", who, since)
}

// HoldAsPlan is Hold by somebody who plans.
func (s *Server) HoldAsPlan(t testing.TB, who string, since time.Time) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		t.Fatalf("HoldAsPlan(%s): it is locked by %s", who, s.lock.Who)
	}
	return s.hold("OperationTypePlan", who, since)
}

func (s *Server) hold(operation, who string, since time.Time) string {
	s.lock = &Lock{ID: strings.ToLower(rand.Text()), Operation: operation, Who: who, Version: "1.12.6", Created: since.UTC()}
	return s.lock.ID
}

// Release frees the lock, whoever holds it.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lock = nil
}

// FailSaves makes every save answer 500 until it is switched off. Reading and locking go on.
func (s *Server) FailSaves(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = on
}

// Stall keeps those waiting who read the state while it is locked, until release is called or they go away. A tool that plans has the lock then.
func (s *Server) Stall() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := make(chan struct{})
	s.stalled = until
	return sync.OnceFunc(func() { close(until) })
}

// RefusedSaves is how many saves were answered with 500.
func (s *Server) RefusedSaves() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// The state's size here. A test that needs more is testing something else.
const maxBody = 16 << 20

// answer is a status and a body.
type answer struct {
	code int
	body []byte
}

// refusal is an answer that names who holds the lock.
func refusal(code int, held *Lock) answer {
	text, err := json.Marshal(held)
	if err != nil { // only of a time beyond the year 9999
		return answer{http.StatusInternalServerError, []byte(err.Error())}
	}
	return answer{code, text}
}

// ServeHTTP is the protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if until := s.stalled; until != nil && r.Method == http.MethodGet && s.lock != nil {
		s.mu.Unlock()
		select {
		case <-until:
		case <-r.Context().Done():
		}
		s.mu.Lock()
	}
	a := s.answer(r, body)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body) // the client is gone: nobody to tell
}

func (s *Server) answer(r *http.Request, body []byte) answer {
	if r.URL.Path != "/state" {
		return s.wrong(http.StatusNotFound, "%s %s: there is only /state", r.Method, r.URL.Path)
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return answer{code: http.StatusUnauthorized}
	}
	if user != s.User || subtle.ConstantTimeCompare([]byte(password), []byte(s.Password)) != 1 {
		return answer{code: http.StatusForbidden}
	}
	if why := sound(r, body); why != "" {
		return s.wrong(http.StatusBadRequest, "%s", why)
	}
	switch r.Method {
	case http.MethodGet:
		if s.state == nil {
			return answer{code: http.StatusNotFound}
		}
		return answer{http.StatusOK, s.state}
	case http.MethodPost:
		return s.save(r, body)
	case http.MethodDelete:
		if s.lock != nil && r.URL.Query().Get("ID") != s.lock.ID {
			return refusal(http.StatusLocked, s.lock)
		}
		s.state = nil
		return answer{code: http.StatusOK}
	case "LOCK":
		return s.take(body)
	case "UNLOCK":
		return s.give(body)
	}
	return s.wrong(http.StatusMethodNotAllowed, "method %s is not of the protocol", r.Method)
}

// sound says what is wrong with a request that carries a body; empty if nothing is.
func sound(r *http.Request, body []byte) string {
	switch r.Method {
	case http.MethodPost, "LOCK", "UNLOCK":
	default:
		return ""
	}
	sum := md5.Sum(body) //nolint:gosec // as above
	if got, want := r.Header.Get("Content-MD5"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return fmt.Sprintf("%s: Content-MD5 is %q, and the body's is %q", r.Method, got, want)
	}
	if !json.Valid(body) {
		return r.Method + ": the body is not JSON"
	}
	return ""
}

// save demands the lock: who changes the state without one could change it under somebody else.
func (s *Server) save(r *http.Request, body []byte) answer {
	id := r.URL.Query().Get("ID")
	switch {
	case s.lock == nil:
		return s.wrong(http.StatusConflict, "POST without a lock")
	case id != s.lock.ID:
		return refusal(http.StatusLocked, s.lock)
	case s.failing:
		s.refused++
		return answer{code: http.StatusInternalServerError}
	}
	s.state = body
	return answer{code: http.StatusOK}
}

func (s *Server) take(body []byte) answer {
	var l Lock
	if err := json.Unmarshal(body, &l); err != nil || l.ID == "" {
		return s.wrong(http.StatusBadRequest, "LOCK: %q is not a lock with an id", body)
	}
	if s.lock != nil {
		return refusal(http.StatusLocked, s.lock)
	}
	s.lock = &l
	return answer{code: http.StatusOK}
}

func (s *Server) give(body []byte) answer {
	var l Lock
	if err := json.Unmarshal(body, &l); err != nil || l.ID == "" {
		return s.wrong(http.StatusBadRequest, "UNLOCK: %q is not a lock with an id", body)
	}
	if s.lock == nil || s.lock.ID != l.ID {
		return refusal(http.StatusConflict, s.lock)
	}
	s.lock = nil
	return answer{code: http.StatusOK}
}

// wrong refuses what no client of the protocol does, and fails the test.
func (s *Server) wrong(code int, format string, args ...any) answer {
	if !s.ended {
		s.t.Errorf("state server: "+format, args...)
	}
	return answer{code, fmt.Appendf(nil, format, args...)}
}
