package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func retentionTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"OnlyEndedAndOldRunsExpire":                onlyEndedAndOldRunsExpire,
		"TheNewestOfAProjectStays":                 theNewestOfAProjectStays,
		"WhatAnOpenPullShowsStays":                 whatAnOpenPullShowsStays,
		"WhatALiveRunIsComparedWithStays":          whatALiveRunIsComparedWithStays,
		"AnUnsavedStateStaysUntilItIsRepaired":     anUnsavedStateStaysUntilItIsRepaired,
		"AForgottenLogIsGoneAndSaysWhen":           aForgottenLogIsGoneAndSaysWhen,
		"ALaterDecisionBringsNothingBack":          aLaterDecisionBringsNothingBack,
		"NothingIsForgottenOfARunThatGoesOn":       nothingIsForgottenOfARunThatGoesOn,
		"DeliveriesMessagesNodesAndWakesArePruned": rowsArePruned,
		"TreesAreThoseOfRunsThatGoOn":              treesAreThoseOfRunsThatGoOn,
	}
}

// expired lists the causes of the runs that have expired a day from now.
func (w *world) expired(part run.Part) []string {
	w.t.Helper()
	runs, err := w.Expired(w.t.Context(), part, time.Now().Add(24*time.Hour), 0)
	check(w.t, "Expired", err)
	causes := []string{}
	for _, r := range runs {
		causes = append(causes, r.Cause)
	}
	slices.Sort(causes)
	return causes
}

func (w *world) wantExpired(part run.Part, want ...string) {
	w.t.Helper()
	if got := w.expired(part); strings.Join(got, " ") != strings.Join(want, " ") {
		w.t.Errorf("Expired(%s) = %v, want %v", part, got, want)
	}
}

// closed makes the pull request one that is not open.
func (w *world) closed() {
	w.t.Helper()
	w.pull.State = "closed"
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Action: run.ActClose, Pull: &w.pull})
	due, err := w.Due(w.t.Context(), 100)
	check(w.t, "Due", err)
	for _, p := range due {
		if p.Kind == run.PostSummary || p.Kind == run.PostStatuses { // what the close itself wants
			check(w.t, "Posted", w.Posted(w.t.Context(), p, run.Shows{}))
		}
	}
}

// ended adds runs of the first project, each newer than the one before, in the states given; a run's cause is its place.
func (w *world) ended(states ...run.State) []run.Run {
	w.t.Helper()
	var all []run.Run
	for i, s := range states {
		r := w.newRun(0, fmt.Sprint(i))
		r.State, r.Created, r.Finished = s, instant(10+i), instant(20+i)
		if !s.Final() {
			r.Finished = time.Time{}
		}
		r.Blobs = map[string]string{"plan": fmt.Sprintf("runs/%d/plan", i), "view": fmt.Sprintf("runs/%d/view", i), "errored_state": "runs/errored"}
		all = append(all, r)
	}
	return w.add(all...)
}

func onlyEndedAndOldRunsExpire(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	w.ended(run.Superseded, run.Interrupted, run.Applying, run.Confirmed, run.Planned, run.Failed, run.Queued)
	w.wantExpired(run.PartLog, "0", "5")
	old, err := w.Expired(t.Context(), run.PartLog, instant(21), 0)
	check(t, "Expired", err)
	if len(old) != 1 || old[0].Cause != "0" {
		t.Errorf("Expired() before the second ended = %v, want the first alone", old)
	}
}

func theNewestOfAProjectStays(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	w.ended(run.Applied, run.Unchanged, run.Applied, run.Failed, run.Canceled)
	w.wantExpired(run.PartPlan, "0", "1", "3")
}

func whatAnOpenPullShowsStays(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	runs := w.ended(run.Failed, run.Superseded)
	other := w.savePull(8)
	newest := w.newRun(0, "other")
	newest.Pull, newest.State, newest.Created, newest.Finished = other.ID, run.Failed, instant(30), instant(31)
	newest.Revision = w.advance(run.Scope{Pull: other.ID}, run.Change{Revision: w.newRevision(other, "head2")}).Revision.ID
	w.add(newest)
	w.wantExpired(run.PartLog, "0")
	w.closed()
	w.wantExpired(run.PartLog, "0", "1")
	if len(runs) != 2 {
		t.Fatal(runs)
	}
}

