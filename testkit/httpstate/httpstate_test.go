package httpstate_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/testkit/httpstate"
)

// witness is a test that keeps what it is blamed for.
type witness struct {
	testing.TB
	mu     sync.Mutex
	blamed []string
}

func (w *witness) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blamed = append(w.blamed, fmt.Sprintf(format, args...))
}

// client does what the tool does.
type client struct {
	t *testing.T
	s *httpstate.Server
	w *witness
}

func start(t *testing.T) client {
	t.Helper()
	w := &witness{TB: t}
	return client{t, httpstate.New(w), w}
}

func (c client) do(method, query, body string, change ...func(*http.Request)) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.s.URL+query, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.SetBasicAuth(c.s.User, c.s.Password)
	if body != "" {
		sum := md5.Sum([]byte(body))
		req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	for _, f := range change {
		f(req)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (c client) want(code int, method, query, body string, change ...func(*http.Request)) string {
	c.t.Helper()
	got, text := c.do(method, query, body, change...)
	if got != code {
		c.t.Errorf("%s %s = %d %s, want %d", method, query, got, text, code)
	}
	return text
}

func (c client) innocent() {
	c.t.Helper()
	if len(c.w.blamed) > 0 {
		c.t.Errorf("the client is blamed: %q", c.w.blamed)
	}
}

func TestALifeOfAState(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.want(404, "GET", "", "")
	c.want(200, "LOCK", "", `{"ID":"one","Who":"alice"}`)
	c.want(200, "POST", "?ID=one", `{"serial":1}`)
	if held, ok := c.s.Held(); !ok || held.Who != "alice" {
		t.Errorf("Held() = %+v, %t, want alice", held, ok)
	}
	c.want(200, "UNLOCK", "", `{"ID":"one"}`)
	if got := c.want(200, "GET", "", ""); got != `{"serial":1}` {
		t.Errorf("GET = %s, want what was saved", got)
	}
	if got, ok := c.s.State(); !ok || got != `{"serial":1}` {
		t.Errorf("State() = %s, %t, want what was saved", got, ok)
	}
	c.want(200, "DELETE", "", "")
	c.want(404, "GET", "", "")
	c.innocent()
}

func TestAHeldLockIsNamedAndKeepsOthersOut(t *testing.T) {
	t.Parallel()
	c := start(t)
	since := time.Date(2026, 5, 1, 9, 37, 0, 0, time.UTC)
	id := c.s.Hold(t, "carol@laptop", since)
	var held httpstate.Lock
	if err := json.Unmarshal([]byte(c.want(423, "LOCK", "", `{"ID":"one"}`)), &held); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(httpstate.Lock{ID: id, Operation: "OperationTypeApply", Who: "carol@laptop", Version: "1.12.6", Created: since}, held); diff != "" {
		t.Errorf("the lock differs (-want +got):\n%s", diff)
	}
	c.want(423, "POST", "?ID=one", `{}`)
	c.want(423, "DELETE", "", "")
	c.want(409, "UNLOCK", "", `{"ID":"one"}`)
	c.s.Release()
	c.want(200, "LOCK", "", `{"ID":"one"}`)
	c.innocent()
}

func TestFailingSavesLeaveTheOldState(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.want(200, "LOCK", "", `{"ID":"one"}`)
	c.want(200, "POST", "?ID=one", `{"serial":1}`)
	c.s.FailSaves(true)
	c.want(500, "POST", "?ID=one", `{"serial":2}`)
	if got, _ := c.s.State(); got != `{"serial":1}` || c.s.RefusedSaves() != 1 {
		t.Errorf("State() = %s after %d refused saves, want the old one after 1", got, c.s.RefusedSaves())
	}
	c.s.FailSaves(false)
	c.want(200, "POST", "?ID=one", `{"serial":2}`)
	c.innocent()
}

func TestCredentialsAreDemanded(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.want(401, "GET", "", "", func(r *http.Request) { r.Header.Del("Authorization") })
	c.want(403, "GET", "", "", func(r *http.Request) { r.SetBasicAuth(c.s.User, "a guess") })
	c.innocent()
}

func TestBreachesOfTheProtocolFailTheTest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, body string
		code               int
		change             func(*http.Request)
		blame              string
	}{
		{"SaveWithoutLock", "POST", `{}`, 409, nil, "without a lock"},
		{"WrongDigest", "LOCK", `{"ID":"one"}`, 400, func(r *http.Request) { r.Header.Set("Content-MD5", "x") }, "Content-MD5"},
		{"NotJSON", "LOCK", `one`, 400, nil, "not JSON"},
		{"LockWithoutID", "LOCK", `{}`, 400, nil, "not a lock"},
		{"UnlockWithoutID", "UNLOCK", `{}`, 400, nil, "not a lock"},
		{"AnotherMethod", "PATCH", ``, 405, nil, "PATCH"},
		{"AnotherPath", "GET", ``, 404, func(r *http.Request) { r.URL.Path = "/other" }, "/other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			change := tt.change
			if change == nil {
				change = func(*http.Request) {}
			}
			c.want(tt.code, tt.method, "", tt.body, change)
			if len(c.w.blamed) != 1 || !strings.Contains(c.w.blamed[0], tt.blame) {
				t.Errorf("blamed for %q, want one about %s", c.w.blamed, tt.blame)
			}
		})
	}
}
