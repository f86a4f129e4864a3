package chaos_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// monkey is the hand that kills. Servers ask it at each of their points; besides it kills servers, workers and whole machines when it likes.
type monkey struct {
	servers  []*server
	wanted   int  // kills
	machines bool // may be lost with their disks

	mu      sync.Mutex
	seen    map[string]int // point → how often a server came to it
	died    map[string]int // point → how often one died there
	kills   map[string]int // kind → how many
	killed  map[string]time.Time
	resumed []time.Duration // from a kill until it goes on with what there is to do
	done    chan struct{}
}

// listen answers the servers and returns the address to ask.
func (m *monkey) listen(t *testing.T) string {
	t.Helper()
	m.seen, m.died, m.kills, m.killed, m.done = map[string]int{}, map[string]int{}, map[string]int{}, map[string]time.Time{}, make(chan struct{})
	if m.wanted == 0 {
		close(m.done)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: m, ReadHeaderTimeout: time.Minute}
	go server.Serve(l) //nolint:errcheck // ends when it is closed
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}

func (m *monkey) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	word := "live"
	if m.dies(strings.TrimPrefix(r.URL.Path, "/"), r.URL.Query().Get("point")) {
		word = "die"
	}
	_, _ = io.WriteString(w, word)
}

// dies decides: the first who comes to a point in the middle of its life dies there, later ones ever more rarely.
func (m *monkey) dies(name, point string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[point]++
	if at, ok := m.killed[name]; ok && strings.HasPrefix(point, "after:") {
		m.resumed = append(m.resumed, time.Since(at))
		delete(m.killed, name)
	}
	if m.over() || rand.IntN(3+3*m.died[point]) > 0 || !m.settled(name) {
		return false
	}
	m.died[point]++
	m.count("server, at a point", name)
	return true
}

// settled says that a server lives long enough to do something between two deaths.
func (m *monkey) settled(name string) bool {
	for _, s := range m.servers {
		if s.name == name {
			ready := s.Ready()
			return !ready.IsZero() && time.Since(ready) > 500*time.Millisecond
		}
	}
	return false
}

func (m *monkey) over() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// count notes a kill; the caller holds the lock.
func (m *monkey) count(kind, name string) {
	m.kills[kind]++
	if _, waits := m.killed[name]; name != "" && !waits {
		m.killed[name] = time.Now()
	}
	if m.total() >= m.wanted && !m.over() {
		close(m.done)
	}
}

func (m *monkey) total() (n int) {
	for _, k := range m.kills {
		n += k
	}
	return n
}

// roam kills at any moment until enough were killed.
func (m *monkey) roam() {
	for _, s := range m.servers {
		go m.exits(s)
	}
	for {
		select {
		case <-m.done:
			return
		case <-time.After(time.Duration(300+rand.IntN(2500)) * time.Millisecond):
		}
		s := m.servers[rand.IntN(len(m.servers))]
		switch n := rand.IntN(10); {
		case n < 5:
			if m.settled(s.name) && s.kill(false) {
				m.note("server, at any moment", s.name)
			}
		case n < 9 || !m.machines:
			if pids := s.workers(); len(pids) > 0 && syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) == nil {
				m.note("worker, at any moment", "")
			}
		default:
			if m.settled(s.name) && s.kill(true) {
				m.note("machine with its disk", s.name)
			}
		}
	}
}

func (m *monkey) note(kind, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over() {
		m.count(kind, name)
	}
}

// tells is what was done, for the reader.
func (m *monkey) tells() string {
	var back []time.Duration
	for _, s := range m.servers {
		back = append(back, s.Back()...)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(m.kills)) {
		fmt.Fprintf(&b, "%-24s %4d killed\n", kind, m.kills[kind])
	}
	fmt.Fprintf(&b, "%-24s %4d, of which %d killed somebody\n", "points", len(m.seen), len(m.died))
	for _, point := range slices.Sorted(maps.Keys(m.seen)) {
		fmt.Fprintf(&b, "  %-22s %4d passed, %3d died\n", point, m.seen[point], m.died[point])
	}
	for what, took := range map[string][]time.Duration{"it answers again": back, "its next commit": m.resumed} {
		if len(took) > 0 {
			slices.Sort(took)
			fmt.Fprintf(&b, "from the kill of a server until %s: median %s, longest %s\n", what,
				took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		}
	}
	return b.String()
}
