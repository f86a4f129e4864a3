package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/run"
)

// The phases of a run that write a log, in order.
const (
	phasePlan  = "plan"
	phaseApply = "apply"
)

// The bounds of live logs.
const (
	streamsMax   = 256 // at once
	streamsOfRun = 32
	streamFor    = 30 * time.Minute // then the browser comes back by itself
	keepAlive    = 15 * time.Second
	tailBytes    = 512 << 10 // of a log that a page shows
)

// streams counts live logs, and lets few read whole logs at a time: readers with links keep no place from those who are logged in.
type streams struct {
	mu      sync.Mutex
	all     int
	ofRun   map[run.ID]int
	members chan struct{}
	links   chan struct{}
}

func newStreams() *streams {
	return &streams{ofRun: map[run.ID]int{}, members: make(chan struct{}, 3), links: make(chan struct{}, 2)}
}

// whole takes a place for reading a whole log. Who waits for one too long should come again.
func (s *streams) whole(ctx context.Context, who visitor, patience time.Duration) (release func(), err error) {
	places := s.links
	if who.member {
		places = s.members
	}
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		return nil, &refusal{http.StatusServiceUnavailable, "Too many people read whole logs right now. Try again in a minute."}
	}
}

func (s *streams) enter(id run.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= streamsMax || s.ofRun[id] >= streamsOfRun {
		return false
	}
	s.all++
	s.ofRun[id]++
	return true
}

func (s *streams) leave(id run.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.ofRun[id]--; s.ofRun[id] == 0 {
		delete(s.ofRun, id)
	}
}

// GET /runs/{id}/log: the log as text, of one phase with ?phase=plan or ?phase=apply.
func (h *Handler) logText(w http.ResponseWriter, r *http.Request) error {
	rn, err := h.Store.Run(r.Context(), run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	phases := []string{phasePlan, phaseApply}
	switch only := r.URL.Query().Get("phase"); only {
	case "":
	case phasePlan, phaseApply:
		phases = []string{only}
	default:
		return &refusal{http.StatusBadRequest, "A run has the phases plan and apply."}
	}
	if !rn.LogGone.IsZero() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, logRemoved(rn)) //nolint:gosec // plain text of ours; whoever asked may be gone
		return nil
	}
	release, err := h.streams.whole(r.Context(), visitorOf(r), h.WritePatience)
	if err != nil {
		return err
	}
	defer release()
	first, _, err := h.Store.Log(r.Context(), rn.ID, phases[0], 0)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	writeLog(w, phases, 0, first)
	for i := 1; i < len(phases); i++ {
		text, _, err := h.Store.Log(r.Context(), rn.ID, phases[i], 0)
		if err != nil {
			h.Log.Error("a log could not be read to its end", "run", rn.ID, "error", err)
			panic(http.ErrAbortHandler) // the only way left to say that this is not the whole log
		}
		writeLog(w, phases, i, text)
	}
	return nil
}

func writeLog(w http.ResponseWriter, phases []string, i int, text []byte) {
	if len(text) == 0 {
		return
	}
	if len(phases) > 1 {
		fmt.Fprintf(w, "--- %s ---\n", phases[i]) //nolint:gosec // plain text, and the phase is our word
	}
	p := painter{plain: true}
	for len(text) > 0 { // piece by piece, so that a large log is not held several times
		n := min(len(text), 1<<20)
		if _, err := w.Write([]byte(p.paint(text[:n], n == len(text)))); err != nil {
			return
		}
		text = text[n:]
	}
	_, _ = w.Write([]byte("\n")) // whoever asked may be gone
}

