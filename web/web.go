// Package web serves what people and programs read of planlatch: the queue, runs with plan, findings and live log, and the JSON of the same.
//
// It promises that nothing is readable without a login, but for exactly the run that a signed link names; that whatever a pull request can
// influence is shown as text, invisible characters as their escapes; that a page loads nothing from elsewhere and runs no script but its own
// file; and that somebody who is not logged in learns neither version nor host name. Pages read; the one thing that they change, for people who are
// logged in and not from another site, is to acknowledge an apply that was interrupted. What the API changes needs the admin token itself, a
// login is not enough. Both are written down whether they were done or refused.
//
// It leaves to callers the root of the server's routes (webhooks, health, metrics), redaction, which happened before anything was stored, and
// who the token belongs to. A [Handler] and a [Linker] are safe for concurrent use; both need the same key, and a new key logs everybody
// out and ends every link.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// Options is what a Handler needs. Store, Views, AdminToken, Key and URL are required.
type Options struct {
	Store      run.Store
	Views      Viewer
	Facts      *facts.Gatherer                                      // on which the gates of an apply through the API are judged; nil: there are none
	AdminToken func(token string) bool                              // in constant time
	Login      string                                               // stands for the admin token: logins end when it is another one
	Key        []byte                                               // 32 bytes, for cookies and links
	URL        string                                               // how people reach the server; a path in it is taken off by the proxy before us
	LinksLogin func(host, repo string) bool                         // true: runs of the repository need a login, whatever links say; nil: none do
	Hosts      []string                                             // names of the VCS hosts, to tell people the addresses of webhooks
	PushState  StatePusher                                          // nil: states are pushed by hand
	Unsaved    func(ctx context.Context, r run.Run) ([]byte, error) // the state that a run's apply could not save; run.ErrNotFound if it was; nil: all were
	Ignored    func() []Ignored                                     // deliveries that started nothing, newest first; nil: not known
	Version    string                                               // shown to those who are logged in
	Log        *slog.Logger                                         // nil: discards
	Now        func() time.Time                                     // nil: time.Now
	Poll       time.Duration                                        // how often a live log looks for more; 0: once a second
	// WritePatience is how long a reader may take for a piece of a live log, or for a megabyte of any other answer, before it is dropped; 0: 10 seconds.
	WritePatience time.Duration
}

// Viewer gathers what is known of a run; *views.Viewer is one.
type Viewer interface {
	Run(ctx context.Context, id run.ID) (report.View, error)
	Read(ctx context.Context, r run.Run, name string) (views.Kept, error)
}

// StatePusher writes the state that a run's apply could not save to its backend, and returns why not if it was not written.
type StatePusher func(ctx context.Context, r run.Run) (failed string, err error)

// Ignored is a delivery that was verified and started nothing, or was refused.
type Ignored struct {
	At     time.Time
	Host   string // name of the VCS host
	ID     string // the host's delivery id
	Event  string // what it was about, as far as it was read
	Reason string
}

// Handler serves pages and API. Close ends its live logs and its questions to VCS hosts.
type Handler struct {
	Options
	base     string // path of URL, without a slash at its end
	grants   grants
	sessions sessions
	attempts *limiter
	streams  *streams
	known    *known
	root     http.Handler
	done     chan struct{}
	close    func()
}

