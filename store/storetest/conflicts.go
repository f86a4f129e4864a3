package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/run"
)

func conflictTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"OneOfEightWritersWinsAnEpoch":     oneOfEightWritersWinsAnEpoch,
		"NoIncrementIsLost":                noIncrementIsLost,
		"OneRunTakesASlot":                 oneRunTakesASlot,
		"OnePullTakesHoldsAllOrNone":       onePullTakesHoldsAllOrNone,
		"AStaleRunIsRefused":               aStaleRunIsRefused,
		"ARunOutsideTheScopeIsRefused":     aRunOutsideTheScopeIsRefused,
		"EightRevisionsAtOnceAreOne":       eightRevisionsAtOnceAreOne,
		"WritersOfOnePullSeeEachOthersRun": writersOfOnePullSeeEachOthersRun,
	}
}

const writers = 8

// atOnce runs f in as many goroutines as there are writers.
func atOnce(f func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

func oneOfEightWritersWinsAnEpoch(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.add(w.newRun(0, "a"))[0]
	for epoch := r.Epoch; epoch < r.Epoch+10; epoch++ {
		var won atomic.Int32
		atOnce(func(i int) {
			_, err := w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID, Epoch: epoch}}}, func(s run.Snapshot) (run.Change, error) {
				next := s.Runs[0]
				next.Node = fmt.Sprint(i)
				return run.Change{Action: run.ActAdopt, Runs: []run.Run{next}}, nil
			})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, run.ErrMoved):
				t.Errorf("Advance() error = %v, want ErrMoved", err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d writers won epoch %d, want 1", won.Load(), epoch)
		}
	}
}

func noIncrementIsLost(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	const each = 10
	atOnce(func(i int) {
		for range each {
			// Half name the runs in one order and half in the other: that must not deadlock.
			scope := run.Scope{Runs: []run.At{{ID: added[i%2].ID}, {ID: added[1-i%2].ID}}}
			if _, err := w.Advance(t.Context(), scope, func(s run.Snapshot) (run.Change, error) {
				a, b := s.Runs[0], s.Runs[1]
				a.Attempt++
				b.Attempt++
				return run.Change{Action: run.ActRequeue, Runs: []run.Run{a, b}}, nil
			}); err != nil {
				t.Errorf("Advance() error = %v", err)
			}
		}
	})
	for _, r := range added {
		got, err := w.Run(t.Context(), r.ID)
		check(t, "Run", err)
		if got.Attempt != writers*each || got.Epoch != int64(1+writers*each) {
			t.Errorf("run at attempt %d, epoch %d, want %d, %d", got.Attempt, got.Epoch, writers*each, 1+writers*each)
		}
	}
}

func oneRunTakesASlot(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	var added []run.Run
	for i := range writers {
		added = append(added, w.add(w.newRun(0, fmt.Sprint(i)))[0])
	}
	p := w.projects[0].ID
	var won atomic.Int32
	atOnce(func(i int) {
		_, err := w.try(added[i].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{p: added[i].ID}})
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, run.ErrMoved):
			t.Errorf("Advance() error = %v, want ErrMoved", err)
		}
	})
	running, err := w.Runs(t.Context(), run.Filter{States: []run.State{run.Planning}})
	check(t, "Runs", err)
	if won.Load() != 1 || len(running) != 1 {
		t.Fatalf("%d writers took the slot, %d runs are planning, want 1", won.Load(), len(running))
	}
	if seen := w.see(run.Scope{Runs: []run.At{{ID: running[0].ID}}}); seen.Slots[p] != running[0].ID {
		t.Errorf("the slot is %s's, want %s", seen.Slots[p], running[0].ID)
	}
}

func onePullTakesHoldsAllOrNone(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	var pulls []run.Pull
	for i := range writers {
		pulls = append(pulls, w.savePull(100+i))
	}
	atOnce(func(i int) {
		holds := map[run.ProjectID]run.PullID{}
		for _, p := range w.projects {
			holds[p.ID] = pulls[i].ID
		}
		_, err := w.Advance(t.Context(), run.Scope{Pull: pulls[i].ID}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActConfirm, Hold: holds}, nil
		})
		if err != nil && !errors.Is(err, run.ErrMoved) {
			t.Errorf("Advance() error = %v, want ErrMoved", err)
		}
	})
	holds, err := w.Holds(t.Context(), w.repo.ID)
	check(t, "Holds", err)
	owners := map[run.PullID]int{}
	for _, pull := range holds {
		owners[pull]++
	}
	if len(owners) != 1 || len(holds) != 3 {
		t.Errorf("Holds() = %v, want all three of one pull", holds)
	}
}

func aStaleRunIsRefused(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	old := w.add(w.newRun(0, "a"))[0]
	w.move(old.ID, run.Planning, run.Change{})
	_, err := w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: old.ID}}}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActCancel, Runs: []run.Run{old}}, nil
	})
	if !errors.Is(err, run.ErrMoved) {
		t.Errorf("Advance() with a run loaded earlier: error = %v, want ErrMoved", err)
	}
}

func aRunOutsideTheScopeIsRefused(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	for name, runs := range map[string][]run.Run{"outside": {added[1]}, "twice": {added[0], added[0]}} {
		if _, err := w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: added[0].ID}}}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActCancel, Runs: runs}, nil
		}); err == nil {
			t.Errorf("Advance() of a run %s succeeded", name)
		}
	}
}

func eightRevisionsAtOnceAreOne(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	var seen [writers]run.RevisionID
	var made atomic.Int32
	atOnce(func(i int) {
		r := w.newRun(0, "delivery 1")
		r.Revision = 0
		change := run.Change{Action: run.ActRevise, Revision: w.newRevision(w.pull, "head2")}
		res, err := w.Advance(t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) { return change, nil })
		if err != nil {
			t.Errorf("Advance() error = %v", err)
		}
		seen[i] = res.Revision.ID
		change.New = []run.Run{r}
		_, err = w.Advance(t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) { return change, nil })
		switch {
		case err == nil:
			made.Add(1)
		case !errors.Is(err, run.ErrExists):
			t.Errorf("Advance() error = %v, want ErrExists", err)
		}
	})
	for _, id := range seen {
		if id != seen[0] {
			t.Errorf("revisions %v, want one", seen)
			break
		}
	}
	if made.Load() != 1 {
		t.Errorf("%d writers made the run, want 1", made.Load())
	}
}

// Each writer adds a run only while it sees fewer than three, so there are three in the end: who adds runs to a pull is kept out of it
// while somebody decides on it, also when it comes by another run.
func writersOfOnePullSeeEachOthersRun(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	first := w.add(w.newRun(0, "first"))[0]
	atOnce(func(i int) {
		scope := run.Scope{Pull: w.pull.ID}
		if i%2 == 1 {
			scope.Runs = []run.At{{ID: first.ID}}
		}
		if _, err := w.Advance(t.Context(), scope, func(s run.Snapshot) (run.Change, error) {
			c := run.Change{Action: run.ActRevise}
			if len(s.Runs) < 3 {
				c.New = []run.Run{w.newRun(0, fmt.Sprint("cause ", i))}
			}
			return c, nil
		}); err != nil {
			t.Errorf("Advance() error = %v", err)
		}
	})
	if got, err := w.Runs(t.Context(), run.Filter{Pull: w.pull.ID}); err != nil || len(got) != 3 {
		t.Errorf("Runs() = %d runs, %v, want 3", len(got), err)
	}
}