// tail returns the end of a phase's log and the cursor behind it. cut says that the beginning is left out.
func (h *Handler) tail(ctx context.Context, id run.ID, phase string) (text []byte, next int64, cut bool, err error) {
	to, err := h.Store.LogOffset(ctx, id, phase)
	if err != nil {
		return nil, 0, false, err
	}
	from := max(0, to-tailBytes)
	if text, next, err = h.Store.Log(ctx, id, phase, from); err != nil {
		return nil, 0, false, err
	}
	if i := bytes.IndexByte(text, '\n'); from > 0 && i+1 < len(text) {
		text = text[i+1:] // the first line may have lost its beginning
	}
	return text, next, from > 0, nil
}

// GET /runs/{id}/log/live: the log as it is written, as server-sent events. "plan" and "apply" carry the next piece of HTML of that phase,
// "state" the state whenever it changes, beginning with the present one; "end" comes last, when the run has ended. A connection always
// begins with the last half megabyte, so a client that comes back clears what it has. ?phase=apply leaves the plan out.
func (h *Handler) logLive(w http.ResponseWriter, r *http.Request) error {
	id := run.ID(r.PathValue("id"))
	rn, err := h.Store.Run(r.Context(), id)
	if err != nil {
		return err
	}
	if !h.streams.enter(id) {
		w.Header().Set("Retry-After", "30")
		return &refusal{http.StatusServiceUnavailable, "Too many people follow logs right now. The log as text is still there."}
	}
	defer h.streams.leave(id)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	s := &stream{h: h, w: w, control: http.NewResponseController(w), id: id, phase: phasePlan}
	if r.URL.Query().Get("phase") == phaseApply {
		s.phase = phaseApply
	}
	if err := s.follow(ctx, rn); err != nil && ctx.Err() == nil {
		h.Log.Info("a live log ended early", "run", id, "error", err)
	}
	return errAnswered
}

// stream is one live log.
type stream struct {
	h       *Handler
	w       http.ResponseWriter
	control *http.ResponseController
	id      run.ID
	state   run.State
	phase   string
	begun   bool // the tail of phase was sent
	cursor  int64
	painter painter
	spoke   time.Time
}

// follow sends until the run has ended, ctx has, or the client is gone. The state is read before the log: a phase stores all of its log
// before it settles, so once a state is seen the log of what led to it is whole.
func (s *stream) follow(ctx context.Context, rn run.Run) error {
	tick := time.NewTicker(s.h.Poll)
	defer tick.Stop()
	for {
		if rn.State != s.state {
			s.state = rn.State
			if err := s.send("state", string(rn.State)); err != nil {
				return err
			}
		}
		if err := s.more(ctx); err != nil {
			return err
		}
		if rn.State.Final() {
			return s.send("end", string(rn.State))
		}
		if time.Since(s.spoke) > keepAlive {
			if err := s.write(": still here\n\n"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.h.done:
			return nil
		case <-tick.C:
		}
		var err error
		if rn, err = s.h.Store.Run(ctx, s.id); err != nil {
			return err
		}
	}
}

// more sends what is new, and goes on to the apply once the plan has ended.
func (s *stream) more(ctx context.Context) error {
	var text []byte
	var err error
	if s.begun {
		text, s.cursor, err = s.h.Store.Log(ctx, s.id, s.phase, s.cursor)
	} else {
		text, s.cursor, _, err = s.h.tail(ctx, s.id, s.phase)
		s.begun = true
	}
	if err != nil {
		return err
	}
	over := s.state.Final() || s.phase == phasePlan && s.state != run.Queued && s.state != run.Planning
	if piece := s.painter.paint(text, over); piece != "" {
		if err := s.send(s.phase, piece); err != nil {
			return err
		}
	}
	if over && s.phase == phasePlan {
		s.phase, s.begun, s.cursor, s.painter = phaseApply, false, 0, painter{}
		return s.more(ctx)
	}
	return nil
}

// send writes one event. Data of several lines goes as several data fields, which is how they come together again.
func (s *stream) send(event, data string) error {
	return s.write("event: " + event + "\ndata: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n")
}

func (s *stream) write(text string) error {
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	s.spoke = time.Now()
	return s.control.Flush()
}
