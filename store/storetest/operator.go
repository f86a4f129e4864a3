package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func operatorTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"PausesAreKeptUntilResumed":         pausesAreKeptUntilResumed,
		"ResumingWhatIsNotPausedIsNotFound": resumingWhatIsNotPausedIsNotFound,
		"NoClaimOutlivesAPause":             noClaimOutlivesAPause,
		"AuditRowsAreNarrowedAndPaged":      auditRowsAreNarrowedAndPaged,
		"LocksShowSlotsAndHolds":            locksShowSlotsAndHolds,
		"RunsArePagedByTheLastOne":          runsArePagedByTheLastOne,
		"MarksAreKept":                      marksAreKept,
		"PingAnswers":                       pingAnswers,
		"StatsCountStatesAndOutbox":         statsCountStatesAndOutbox,
		"AClosedStoreRefusesClearly":        aClosedStoreRefusesClearly,
	}
}

func freeze(t *testing.T, s Store, p run.Pause) {
	t.Helper()
	_, err := s.Advance(t.Context(), run.Scope{Pauses: true}, func(snap run.Snapshot) (run.Change, error) { return run.Freeze(snap, p) })
	check(t, "Freeze", err)
}

func pausesAreKeptUntilResumed(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	ctx := t.Context()
	freeze(t, s, run.Pause{Match: "b", Actor: "ann", Reason: "old", At: instant(9)})
	freeze(t, s, run.Pause{Match: "a", Actor: "ann", Reason: "r", At: instant(2)})
	freeze(t, s, run.Pause{Match: "b", Actor: "bob", Reason: "new", At: instant(1)})
	got, err := s.Pauses(ctx)
	check(t, "Pauses", err)
	want := []run.Pause{{Match: "b", Actor: "bob", Reason: "new", At: instant(1)}, {Match: "a", Actor: "ann", Reason: "r", At: instant(2)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Pauses() differs (-want +got):\n%s", diff)
	}
	_, err = s.Advance(ctx, run.Scope{Pauses: true}, func(snap run.Snapshot) (run.Change, error) { return run.Resume(snap, "b", "ann") })
	check(t, "Resume", err)
	if got, err := s.Pauses(ctx); err != nil || len(got) != 1 {
		t.Errorf("Pauses() after Resume = %v, %v, want one", got, err)
	}
	rows, err := s.AuditRows(ctx, run.AuditFilter{})
	check(t, "AuditRows", err)
	if len(rows) != 4 || rows[0].Action != "resume" || rows[1].Actor != "bob" {
		t.Errorf("AuditRows() = %+v, want a row for each pause and resume", rows)
	}
}

func resumingWhatIsNotPausedIsNotFound(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	_, err := s.Advance(t.Context(), run.Scope{Pauses: true}, func(snap run.Snapshot) (run.Change, error) { return run.Resume(snap, "no", "ann") })
	if !errors.Is(err, run.ErrNotFound) {
		t.Errorf("Resume() error = %v, want ErrNotFound", err)
	}
}

// noClaimOutlivesAPause: a decision that saw no pause commits before the pause does, or sees it.
func noClaimOutlivesAPause(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.add(w.newRun(0, "a"))[0]
	looked := make(chan struct{})
	var once sync.Once
	var claiming sync.WaitGroup
	claiming.Go(func() {
		_, err := w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(s run.Snapshot) (run.Change, error) {
			once.Do(func() { close(looked) })
			if len(s.Pauses) > 0 {
				return run.Change{}, run.ErrPaused
			}
			<-time.After(200 * time.Millisecond) // time enough for a pause to overtake us
			next := s.Runs[0]
			next.State = run.Planning
			return run.Change{Action: run.ActClaimPlan, Runs: []run.Run{next}}, nil
		})
		if err != nil {
			t.Errorf("Advance() error = %v", err)
		}
	})
	<-looked
	freeze(t, w.Store, run.Pause{Match: "//**", Actor: "ann", Reason: "r"})
	got, err := w.Run(t.Context(), r.ID)
	check(t, "Run", err)
	if got.State != run.Planning {
		t.Errorf("the run is %s when the pause has returned: its claim was still to come", got.State)
	}
	claiming.Wait()
}

