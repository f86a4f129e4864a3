package redteam_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 20: a host answers thinly, oddly, or asks for quiet. The loot is a server that panics, hammers on, says nothing or does not come back.

func answerAttacks() []attack {
	read := func(r *http.Request, repo string) bool { return strings.HasSuffix(r.URL.Path, "/"+repo+"/pulls/1") }
	write := func(r *http.Request, repo string) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/"+repo+"/issues/1/comments")
	}
	wait := http.Header{"Retry-After": {"3"}}
	odd := func(name string, of func(*http.Request, string) bool, f fakehost.Fault) attack {
		return attack{
			Row: 20, Name: name, Wall: "bounded retries, told to people", Without: patienceWithHosts, Own: true,
			Try: func(w *world) []string { return w.beside(w.repo.Name).meets(of, f) },
		}
	}
	return []attack{
		odd("a pull request without user, head and base", read, fakehost.Fault{Status: 200, Body: `{"number": 1, "user": null, "head": null, "base": {"repo": null}}`}),
		odd("an answer of nothing", read, fakehost.Fault{Status: 200, Body: `null`}),
		odd("404 for ever", read, fakehost.Fault{Status: 404, Body: `{"message": "Not Found"}`}),
		odd("403 with Retry-After to what it reads", read, fakehost.Fault{Status: 403, Header: wait, Body: `{"message": "You have exceeded a secondary rate limit."}`}),
		odd("429 with Retry-After to what it writes", write, fakehost.Fault{Status: 429, Header: wait, Body: `{"message": "Too many"}`}),
	}
}

const (
	oddFor   = 5 * time.Second // how long the host answers so
	oddCalls = 20              // how often it may be asked meanwhile
)

// meets has the first pull request of a repository meet an odd answer for a while, and returns what went wrong.
func (w *world) meets(of func(*http.Request, string) bool, f fakehost.Fault) (loot []string) {
	w.Helper()
	o := w.server.odd
	o.meet(w.repo.Name, of, f)
	defer o.end(w.repo.Name)
	before := len(w.server.said())
	pull, _ := w.propose(w.writes("x"))
	if pull != 1 {
		w.Fatalf("the pull request is #%d, want the first", pull)
	}
	until(w.T, "the odd answer to have been given for a while", func() (string, bool) {
		first, asked := o.asked(w.repo.Name)
		said := w.server.said()[before:] // on a starved machine, somebody is told later
		return said, asked > oddCalls || asked > 0 && time.Since(first) > oddFor && (toldOf(said, w.repo.Name) || time.Since(first) > time.Minute)
	})
	_, asked := o.asked(w.repo.Name)
	o.end(w.repo.Name)
	if asked > oddCalls {
		loot = append(loot, fmt.Sprintf("the host was asked %d times in %s", asked, oddFor))
	}
	said := w.server.said()[before:]
	if strings.Contains(said, "panic") {
		loot = append(loot, "the server panicked")
	}
	if !toldOf(said, w.repo.Name) {
		loot = append(loot, "nobody was told")
	}
	if len(loot) > 0 {
		return loot
	}
	head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: w.with(w.writes("y")), Message: "Go on"})
	w.planned(pull, head) // it comes back
	return nil
}

// toldOf says whether a log tells of a repository whose host is odd.
func toldOf(log, repo string) bool {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, repo) && !strings.Contains(line, besideName) {
			continue
		}
		for _, word := range []string{"job failed", "job waits", "outcome=", "level=WARN", "level=ERROR"} {
			if strings.Contains(line, word) {
				return true
			}
		}
	}
	return false
}

// oddities are the answers that requests about a repository meet.
type oddities struct {
	mu   sync.Mutex
	that map[string]*oddity
}

type oddity struct {
	of     func(*http.Request, string) bool
	answer *fakehost.Fault // nil: no more
	first  time.Time
	asked  int
}

func (o *oddities) meet(repo string, of func(*http.Request, string) bool, f fakehost.Fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.that[repo] = &oddity{of: of, answer: &f}
}

func (o *oddities) end(repo string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.that[repo].answer = nil
}

func (o *oddities) asked(repo string) (first time.Time, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.that[repo].first, o.that[repo].asked
}

// fault is asked before every request.
func (o *oddities) fault(r *http.Request) *fakehost.Fault {
	o.mu.Lock()
	defer o.mu.Unlock()
	for repo, odd := range o.that {
		if odd.answer == nil || !odd.of(r, repo) {
			continue
		}
		if odd.asked++; odd.asked == 1 {
			odd.first = time.Now()
		}
		return odd.answer
	}
	return nil
}

// restless asks again at once, many times, whatever the host says.
type restless struct{ vcs.Host }

func (h restless) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := h.Host.Pull(ctx, r, number)
	if err != nil {
		h.hammer(ctx, r, http.MethodGet, fmt.Sprintf("/pulls/%d", number))
	}
	return p, err
}

func (h restless) Comment(ctx context.Context, r vcs.Repo, number int, known, marker, body string) (string, error) {
	id, err := h.Host.Comment(ctx, r, number, known, marker, body)
	if err != nil {
		h.hammer(ctx, r, http.MethodPost, fmt.Sprintf("/issues/%d/comments", number))
	}
	return id, err
}

func (h restless) hammer(ctx context.Context, r vcs.Repo, method, path string) {
	remote, err := h.Remote(ctx, r)
	if err != nil {
		return
	}
	for range 2 * oddCalls {
		req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(remote.URL, ".git")+path, nil)
		if err != nil {
			return
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		_ = res.Body.Close() // what it says does not matter
	}
}
