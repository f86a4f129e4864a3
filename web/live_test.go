package web_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// listener reads a live log.
type listener struct {
	t    *testing.T
	res  *http.Response
	scan *bufio.Scanner
}

type told struct{ Event, Data string }

func (s *site) listen(c *http.Client, path string) *listener {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/event-stream" {
		s.t.Fatalf("GET %s = %d %s, want an event stream", path, res.StatusCode, got)
	}
	return &listener{s.t, res, bufio.NewScanner(res.Body)}
}

// next returns the next event; ok is false when the stream has ended.
func (l *listener) next() (e told, ok bool) {
	l.t.Helper()
	var data []string
	for l.scan.Scan() {
		line := l.scan.Text()
		if v, is := strings.CutPrefix(line, "event: "); is {
			e.Event = v
		} else if v, is := strings.CutPrefix(line, "data: "); is {
			data = append(data, v)
		} else if line == "" && e.Event != "" {
			e.Data = strings.Join(data, "\n")
			return e, true
		}
	}
	return e, false
}

func (l *listener) want(events ...told) {
	l.t.Helper()
	for _, want := range events {
		got, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended, want %v; %v", want, l.scan.Err())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			l.t.Fatalf("event: %s", diff)
		}
	}
}

func TestLiveLogFollowsARunToItsEnd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	l := s.listen(s.member(), "/runs/"+string(r.ID)+"/log/live")
	l.want(told{"state", "queued"})
	r = s.advance(r, claim(run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)}))
	l.want(told{"state", "planning"})
	s.write(r, "plan", 9, "first\r\nsecond \x1b[3")
	l.want(told{"plan", "first\nsecond "})
	s.write(r, "plan", 20, "1m<red>\n\n")
	l.want(told{"plan", "<span class=\"f1\">&lt;red&gt;\n\n</span>"})
	s.write(r, "plan", 30, "end of plan")
	l.want(told{"plan", `<span class="f1">end of plan</span>`})
	r = s.settled(r, views.Kept{Plan: replaced()}, run.PlanOutcome{})
	l.want(told{"state", "planned"})
	r = s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{r.ID}, "erin") })
	l.want(told{"state", "confirmed"})
	r = s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.ClaimApply(snap, r.ID, []run.Gate{{Holds: true}}, run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)})
	})
	l.want(told{"state", "applying"})
	s.write(r, "apply", 5, "Creating\n")
	l.want(told{"apply", "Creating\n"})
	s.write(r, "apply", 9, "Done")
	s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.SettleApply(snap, r.ID, run.ApplyOutcome{Applied: true})
	})
	e, _ := l.next()
	switch e {
	case told{"state", "applied"}:
		l.want(told{"apply", "Done"})
	case told{"apply", "Done"}:
		l.want(told{"state", "applied"})
	default:
		t.Fatalf("event %v, want the end of the log", e)
	}
	l.want(told{"end", "applied"})
	if e, ok := l.next(); ok {
		t.Errorf("after the end comes %v", e)
	}
}

func TestLiveLogOfAnEndedRunIsWholeAndEnds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.applying(seed{})
	s.write(r, "plan", 5, "plan\n")
	s.write(r, "apply", 5, "apply\n")
	s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.SettleApply(snap, r.ID, run.ApplyOutcome{Applied: true})
	})
	c := s.member()
	s.listen(c, "/runs/"+string(r.ID)+"/log/live").want(told{"state", "applied"}, told{"plan", "plan\n"}, told{"apply", "apply\n"}, told{"end", "applied"})
	s.listen(c, "/runs/"+string(r.ID)+"/log/live?phase=apply").want(told{"state", "applied"}, told{"apply", "apply\n"}, told{"end", "applied"})
	if a := s.get(c, "/runs/"+string(r.ID)+"/log"); a.body != "--- plan ---\nplan\n\n--- apply ---\napply\n\n" {
		t.Errorf("log as text = %q", a.body)
	}
	if a := s.get(c, "/runs/"+string(r.ID)+"/log?phase=apply"); a.body != "apply\n\n" {
		t.Errorf("log of the apply = %q", a.body)
	}
	if a := s.get(c, "/runs/"+string(r.ID)+"/log?phase=destroy"); a.status != http.StatusBadRequest {
		t.Errorf("log of no phase = %d, want 400", a.status)
	}
}

