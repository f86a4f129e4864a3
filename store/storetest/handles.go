package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func handleTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"RowsOutliveAHandle":           rowsOutliveAHandle,
		"TwoHandlesWorkOnOneDatabase":  twoHandlesWorkOnOneDatabase,
		"APeriodIsSharedByTwoHandles":  aPeriodIsSharedByTwoHandles,
		"FourHandlesMayOpenAtOnce":     fourHandlesMayOpenAtOnce,
		"OneHandleSendsPostings":       oneHandleSendsPostings,
		"ASecondHandleSeesEpochsMoved": aSecondHandleSeesEpochsMoved,
	}
}

func rowsOutliveAHandle(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	want := w.add(fullRun(w))[0]
	check(t, "Close", w.Close())
	got, err := db.Open(t, Options{}).Run(t.Context(), want.ID)
	check(t, "Run", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Run() differs (-want +got):\n%s", diff)
	}
}

func twoHandlesWorkOnOneDatabase(t *testing.T, db Database) {
	if !db.Shared() {
		t.Skip("one process at a time, by design")
	}
	one, two := db.Open(t, Options{}), db.Open(t, Options{})
	kicks := two.Kicks()
	w := newWorld(t, one, 1)
	r := w.add(w.newRun(0, "a"))[0]
	receive(t, kicks, "a kick of the other handle")
	next, err := two.Next(t.Context(), 1)
	check(t, "Next", err)
	if len(next) != 1 || next[0].ID != r.ID {
		t.Errorf("Next() of the other handle = %v, want %s", ids(next), r.ID)
	}
	keys, handler := collect(10)
	two.Handle("look", handler)
	start(t, two)
	quickest := time.Hour
	for deadline := time.Now().Add(patience); quickest > 400*time.Millisecond; { // on a busy machine some are late
		if time.Now().After(deadline) {
			t.Fatalf("the other handle took at least %s to hear of a job; River's own poll is 1 s", quickest)
		}
		begun := time.Now()
		enqueue(t, one, "a") // one does no jobs
		receive(t, keys, "the job")
		quickest = min(quickest, time.Since(begun))
	}
}

func oneHandleSendsPostings(t *testing.T, db Database) {
	one := db.Open(t, Options{})
	leads := func(s Store) bool {
		t.Helper()
		yes, err := s.Leads(t.Context())
		check(t, "Leads", err)
		return yes
	}
	for range 2 {
		if !leads(one) {
			t.Error("Leads() of the only handle = false, want true each time")
		}
	}
	if !db.Shared() {
		return
	}
	two := db.Open(t, Options{})
	if leads(two) {
		t.Error("Leads() of the second handle = true while the first does")
	}
	check(t, "Close", one.Close())
	for deadline := time.Now().Add(patience); !leads(two); {
		if time.Now().After(deadline) {
			t.Fatalf("Leads() of the second handle is still false %s after the first was closed", patience)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // polling another session
	}
}

func aPeriodIsSharedByTwoHandles(t *testing.T, db Database) {
	if !db.Shared() {
		t.Skip("one process at a time, by design")
	}
	keys, handler := collect(10)
	got := map[string]int{}
	for n := range 2 {
		s := db.Open(t, Options{})
		s.Handle("tick", handler)
		s.Handle("look", handler)
		s.Every("tick", "hourly", time.Hour, false)
		start(t, s)
		enqueue(t, s, "go")
		for got["go"] <= n || got["hourly"] == 0 {
			got[receive(t, keys, "a job")]++
		}
	}
	if got["hourly"] > 1 {
		t.Errorf("the job ran %d times, want once an hour", got["hourly"])
	}
}

func fourHandlesMayOpenAtOnce(t *testing.T, db Database) {
	if !db.Shared() {
		t.Skip("one process at a time, by design")
	}
	for range 4 { // each migrates the empty database, or waits for who does
		t.Run("open", func(t *testing.T) {
			t.Parallel()
			check(t, "Ping", db.Open(t, Options{}).Ping(t.Context()))
		})
	}
}

func aSecondHandleSeesEpochsMoved(t *testing.T, db Database) {
	if !db.Shared() {
		t.Skip("one process at a time, by design")
	}
	one, two := db.Open(t, Options{}), db.Open(t, Options{})
	w := newWorld(t, one, 1)
	r := w.add(w.newRun(0, "a"))[0]
	var won atomic.Int32
	atOnce(func(i int) {
		s := []Store{one, two}[i%2]
		_, err := s.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID, Epoch: 1}}}, func(snap run.Snapshot) (run.Change, error) {
			next := snap.Runs[0]
			next.State = run.Planning
			return run.Change{Action: run.ActClaimPlan, Runs: []run.Run{next}, Take: map[run.ProjectID]run.ID{next.Project: next.ID}}, nil
		})
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, run.ErrMoved):
			t.Errorf("Advance() error = %v, want ErrMoved", err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d claims won, want 1", won.Load())
	}
}
