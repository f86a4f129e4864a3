package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/run"
)

func queueTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"NextKeepsTheFairOrder":                 nextKeepsTheFairOrder,
		"NextLeavesOutBusyProjects":             nextLeavesOutBusyProjects,
		"NextKeepsDependentsBehind":             nextKeepsDependentsBehind,
		"NextKeepsMergesInBranchOrder":          nextKeepsMergesInBranchOrder,
		"NewestIsPerProject":                    newestIsPerProject,
		"OneStateHasOneSlot":                    oneStateHasOneSlot,
		"AnApplyTakesTheStateOfItsPlan":         anApplyTakesTheStateOfItsPlan,
		"HistoryMovesWithTheState":              historyMovesWithTheState,
		"PositionCountsThoseAhead":              positionCountsThoseAhead,
		"OwnedAreTheRunningRunsOfANode":         ownedAreTheRunningRunsOfANode,
		"OrphansAreThoseOfSilentNodes":          orphansAreThoseOfSilentNodes,
		"EachSubscriberIsKicked":                eachSubscriberIsKicked,
		"ANodeThatNeverBeatCountsFromTheClaim":  aNodeThatNeverBeatCountsFromTheClaim,
		"AMergeRunWithoutPullWaitsForEveryHold": aMergeRunWithoutPullWaitsForEveryHold,
	}
}

// ordered is a run at a place of the fair order.
func (w *world) ordered(project, ordinal int, cause string, created int) run.Run {
	r := w.newRun(project, cause)
	r.Ordinal, r.Created = ordinal, instant(created)
	return r
}

func (w *world) next(limit int) []run.ID {
	w.t.Helper()
	runs, err := w.Next(w.t.Context(), limit)
	check(w.t, "Next", err)
	return ids(runs)
}

func nextKeepsTheFairOrder(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 6)
	added := w.add(w.ordered(0, 1, "a", 1), w.ordered(1, 0, "a", 3), w.ordered(2, 0, "a", 2), w.ordered(3, 5, "a", 9), w.ordered(4, 2, "a", 8), w.ordered(5, 0, "a", 0))
	w.move(added[3].ID, run.Confirmed, run.Change{})
	w.move(added[4].ID, run.Confirmed, run.Change{})
	w.move(added[5].ID, run.Planned, run.Change{}) // waits for people, not for a node
	want := []run.ID{added[4].ID, added[3].ID, added[2].ID, added[1].ID, added[0].ID}
	if diff := cmp.Diff(want, w.next(0)); diff != "" {
		t.Errorf("Next() differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:2], w.next(2)); diff != "" {
		t.Errorf("Next(2) differs (-want +got):\n%s", diff)
	}
}

func nextLeavesOutBusyProjects(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 4)
	other := w.savePull(8)
	added := w.add(w.newRun(0, "a"), w.newRun(0, "b"), w.newRun(1, "a"), w.newRun(1, "b"), w.newRun(2, "a"), w.newRun(3, "a"))
	w.move(added[0].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID}})
	w.move(added[2].ID, run.Confirmed, run.Change{})
	w.move(added[4].ID, run.Confirmed, run.Change{Hold: map[run.ProjectID]run.PullID{w.projects[1].ID: other.ID, w.projects[2].ID: w.pull.ID}})
	// Left out: b of project 0, whose slot is taken; a of project 1, which another pull holds. Its plan is not kept by that.
	want := []run.ID{added[4].ID, added[3].ID, added[5].ID}
	if diff := cmp.Diff(want, w.next(0)); diff != "" {
		t.Errorf("Next() differs (-want +got):\n%s", diff)
	}
}

