package shim

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/lend"
	"github.com/planlatch/planlatch/executor/reach"
)

// Where the relay of lent credentials is inside the network namespace. Every such namespace has a loopback of its own.
const (
	LendGit = "127.77.0.1:8418"
	// insideAuthority is the file with the certificates that steps believe while something is lent to them: this machine's, and the relay's.
	insideAuthority = "/run/planlatch-lent.crt"
	fileAuthority   = "lent.crt" // in DirEtc
)

// Door is where a site of lent credentials is reached instead of itself.
type Door struct {
	Host   string // host:port of the site
	Listen string // ip:port inside the network namespace
}

// lender lends credentials to the steps that may have them. It lives in the owner. The zero value lends nothing.
type lender struct {
	launch  Launch
	relay   *lend.Relay
	network *network
	git     string // host:port that the steps reach the git relay at
	sites   []lend.Site
	doors   map[netip.AddrPort]door
}

// door is a place inside at which connections are taken for the relay.
type door struct {
	*queue

	site *lend.Site // nil: git
}

// prepare makes the relay, and the file of certificates that go with it.
func (l *lender) prepare(launch Launch, dir string, n *network) error {
	l.launch = launch
	if len(launch.Spec.Lends) == 0 {
		return nil
	}
	var places []lend.Place
	for _, s := range launch.Spec.Lends {
		places = append(places, lend.Place{Name: s.Name, Kind: lend.Kind(s.Kind), URL: s.URL, Header: s.Header})
	}
	sites, err := lend.Sites(places)
	if err != nil {
		return err
	}
	roots, bundle := trusted(launch.Spec.Env)
	proxies := httpproxy.Config{
		HTTPProxy: value(launch.Spec.Env, "HTTP_PROXY"), HTTPSProxy: value(launch.Spec.Env, "HTTPS_PROXY"), NoProxy: value(launch.Spec.Env, "NO_PROXY"),
	}
	proxy := proxies.ProxyFunc()
	l.relay, err = lend.New(places, lend.Options{
		Roots: roots, Dial: n.dial, Shared: !launch.Namespaces, Proxy: func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
	})
	if err != nil {
		return err
	}
	l.git, l.network = LendGit, n
	authority, err := lend.Certify(sites, time.Now())
	if err != nil {
		return err
	}
	l.sites = sites
	if !launch.Namespaces || len(sites) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, DirEtc, fileAuthority), append(bundle, authority...), 0o644) //nolint:gosec // certificates are public
}

// trusted are the certificates that runs believe: of the file that the server passes on, else of this machine.
func trusted(env []string) (*x509.CertPool, []byte) {
	files := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"}
	given := value(env, "SSL_CERT_FILE")
	if given != "" {
		files = []string{given}
	}
	var bundle []byte
	for _, name := range files {
		if body, err := os.ReadFile(name); err == nil {
			bundle = slices.Concat(body, []byte("\n"))
			break
		}
	}
	roots := x509.NewCertPool()
	if system, err := x509.SystemCertPool(); err == nil && given == "" {
		roots = system
	}
	roots.AppendCertsFromPEM(bundle)
	return roots, bundle
}

// value is that of a variable, in upper or lower case as programs read the names of proxies.
func value(env []string, name string) string {
	for _, n := range []string{name, strings.ToLower(name)} {
		for _, pair := range env {
			if v, ok := strings.CutPrefix(pair, n+"="); ok {
				return v
			}
		}
	}
	return ""
}

// reaches says whether the network of the run reaches a site by itself.
func (l *lender) reaches(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	if at, err := netip.ParseAddrPort(target); err == nil {
		return l.launch.Slirp != "" || l.network.allow.Address(at)
	}
	return l.launch.Slirp != "" || l.network.allow.Name(reach.Normal(host), portOf(target))
}

// inside adds the doors to what is set up inside the namespace, and serves them.
func (l *lender) inside(s *setup) error {
	if l.relay == nil {
		return nil
	}
	l.doors = map[netip.AddrPort]door{netip.MustParseAddrPort(LendGit): {queue: newQueue()}}
	for i := range l.sites {
		site := &l.sites[i]
		site.Through = l.reaches(site.Host)
		n := slices.IndexFunc(l.launch.Doors, func(d Door) bool { return d.Host == site.Host })
		if n < 0 {
			return fmt.Errorf("there is no way to %s", site.Host)
		}
		at, err := netip.ParseAddrPort(l.launch.Doors[n].Listen)
		if err != nil {
			return err
		}
		l.doors[at] = door{queue: newQueue(), site: site}
	}
	for at, d := range l.doors {
		s.listen(at)
		if !at.Addr().IsLoopback() {
			s.Addresses = append(s.Addresses, at.Addr().String())
		}
		l.network.work.Go(func() {
			if d.site == nil {
				_ = l.relay.ServeGit(d.queue) // it ends with the execution
			} else {
				_ = l.relay.ServeSite(d.queue, *d.site) // as above
			}
		})
	}
	l.network.lender = l
	return nil
}

