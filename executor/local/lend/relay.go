package lend

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what a place is read with.
type Kind string

// The kinds of places.
const (
	Git   Kind = "git"   // fetches over git's smart protocol
	HTTPS Kind = "https" // GET and HEAD
)

// Place is what one credential is for.
type Place struct {
	Name   string // for people
	Kind   Kind
	URL    string // everything below it if it ends in a slash, else this very thing and what is below it
	Header string // that carries the credential
	Secret string // the whole value of it
}

// Options say how the real servers are reached.
type Options struct {
	Roots *x509.CertPool                        // whose certificates are believed; nil: this machine's
	Proxy func(*http.Request) (*url.URL, error) // nil: none
	// Shared says that others than the program reach the git listener, so that it needs a path that nobody can guess.
	Shared bool
	// Dial connects for requests without a credential, or refuses to; nil: none is refused.
	Dial func(ctx context.Context, target string) (net.Conn, error)
}

// Relay serves the places. The zero value is not useful; New makes them, closed.
type Relay struct {
	root   string // of the paths to the git places
	places []place
	lent   *http.Transport
	plain  *http.Transport

	mu   sync.Mutex
	open context.Context //nolint:containedctx // ends when the relay is shut; nil while it is
	shut context.CancelFunc
	over bool
	all  []*http.Server
}

type place struct {
	Place
	at *url.URL
}

var placeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// The bounds on what a hostile client can make a relay hold.
const (
	maxConns  = 64
	maxHeader = 64 << 10
	maxAsk    = 32 << 20 // of a fetch: the names of commits that the client has and wants
)

// New makes a relay for places. Secrets may be given later, by Give.
func New(places []Place, o Options) (*Relay, error) {
	r := &Relay{root: "/"}
	if o.Shared {
		r.root += strings.ToLower(rand.Text()) + "/"
	}
	for _, p := range places {
		at, err := url.Parse(p.URL)
		if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Hostname() == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || !plain(at.EscapedPath()) {
			return nil, fmt.Errorf("place %s: its url cannot be one", p.Name)
		}
		if !placeName.MatchString(p.Name) || slices.ContainsFunc(r.places, func(o place) bool { return o.Name == p.Name }) {
			return nil, fmt.Errorf("place %q: its name cannot be one, or is given twice", p.Name)
		}
		if p.Kind != Git && p.Kind != HTTPS {
			return nil, fmt.Errorf("place %s: kind %q is unknown", p.Name, p.Kind)
		}
		at.Host = hostPort(at)
		r.places = append(r.places, place{Place: p, at: at})
	}
	r.lent, r.plain = transport(o), transport(o)
	if o.Dial != nil {
		r.plain.DialContext = func(ctx context.Context, _, target string) (net.Conn, error) { return o.Dial(ctx, target) }
	}
	return r, nil
}

func transport(o Options) *http.Transport {
	d := net.Dialer{Timeout: 20 * time.Second}
	return &http.Transport{
		DialContext: d.DialContext, Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		DisableCompression: true, TLSHandshakeTimeout: 20 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4,
		ResponseHeaderTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 256 << 10,
	}
}

// hostPort is the host and port of a URL, in lower case, with the port also where it is the usual one.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Give sets the secret of the i-th place.
func (r *Relay) Give(i int, secret string) { r.places[i].Secret = secret }

// Path is where the i-th place, one of git, begins on the git listener. Like the URL of the place it ends in a slash or not.
func (r *Relay) Path(i int) string {
	path := r.root + r.places[i].Name
	if strings.HasSuffix(r.places[i].at.EscapedPath(), "/") {
		path += "/"
	}
	return path
}

// Open lets requests through, until Shut.
func (r *Relay) Open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open, r.shut = context.WithCancel(context.Background()) // requests end with Shut, whatever their own context says
	}
}

// Shut ends the requests that run and refuses later ones.
func (r *Relay) Shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open != nil {
		r.shut()
		r.open, r.shut = nil, nil
	}
}

// while returns a context that ends with ctx and when the relay is shut; ok is false if it is.
func (r *Relay) while(ctx context.Context) (within context.Context, done func(), ok bool) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open == nil {
		return ctx, func() {}, false
	}
	within, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(open, cancel)
	return within, func() { stop(); cancel() }, true
}

// ServeGit serves the git places until l is closed.
func (r *Relay) ServeGit(l net.Listener) error { return r.serve(l, http.HandlerFunc(r.git), nil) }

func (r *Relay) serve(l net.Listener, h http.Handler, t *tls.Config) error {
	s := &http.Server{
		Handler: h, TLSConfig: t, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: quiet, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		DisableGeneralOptionsHandler: true,
	}
	r.mu.Lock()
	over := r.over
	r.all = append(r.all, s)
	r.mu.Unlock()
	if over {
		return l.Close()
	}
	l = &bounded{Listener: l, slots: make(chan struct{}, maxConns)}
	var err error
	if t != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends everything. What is served from then on ends at once.
func (r *Relay) Close() {
	r.Shut()
	r.mu.Lock()
	r.over = true
	all := r.all
	r.mu.Unlock()
	for _, s := range all {
		_ = s.Close() // its listeners may be closed already
	}
	r.lent.CloseIdleConnections()
	r.plain.CloseIdleConnections()
}

// bounded is a listener with so many connections at a time; others wait in the kernel's queue.
type bounded struct {
	net.Listener

	slots chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	b.slots <- struct{}{}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &boundedConn{Conn: c, free: sync.OnceFunc(func() { <-b.slots })}, nil
}

type boundedConn struct {
	net.Conn

	free func()
}

func (c *boundedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