// nextKeepsDependentsBehind walks a project through its states: what comes after it may go while nothing of it is about to change.
func nextKeepsDependentsBehind(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	second, third := w.newRun(1, "a"), w.newRun(2, "a")
	second.Settings.After = []run.ProjectID{w.projects[0].ID}
	third.Settings.After = []run.ProjectID{w.projects[0].ID, w.projects[1].ID}
	added := w.add(w.newRun(0, "a"), second, third)
	for _, step := range []struct {
		run  int
		to   run.State
		want []run.ID
	}{
		{0, run.Planning, nil},
		{0, run.Planned, []run.ID{added[1].ID}},
		{1, run.Planned, []run.ID{added[2].ID}},
		{0, run.Confirmed, []run.ID{added[0].ID}},
		{1, run.Confirmed, []run.ID{added[0].ID}},
		{0, run.Applying, nil},
		{0, run.Applied, []run.ID{added[1].ID}},
		{1, run.Failed, []run.ID{added[2].ID}},
	} {
		w.move(added[step.run].ID, step.to, run.Change{})
		if diff := cmp.Diff(step.want, w.next(0), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("with run %d %s, Next() differs (-want +got):\n%s", step.run, step.to, diff)
		}
	}
}

func nextKeepsMergesInBranchOrder(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	early, late, other := w.newRun(0, "early"), w.newRun(0, "late"), w.newRun(1, "other")
	early.Turn, late.Turn, other.Turn = 7, 9, 9
	late.Created, early.Created = instant(1), instant(2) // their deliveries came in the other order
	added := w.add(late, early, other)
	if diff := cmp.Diff([]run.ID{added[1].ID, added[2].ID}, w.next(0), cmpopts.SortSlices(func(a, b run.ID) bool { return a < b })); diff != "" {
		t.Errorf("Next() differs (-want +got):\n%s", diff)
	}
	w.move(added[1].ID, run.Planned, run.Change{})
	if got := w.next(0); !slices.Contains(got, added[0].ID) {
		t.Errorf("Next() = %v once the earlier merge waits for a person, want %s among them", got, added[0].ID)
	}
}

// An apply runs on the state that it was planned for, though a plan of another pull request has found the project's state elsewhere since.
func anApplyTakesTheStateOfItsPlan(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	w.projects[0].Identity, w.projects[1].Identity = "s3:moved", "s3:one"
	_, err := w.SaveProjects(t.Context(), w.projects)
	check(t, "SaveProjects", err)
	apply := w.newRun(0, "a")
	apply.State, apply.Identity = run.Confirmed, "s3:one"
	added := w.add(apply, w.newRun(1, "a"), w.newRun(1, "b"))
	takes := func(r run.Run) run.Change { return run.Change{Take: map[run.ProjectID]run.ID{r.Project: r.ID}} }
	waits := func(r run.Run) {
		t.Helper()
		if got := w.next(0); slices.Contains(got, r.ID) {
			t.Errorf("Next() = %v, want nothing else on the state that is taken", got)
		}
		if _, err := w.try(r.ID, run.Planning, takes(r)); !errors.Is(err, run.ErrMoved) {
			t.Errorf("taking the state error = %v, want ErrMoved", err)
		}
	}
	w.move(added[1].ID, run.Planning, takes(added[1]))
	waits(added[0])
	w.move(added[1].ID, run.Planned, run.Change{Free: []run.ProjectID{added[1].Project}})
	w.move(added[0].ID, run.Applying, takes(added[0]))
	waits(added[2])
}

func oneStateHasOneSlot(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	for i := range 2 {
		w.projects[i].Identity = "s3:one"
	}
	_, err := w.SaveProjects(t.Context(), w.projects)
	check(t, "SaveProjects", err)
	for i, want := range []int{1, 1, 0} {
		if got, err := w.Twins(t.Context(), w.projects[i].ID); err != nil || len(got) != want {
			t.Errorf("Twins(project %d) = %v, %v, want %d", i, got, err, want)
		}
	}
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"), w.newRun(2, "a"))
	w.move(added[0].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID}})
	if diff := cmp.Diff([]run.ID{added[2].ID}, w.next(0)); diff != "" {
		t.Errorf("Next() differs (-want +got):\n%s", diff)
	}
	_, err = w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: added[1].ID}}}, func(s run.Snapshot) (run.Change, error) {
		return run.ClaimPlan(s, added[1].ID, run.Owner{Node: "n"})
	})
	if !errors.Is(err, run.ErrMoved) {
		t.Errorf("claiming the other project of the state = %v, want ErrMoved", err)
	}
	w.move(added[0].ID, run.Planned, run.Change{Free: []run.ProjectID{w.projects[0].ID}})
	if got := w.next(0); !slices.Contains(got, added[1].ID) {
		t.Errorf("Next() = %v once the slot is free, want %s among them", got, added[1].ID)
	}
}

