// Package broker lends the credentials of one execution to its steps: it puts the relay of package lend where the steps find it, and tells them.
//
// It promises that the relay is open only between Open and Shut; that a site that lends is otherwise reached, or not, as the network of the execution
// has it; and that no credential is in what the steps are told. It leaves to callers when a step runs that may borrow, and to package lend what
// is read with a credential.
//
// A Broker is prepared, put inside or outside and given its secrets, in this order and by one goroutine. Open and Shut may come from another.
package broker

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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/lend"
	"github.com/planlatch/planlatch/executor/local/netns"
)

// gitInside is where the relay of git is inside the network namespace. Every such namespace has a loopback of its own.
const gitInside = "127.77.0.1:8418"

// Door is where a site of lent credentials is reached instead of itself.
type Door struct {
	Host   string // host:port of the site
	Listen string // ip:port inside the network namespace
}

// Options say what is lent, and to whom.
type Options struct {
	Lends   []executor.Lend
	Env     []string       // of the steps: their proxies, certificates and settings of git stay what they are
	Network *netns.Network // of the steps; the relay goes out through it as well
	Shared  bool           // there is no network namespace: the relay is on this machine's loopback
	Doors   []Door         // to the sites of Lends, in a namespace
	// Bundle is the file with the certificates that steps believe while something is lent to them: this machine's, and the relay's. It is
	// written only where there are doors. InsideBundle is where the steps see it.
	Bundle, InsideBundle string
}

// Broker lends credentials to the steps that may have them. The zero value lends nothing.
type Broker struct {
	o     Options
	relay *lend.Relay
	git   string // host:port that the steps reach the git relay at
	sites []lend.Site
	work  sync.WaitGroup
}

// Prepare makes the relay, and the file of certificates that go with it.
func (b *Broker) Prepare(o Options) error {
	b.o = o
	if len(o.Lends) == 0 {
		return nil
	}
	var places []lend.Place
	for _, s := range o.Lends {
		places = append(places, lend.Place{Name: s.Name, Kind: lend.Kind(s.Kind), URL: s.URL, Header: s.Header})
	}
	sites, err := lend.Sites(places)
	if err != nil {
		return err
	}
	roots, bundle := trusted(o.Env)
	proxies := httpproxy.Config{HTTPProxy: value(o.Env, "HTTP_PROXY"), HTTPSProxy: value(o.Env, "HTTPS_PROXY"), NoProxy: value(o.Env, "NO_PROXY")}
	proxy := proxies.ProxyFunc()
	b.relay, err = lend.New(places, lend.Options{
		Roots: roots, Dial: o.Network.Dial, Shared: o.Shared, Proxy: func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
	})
	if err != nil {
		return err
	}
	b.git = gitInside
	authority, err := lend.Certify(sites, time.Now())
	if err != nil {
		return err
	}
	b.sites = sites
	if o.Shared || len(sites) == 0 {
		return nil
	}
	return os.WriteFile(o.Bundle, append(bundle, authority...), 0o644) //nolint:gosec // certificates are public
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

// Inside opens the doors in the network, which was prepared and is not served yet.
func (b *Broker) Inside() error {
	if b.relay == nil {
		return nil
	}
	b.door(netip.MustParseAddrPort(gitInside), nil)
	for i := range b.sites {
		site := &b.sites[i]
		site.Through = b.o.Network.Reaches(site.Host)
		n := slices.IndexFunc(b.o.Doors, func(d Door) bool { return d.Host == site.Host })
		if n < 0 {
			return fmt.Errorf("there is no way to %s", site.Host)
		}
		at, err := netip.ParseAddrPort(b.o.Doors[n].Listen)
		if err != nil {
			return err
		}
		b.door(at, site)
	}
	return nil
}

// door opens the door to a site, or to git when it is nil. A site is what it always was while nothing is lent.
func (b *Broker) door(at netip.AddrPort, site *lend.Site) {
	q := newQueue()
	b.o.Network.Handle(at, func(ctx context.Context, inside net.Conn) {
		switch {
		case site == nil || b.relay.IsOpen():
			q.hand(inside)
		case site.Through:
			b.o.Network.Relay(ctx, inside, site.Host)
		default:
			b.o.Network.Refuse(inside, site.Host)
		}
	})
	b.work.Go(func() {
		if site == nil {
			_ = b.relay.ServeGit(q) // it ends with the execution
		} else {
			_ = b.relay.ServeSite(q, *site) // as above
		}
	})
}

// Outside serves the git relay on this machine's loopback, for an execution without namespaces: only who knows its path can use it.
func (b *Broker) Outside() error {
	if b.relay == nil {
		return nil
	}
	if len(b.sites) > 0 {
		return errors.New("credentials of kind https need a network namespace")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // lives as long as this process, which is the execution
	if err != nil {
		return fmt.Errorf("listen for git: %w", err)
	}
	b.git = listener.Addr().String()
	b.work.Go(func() { _ = b.relay.ServeGit(listener) }) // it ends with the execution
	return nil
}

// Take keeps what is lent, one secret for each of Lends. Nothing of it goes on to the steps.
func (b *Broker) Take(lent []string) error {
	if len(lent) != len(b.o.Lends) {
		return fmt.Errorf("%d credentials came for %d places", len(lent), len(b.o.Lends))
	}
	for i, secret := range lent {
		b.relay.Give(i, secret)
	}
	return nil
}

// Environment is what the steps that are lent something get besides: where git finds the relay, and whom to believe.
func (b *Broker) Environment() []string {
	if b.relay == nil {
		return nil
	}
	base := b.o.Env
	count, _ := strconv.Atoi(value(base, "GIT_CONFIG_COUNT"))         // no number: none
	env := []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"} // the system's file cannot be read from everywhere, which git does not forgive
	set := func(key, text string) {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, text))
		count++
	}
	set("http.http://"+b.git+"/.proxy", "")
	for i, s := range b.o.Lends {
		if s.Kind != executor.LendGit {
			continue
		}
		for _, from := range append([]string{s.URL}, s.InsteadOf...) {
			set("url.http://"+b.git+b.relay.Path(i)+".insteadOf", from)
		}
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
	if len(b.sites) == 0 {
		return env
	}
	var hosts []string
	for _, s := range b.sites {
		host, _, _ := net.SplitHostPort(s.Host) // made by package lend
		hosts = append(hosts, host)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		env = append(env, name+"="+strings.Trim(value(base, "NO_PROXY")+","+strings.Join(hosts, ","), ","))
	}
	for _, name := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE"} {
		env = append(env, name+"="+b.o.InsideBundle)
	}
	return env
}

// Open lets the steps borrow until Shut.
func (b *Broker) Open() {
	if b.relay != nil {
		b.relay.Open()
	}
}

// Shut ends what is being borrowed.
func (b *Broker) Shut() {
	if b.relay != nil {
		b.relay.Shut()
	}
}

// Close ends everything, and waits for it.
func (b *Broker) Close() {
	if b.relay != nil {
		b.relay.Close()
	}
	b.work.Wait()
}

// Ports are those of the relay on a loopback.
func (b *Broker) Ports() []uint16 {
	at, err := netip.ParseAddrPort(b.git)
	if err != nil {
		return nil // nothing is lent
	}
	return []uint16{at.Port()}
}
