package lend_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor/local/lend"
)

const canary = "Basic Y2FuYXJ5OmdlaGVpbQ=="

// host is a real server behind a relay. It remembers what it was asked, and whether the credential came with it.
type host struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string // method, path, query and "lent" if the credential came
}

func newHost(t testing.TB, start func(http.Handler) *httptest.Server) *host {
	t.Helper()
	h := &host{}
	h.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.RequestURI
		if r.Header.Get("Authorization") == canary {
			line += " lent"
		}
		for _, name := range []string{"X-Http-Method-Override", "X-Forwarded-For", "X-Original-Url"} {
			if r.Header.Get(name) != "" {
				line += " " + name
			}
		}
		h.mu.Lock()
		h.asked = append(h.asked, line)
		h.mu.Unlock()
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Www-Authenticate", "Basic")
		switch r.URL.Path {
		case "/acme/elsewhere.git/info/refs", "/acme/elsewhere.zip":
			http.Redirect(w, r, "https://elsewhere.example.com/x", http.StatusFound)
		case "/acme/moved.git/info/refs":
			http.Redirect(w, r, "/acme/new.git/info/refs?service=git-upload-pack", http.StatusMovedPermanently)
		case "/acme/none.git/info/refs":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader("answer to "), r.Body))
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// seen returns what was asked since the last look.
func (h *host) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.asked = nil }()
	return h.asked
}

func (h *host) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if h.Certificate() != nil {
		pool.AddCert(h.Certificate())
	}
	return pool
}

func listen(t testing.TB, serve func(net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-done; err != nil {
			t.Errorf("serving ended with %v", err)
		}
	})
	return l.Addr().String()
}

// gitRelay is an open relay of /acme/ on h.
func gitRelay(t testing.TB, h *host) (r *lend.Relay, at string) {
	t.Helper()
	r, err := lend.New([]lend.Place{{Name: "acme", Kind: lend.Git, URL: h.URL + "/acme/", Header: "Authorization"}}, lend.Options{Roots: h.roots(), Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	r.Give(0, canary)
	r.Open()
	t.Cleanup(r.Close)
	return r, listen(t, r.ServeGit)
}

// say writes a request as it is and reads the answer.
func say(t testing.TB, at, request string) (code int, body string, header http.Header) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return sayOn(t, c, request)
}

func sayOn(t testing.TB, c net.Conn, request string) (code int, body string, header http.Header) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return 0, "", nil
		}
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

const refs = "/info/refs?service=git-upload-pack"

func TestAFetchIsAskedWithTheCredential(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(http.Handler) *httptest.Server{"HTTP": httptest.NewServer, "HTTPS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, start)
			r, at := gitRelay(t, h)
			code, body, header := say(t, at, "GET "+r.Path(0)+"mod.git"+refs+" HTTP/1.1\r\nHost: x\r\nAuthorization: mine\r\nX-Http-Method-Override: DELETE\r\nX-Forwarded-For: 1\r\n\r\n")
			if code != 200 || !strings.HasPrefix(body, "answer") {
				t.Errorf("answer = %d %q", code, body)
			}
			if header.Get("Set-Cookie") != "" || header.Get("Www-Authenticate") != "" {
				t.Errorf("headers = %v, want none of the host's session", header)
			}
			body = "0032want"
			code, got, _ := say(t, at, fmt.Sprintf("POST %smod.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-upload-pack-request\r\nContent-Length: %d\r\n\r\n%s", r.Path(0), len(body), body))
			if code != 200 || got != "answer to "+body {
				t.Errorf("answer = %d %q", code, got)
			}
			want := "[GET /acme/mod.git" + refs + " lent POST /acme/mod.git/git-upload-pack lent]"
			if got := fmt.Sprint(h.seen()); got != want {
				t.Errorf("the host was asked %s, want %s", got, want)
			}
		})
	}
}