func historyMovesWithTheState(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	added := w.add(w.newRun(0, "a"), w.newRun(0, "b"))
	w.move(added[0].ID, run.Failed, run.Change{})
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Moved: map[run.ProjectID]run.ProjectID{w.projects[0].ID: w.projects[1].ID}})
	for i, want := range [][]run.ID{{added[1].ID}, {added[0].ID}} { // what still runs stays where it runs
		runs, err := w.Runs(t.Context(), run.Filter{Project: w.projects[i].ID})
		check(t, "Runs", err)
		if diff := cmp.Diff(want, ids(runs)); diff != "" {
			t.Errorf("runs of project %d differ (-want +got):\n%s", i, diff)
		}
	}
}

func newestIsPerProject(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.ordered(0, 0, "a", 1), w.ordered(1, 0, "a", 2), w.ordered(0, 0, "b", 3))
	w.move(added[2].ID, run.Failed, run.Change{})
	for _, c := range []struct {
		filter run.Filter
		want   map[run.ProjectID]run.ID
	}{
		{run.Filter{}, map[run.ProjectID]run.ID{w.projects[0].ID: added[2].ID, w.projects[1].ID: added[1].ID}},
		{run.Filter{States: []run.State{run.Queued}}, map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID, w.projects[1].ID: added[1].ID}},
		{run.Filter{Kind: run.KindMerge}, map[run.ProjectID]run.ID{}},
		{run.Filter{Revision: added[0].Revision + 1}, map[run.ProjectID]run.ID{}},
	} {
		runs, err := w.Newest(t.Context(), c.filter, w.projects[0].ID, w.projects[1].ID, w.projects[2].ID)
		check(t, "Newest", err)
		got := map[run.ProjectID]run.ID{}
		for p, r := range runs {
			got[p] = r.ID
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("Newest(%+v) differs (-want +got):\n%s", c.filter, diff)
		}
	}
}

func aMergeRunWithoutPullWaitsForEveryHold(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.newRun(0, "push")
	r.Pull, r.State = 0, run.Confirmed
	w.add(r)
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Hold: map[run.ProjectID]run.PullID{w.projects[0].ID: w.pull.ID}})
	if got := w.next(0); len(got) != 0 {
		t.Errorf("Next() = %v, want none", got)
	}
}

func positionCountsThoseAhead(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.ordered(0, 1, "a", 1), w.ordered(1, 0, "a", 3), w.ordered(2, 0, "a", 2), w.ordered(2, 0, "b", 2))
	w.move(added[3].ID, run.Planned, run.Change{})
	for i, want := range []int{2, 1, 0, 0} {
		got, err := w.Position(t.Context(), added[i].ID)
		check(t, "Position", err)
		if got != want {
			t.Errorf("Position(run %d) = %d, want %d", i, got, want)
		}
	}
}

func (w *world) claim(r run.Run, node string, to run.State) {
	w.t.Helper()
	_, err := w.Advance(w.t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(s run.Snapshot) (run.Change, error) {
		next := s.Runs[0]
		next.State, next.Node = to, node
		return run.Change{Action: run.ActClaimPlan, Runs: []run.Run{next}}, nil
	})
	check(w.t, "Advance", err)
}

