package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/web"
)

// TestABodyThatDoesNotArriveKeepsNoConnection sends a part of a body to handlers that read it and to those that do not.
func TestABodyThatDoesNotArriveKeepsNoConnection(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/reads", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	mux.HandleFunc("/not", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(web.Prompt(mux, 200*time.Millisecond))
	t.Cleanup(server.Close)
	for _, path := range []string{"/reads", "/not"} {
		for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
			c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://")) //nolint:noctx // at once, on this machine
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n3\r\nab", path, length)
			if _, err := io.Copy(io.Discard, c); err != nil { // until the server closes it
				t.Errorf("POST %s with %s and a part of its body: %v, want the connection closed", path, length, err)
			}
		}
	}
}

// TestAnAnswerMayTakeLongerThanItsRequest keeps the patience with a body from ending what was asked with it.
func TestAnAnswerMayTakeLongerThanItsRequest(t *testing.T) {
	t.Parallel()
	const patience = 50 * time.Millisecond
	server := httptest.NewServer(web.Prompt(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			w.WriteHeader(http.StatusTeapot)
		case <-time.After(4 * patience):
		}
	}), patience))
	t.Cleanup(server.Close)
	c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://")) //nolint:noctx // at once, on this machine
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range 2 { // the connection serves another one afterwards
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("POST = %d, want 200 after its answer took longer than the body may", res.StatusCode)
		}
	}
}