func TestNothingButAFetchIsAskedWithTheCredential(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewServer)
	r, at := gitRelay(t, h)
	p := r.Path(0)
	for _, line := range []string{
		"GET " + p + "mod.git/info/refs?service=git-receive-pack",
		"POST " + p + "mod.git/git-receive-pack",
		"POST " + p + "mod.git/git-upload-pack?service=git-receive-pack",
		"POST " + p + "mod.git/git-upload-pack", // without the type of a fetch
		"GET " + p + "mod.git/info/refs",
		"GET " + p + "mod.git/info/refs?service=git-upload-pack&service=git-receive-pack",
		"GET " + p + "mod.git/info/refs?service=git-upload-pack;x",
		"GET " + p + "api/v1/user?" + "service=git-upload-pack",
		"GET " + p + "mod.git/raw/main/secret",
		"GET " + p + "../other/mod.git" + refs,
		"GET " + p + "x/../../other/mod.git" + refs,
		"GET " + p + "%2e%2e/other/mod.git" + refs,
		"GET " + p + "%2E%2e%2fother/mod.git" + refs,
		"GET " + p + "..%2fother/mod.git" + refs,
		"GET " + p + "..%5cother/mod.git" + refs,
		"GET " + p + `..\other/mod.git` + refs,
		"GET " + p + "..;/other/mod.git" + refs,
		"GET " + p + "%252e%252e/other/mod.git" + refs,
		"GET " + p + "./mod.git" + refs,
		"GET " + p + "/other/mod.git" + refs,
		"GET " + p + "mod.git%3f/info/refs?service=git-upload-pack",
		"GET " + p + "mod.git%00/info/refs?service=git-upload-pack",
		"GET " + p + "mod.git%/info/refs?service=git-upload-pack",
		"GET /" + p + "mod.git" + refs,
		"GET " + strings.TrimSuffix(p, "/acme/") + "/other/mod.git" + refs,
		"GET " + strings.TrimSuffix(p, "/acme/") + "/acme%2f/mod.git" + refs,
		"GET " + strings.TrimSuffix(p, "/acme/") + "/ACME/mod.git" + refs,
		"GET /guess/acme/mod.git" + refs,
		"GET http://" + at + p + "mod.git" + refs,
		"GET http://other.example.com" + p + "mod.git" + refs,
		"HEAD " + p + "mod.git" + refs,
		"DELETE " + p + "mod.git" + refs,
		"OPTIONS *",
		"CONNECT " + at,
		"PUT " + p + "mod.git" + refs,
	} {
		code, _, _ := say(t, at, line+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if asked := h.seen(); code == 200 || len(asked) > 0 {
			t.Errorf("%s: answer %d, the host was asked %q, want nothing", line, code, asked)
		}
	}
	upgrade := "GET " + p + "mod.git" + refs + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
	if code, _, _ := say(t, at, upgrade); code != 403 || len(h.seen()) > 0 {
		t.Errorf("an upgrade was answered %d", code)
	}
}

func TestASecondRequestCannotHideInTheFirst(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewServer)
	r, at := gitRelay(t, h)
	hidden := "POST /acme/mod.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	head := "POST " + r.Path(0) + "mod.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-upload-pack-request\r\n"
	for _, request := range []string{
		head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		head + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden,
		head + "Content-Length: +3\r\n\r\nabc" + hidden,
		head + "Content-Length: 0\r\n\r\n" + hidden,
		strings.Replace(head, " HTTP/1.1", "\r\nAuthorization: x HTTP/1.1", 1) + "\r\n",
	} {
		say(t, at, request)
		for _, line := range h.seen() {
			if strings.Contains(line, "receive") {
				t.Errorf("%q: the host was asked %s", request, line)
			}
		}
	}
}

func TestRedirectsGoBackToTheProgram(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewServer)
	r, at := gitRelay(t, h)
	for repo, want := range map[string]string{"elsewhere": "https://elsewhere.example.com/x", "moved": r.Path(0) + "new.git" + refs} {
		code, _, header := say(t, at, "GET "+r.Path(0)+repo+".git"+refs+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := header.Get("Location"); code/100 != 3 || got != want {
			t.Errorf("%s: answer %d to %q, want %q", repo, code, got, want)
		}
	}
	if got := h.seen(); len(got) != 2 {
		t.Errorf("the host was asked %q, want each once", got)
	}
}