func ownedAreTheRunningRunsOfANode(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 4)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"), w.newRun(2, "a"), w.newRun(3, "a"))
	w.claim(added[0], "one", run.Planning)
	w.claim(added[1], "one", run.Applying)
	w.claim(added[2], "two", run.Planning)
	w.claim(added[3], "one", run.Failed)
	got, err := w.Owned(t.Context(), "one")
	check(t, "Owned", err)
	if diff := cmp.Diff([]run.ID{added[0].ID, added[1].ID}, ids(got)); diff != "" {
		t.Errorf("Owned() differs (-want +got):\n%s", diff)
	}
}

func orphansAreThoseOfSilentNodes(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	ctx := t.Context()
	check(t, "Beat", w.Beat(ctx, run.Node{ID: "one", Name: "host1"}))
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	w.claim(added[0], "one", run.Planning)
	if got, err := w.Orphans(ctx, time.Hour); err != nil || len(got) != 0 {
		t.Errorf("Orphans() of a beating node = %v, %v, want none", ids(got), err)
	}
	got, err := w.Orphans(ctx, 0)
	check(t, "Orphans", err)
	if diff := cmp.Diff([]run.ID{added[0].ID}, ids(got)); diff != "" {
		t.Errorf("Orphans(0) differs (-want +got):\n%s", diff)
	}
	check(t, "Beat", w.Beat(ctx, run.Node{ID: "one", Name: "host1"}))
	if got, err := w.Orphans(ctx, time.Hour); err != nil || len(got) != 0 {
		t.Errorf("Orphans() after another beat = %v, %v, want none", ids(got), err)
	}
}

func aNodeThatNeverBeatCountsFromTheClaim(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.add(w.newRun(0, "a"))[0]
	w.claim(r, "ghost", run.Planning)
	if got, err := w.Orphans(t.Context(), time.Hour); err != nil || len(got) != 0 {
		t.Errorf("Orphans(1h) = %v, %v, want none yet", ids(got), err)
	}
	if got, err := w.Orphans(t.Context(), 0); err != nil || len(got) != 1 {
		t.Errorf("Orphans(0) = %v, %v, want the run", ids(got), err)
	}
}

func eachSubscriberIsKicked(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	one, two := w.Kicks(), w.Kicks()
	kicked := func(why string) {
		t.Helper()
		for i, c := range []<-chan struct{}{one, two} {
			select {
			case <-c:
			case <-time.After(patience):
				t.Fatalf("subscriber %d was not kicked by %s", i, why)
			}
		}
	}
	w.add(w.newRun(0, "a"))
	kicked("a new run")
	check(t, "Want", w.Want(t.Context(), run.Posting{Kind: run.PostReply, Repo: w.repo.ID, Key: "c", Body: "b"}))
	kicked("a posting")
	w.advance(run.Scope{Pauses: true}, run.Change{Resume: []string{"//**"}})
	kicked("the end of a pause")
}

func logTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"ChunksAreReadFromTheCursor":       chunksAreReadFromTheCursor,
		"ARepeatedChunkDoesNoHarm":         aRepeatedChunkDoesNoHarm,
		"PhasesAndRunsAreApart":            phasesAndRunsAreApart,
		"ChunksAreRewrittenWhereTheyStand": chunksAreRewrittenWhereTheyStand,
		"TwoWritersAtOnePlaceLeaveOneText": twoWritersAtOnePlaceLeaveOneText,
	}
}

func chunksAreReadFromTheCursor(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	r := w.add(w.newRun(0, "a"))[0]
	binary := "b\x00\xff\n"
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", 10, []byte("first\n")))
	text, cursor, err := w.Log(ctx, r.ID, "plan", 0)
	check(t, "Log", err)
	if string(text) != "first\n" {
		t.Errorf("Log(0) = %q", text)
	}
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", 20, []byte(binary)))
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", 30, nil)) // all of it was held back
	text, next, err := w.Log(ctx, r.ID, "plan", cursor)
	check(t, "Log", err)
	if string(text) != binary || next <= cursor {
		t.Errorf("Log(%d) = %q, %d, want %q and a later cursor", cursor, text, next, binary)
	}
	if text, again, err := w.Log(ctx, r.ID, "plan", next); err != nil || len(text) != 0 || again != next {
		t.Errorf("Log(at the end) = %q, %d, %v, want nothing", text, again, err)
	}
	if offset, err := w.LogOffset(ctx, r.ID, "plan"); err != nil || offset != 30 {
		t.Errorf("LogOffset() = %d, %v, want 30", offset, err)
	}
}

