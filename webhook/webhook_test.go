package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/webhook"
)

const secret = "hook-secret"

// events is a small host: HMAC over the body, the kind of event in a header, an event as JSON in the body.
type events struct{}

func sign(body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

func (events) Parse(h http.Header, body []byte) (vcs.Event, error) {
	if !hmac.Equal([]byte(h.Get("X-Signature")), []byte(sign(body))) {
		return vcs.Event{}, vcs.ErrSignature
	}
	switch h.Get("X-Event") {
	case "pull":
	case "odd":
		return vcs.Event{}, errors.New("a fault of ours")
	default:
		return vcs.Event{}, &vcs.IgnoredError{Reason: "event " + h.Get("X-Event")}
	}
	var e vcs.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return vcs.Event{}, fmt.Errorf("%w: %w", vcs.ErrMalformed, err)
	}
	return e, nil
}

// memory is a store.
type memory struct {
	mu    sync.Mutex
	rows  map[string]run.Delivery
	fault error
}

func (m *memory) Deliver(_ context.Context, d run.Delivery) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return false, m.fault
	}
	if _, ok := m.rows[d.Host+" "+d.ID]; ok {
		return false, nil
	}
	if m.rows == nil {
		m.rows = map[string]run.Delivery{}
	}
	m.rows[d.Host+" "+d.ID] = d
	return true, nil
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows)
}

type bench struct {
	door   *webhook.Door
	store  *memory
	log    *bytes.Buffer
	mu     sync.Mutex
	counts map[string]int
}

func setup(t testing.TB, change func(*webhook.Options)) *bench {
	t.Helper()
	b := &bench{store: &memory{}, log: &bytes.Buffer{}, counts: map[string]int{}}
	o := webhook.Options{
		Hosts: map[string]vcs.Events{"gitea": events{}},
		Store: b.store,
		Repos: func(host, name string) bool { return host == "gitea" && strings.HasPrefix(name, "acme/") },
		Log:   slog.New(slog.NewTextHandler(b.log, nil)),
		Count: func(host string, o webhook.Outcome, reason string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.counts[strings.TrimSpace(host+" "+string(o)+" "+reason)]++
		},
		Now: time.Now,
	}
	if change != nil {
		change(&o)
	}
	b.door = webhook.New(o)
	return b
}

func pull(repo, delivery string) []byte {
	body, err := json.Marshal(vcs.Event{Kind: vcs.EventPull, Delivery: delivery, Repo: vcs.Repo{ID: "1", Name: repo}, Number: 7})
	if err != nil {
		panic(err)
	}
	return body
}

func call(method, path, event string, body []byte) *http.Request {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("X-Event", event)
	r.Header.Set("X-Signature", sign(body))
	return r
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	big := []byte(strings.Repeat("x", 2<<10))
	tests := []struct {
		name   string
		call   *http.Request
		change func(*webhook.Options)
		status int
		text   string
		count  string
		stored int
	}{
		{"Stored", call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "d1")), nil, 202, "stored", "gitea stored", 1},
		{"WithoutDeliveryID", call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "")), nil, 202, "stored", "gitea stored", 1},
		{
			"UnderTheIDOfAComment", call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "comment.2.c99")), nil, 400, "not one of this kind of host",
			"gitea malformed", 0,
		},
		{"Ignored", call("POST", "/webhooks/gitea", "label", nil), nil, 202, "ignored: event label", "gitea ignored event label", 0},
		{
			"OutsideAllowList", call("POST", "/webhooks/gitea", "pull", pull("other/infra", "d1")), nil, 202, "outside the allow-list",
			"gitea ignored repository outside the allow-list", 0,
		},
		{"Malformed", call("POST", "/webhooks/gitea", "pull", []byte("{")), nil, 400, "not what this kind of host sends", "gitea malformed", 0},
		{"OwnFault", call("POST", "/webhooks/gitea", "odd", nil), nil, 500, "could not be handled", "gitea failed", 0},
		{"UnknownHost", call("POST", "/webhooks/github", "pull", nil), nil, 404, "no VCS host has this name", "unknown", 0},
		{"NoHost", call("POST", "/webhooks/", "pull", nil), nil, 404, "", "", 0},
		{"Get", call("GET", "/webhooks/gitea", "pull", nil), nil, 405, "", "", 0},
		{"TooLarge", call("POST", "/webhooks/gitea", "pull", big), func(o *webhook.Options) { o.MaxBody = 1 << 10 }, 413, "larger than any webhook", "gitea too_large", 0},
		{"Busy", call("POST", "/webhooks/gitea", "pull", big), func(o *webhook.Options) { o.MaxMemory = 1 << 10 }, 503, "try again", "gitea busy", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.change)
			w := httptest.NewRecorder()
			b.door.ServeHTTP(w, tt.call)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.text) {
				t.Errorf("%s %s = %d %q, want %d %q", tt.call.Method, tt.call.URL, w.Code, w.Body, tt.status, tt.text)
			}
			if tt.count != "" && (b.counts[tt.count] != 1 || len(b.counts) != 1) {
				t.Errorf("counted %v, want %q once", b.counts, tt.count)
			}
			if got := b.store.len(); got != tt.stored {
				t.Errorf("stored %d deliveries, want %d", got, tt.stored)
			}
			if w.Code == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		})
	}
}