// outside serves the git relay on this machine's loopback, for an execution without namespaces: only who knows its path can use it.
func (l *lender) outside() error {
	if l.relay == nil {
		return nil
	}
	if len(l.sites) > 0 {
		return errors.New("credentials of kind https need a network namespace")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // lives as long as this process, which is the execution
	if err != nil {
		return fmt.Errorf("listen for git: %w", err)
	}
	l.git = listener.Addr().String()
	l.network.work.Go(func() { _ = l.relay.ServeGit(listener) }) // it ends with the execution
	return nil
}

// connected serves one connection from inside, if it came to a door. A site is what it always was while nothing is lent.
func (l *lender) connected(ctx context.Context, at netip.AddrPort, inside net.Conn) bool {
	if l == nil {
		return false
	}
	d, ok := l.doors[at]
	switch {
	case !ok:
		return false
	case d.site == nil || l.relay.IsOpen():
		d.hand(inside)
	case d.site.Through:
		l.network.relay(ctx, inside, Relay{Dial: d.site.Host})
	default:
		l.network.notes.say("%s is not in network.allow", d.site.Host)
		reset(inside)
	}
	return true
}

// queue is a listener whose connections were accepted elsewhere.
type queue struct {
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newQueue() *queue {
	q := &queue{conns: make(chan net.Conn), over: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.over) })
	return q
}

// hand gives a connection to who serves the queue, and returns when that is done with it.
func (q *queue) hand(c net.Conn) {
	served := &handed{Conn: c, done: make(chan struct{})}
	served.end = sync.OnceFunc(func() { close(served.done) })
	select {
	case q.conns <- served:
		<-served.done
	case <-q.over:
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.over:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.close()
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// handed is a connection whose giver waits for its end.
type handed struct {
	net.Conn

	done chan struct{}
	end  func()
}

func (h *handed) Close() error {
	defer h.end()
	return h.Conn.Close()
}

// take keeps what is lent. Nothing of it goes on to the steps.
func (l *lender) take(secrets executor.Secrets) error {
	if len(secrets.Lent) != len(l.launch.Spec.Lends) {
		return fmt.Errorf("%d credentials came for %d places", len(secrets.Lent), len(l.launch.Spec.Lends))
	}
	for i, secret := range secrets.Lent {
		l.relay.Give(i, secret)
	}
	return nil
}

// environment is what the steps that are lent something get besides: where git finds the relay, and whom to believe.
func (l *lender) environment() []string {
	if l.relay == nil {
		return nil
	}
	base := l.launch.Spec.Env
	count, _ := strconv.Atoi(value(base, "GIT_CONFIG_COUNT"))         // no number: none
	env := []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"} // the system's file cannot be read from everywhere, which git does not forgive
	set := func(key, text string) {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, text))
		count++
	}
	set("http.http://"+l.git+"/.proxy", "")
	for i, s := range l.launch.Spec.Lends {
		if s.Kind != executor.LendGit {
			continue
		}
		for _, from := range append([]string{s.URL}, s.InsteadOf...) {
			set("url.http://"+l.git+l.relay.Path(i)+".insteadOf", from)
		}
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
	if len(l.sites) == 0 {
		return env
	}
	var hosts []string
	for _, s := range l.sites {
		host, _, _ := net.SplitHostPort(s.Host) // made by package lend
		hosts = append(hosts, host)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		env = append(env, name+"="+strings.Trim(value(base, "NO_PROXY")+","+strings.Join(hosts, ","), ","))
	}
	for _, name := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE"} {
		env = append(env, name+"="+insideAuthority)
	}
	return env
}

// note opens the relay while a step runs that may borrow.
func (l *lender) note(e event) {
	if l.relay == nil {
		return
	}
	if e.Kind == "start" && e.Step < len(l.launch.Spec.Steps) && l.launch.Spec.Steps[e.Step].Lent {
		l.relay.Open()
		return
	}
	l.relay.Shut()
}

func (l *lender) close() {
	if l.relay != nil {
		l.relay.Close()
	}
}

// ports are those of the relay on this machine's loopback.
func (l *lender) ports() []uint16 {
	if l.relay == nil {
		return nil
	}
	return []uint16{portOf(l.git)}
}
