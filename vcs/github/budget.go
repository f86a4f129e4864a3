package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// Budget is how much we write before we wait by ourselves, so that GitHub need not tell us to: who goes on in spite of its secondary limits
// is locked out. Zero fields mean no limit. A host and its token have one budget; two servers with one token have two.
type Budget struct {
	ContentPerMinute int // comments and reactions
	ContentPerHour   int
	WritesPerMinute  int // these and everything else that changes something
}

// published is what GitHub documents: 80 and 500 requests that make content, and 900 points a minute of which a write costs 5.
var published = Budget{ContentPerMinute: 80, ContentPerHour: 500, WritesPerMinute: 180}

// budgetOf gives the published limits to those who have them: an Enterprise server has none unless its administrator sets some.
func budgetOf(host string) Budget {
	host = strings.ToLower(host)
	if host == "api.github.com" || strings.HasSuffix(host, ".ghe.com") {
		return published
	}
	return Budget{}
}

// meter holds requests back: until the time that GitHub named, and by the budget.
type meter struct {
	mu     sync.Mutex
	until  time.Time
	limits []*limit
}

// limit is a number of requests in a span of time. times is a ring of the last n; next is the oldest.
type limit struct {
	content bool // only requests that make content
	span    time.Duration
	times   []time.Time
	next    int
}

func newMeter(b Budget) *meter {
	m := &meter{}
	for _, l := range []struct {
		n       int
		content bool
		span    time.Duration
	}{{b.ContentPerMinute, true, time.Minute}, {b.ContentPerHour, true, time.Hour}, {b.WritesPerMinute, false, time.Minute}} {
		if l.n > 0 {
			m.limits = append(m.limits, &limit{content: l.content, span: l.span, times: make([]time.Time, l.n)})
		}
	}
	return m
}

// take says how long a request must wait, or counts it.
func (m *meter) take(now time.Time, req *http.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if wait := m.until.Sub(now); wait > 0 {
		return &vcs.RetryError{After: wait, Err: errors.New("GitHub asked us to wait")}
	}
	write, content := kindOf(req)
	if !write {
		return nil
	}
	var counted []*limit
	for _, l := range m.limits {
		if l.content && !content {
			continue
		}
		if oldest := l.times[l.next]; !oldest.IsZero() && now.Sub(oldest) < l.span {
			return &vcs.RetryError{After: l.span - now.Sub(oldest), Err: fmt.Errorf("we have written %d times in %s", len(l.times), l.span)}
		}
		counted = append(counted, l)
	}
	for _, l := range counted {
		l.times[l.next] = now
		l.next = (l.next + 1) % len(l.times)
	}
	return nil
}

// kindOf says whether a request changes something, and whether that is something people are notified of. A GraphQL query is a POST that
// reads.
func kindOf(req *http.Request) (write, content bool) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead || strings.HasSuffix(req.URL.Path, "/graphql") {
		return false, false
	}
	return true, strings.Contains(req.URL.Path, "/issues/")
}

// heard remembers an answer that asks us to wait. Primary limits, which name no such time, are go-github's to remember.
func (m *meter) heard(now time.Time, resp *http.Response) {
	limited := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusForbidden
	if !limited || resp.Header.Get("Retry-After") == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if until := now.Add(wait(resp.Header)); until.After(m.until) {
		m.until = until
	}
}