func TestOnlyTheEndOfALongLogIsOnThePage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.planning(seed{})
	line := strings.Repeat("x", 1023) + "\n"
	for i := range 100 { // 10 KB each
		s.write(r, "plan", int64(i+1)*10240, strings.Repeat(line, 10))
	}
	s.write(r, "plan", 100*10240+4, "END\n")
	r = s.settled(r, views.Kept{}, run.PlanOutcome{Failed: "no"})
	c := s.member()
	term := find(s.page(c, "/runs/"+string(r.ID)), "term")[0]
	got := len(text(term))
	if !strings.HasSuffix(text(term), "END") || got < 500_000 || got > 540_000 || !strings.HasPrefix(text(term), "xxx") {
		t.Errorf("the page has %d bytes of the log, want its last half megabyte", got)
	}
	if a := s.get(c, "/runs/"+string(r.ID)+"/log?phase=plan"); len(a.body) != 100*10240+5 {
		t.Errorf("the text has %d bytes of the log, want all %d", len(a.body), 100*10240+5)
	}
}

func TestLiveLogsAreBounded(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.planning(seed{})
	c := s.member()
	var all []*listener
	for range 32 {
		l := s.listen(c, "/runs/"+string(r.ID)+"/log/live")
		l.want(told{"state", "planning"})
		all = append(all, l)
	}
	a := s.get(c, "/runs/"+string(r.ID)+"/log/live")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("the 33rd live log of a run = %d, want 503", a.status)
	}
	s.handler.Close()
	for _, l := range all {
		if e, ok := l.next(); ok {
			t.Errorf("after Close comes %v", e)
		}
	}
}

// hasty is an answer to a reader that reads nothing. Its write deadlines come at once when told so: what has none would wait for ever. Who does
// read has the usual patience, which a machine with much to do needs.
type hasty struct {
	http.ResponseWriter
	hurry *atomic.Bool
}

func (h hasty) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hasty) SetWriteDeadline(at time.Time) error {
	if h.hurry.Load() && !at.IsZero() {
		at = time.Now().Add(50 * time.Millisecond)
	}
	return http.NewResponseController(h.ResponseWriter).SetWriteDeadline(at)
}

// TestASlowReaderIsDropped opens a live log of much text and never reads: once the buffers between are full, the write deadline ends it.
func TestASlowReaderIsDropped(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.planning(seed{})
	var hurry atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(hasty{w, &hurry}, r) }))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	link := strings.TrimPrefix(s.linker.Run(s.repo, r.ID, false), s.server.URL)
	address := strings.Replace(link, "?", "/log/live?", 1)
	if _, err := io.WriteString(conn, "GET "+address+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	until(t, "the stream is open", func() bool { return s.handler.Streams() == 1 })
	hurry.Store(true)
	for i := range int64(20) { // more than fits between
		s.write(r, "plan", (i+1)<<20, strings.Repeat("y", 1<<20))
	}
	until(t, "the stream of a reader that takes nothing is gone", func() bool { return s.handler.Streams() == 0 })
}

// TestSlowReadersAreDropped which ask for much and read nothing: what they do not read is held in memory, and few whole logs are read at a time.
func TestSlowReadersAreDropped(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.planning(seed{})
	for i := range int64(20) {
		s.write(r, "plan", (i+1)<<20, strings.Repeat(strings.Repeat("<", 1023)+"\n", 1<<10))
	}
	r = s.settled(r, views.Kept{}, run.PlanOutcome{Failed: "no"})
	var hurry atomic.Bool
	hurry.Store(true)
	var gone atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer gone.Add(1)
		s.handler.ServeHTTP(hasty{w, &hurry}, r)
	}))
	t.Cleanup(server.Close)
	const readers = 6
	for i, address := range []string{"/log?", "?"} {
		link := strings.TrimPrefix(s.linker.Run(s.repo, r.ID, false), s.server.URL)
		for range readers {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "GET "+strings.Replace(link, "?", address, 1)+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		if a := s.get(s.member(), "/runs/"+string(r.ID)+"/log?phase=plan"); a.status != http.StatusOK || len(a.body) < 20<<20 {
			t.Errorf("beside readers of %s that do not read somebody else got %d with %d bytes of the log", address, a.status, len(a.body))
		}
		until(t, "all readers that take nothing are gone", func() bool { return gone.Load() == readers*int64(i+1) })
	}
}

// until waits for what another goroutine, behind a socket, is about to do.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) { //nolint:forbidigo // with a deadline, at the border to a socket
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