// New makes the handler for everything below "/" that nobody else serves.
func New(o Options) (*Handler, error) {
	if o.Store == nil || o.Views == nil || o.AdminToken == nil {
		return nil, errors.New("web: store, views and admin token are required")
	}
	if len(o.Key) < 32 {
		return nil, fmt.Errorf("web: the key has %d bytes, 32 are needed", len(o.Key))
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("web: %q is not the address of a server", o.URL)
	}
	if o.LinksLogin == nil {
		o.LinksLogin = func(string, string) bool { return false }
	}
	if o.Ignored == nil {
		o.Ignored = func() []Ignored { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.WritePatience == 0 {
		o.WritePatience = 10 * time.Second
	}
	h := &Handler{
		Options: o, base: strings.TrimRight(u.Path, "/"), grants: newGrants(o.Key), sessions: newSessions(o.Key, o.Login, u.Scheme == "https"),
		attempts: newLimiter(), streams: newStreams(), done: make(chan struct{}),
	}
	h.known = newKnown(o, h.done)
	h.close = sync.OnceFunc(func() { close(h.done) })
	if h.root, err = h.protected(u, h.mux()); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP serves a page, an asset or JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.root.ServeHTTP(w, r) }

// Close ends live logs, which http.Server.Shutdown would wait for, and questions to VCS hosts: hand it to RegisterOnShutdown. Calling it again does nothing.
func (h *Handler) Close() { h.close() }

// route is one thing that can be asked for.
type route struct {
	method string
	path   string
	access access
	serve  func(w http.ResponseWriter, r *http.Request) error
}

// routes is all that is served. Whatever is not here does not exist.
func (h *Handler) routes() []route {
	return []route{
		{"GET", "/login", open, h.loginPage},
		{"POST", "/login", open, h.login},
		{"POST", "/logout", open, h.logout},
		{"GET", "/assets/{name}", open, h.asset},
		{"GET", "/{$}", member, h.home},
		{"GET", "/audit", member, h.auditPage},
		{"GET", "/runs/{id}", reader, h.runPage},
		{"POST", "/runs/{id}/acknowledge", member, h.written(run.ActAcknowledge, h.acknowledge)},
		{"GET", "/runs/{id}/log", reader, h.logText},
		{"GET", "/runs/{id}/log/live", reader, h.logLive},
		{"GET", "/api/v1/runs", program, h.apiRuns},
		{"GET", "/api/v1/runs/{id}", program, h.apiRun},
		{"GET", "/api/v1/queue", program, h.apiQueue},
		{"GET", "/api/v1/locks", program, h.apiLocks},
		{"DELETE", "/api/v1/locks", token, h.written(run.ActUnlock, h.apiUnlock)},
		{"GET", "/api/v1/pauses", program, h.apiPauses},
		{"POST", "/api/v1/pauses", token, h.written(run.ActPause, h.apiPause)},
		{"DELETE", "/api/v1/pauses", token, h.written(run.ActResume, h.apiResume)},
		{"POST", "/api/v1/runs/{id}/apply", token, h.written(run.ActConfirm, h.apiApply)},
		{"POST", "/api/v1/runs/{id}/cancel", token, h.written(run.ActCancel, h.apiCancel)},
		{"POST", "/api/v1/runs/{id}/acknowledge", token, h.written(run.ActAcknowledge, h.apiAcknowledge)},
		{"POST", "/api/v1/runs/{id}/state", token, h.written(run.ActStatePush, h.apiPushState)},
		{"GET", "/api/v1/runs/{id}/errored-state", token, h.apiUnsaved},
		{"GET", "/api/v1/audit", program, h.apiAudit},
		{"GET", "/api/v1/deliveries/ignored", program, h.apiIgnored},
	}
}

// mux routes requests; a path that exists with another method is told from one that does not.
func (h *Handler) mux() *http.ServeMux {
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, rt := range h.routes() {
		mux.Handle(rt.method+" "+rt.path, h.guarded(rt))
		allowed[rt.path] = append(allowed[rt.path], rt.method)
	}
	for path, methods := range allowed {
		allow := strings.Join(methods, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			h.answer(w, r, http.StatusMethodNotAllowed, "This address answers "+allow+" only.")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, http.StatusNotFound, "There is nothing at this address.")
	})
	return mux
}

// protected adds what holds for every answer: headers, no state-changing requests from other sites, no endless bodies.
func (h *Handler) protected(u *url.URL, next http.Handler) (http.Handler, error) {
	cross := http.NewCrossOriginProtection()
	if err := cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, fmt.Errorf("web: address of the server: %w", err)
	}
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, http.StatusForbidden, "The request came from another site.")
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		slow := newPatient(w, h.WritePatience)
		inner.ServeHTTP(slow, r)
		slow.end()
	}), nil
}

// bodyMax bounds a request body, in bytes: the largest one is a login form.
const bodyMax = 64 << 10

// secure sets the headers of every answer. The referrer stays on this site, since addresses carry grants; it is not left out altogether,
// because browsers then send "Origin: null" with our own forms, and over plain HTTP that is all there is to tell them from foreign ones.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}