func TestAHostThatRefusesIsExplained(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewServer)
	r, at := gitRelay(t, h)
	code, body, _ := say(t, at, "GET "+r.Path(0)+"none.git"+refs+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if want := "planlatch: 127.0.0.1 answers 401 for /acme/none.git: it does not exist, or the credential acme may not read it\n"; code != 403 || body != want {
		t.Errorf("answer = %d %q, want %q", code, body, want)
	}
	other := newHost(t, httptest.NewTLSServer)
	untrusting, err := lend.New([]lend.Place{{Name: "acme", Kind: lend.Git, URL: other.URL + "/acme/", Header: "Authorization", Secret: canary}}, lend.Options{Roots: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	untrusting.Open()
	t.Cleanup(untrusting.Close)
	code, body, _ = say(t, listen(t, untrusting.ServeGit), "GET "+untrusting.Path(0)+"mod.git"+refs+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if code != 502 || !strings.Contains(body, "does not trust") || len(other.seen()) > 0 {
		t.Errorf("answer of a host with a wrong certificate = %d %q", code, body)
	}
}

func TestNothingIsLentWhileShut(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewServer)
	r, at := gitRelay(t, h)
	request := "GET " + r.Path(0) + "mod.git" + refs + " HTTP/1.1\r\nHost: x\r\n\r\n"
	kept, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	if code, _, _ := sayOn(t, kept, request); code != 200 {
		t.Fatalf("answer while open = %d", code)
	}
	h.seen()
	r.Shut()
	for what, say := range map[string]func() (int, string, http.Header){
		"a new connection": func() (int, string, http.Header) { return say(t, at, request) },
		"a kept one":       func() (int, string, http.Header) { return sayOn(t, kept, request) },
	} {
		if code, body, _ := say(); code != 403 || !strings.Contains(body, "to init alone") || len(h.seen()) > 0 {
			t.Errorf("answer over %s while shut = %d %q", what, code, body)
		}
	}
}

// siteRelay is an open relay of /acme/ on h, as a program reaches it that believes the relay's authority.
func siteRelay(t testing.TB, h *host, through bool) (r *lend.Relay, dial func() net.Conn) {
	t.Helper()
	places := []lend.Place{
		{Name: "acme", Kind: lend.HTTPS, URL: h.URL + "/acme/", Header: "Authorization"},
		{Name: "inner", Kind: lend.HTTPS, URL: h.URL + "/acme/inner/", Header: "Private-Token"},
	}
	r, err := lend.New(places, lend.Options{Roots: h.roots()})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := lend.Sites(places)
	if err != nil || len(sites) != 1 {
		t.Fatalf("Sites() = %v, %v, want one", sites, err)
	}
	authority, err := lend.Certify(sites, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sites[0].Through = through
	r.Give(0, canary)
	r.Give(1, "inner-secret")
	r.Open()
	t.Cleanup(r.Close)
	at := listen(t, func(l net.Listener) error { return r.ServeSite(l, sites[0]) })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return r, func() net.Conn {
		c, err := tls.Dial("tcp", at, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		if err != nil {
			t.Fatalf("dial the site: %v", err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

func TestASiteIsReadWithTheCredentialBelowThePlaceAlone(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewTLSServer)
	name := strings.TrimPrefix(h.URL, "https://")
	for _, through := range []bool{false, true} {
		_, dial := siteRelay(t, h, through)
		for _, c := range []struct {
			line, header string
			lent, passed bool // passed: without a credential, where the network allows it
		}{
			{line: "GET /acme/mod.zip?archive=zip", lent: true},
			{line: "HEAD /acme/mod.zip", lent: true},
			{line: "GET /acme/elsewhere.zip", lent: true},
			{line: "GET /other/mod.zip", passed: true},
			{line: "GET /acme", passed: true},
			{line: "GET /acmeother/x", passed: true},
			{line: "POST /acme/mod.zip", passed: true},
			{line: "DELETE /acme/mod.zip", passed: true},
			{line: "GET /acme/mod.zip", header: "Authorization: mine\r\n", passed: true},
			{line: "GET /acme/mod.zip", header: "Cookie: mine\r\n", passed: true},
			{line: "GET /acme/../other"},
			{line: "GET /acme/%2e%2e/other"},
			{line: "GET //acme/mod.zip"},
			{line: "GET /acme/..;/other"},
			{line: "GET https://" + name + "/acme/mod.zip"},
			{line: "GET /acme/mod.zip", header: "Host: elsewhere.example.com\r\n"},
		} {
			request := c.line + " HTTP/1.1\r\n" + c.header
			if !strings.Contains(c.header, "Host") {
				request += "Host: " + name + "\r\n"
			}
			code, _, _ := sayOn(t, dial(), request+"Connection: close\r\n\r\n")
			want := "[]"
			switch {
			case c.lent:
				want = "[" + c.line + " lent]"
			case c.passed && through:
				want = "[" + c.line + "]"
			}
			asked := fmt.Sprint(h.seen())
			if asked != want {
				t.Errorf("through %v: %q %q: answer %d, the host was asked %s, want %s", through, c.line, c.header, code, asked, want)
			}
		}
	}
}

func TestTheNarrowestPlaceCounts(t *testing.T) {
	t.Parallel()
	var got http.Header
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	t.Cleanup(s.Close)
	_, dial := siteRelay(t, &host{Server: s}, false)
	name := strings.TrimPrefix(s.URL, "https://")
	sayOn(t, dial(), "GET /acme/inner/mod.zip HTTP/1.1\r\nHost: "+name+"\r\n\r\n")
	if got.Get("Private-Token") != "inner-secret" || got.Get("Authorization") != "" {
		t.Errorf("the host was asked with %v, want the inner credential alone", got)
	}
}

func TestAShutSiteAnswersNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, httptest.NewTLSServer)
	r, dial := siteRelay(t, h, true)
	c := dial()
	r.Shut()
	name := strings.TrimPrefix(h.URL, "https://")
	if code, _, _ := sayOn(t, c, "GET /acme/mod.zip HTTP/1.1\r\nHost: "+name+"\r\n\r\n"); code != 403 || len(h.seen()) > 0 {
		t.Errorf("answer while shut = %d", code)
	}
}

func TestTheAuthorityIsGoodForItsSitesAlone(t *testing.T) {
	t.Parallel()
	sites := []lend.Site{{Scheme: "https", Host: "git.example.com:443"}, {Scheme: "https", Host: "10.0.0.7:8443"}}
	authority, err := lend.Certify(sites, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	for i, name := range []string{"git.example.com", "10.0.0.7"} {
		leaf, err := x509.ParseCertificate(sites[i].Certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("certificate of %s: %v", name, err)
		}
	}
	ca, err := x509.ParseCertificate(sites[0].Certificate.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(ca.PermittedDNSDomains) != 2 || len(ca.PermittedIPRanges) != 1 || !ca.PermittedDNSDomainsCritical || !ca.MaxPathLenZero {
		t.Errorf("authority is good for %v and %v", ca.PermittedDNSDomains, ca.PermittedIPRanges)
	}
}

func TestNewRefusesWhatIsNoPlace(t *testing.T) {
	t.Parallel()
	for _, p := range []lend.Place{
		{Kind: lend.Git, URL: "ssh://git.example.com/acme/"}, {Kind: lend.Git, URL: "https:///acme/"}, {Kind: lend.Git, URL: "https://u:p@git.example.com/acme/"},
		{Kind: lend.Git, URL: "https://git.example.com/acme/../"}, {Kind: lend.Git, URL: "https://git.example.com"}, {Kind: lend.Git, URL: "https://git.example.com/?x"},
		{Kind: "svn", URL: "https://git.example.com/acme/"}, {Kind: lend.Git, URL: "https://git.example.com/%2e%2e/"},
	} {
		p.Name = "acme"
		if _, err := lend.New([]lend.Place{p}, lend.Options{}); err == nil {
			t.Errorf("New(%+v) = nil error", p)
		}
	}
}

// FuzzRelay says anything to both kinds of relay: a host must never be asked for anything but what is lent, with the credential.
func FuzzRelay(f *testing.F) {
	h := newHost(f, httptest.NewServer)
	r, at := gitRelay(f, h)
	for _, s := range []string{"mod.git" + refs, "../other" + refs, "%2e%2e/x" + refs, "a//b" + refs, "mod.git/info/refs?service=git-receive-pack", "a;b" + refs} {
		f.Add("GET", s, "", "")
	}
	f.Add("POST", "mod.git/git-upload-pack", "Content-Type: application/x-git-upload-pack-request\r\nTransfer-Encoding: chunked", "0\r\n\r\nPOST / HTTP/1.1\r\n\r\n")
	f.Fuzz(func(t *testing.T, method, rest, headers, body string) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Skip(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, _ = io.WriteString(c, method+" "+r.Path(0)+rest+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+headers+"\r\n\r\n"+body)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		for _, line := range h.seen() {
			fetch := strings.HasPrefix(line, "GET /acme/") && strings.HasSuffix(line, refs+" lent") ||
				strings.HasPrefix(line, "POST /acme/") && strings.HasSuffix(line, "/git-upload-pack lent")
			if !fetch || strings.Contains(line, "..") || strings.Contains(strings.ToLower(line), "%2e") {
				t.Errorf("%q %q %q: the host was asked %q", method, rest, headers, line)
			}
		}
	})
}