func auditRowsAreNarrowedAndPaged(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.advance(run.Scope{}, run.Change{Audit: []run.Audit{
		{At: instant(1), Actor: "ann", Action: "apply", Repo: w.repo.ID, Pull: w.pull.ID, Outcome: "refused", Detail: "1"},
		{At: instant(2), Actor: "bob", Action: "apply", Repo: w.repo.ID, Run: "01A", Outcome: "done", Detail: "2"},
		{At: instant(3), Actor: "bob", Action: "unlock", Outcome: "done", Detail: "3"},
	}})
	for name, c := range map[string]struct {
		filter run.AuditFilter
		want   string
	}{
		"all":     {run.AuditFilter{}, "321"},
		"actor":   {run.AuditFilter{Actor: "bob"}, "32"},
		"action":  {run.AuditFilter{Action: "apply"}, "21"},
		"outcome": {run.AuditFilter{Outcome: "refused"}, "1"},
		"repo":    {run.AuditFilter{Repo: w.repo.ID}, "21"},
		"pull":    {run.AuditFilter{Pull: w.pull.ID}, "1"},
		"run":     {run.AuditFilter{Run: "01A"}, "2"},
		"since":   {run.AuditFilter{Since: instant(2)}, "32"},
		"until":   {run.AuditFilter{Until: instant(2)}, "1"},
		"limit":   {run.AuditFilter{Limit: 1}, "3"},
	} {
		rows, err := w.AuditRows(t.Context(), c.filter)
		check(t, "AuditRows", err)
		got := ""
		for _, r := range rows {
			got += r.Detail
		}
		if got != c.want {
			t.Errorf("AuditRows(by %s) = %s, want %s", name, got, c.want)
		}
	}
	first, err := w.AuditRows(t.Context(), run.AuditFilter{Limit: 2})
	check(t, "AuditRows", err)
	w.advance(run.Scope{}, run.Change{Audit: []run.Audit{{Actor: "new"}}})
	rest, err := w.AuditRows(t.Context(), run.AuditFilter{Before: first[1].ID})
	if err != nil || len(rest) != 1 || rest[0].Detail != "1" {
		t.Errorf("AuditRows(the next page) = %+v, %v, want the oldest row, whatever was added meanwhile", rest, err)
	}
}

func locksShowSlotsAndHolds(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	r := w.add(w.newRun(0, "a"))[0]
	w.move(r.ID, run.Planning, run.Change{
		Take: map[run.ProjectID]run.ID{w.projects[0].ID: r.ID}, Hold: map[run.ProjectID]run.PullID{w.projects[1].ID: w.pull.ID},
	})
	locks, err := w.Locks(t.Context())
	check(t, "Locks", err)
	if len(locks) != 2 || locks[1].Since.IsZero() {
		t.Fatalf("Locks() = %+v, want a slot and a hold with its time", locks)
	}
	locks[1].Since = time.Time{}
	if diff := cmp.Diff([]run.Lock{{Project: w.projects[0], Run: r.ID}, {Project: w.projects[1], Pull: w.pull.ID}}, locks); diff != "" {
		t.Errorf("Locks() differs (-want +got):\n%s", diff)
	}
}

func runsArePagedByTheLastOne(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"), w.newRun(2, "a")) // of one instant
	var got []run.ID
	for before := run.ID(""); ; {
		page, err := w.Runs(t.Context(), run.Filter{Before: before, Limit: 1})
		check(t, "Runs", err)
		if len(page) == 0 {
			break
		}
		before = page[0].ID
		got = append(got, before)
	}
	if diff := cmp.Diff([]run.ID{added[2].ID, added[1].ID, added[0].ID}, got); diff != "" {
		t.Errorf("pages differ (-want +got):\n%s", diff)
	}
	id := added[1].ID
	if found, err := w.Runs(t.Context(), run.Filter{Prefix: string(id[:len(id)-1])}); err != nil || len(found) == 0 {
		t.Errorf("Runs(by prefix) = %v, %v, want some", found, err)
	}
	if found, err := w.Runs(t.Context(), run.Filter{Prefix: string(id), Name: "p1"}); err != nil || len(found) != 1 || found[0].ID != id {
		t.Errorf("Runs(by its whole id and name) = %v, %v, want it", found, err)
	}
	if found, err := w.Runs(t.Context(), run.Filter{Prefix: "%"}); err != nil || len(found) != 0 {
		t.Errorf("Runs(by a pattern) = %v, %v, want none: it is no pattern", found, err)
	}
}