func chunksAreRewrittenWhereTheyStand(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	r := w.add(w.newRun(0, "a"))[0]
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", 10, []byte("one ")))
	_, cursor, err := w.Log(ctx, r.ID, "plan", 0)
	check(t, "Log", err)
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", 20, []byte("two")))
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "apply", 20, []byte("another phase")))
	err = w.RewriteLog(ctx, r.ID, "plan", func(chunks [][]byte) ([][]byte, error) {
		if len(chunks) != 2 || string(chunks[0]) != "one " || string(chunks[1]) != "two" {
			t.Errorf("RewriteLog() is given %q", chunks)
		}
		return [][]byte{nil, []byte("second")}, nil
	})
	check(t, "RewriteLog", err)
	for from, want := range map[int64]string{0: "second", cursor: "second"} {
		if text, next, err := w.Log(ctx, r.ID, "plan", from); err != nil || string(text) != want || next != 20 {
			t.Errorf("Log(%d) afterwards = %q, %d, %v, want %q", from, text, next, err, want)
		}
	}
	boom := errors.New("no")
	err = w.RewriteLog(ctx, r.ID, "plan", func(chunks [][]byte) ([][]byte, error) { return chunks, boom })
	if !errors.Is(err, boom) {
		t.Errorf("RewriteLog() that fails = %v, want that error", err)
	}
	if err := w.RewriteLog(ctx, r.ID, "plan", func([][]byte) ([][]byte, error) { return nil, nil }); err == nil {
		t.Error("RewriteLog() to fewer chunks = nil, want an error")
	}
}

func aRepeatedChunkDoesNoHarm(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	r := w.add(w.newRun(0, "a"))[0]
	for _, to := range []int64{0, 10, 10, 5, 20, 10} {
		check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", to, fmt.Appendf(nil, "<%d>", to)))
	}
	if text, _, err := w.Log(ctx, r.ID, "plan", 0); err != nil || string(text) != "<10><20>" {
		t.Errorf("Log() = %q, %v, want <10><20>", text, err)
	}
}

func phasesAndRunsAreApart(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	added := w.add(w.newRun(0, "a"), w.newRun(0, "b"))
	check(t, "AppendLog", w.AppendLog(ctx, added[0].ID, "plan", 10, []byte("a plan")))
	check(t, "AppendLog", w.AppendLog(ctx, added[0].ID, "apply", 5, []byte("an apply")))
	check(t, "AppendLog", w.AppendLog(ctx, added[1].ID, "plan", 5, []byte("another")))
	if text, _, err := w.Log(ctx, added[0].ID, "apply", 0); err != nil || string(text) != "an apply" {
		t.Errorf("Log() = %q, %v", text, err)
	}
	if offset, err := w.LogOffset(ctx, added[1].ID, "apply"); err != nil || offset != 0 {
		t.Errorf("LogOffset() of a phase without log = %d, %v, want 0", offset, err)
	}
}

func twoWritersAtOnePlaceLeaveOneText(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.add(w.newRun(0, "a"))[0]
	for to := int64(1); to <= 10; to++ {
		atOnce(func(int) {
			if err := w.AppendLog(t.Context(), r.ID, "plan", to, []byte("x")); err != nil {
				t.Errorf("AppendLog() error = %v", err)
			}
		})
	}
	if text, _, err := w.Log(t.Context(), r.ID, "plan", 0); err != nil || string(text) != "xxxxxxxxxx" {
		t.Errorf("Log() = %q, %v, want ten", text, err)
	}
}