func whatALiveRunIsComparedWithStays(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	reviewed := w.ended(run.Superseded)[0]
	merge := w.newRun(0, "merge")
	merge.Reviewed, merge.State, merge.Created = reviewed.ID, run.Planned, instant(50)
	merge = w.add(merge)[0]
	w.wantExpired(run.PartLog)
	w.move(merge.ID, run.Canceled, run.Change{})
	w.wantExpired(run.PartLog, "0")
}

func anUnsavedStateStaysUntilItIsRepaired(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	r := w.newRun(0, "a")
	r.State, r.Unsaved, r.Created, r.Finished = run.Failed, true, instant(1), instant(2)
	r.Blobs = map[string]string{"errored_state": "k"}
	r = w.add(r)[0]
	w.ended(run.Failed)
	w.wantExpired(run.PartPlan)
	unsaved, err := w.Runs(t.Context(), run.Filter{Repo: w.repo.ID, Unsaved: true})
	check(t, "Runs", err)
	if len(unsaved) != 1 || unsaved[0].ID != r.ID {
		t.Errorf("Runs() that could not save their state = %v, want %s alone", unsaved, r.ID)
	}
	keys, err := w.Forget(t.Context(), r.ID, run.PartPlan, "errored_state")
	check(t, "Forget", err)
	if len(keys) != 0 {
		t.Errorf("Forget() of an unsaved state = %v, want nothing", keys)
	}
	_, err = w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(s run.Snapshot) (run.Change, error) {
		repaired := s.Runs[0]
		repaired.Unsaved = false
		return run.Change{Action: run.ActStatePush, Runs: []run.Run{repaired}}, nil
	})
	check(t, "Advance", err)
	w.wantExpired(run.PartPlan, "a")
	if keys, err = w.Forget(t.Context(), r.ID, run.PartPlan, "errored_state"); err != nil || len(keys) != 1 {
		t.Errorf("Forget() of a repaired state = %v, %v, want its key", keys, err)
	}
}

func aForgottenLogIsGoneAndSaysWhen(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	r := w.ended(run.Superseded, run.Failed)[0]
	ctx := t.Context()
	for i := range 600 {
		check(t, "AppendLog", w.AppendLog(ctx, r.ID, "plan", int64(i+1), []byte("x")))
	}
	check(t, "AppendLog", w.AppendLog(ctx, r.ID, "apply", 7, []byte("applied")))
	keys, err := w.Forget(ctx, r.ID, run.PartLog, "view", "view_apply")
	check(t, "Forget", err)
	if diff := cmp.Diff([]string{"runs/0/view"}, keys); diff != "" {
		t.Errorf("Forget() differs (-want +got):\n%s", diff)
	}
	got, err := w.Run(ctx, r.ID)
	check(t, "Run", err)
	if got.LogGone.IsZero() || !got.PlanGone.IsZero() || got.Blobs["view"] != "" || got.Blobs["plan"] == "" || got.Epoch != r.Epoch {
		t.Errorf("the run is now %+v, want its log gone, its plan and epoch as they were", got)
	}
	for _, phase := range []string{"plan", "apply"} {
		if text, _, err := w.Log(ctx, r.ID, phase, 0); err != nil || len(text) != 0 {
			t.Errorf("Log(%s) = %d bytes, %v, want nothing", phase, len(text), err)
		}
	}
	w.wantExpired(run.PartLog)
	w.wantExpired(run.PartPlan, "0")
	if keys, err := w.Forget(ctx, r.ID, run.PartLog, "view"); err != nil || len(keys) != 0 {
		t.Errorf("Forget() again = %v, %v, want nothing", keys, err)
	}
}

func aLaterDecisionBringsNothingBack(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.closed()
	r := w.ended(run.Superseded, run.Failed)[0]
	_, err := w.Forget(t.Context(), r.ID, run.PartLog)
	check(t, "Forget", err)
	r.Reason = "said later" // as somebody saw it before
	got := w.advance(run.Scope{Runs: []run.At{{ID: r.ID}}}, run.Change{Runs: []run.Run{r}}).Runs[0]
	stored, err := w.Run(t.Context(), r.ID)
	check(t, "Run", err)
	if stored.LogGone.IsZero() || !got.LogGone.Equal(stored.LogGone) || stored.Reason != "said later" {
		t.Errorf("LogGone = %v in the result and %v stored, want the time of Forget in both", got.LogGone, stored.LogGone)
	}
}

