package runner

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
)

// logStore is where redacted log text goes.
type logStore interface {
	AppendLog(ctx context.Context, id run.ID, phase string, to int64, text []byte) error
}

// cleaner lets through what may be shown of a raw stream. Clean is the raw offset up to which everything is accounted for.
type cleaner interface {
	io.WriteCloser
	Clean() int64
}

// sink redacts the raw log of a phase and stores it in chunks, at most one a second. Every chunk carries the raw offset that it accounts
// for, so whoever follows next goes on from there.
type sink struct {
	store logStore
	id    run.ID
	phase string
	from  int64 // raw offset this sink began at

	mu     sync.Mutex
	text   bytes.Buffer
	clean  cleaner
	stored int64
}

func newSink(store logStore, id run.ID, phase string, from int64, secrets *redact.Set) *sink {
	s := &sink{store: store, id: id, phase: phase, from: from, stored: from}
	s.clean = secrets.Writer(&s.text)
	return s
}

// shut lets nothing through from here on, but the reason why.
func (s *sink) shut(why error) { s.clean = &shutter{text: &s.text, why: why} }

// shutter says once why nothing is shown.
type shutter struct {
	text *bytes.Buffer
	why  error
	seen int64
}

func (s *shutter) Write(p []byte) (int, error) {
	if s.seen == 0 && len(p) > 0 {
		fmt.Fprintf(s.text, "(%v)\n", s.why)
	}
	s.seen += int64(len(p))
	return len(p), nil
}

func (s *shutter) Clean() int64 { return s.seen }
func (s *shutter) Close() error { return nil }

// Write takes raw log.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clean.Write(p)
}

// every flushes once a second until ctx ends.
func (s *sink) every(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.flush(ctx); err != nil {
				return // the next flush, or the last one, reports it
			}
		}
	}
}

// flush stores what is clean.
func (s *sink) flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(ctx)
}

func (s *sink) put(ctx context.Context) error {
	to := s.from + s.clean.Clean()
	if to <= s.stored {
		return nil
	}
	if err := s.store.AppendLog(ctx, s.id, s.phase, to, s.text.Bytes()); err != nil {
		return err
	}
	s.text.Reset()
	s.stored = to
	return nil
}

// end stores the rest: the log is whole.
func (s *sink) end(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.clean.Close(); err != nil {
		return err
	}
	return s.put(ctx)
}
