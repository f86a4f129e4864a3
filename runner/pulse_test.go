package runner

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planlatch/planlatch/run"
)

// beats is a database that answers, or not.
type beats struct {
	run.Store
	err  error
	hang time.Duration
}

func (b *beats) Beat(context.Context, run.Node) error {
	<-time.After(b.hang)
	return b.err
}

func (*beats) Owned(context.Context, string) ([]run.Run, error) { return nil, nil }

func (*beats) Orphans(context.Context, time.Duration) ([]run.Run, error) {
	return nil, errors.New("asked for orphans")
}

func TestNobodyIsTakenForGoneRightAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(b *beats){
		"Failed": func(b *beats) { b.err = errors.New("connection refused") },
		"Hung":   func(b *beats) { b.hang = 3 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &beats{}
				r := New(Parts{Store: b, Log: slog.New(slog.DiscardHandler)}, Options{NodeTimeout: 2 * time.Minute})
				live := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); <-time.After(tick) {
						r.beat(t.Context())
					}
				}
				asks := func() bool { _, err := r.watch(t.Context()); return err != nil }
				live(tick)
				if asks() {
					t.Error("a node that has just come looks for orphans: it may be the first one back")
				}
				live(calm)
				if !asks() {
					t.Fatal("nobody looks for orphans while all is well")
				}
				outage(b)
				live(3 * time.Minute)
				*b = beats{}
				live(2 * beat)
				if asks() {
					t.Error("others are taken for gone right after an outage in which nobody could beat")
				}
				live(calm + beat)
				if !asks() {
					t.Error("orphans are not looked for any more")
				}
			})
		})
	}
}

func TestWhatWaitsForTheDatabaseGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &beats{err: errors.New("connection refused")}
		r := New(Parts{Store: b, Log: slog.New(slog.DiscardHandler)}, Options{NodeTimeout: time.Minute})
		r.beat(t.Context())
		waited := make(chan time.Duration, 1)
		begun := time.Now()
		go func() {
			r.later(t.Context(), &r.draining, time.Hour)
			waited <- time.Since(begun)
		}()
		synctest.Wait()
		<-time.After(tick)
		b.err = nil
		r.beat(t.Context())
		if took := <-waited; took != tick {
			t.Errorf("waited %s, want to be woken by the first beat after %s", took, tick)
		}
	})
}

func TestAPlanHasEndedBeforeAnotherNodePlansAgain(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{NodeTimeout: 2 * time.Minute, PlanGrace: 30 * time.Second},
		{NodeTimeout: 43 * time.Second, PlanGrace: 3 * time.Second}, // the shortest that the configuration takes
		{NodeTimeout: time.Hour, PlanGrace: time.Minute},
	} {
		r := New(Parts{}, o)
		if ends := lapse + r.unattended() + o.PlanGrace; ends >= o.NodeTimeout || r.unattended() < beat {
			t.Errorf("after the last beat a plan ends within %s, unattended for %s, want less than %s", ends, r.unattended(), o.NodeTimeout)
		}
		if r.wanted() {
			t.Error("wanted() before the first beat = true")
		}
		r.pulse.beaten = time.Now()
		if !r.wanted() {
			t.Error("wanted() after a beat = false")
		}
		r.pulse.beaten = time.Now().Add(-lapse)
		if r.wanted() {
			t.Error("wanted() long after the last beat = true: what it runs may be planned elsewhere")
		}
	}
}
