package redteam_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// trap listens where no run may reach: on loopback and on an address of this machine. It answers with a secret, as a metadata service does.
type trap struct {
	secret    canary
	Addresses []string // host:port

	mu    sync.Mutex
	calls []string
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	tr := &trap{secret: hatch("what a service of this machine answers")}
	for _, ip := range append([]string{"127.0.0.1"}, ownAddress()...) {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0")) //nolint:noctx // at once
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: tr, ConnState: tr.connected}} //nolint:gosec // for minutes, on this machine
		s.Start()
		t.Cleanup(s.Close)
		tr.Addresses = append(tr.Addresses, l.Addr().String())
	}
	return tr
}

func (tr *trap) connected(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		tr.note("a connection to " + c.LocalAddr().String())
	}
}

func (tr *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.note(r.Method + " " + r.Host + r.URL.String())
	_, _ = w.Write([]byte(`{"version": 4, "terraform_version": "1.5.0", "serial": 1, "lineage": "x", "outputs": {"secret": {"value": "` +
		tr.secret.Value + `", "type": "string"}}, "resources": []}`)) // best effort
}

func (tr *trap) note(call string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.calls = append(tr.calls, call)
}

// caught tells what reached the trap and names what: no attack waits for another, so they tell themselves apart by it.
func (tr *trap) caught(what string) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(tr.calls), func(c string) bool { return !strings.Contains(c, what) })
}

// ownAddress is an address of this machine that is not loopback, if it has one.
func ownAddress() []string {
	addrs, _ := net.InterfaceAddrs() // none: there is nothing to attack
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil && !n.IP.IsLinkLocalUnicast() {
			return []string{n.IP.String()}
		}
	}
	return nil
}
