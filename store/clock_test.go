package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// Replicas whose clocks are an hour apart from the database's, either way, agree with everybody about what is due and who lives.
func TestAReplicaWhoseClockIsWrongGoesByTheDatabases(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"Ahead": time.Hour, "Behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := postgres.New(t, postgres.Options{})
			s := open(t, store.Options{DSN: dsn, Clock: func() time.Time { return time.Now().Add(wrong) }})
			right := open(t, store.Options{DSN: dsn})
			if off := time.Until(s.Now()).Abs(); off > 10*time.Second {
				t.Errorf("Now() is off by %s", off)
			}

			f := seed(t, s, 1)
			if age := time.Since(f.runs[0].Created); age < -time.Minute || age > time.Minute {
				t.Errorf("a run was made %s ago, want now", age)
			}
			claim(t, s, f.runs[0], "wrong-node")
			for _, each := range []*store.Store{s, right} {
				if err := s.Beat(t.Context(), run.Node{ID: "wrong-node"}); err != nil {
					t.Fatal(err)
				}
				if gone, err := each.Orphans(t.Context(), time.Minute); err != nil || len(gone) > 0 {
					t.Errorf("Orphans() = %v, %v, want none: its node has just beaten", gone, err)
				}
			}
			if gone, err := s.Orphans(t.Context(), 0); err != nil || len(gone) != 1 {
				t.Errorf("Orphans() of those silent since now = %v, %v, want the run", gone, err)
			}

			// A retry and an alarm come when they should: a job that fails three times, the last of which waits for four seconds, and one for six
			// seconds from now. Seconds of it may be lost to a machine that is slow to read the database's clock.
			tries := make(chan time.Time, 10)
			s.Handle("fails", func(context.Context, string) error {
				tries <- time.Now()
				if len(tries) < 4 {
					return errors.New("not yet")
				}
				return nil
			})
			rang := make(chan time.Time, 1)
			s.Handle("rings", func(context.Context, string) error { rang <- time.Now(); return nil })
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			for _, job := range []run.Job{{Kind: "fails", Key: "a"}, {Kind: "rings", Key: "b", At: s.Now().Add(6 * time.Second)}} {
				if err := s.Enqueue(t.Context(), job); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case at := <-rang:
				if at.Sub(begun) < time.Second {
					t.Errorf("the alarm rang after %s, want 6 s", at.Sub(begun))
				}
			case <-time.After(time.Minute):
				t.Fatal("the alarm did not ring")
			}
			for deadline := time.After(2 * time.Minute); len(tries) < 4; {
				select {
				case <-deadline:
					t.Fatal("the job was not tried again")
				case <-time.After(10 * time.Millisecond):
				}
			}
			_, _ = <-tries, <-tries
			if wait := -(<-tries).Sub(<-tries); wait < 500*time.Millisecond {
				t.Errorf("the job was tried again after %s, want four seconds", wait)
			}
		})
	}
}

func claim(t *testing.T, s *store.Store, r run.Run, node string) {
	t.Helper()
	if _, err := s.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(snap run.Snapshot) (run.Change, error) {
		next := snap.Runs[0]
		next.State, next.Node = run.Planning, node
		return run.Change{Action: run.ActClaimPlan, Runs: []run.Run{next}, Take: map[run.ProjectID]run.ID{next.Project: next.ID}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}
