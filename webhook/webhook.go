// Package webhook is the door: it takes the deliveries of VCS hosts.
//
// It promises that a delivery is answered 202 only once it is stored, or once it is known that nothing will come of it; that nobody without
// the secret makes it store, log at length or hold more than a bounded amount of memory; and that a delivery which is not ours is still
// answered 2xx, because hosts switch off hooks that fail. What an event means is not decided here.
//
// A Door is safe for concurrent use.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// Store keeps deliveries.
type Store interface {
	// Deliver stores a delivery and the job that handles it. fresh is false if it is known already.
	Deliver(ctx context.Context, d run.Delivery) (fresh bool, err error)
}

// Outcome is what became of one call, for counting.
type Outcome string

// The outcomes.
const (
	Stored    Outcome = "stored"
	Duplicate Outcome = "duplicate"
	Ignored   Outcome = "ignored"
	Unsigned  Outcome = "unsigned" // no signature, or a wrong one
	Malformed Outcome = "malformed"
	TooLarge  Outcome = "too_large"
	TooSlow   Outcome = "too_slow"
	Busy      Outcome = "busy"    // too many large bodies at once
	Unstored  Outcome = "failed"  // the store is away
	Unknown   Outcome = "unknown" // no host of this name
)

// Options are what a Door needs. Hosts, Store and Repos are required.
type Options struct {
	Hosts map[string]vcs.Events                       // by the name in the path
	Store Store                                       //
	Repos func(host, name string) bool                // the allow-list
	Log   *slog.Logger                                // default: none
	Count func(host string, o Outcome, reason string) // called once for each call; reason is set for Ignored and is one of few. Default: none
	Now   func() time.Time                            // default time.Now

	MaxBody     int64         // bytes; default 25 MiB, the largest any host sends
	MaxMemory   int64         // bytes of all bodies being read; default 8 × MaxBody
	BodyTimeout time.Duration // for reading a body; default 10 s, after which hosts have given up
}

// Door is the handler of POST /webhooks/{name}.
type Door struct {
	o       Options
	mux     *http.ServeMux
	reading atomic.Int64 // bytes of bodies in memory
	recent  ring
	warned  sync.Map // host → *atomic.Int64: when a wrong signature was last logged
}