func nothingIsForgottenOfARunThatGoesOn(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	r := w.ended(run.Applying)[0]
	check(t, "AppendLog", w.AppendLog(t.Context(), r.ID, "apply", 5, []byte("hello")))
	keys, err := w.Forget(t.Context(), r.ID, run.PartLog, "view", "plan")
	check(t, "Forget", err)
	text, _, err := w.Log(t.Context(), r.ID, "apply", 0)
	check(t, "Log", err)
	got, err := w.Run(t.Context(), r.ID)
	check(t, "Run", err)
	if len(keys) != 0 || string(text) != "hello" || !got.LogGone.IsZero() || len(got.Blobs) != 3 {
		t.Errorf("Forget() of a running run took %v, log %q, run %+v", keys, text, got)
	}
}

func rowsArePruned(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	ctx := t.Context()
	r := w.add(w.newRun(0, "a"))[0]
	w.take(r)
	for _, id := range []string{"old", "older", "new"} {
		at := instant(5)
		if id == "new" {
			at = time.Now()
		}
		_, err := w.Deliver(ctx, run.Delivery{Host: "gitea", ID: id, Event: []byte("{}"), Received: at})
		check(t, "Deliver", err)
	}
	check(t, "Beat", w.Beat(ctx, run.Node{ID: "n", Name: "n", Note: "full"}))
	if nodes, err := w.Nodes(ctx, time.Minute); err != nil || len(nodes) != 1 || nodes[0].Note != "full" {
		t.Errorf("Nodes() = %+v, %v, want n with its note", nodes, err)
	}
	prune := func(kind run.Pruned, before time.Time, limit, want int) {
		t.Helper()
		if n, err := w.Prune(ctx, kind, before, limit); err != nil || n != want {
			t.Errorf("Prune(%s, %v) = %d, %v, want %d", kind, before, n, err, want)
		}
	}
	soon := time.Now().Add(time.Hour)
	prune(run.PruneDeliveries, time.Now().Add(-time.Hour), 1, 1)
	prune(run.PruneDeliveries, time.Now().Add(-time.Hour), 10, 1)
	prune(run.PruneDeliveries, time.Now().Add(-time.Hour), 10, 0)
	prune(run.PruneNodes, time.Now().Add(-time.Hour), 10, 0)
	prune(run.PruneNodes, soon, 10, 1)
	prune(run.PruneWakes, soon, 10, 0)
	w.prunedMessages(prune, soon)
}

// prunedMessages: only what was said, of a pull request that is not open, and never the summary.
func (w *world) prunedMessages(prune func(run.Pruned, time.Time, int, int), soon time.Time) {
	w.t.Helper()
	ctx := w.t.Context()
	check(w.t, "Want", w.Want(ctx, run.Posting{Kind: run.PostReply, Repo: w.repo.ID, Pull: w.pull.ID, Key: "said", Body: "yes"}))
	due, err := w.Due(ctx, 100)
	check(w.t, "Due", err)
	for _, p := range due {
		check(w.t, "Posted", w.Posted(ctx, p, run.Shows{}))
	}
	check(w.t, "Want", w.Want(ctx, run.Posting{Kind: run.PostReply, Repo: w.repo.ID, Pull: w.pull.ID, Key: "unsaid", Body: "yes"}))
	prune(run.PruneMessages, soon, 100, 0)
	w.closed()
	prune(run.PruneMessages, instant(5), 100, 0)
	before, err := w.Postings(ctx, run.PostingFilter{})
	check(w.t, "Postings", err)
	if n, err := w.Prune(ctx, run.PruneMessages, soon, 100); err != nil || n == 0 || n >= len(before)-1 {
		w.t.Errorf("Prune(messages) = %d, %v of %d", n, err, len(before))
	}
	left, err := w.Postings(ctx, run.PostingFilter{})
	check(w.t, "Postings", err)
	for _, p := range left {
		if p.Kind != run.PostSummary && p.Key != "unsaid" {
			w.t.Errorf("%s %s is left", p.Kind, p.Key)
		}
	}
	if len(left) != 2 {
		w.t.Errorf("%d postings are left, want the summary and what was not said yet", len(left))
	}
}

// take brings a run to planning, so that its node may not be forgotten.
func (w *world) take(r run.Run) {
	w.t.Helper()
	w.move(r.ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{r.Project: r.ID}})
}

func treesAreThoseOfRunsThatGoOn(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	r := w.add(w.newRun(0, "a"), w.newRun(1, "b"))
	w.move(r[1].ID, run.Canceled, run.Change{})
	got, err := w.Trees(t.Context())
	check(t, "Trees", err)
	if diff := cmp.Diff([]run.Tree{{Repo: w.repo.ID, Tree: "tree", State: run.Queued}}, got); diff != "" {
		t.Errorf("Trees() differs (-want +got):\n%s", diff)
	}
}
