package webhook

import (
	"slices"
	"sync"
	"time"
)

// Call is a delivery that nothing came of. Its texts come from outside: escape them.
type Call struct {
	At       time.Time
	Host     string
	Repo     string // empty when the event was not read so far
	Delivery string // likewise
	Reason   string
}

// remembered is how many ignored calls are kept.
const remembered = 200

// Recent lists the last ignored calls, newest first, for the person who asks why nothing happened. They live in memory alone.
func (d *Door) Recent() []Call { return d.recent.list() }

// ring keeps the last calls.
type ring struct {
	mu    sync.Mutex
	calls [remembered]Call
	next  int
	full  bool
}

func (r *ring) add(c Call) {
	c.Repo, c.Delivery, c.Reason = short(c.Repo), short(c.Delivery), short(c.Reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[r.next] = c
	r.next = (r.next + 1) % remembered
	r.full = r.full || r.next == 0
}

func (r *ring) list() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Call
	if r.full {
		out = append(out, r.calls[r.next:]...)
	}
	out = append(out, r.calls[:r.next]...)
	slices.Reverse(out)
	return out
}

// short keeps a hostile text from pinning memory.
func short(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return string([]byte(s[:most]))
}
