package vcstest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// delivery is one call of the webhook as it arrived.
type delivery struct {
	header http.Header
	body   []byte
}

// deliveries receives the webhooks of one repository.
type deliveries struct {
	host vcs.Host

	mu   sync.Mutex
	all  []delivery
	read int // how many of them next has looked at
	more chan struct{}
}

// hook listens for the deliveries of a repository.
func (s *suite) hook(t *testing.T, r vcs.Repo) *deliveries {
	t.Helper()
	d := &deliveries{host: s.Host, more: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 25<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.mu.Lock()
		d.all = append(d.all, delivery{header: req.Header.Clone(), body: body})
		d.mu.Unlock()
		select {
		case d.more <- struct{}{}:
		default: // whoever waits looks at all there are
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	s.World.Hook(t, r, server.URL)
	return d
}

// next returns the next delivery that wanted chooses by how Parse reads it, and passes over the others.
func (d *deliveries) next(t *testing.T, say string, wanted func(e vcs.Event, ignored string) bool) (vcs.Event, delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		for {
			got, ok := d.take()
			if !ok {
				break
			}
			e, err := d.host.Parse(got.header, got.body)
			reason := ""
			if ignored, ok := errors.AsType[*vcs.IgnoredError](err); ok {
				reason = ignored.Reason
			} else if err != nil {
				t.Fatalf("Parse(%v) = %v\n%s", got.header, err, got.body)
			}
			if wanted(e, reason) {
				return e, got
			}
		}
		select {
		case <-d.more:
		case <-ctx.Done():
			t.Fatalf("no delivery of %s within %s", say, patience)
		}
	}
}

func (d *deliveries) take() (delivery, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read == len(d.all) {
		return delivery{}, false
	}
	d.read++
	return d.all[d.read-1], true
}

// event waits for an event of a kind; with a number other than 0, for one about that pull request.
func (d *deliveries) event(t *testing.T, say string, kind vcs.EventKind, number int) vcs.Event {
	t.Helper()
	e, _ := d.next(t, say, func(e vcs.Event, _ string) bool { return e.Kind == kind && (number == 0 || e.Number == number) })
	return e
}

// ignored waits for a delivery that is ignored for this reason, if the host sends one.
func (s *suite) ignored(t *testing.T, d *deliveries, reason string) {
	t.Helper()
	if slices.Contains(s.Untold, reason) {
		return
	}
	d.next(t, "something ignored as "+reason, func(_ vcs.Event, got string) bool { return got == reason })
}

// checkEvent compares what every event tells.
func checkEvent(t *testing.T, say string, e vcs.Event, r vcs.Repo, sender Person) {
	t.Helper()
	if e.Repo.ID != r.ID || e.Repo.Name != r.Name {
		t.Errorf("%s: Repo = %+v, want %+v", say, e.Repo, r)
	}
	if e.Delivery == "" {
		t.Errorf("%s: no delivery id", say)
	}
	if sender != nil && e.Sender.Login != sender.User().Login {
		t.Errorf("%s: Sender = %+v, want %s", say, e.Sender, sender.User().Login)
	}
	if !e.At.IsZero() && time.Since(e.At).Abs() > 5*time.Minute {
		t.Errorf("%s: At = %s, want about now", say, e.At)
	}
}