func TestBodyWithoutLengthIsBoundedToo(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *webhook.Options) { o.MaxBody = 1 << 20 })
	r := httptest.NewRequest(http.MethodPost, "/webhooks/gitea", io.LimitReader(endless{}, 30<<20))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || b.store.len() != 0 {
		t.Errorf("POST of 30 MiB = %d, %d stored, want 413 and nothing", w.Code, b.store.len())
	}
	// Memory is given back: the next call of ordinary size is served.
	w = httptest.NewRecorder()
	b.door.ServeHTTP(w, call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "d1")))
	if w.Code != http.StatusAccepted {
		t.Errorf("POST after it = %d, want 202", w.Code)
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	body := pull("acme/infra", "d1")
	for name, change := range map[string]func(*http.Request){
		"Missing": func(r *http.Request) { r.Header.Del("X-Signature") },
		"Wrong":   func(r *http.Request) { r.Header.Set("X-Signature", sign([]byte("other"))) },
		"Stale":   func(r *http.Request) { r.Header.Set("X-Signature", sign(pull("acme/infra", "d0"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			for range 50 {
				r := call("POST", "/webhooks/gitea", "pull", body)
				change(r)
				w := httptest.NewRecorder()
				b.door.ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized {
					t.Fatalf("POST = %d, want 401", w.Code)
				}
			}
			if b.counts["gitea unsigned"] != 50 || b.store.len() != 0 || len(b.door.Recent()) != 0 {
				t.Errorf("counted %v, stored %d, remembered %d, want 50 counted and nothing kept", b.counts, b.store.len(), len(b.door.Recent()))
			}
			if got := strings.Count(b.log.String(), "\n"); got != 1 {
				t.Errorf("logged %d lines, want 1", got)
			}
		})
	}
}

func TestReplayIsHarmless(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for i, want := range []string{"stored", "known already", "known already"} {
		w := httptest.NewRecorder()
		b.door.ServeHTTP(w, call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "")))
		if w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("delivery %d = %d %q, want 202 %q", i, w.Code, w.Body, want)
		}
	}
	if b.store.len() != 1 {
		t.Errorf("stored %d deliveries, want 1", b.store.len())
	}
}

func TestStoredDeliveryCarriesTheEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	b := setup(t, func(o *webhook.Options) { o.Now = func() time.Time { return at } })
	b.door.ServeHTTP(httptest.NewRecorder(), call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "d1")))
	d := b.store.rows["gitea d1"]
	var e vcs.Event
	if err := json.Unmarshal(d.Event, &e); err != nil {
		t.Fatal(err)
	}
	if d.ID != "d1" || !d.Received.Equal(at) || d.Outcome != "" || e.Number != 7 || e.Repo.Name != "acme/infra" {
		t.Errorf("stored %+v with event %+v", d, e)
	}
}

func TestStoreAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.store.fault = errors.New("connection refused")
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "d1")))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "connection refused") {
		t.Errorf("POST = %d %q %v, want 503 with Retry-After and without the cause", w.Code, w.Body, w.Header())
	}
	if !strings.Contains(b.log.String(), "connection refused") {
		t.Errorf("log = %q, want the cause", b.log)
	}
	b.store.fault = nil
	w = httptest.NewRecorder()
	b.door.ServeHTTP(w, call("POST", "/webhooks/gitea", "pull", pull("acme/infra", "d1")))
	if w.Code != http.StatusAccepted {
		t.Errorf("POST again = %d, want 202", w.Code)
	}
}

func TestLastIgnoredCallsAreRemembered(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for i := range 250 {
		b.door.ServeHTTP(httptest.NewRecorder(), call("POST", "/webhooks/gitea", fmt.Sprint(i), nil))
	}
	b.door.ServeHTTP(httptest.NewRecorder(), call("POST", "/webhooks/gitea", "pull", pull("other/x", strings.Repeat("d", 1000))))
	got := b.door.Recent()
	if len(got) != 200 || got[0].Repo != "other/x" || len(got[0].Delivery) != 200 || got[1].Reason != "event 249" || got[199].Reason != "event 51" {
		t.Errorf("Recent() = %d calls, first %+v, last %+v", len(got), got[0], got[len(got)-1])
	}
}

func TestSlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *webhook.Options) { o.BodyTimeout = 50 * time.Millisecond })
	server := httptest.NewServer(b.door)
	defer server.Close()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /webhooks/gitea HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
		t.Errorf("answer to a slow body = %q, %v, want 408 and the end of the connection", answer, err)
	}
	if b.store.len() != 0 {
		t.Error("a slow body was stored")
	}
}

func TestThousandConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	server := httptest.NewServer(b.door)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, MaxConnsPerHost: 250}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			r := call("POST", server.URL+"/webhooks/gitea", "pull", pull("acme/infra", fmt.Sprint("d", i)))
			r.RequestURI = ""
			resp, err := client.Do(r.WithContext(t.Context()))
			if err != nil {
				t.Errorf("POST %d: %v", i, err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				t.Errorf("POST %d = %d, want 202", i, resp.StatusCode)
			}
		})
	}
	wg.Wait()
	if b.store.len() != 1000 {
		t.Errorf("stored %d deliveries, want 1000", b.store.len())
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkRefused and BenchmarkIgnored measure calls that must cost next to nothing, over real connections. The body is as large as that of
// a usual pull request event.
func BenchmarkRefused(b *testing.B) { benchmark(b, "pull", "no signature", http.StatusUnauthorized) }

func BenchmarkIgnored(b *testing.B) { benchmark(b, "label", "", http.StatusAccepted) }

func benchmark(b *testing.B, event, signature string, status int) {
	s := setup(b, func(o *webhook.Options) { o.Count, o.Log = nil, nil })
	server := httptest.NewServer(s.door)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	body := bytes.Repeat([]byte("x"), 12<<10)
	if signature == "" {
		signature = sign(body)
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/webhooks/gitea", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-Event", event)
			r.Header.Set("X-Signature", signature)
			resp, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != status {
				b.Fatalf("POST = %d, want %d", resp.StatusCode, status)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