// New makes a Door.
func New(o Options) *Door {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Count == nil {
		o.Count = func(string, Outcome, string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBody == 0 {
		o.MaxBody = 25 << 20
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 8 * o.MaxBody
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 10 * time.Second
	}
	d := &Door{o: o, mux: http.NewServeMux()}
	d.mux.HandleFunc("POST /webhooks/{name}", d.deliver)
	return d
}

// ServeHTTP answers a call: 202 stored, known or ignored; 400 unreadable, 401 not signed, 404 no such host, 405 not POST, 408 too slow,
// 413 too large, 503 try again.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

func (d *Door) deliver(w http.ResponseWriter, r *http.Request) {
	host := r.PathValue("name")
	events, ok := d.o.Hosts[host]
	if !ok {
		d.o.Count("", Unknown, "")
		http.Error(w, "no VCS host has this name; the path is /webhooks/ and a name from vcs: in server.yaml", http.StatusNotFound)
		return
	}
	var body bytes.Buffer
	defer func() { d.reading.Add(-int64(body.Cap())) }()
	if refusal := d.read(w, r, &body); refusal != nil {
		d.o.Count(host, refusal.outcome, "")
		refuse(w, refusal.status, refusal.text)
		return
	}
	event, err := events.Parse(r.Header, body.Bytes())
	if err != nil {
		d.unparsed(w, host, err)
		return
	}
	if !d.o.Repos(host, event.Repo.Name) {
		d.ignore(w, Call{Host: host, Repo: event.Repo.Name, Delivery: event.Delivery, Reason: "repository outside the allow-list"})
		return
	}
	d.store(w, r, host, event, body.Bytes())
}

// refusal is an answer to a body that was not read.
type refusal struct {
	outcome Outcome
	status  int
	text    string
}

var (
	tooLarge = &refusal{TooLarge, http.StatusRequestEntityTooLarge, "the body is larger than any webhook"}
	tooSlow  = &refusal{TooSlow, http.StatusRequestTimeout, "the body did not arrive in time"}
	busy     = &refusal{Busy, http.StatusServiceUnavailable, "too many large webhooks at once; try again"}
	broken   = &refusal{Malformed, http.StatusBadRequest, "the body could not be read"}
)

// read takes a body in. Its memory is accounted for in d.reading by the capacity of into.
func (d *Door) read(w http.ResponseWriter, r *http.Request, into *bytes.Buffer) *refusal {
	if r.ContentLength > d.o.MaxBody {
		return tooLarge
	}
	// Not every ResponseWriter has deadlines; the server's own is then the limit.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(d.o.BodyTimeout))
	in := http.MaxBytesReader(w, r.Body, d.o.MaxBody)
	// Grown as bytes arrive and not by what the caller claims, but for the size of a usual event: a thousand claims of 25 MiB cost little.
	next := min(max(int(r.ContentLength)+1, 4<<10), 64<<10)
	for {
		before := into.Cap()
		into.Grow(next)
		next = min(max(into.Len(), 4<<10), 1<<20)
		if d.reading.Add(int64(into.Cap()-before)) > d.o.MaxMemory {
			return busy
		}
		free := into.AvailableBuffer()
		n, err := in.Read(free[:cap(free)])
		into.Write(free[:n])
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			_ = control.SetReadDeadline(time.Time{}) // for the next call; after a failure it stays, so that the server does not wait for the rest
			return nil
		case isTooLarge(err):
			return tooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return tooSlow
		}
		return broken
	}
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}

// unparsed answers what is no event for us.
func (d *Door) unparsed(w http.ResponseWriter, host string, err error) {
	ignored, ok := errors.AsType[*vcs.IgnoredError](err)
	switch {
	case ok:
		d.ignore(w, Call{Host: host, Reason: ignored.Reason})
	case errors.Is(err, vcs.ErrSignature):
		d.o.Count(host, Unsigned, "")
		d.warn(host)
		refuse(w, http.StatusUnauthorized, "the signature is missing or wrong; the secret of the webhook must be webhook_secret in server.yaml")
	case errors.Is(err, vcs.ErrMalformed):
		d.o.Count(host, Malformed, "")
		d.o.Log.Warn("webhook cannot be read", "host", host, "error", err)
		refuse(w, http.StatusBadRequest, "the body is not what this kind of host sends")
	default:
		d.o.Count(host, Unstored, "")
		d.o.Log.Error("webhook was not understood", "host", host, "error", err)
		refuse(w, http.StatusInternalServerError, "the webhook could not be handled")
	}
}

// warn logs a wrong signature once a minute: an operator with a wrong secret must see it, and a stranger must not fill the log.
func (d *Door) warn(host string) {
	v, _ := d.warned.LoadOrStore(host, new(atomic.Int64))
	last, ok := v.(*atomic.Int64)
	now := d.o.Now().Unix()
	if before := last.Load(); ok && now-before >= 60 && last.CompareAndSwap(before, now) {
		d.o.Log.Warn("webhook with a missing or wrong signature; further ones of this minute are only counted", "host", host)
	}
}

// ignore answers a delivery that nothing comes of.
func (d *Door) ignore(w http.ResponseWriter, c Call) {
	c.At = d.o.Now()
	d.recent.add(c)
	d.o.Count(c.Host, Ignored, c.Reason)
	answer(w, "ignored: "+c.Reason)
}

// storeTimeout leaves hosts the time to hear of a failure: the least patient of them, Gitea, waits five seconds.
const storeTimeout = 4 * time.Second

func (d *Door) store(w http.ResponseWriter, r *http.Request, host string, e vcs.Event, body []byte) {
	if e.Delivery == "" { // the host sent no id: its content is one, so that a repeated call is still known
		sum := sha256.Sum256(body)
		e.Delivery = "sha256-" + hex.EncodeToString(sum[:])
	}
	if strings.HasPrefix(e.Delivery, run.CommentDelivery) {
		d.o.Count(host, Malformed, "")
		d.o.Log.Warn("webhook with an id that no host gives", "host", host, "delivery", e.Delivery)
		refuse(w, http.StatusBadRequest, "the id of the delivery is not one of this kind of host")
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		d.o.Count(host, Malformed, "")
		d.o.Log.Error("event cannot be encoded", "host", host, "delivery", e.Delivery, "error", err)
		refuse(w, http.StatusBadRequest, "the event cannot be kept")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	fresh, err := d.o.Store.Deliver(ctx, run.Delivery{Host: host, ID: e.Delivery, Event: text, Received: d.o.Now()})
	if err != nil {
		d.o.Count(host, Unstored, "")
		d.o.Log.Error("webhook was not stored", "host", host, "delivery", e.Delivery, "error", err)
		refuse(w, http.StatusServiceUnavailable, "the webhook could not be stored; deliver it again")
		return
	}
	if !fresh {
		d.o.Count(host, Duplicate, "")
		answer(w, "known already")
		return
	}
	d.o.Count(host, Stored, "")
	d.o.Log.Info("webhook stored", "host", host, "delivery", e.Delivery, "kind", e.Kind, "repo", e.Repo.Name, "number", e.Number)
	answer(w, "stored")
}

func answer(w http.ResponseWriter, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, text+"\n") // whoever hung up does not read it
}

func refuse(w http.ResponseWriter, status int, text string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if status == http.StatusRequestTimeout || status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // the rest of the body is on its way
	}
	http.Error(w, text, status)
}
