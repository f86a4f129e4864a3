package storetest

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func advanceTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"EveryFieldOfARunComesBack":               everyFieldOfARunComesBack,
		"ARunKeepsWhatItIsForEver":                aRunKeepsWhatItIsForEver,
		"ScopeByPullSeesItsLiveRuns":              scopeByPullSeesItsLiveRuns,
		"ScopeByBranchSeesItsMergeRuns":           scopeByBranchSeesItsMergeRuns,
		"NamedRunsComeFirst":                      namedRunsComeFirst,
		"SnapshotShowsSlotsHoldsAndPauses":        snapshotShowsSlotsHoldsAndPauses,
		"AnExistingRevisionIsUsed":                anExistingRevisionIsUsed,
		"NewRunsGetIDRevisionEpochAndTime":        newRunsGetIDRevisionEpochAndTime,
		"TheSameCauseIsRefused":                   theSameCauseIsRefused,
		"AnErrorOfDecideWritesNothing":            anErrorOfDecideWritesNothing,
		"AFailedWriteWritesNothing":               aFailedWriteWritesNothing,
		"WritesPullFindingsOverridesAudit":        writesPullFindingsOverridesAudit,
		"ASlotIsHandedOnInOneChange":              aSlotIsHandedOnInOneChange,
		"TouchedPullsAndCommitsWantTheirPostings": touchedPullsAndCommitsWantTheirPostings,
		"HostileTextIsOnlyText":                   hostileTextIsOnlyText,
		"KillPointsSurroundTheCommit":             killPointsSurroundTheCommit,
		"MissingRowsAreNotFound":                  missingRowsAreNotFound,
	}
}

// fullRun has a value in every field that is stored as given.
func fullRun(w *world) run.Run {
	r := w.newRun(0, "delivery 1")
	r.ID, r.Actor, r.Ordinal, r.Reason = "01RUN", "ann", 3, "because"
	r.Settings = run.Settings{
		Apply: run.ApplyBeforeMerge, Requirements: []string{"approved"}, Lock: run.LockApply, OnFailure: "stop", EffectIgnore: []string{"*.tags"},
		Environment: "prod", Tool: "tofu", Version: "1.12.6", Required: []string{">= 1"}, VarFiles: []string{"a.tfvars"},
		BackendConfig: []string{"k=v"}, Flags: []string{"-target=x"}, Backend: "s3", Destroy: true, Inputs: []string{"p0", "modules/a"},
		Steps: run.Steps{BeforePlan: [][]string{{"./gen.sh", "x"}}, Apply: [][]string{{"wrap", "$ARGS"}}},
	}
	r.Node, r.Execution, r.Attempt, r.Deadline = "node", "01RUN-plan-2", 2, instant(2)
	r.Stop, r.StopWhy, r.Reviewed, r.Tool, r.Partial, r.Posted = run.Canceled, "ann asked", "00RUN", "tofu 1.12.6", true, instant(3)
	r.InputsDigest, r.PlanDigest, r.EffectDigest, r.PolicyDigest = "i", "p", "e", "o"
	r.Blobs = map[string]string{"plan": "runs/01RUN/plan"}
	r.Counts = run.Counts{Add: 1, Change: 2, Replace: 3, Destroy: 4, Import: 5, Forget: 6, Move: 7, Outputs: 8}
	r.Unsaved, r.NoBackend, r.Recheck, r.Settings.Parallel = true, true, true, 3
	r.Stray, r.RestOf, r.Identity = true, "e0", "s3:one"
	r.Created, r.Started, r.Planned, r.Confirmed = instant(4), instant(5), instant(6), instant(7)
	r.ConfirmedBy, r.ApplyStarted, r.Finished = "bob", instant(8), instant(9)
	return r
}

func everyFieldOfARunComesBack(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	want := fullRun(w)
	stored := w.add(want)[0]
	want.Epoch = 1
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("Result.Runs differs (-want +got):\n%s", diff)
	}
	got, err := w.Run(t.Context(), want.ID)
	check(t, "Run", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Run() differs (-want +got):\n%s", diff)
	}
}

func aRunKeepsWhatItIsForEver(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	before := w.add(fullRun(w))[0]
	res, err := w.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: before.ID, Epoch: 1}}}, func(s run.Snapshot) (run.Change, error) {
		r := s.Runs[0]
		r.State, r.Node, r.Blobs = run.Planning, "other", nil // these move
		r.Project, r.Cause, r.Settings, r.Created, r.Posted = w.projects[1].ID, "another", run.Settings{}, instant(50), time.Time{}
		return run.Change{Action: run.ActClaimPlan, Runs: []run.Run{r}}, nil
	})
	check(t, "Advance", err)
	want := before
	want.State, want.Node, want.Blobs, want.Epoch = run.Planning, "other", nil, 2
	if diff := cmp.Diff(want, res.Runs[0]); diff != "" {
		t.Errorf("Result.Runs differs (-want +got):\n%s", diff)
	}
	got, err := w.Run(t.Context(), before.ID)
	check(t, "Run", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Run() differs (-want +got):\n%s", diff)
	}
}

// see returns what decide would see, writing nothing.
func (w *world) see(scope run.Scope) run.Snapshot {
	w.t.Helper()
	var seen run.Snapshot
	errLook := errors.New("only looking")
	if _, err := w.Advance(w.t.Context(), scope, func(s run.Snapshot) (run.Change, error) { seen = s; return run.Change{}, errLook }); !errors.Is(err, errLook) {
		w.t.Fatalf("Advance() error = %v, want %v", err, errLook)
	}
	return seen
}

func scopeByPullSeesItsLiveRuns(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"), w.newRun(2, "a"))
	w.move(added[1].ID, run.Failed, run.Change{})
	w.move(added[2].ID, run.Interrupted, run.Change{})
	seen := w.see(run.Scope{Pull: w.pull.ID})
	if diff := cmp.Diff([]run.ID{added[0].ID, added[2].ID}, ids(seen.Runs)); diff != "" {
		t.Errorf("Snapshot.Runs differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(w.pull, seen.Pull); diff != "" {
		t.Errorf("Snapshot.Pull differs (-want +got):\n%s", diff)
	}
	if age := time.Since(seen.Now); seen.Now.Location() != time.UTC || age < -time.Minute || age > time.Minute || seen.Now.Nanosecond()%1000 != 0 {
		t.Errorf("Snapshot.Now = %v, want now in UTC, in microseconds", seen.Now)
	}
}

func scopeByBranchSeesItsMergeRuns(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	w.add(w.newRun(0, "a"))
	merge := func(branch, head string, project int) run.ID {
		r := w.newRun(project, "merge "+head)
		r.Revision, r.Kind = 0, run.KindMerge
		return w.advance(run.Scope{Repo: w.repo.ID, Branch: branch}, run.Change{
			Revision: &run.Revision{Repo: w.repo.ID, Pull: w.pull.ID, Branch: branch, Head: head, Base: "b", Kind: run.KindMerge}, New: []run.Run{r},
		}).Runs[0].ID
	}
	first, second := merge("main", "m1", 0), merge("main", "m2", 1)
	merge("other", "m3", 2)
	ended := merge("main", "m4", 2)
	w.move(ended, run.Unchanged, run.Change{})
	seen := w.see(run.Scope{Repo: w.repo.ID, Branch: "main"})
	if diff := cmp.Diff([]run.ID{first, second}, ids(seen.Runs)); diff != "" {
		t.Errorf("Snapshot.Runs differs (-want +got):\n%s", diff)
	}
	if seen.Pull.ID != w.pull.ID {
		t.Errorf("Snapshot.Pull = %d, want %d, of the first run", seen.Pull.ID, w.pull.ID)
	}
}

func namedRunsComeFirst(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"), w.newRun(2, "a"))
	w.move(added[1].ID, run.Failed, run.Change{})
	seen := w.see(run.Scope{Pull: w.pull.ID, Runs: []run.At{{ID: added[2].ID, Epoch: 1}, {ID: added[1].ID}}})
	if diff := cmp.Diff([]run.ID{added[2].ID, added[1].ID, added[0].ID}, ids(seen.Runs)); diff != "" {
		t.Errorf("Snapshot.Runs differs (-want +got):\n%s", diff)
	}
}

func snapshotShowsSlotsHoldsAndPauses(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 3)
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	other := w.savePull(8)
	w.move(added[0].ID, run.Planning, run.Change{
		Take: map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID},
		Hold: map[run.ProjectID]run.PullID{w.projects[1].ID: other.ID, w.projects[2].ID: w.pull.ID},
	})
	w.advance(run.Scope{Pauses: true}, run.Change{Pause: []run.Pause{{Match: "//prod/**", Actor: "ann", Reason: "freeze", At: instant(1)}}})
	seen := w.see(run.Scope{Pull: w.pull.ID})
	if diff := cmp.Diff(map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID}, seen.Slots); diff != "" {
		t.Errorf("Snapshot.Slots differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[run.ProjectID]run.PullID{w.projects[1].ID: other.ID, w.projects[2].ID: w.pull.ID}, seen.Holds); diff != "" {
		t.Errorf("Snapshot.Holds differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]run.Pause{{Match: "//prod/**", Actor: "ann", Reason: "freeze", At: instant(1)}}, seen.Pauses); diff != "" {
		t.Errorf("Snapshot.Pauses differs (-want +got):\n%s", diff)
	}
	holds, err := w.Holds(t.Context(), w.repo.ID)
	check(t, "Holds", err)
	if diff := cmp.Diff(seen.Holds, holds); diff != "" {
		t.Errorf("Holds() differs (-want +got):\n%s", diff)
	}
	w.move(added[0].ID, run.Queued, run.Change{Free: []run.ProjectID{w.projects[0].ID}, Unhold: []run.ProjectID{w.projects[1].ID, w.projects[2].ID}})
	if seen = w.see(run.Scope{Pull: w.pull.ID}); len(seen.Slots)+len(seen.Holds) != 0 {
		t.Errorf("after Free and Unhold: slots %v, holds %v, want none", seen.Slots, seen.Holds)
	}
}

func anExistingRevisionIsUsed(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	again := w.newRevision(w.pull, "head1")
	again.Tree, again.Notes = "another", []string{"another"}
	res := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: again})
	if diff := cmp.Diff(w.revision, res.Revision); diff != "" {
		t.Errorf("Result.Revision differs (-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*run.Revision){
		"Head": func(r *run.Revision) { r.Head = "head2" },
		"Base": func(r *run.Revision) { r.Base = "base2" },
		"Kind": func(r *run.Revision) { r.Kind = run.KindDestroy },
		"Pull": func(r *run.Revision) { r.Pull = 0 },
	} {
		other := w.newRevision(w.pull, "head1")
		change(other)
		if res := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: other}); res.Revision.ID == w.revision.ID {
			t.Errorf("another %s is the same revision", name)
		}
	}
}

func newRunsGetIDRevisionEpochAndTime(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 60)
	var runs []run.Run
	for i := range w.projects {
		r := w.newRun(i, "a")
		r.Revision = 0
		runs = append(runs, r)
	}
	res := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, "head2"), New: runs})
	for i, r := range res.Runs {
		if i > 0 && r.ID <= res.Runs[i-1].ID {
			t.Fatalf("id %s of run %d does not sort after %s", r.ID, i, res.Runs[i-1].ID)
		}
		if r.Revision != res.Revision.ID || r.Epoch != 1 || r.Created.IsZero() || len(r.ID) != 26 {
			t.Fatalf("run %d = %+v, want a ULID, revision %d, epoch 1 and a time", i, r, res.Revision.ID)
		}
	}
	listed, err := w.Runs(t.Context(), run.Filter{Revision: res.Revision.ID, Limit: 2})
	check(t, "Runs", err)
	if diff := cmp.Diff([]run.ID{res.Runs[59].ID, res.Runs[58].ID}, ids(listed)); diff != "" {
		t.Errorf("Runs() differs (-want +got):\n%s", diff)
	}
}

func theSameCauseIsRefused(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	w.add(w.newRun(0, "delivery 1"))
	_, err := w.Advance(t.Context(), run.Scope{Pull: w.pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, New: []run.Run{w.newRun(1, "delivery 1"), w.newRun(0, "delivery 1")}}, nil
	})
	if !errors.Is(err, run.ErrExists) {
		t.Errorf("Advance() error = %v, want ErrExists", err)
	}
	if got, err := w.Runs(t.Context(), run.Filter{}); err != nil || len(got) != 1 {
		t.Errorf("Runs() = %d runs, %v, want only the first", len(got), err)
	}
	w.add(w.newRun(0, "delivery 2"))
}

func anErrorOfDecideWritesNothing(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	errMine := errors.New("mine")
	_, err := w.Advance(t.Context(), run.Scope{Pull: w.pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, New: []run.Run{w.newRun(0, "a")}}, errMine
	})
	if err != errMine { //nolint:errorlint // it is promised as it is
		t.Errorf("Advance() error = %v, want exactly %v", err, errMine)
	}
	if got, err := w.Runs(t.Context(), run.Filter{}); err != nil || len(got) != 0 {
		t.Errorf("Runs() = %d runs, %v, want none", len(got), err)
	}
}

func aFailedWriteWritesNothing(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	added := w.add(w.newRun(0, "a"))
	w.move(added[0].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{w.projects[0].ID: added[0].ID}})
	before, err := w.Due(t.Context(), 0)
	check(t, "Due", err)
	_, err = w.Advance(t.Context(), run.Scope{Pull: w.pull.ID}, func(run.Snapshot) (run.Change, error) {
		r := w.newRun(1, "b")
		r.ID = "01OTHER"
		return run.Change{
			Action: run.ActRevise, New: []run.Run{r}, Take: map[run.ProjectID]run.ID{w.projects[1].ID: r.ID, w.projects[0].ID: r.ID},
			Postings: []run.Posting{{Kind: run.PostReply, Repo: w.repo.ID, Key: "c1", Body: "hello"}},
		}, nil
	})
	if !errors.Is(err, run.ErrMoved) {
		t.Errorf("Advance() error = %v, want ErrMoved", err)
	}
	if _, err := w.Run(t.Context(), "01OTHER"); !errors.Is(err, run.ErrNotFound) {
		t.Errorf("Run() error = %v, want ErrNotFound", err)
	}
	after, err := w.Due(t.Context(), 0)
	check(t, "Due", err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("postings changed (-before +after):\n%s", diff)
	}
}

func writesPullFindingsOverridesAudit(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	r := w.add(w.newRun(0, "a"))[0]
	pull := w.pull
	pull.State, pull.MergeCommit, pull.MergedBy, pull.Frozen = "merged", "m1", "bob", []byte(`{"a":1}`)
	findings := []run.Finding{
		{Set: "base", Rule: "b", Level: run.Soft, Resource: "x.y", Message: "m", Fix: "f", Value: "v", File: "main.tf", Line: 3,
			Owners: run.Owners{Users: []string{"ann"}, Teams: []string{"a/b"}, Approvals: 2}},
		{Set: "base", Rule: "a", Level: run.Hard, Message: "m"},
	}
	override := run.Override{
		Pull: pull.ID, Project: r.Project, Set: "base", Rule: "b", Resource: "x.y", Value: "v", Effect: "e", Policy: "p", Actor: "ann", Reason: "ok", At: instant(1),
	}
	audit := run.Audit{At: instant(2), Actor: "ann", Action: "approve", Repo: w.repo.ID, Pull: pull.ID, Run: r.ID, Outcome: "done", Detail: "d"}
	w.move(r.ID, run.Planned, run.Change{
		Pull: &pull, Findings: map[run.ID][]run.Finding{r.ID: findings}, Overrides: []run.Override{override}, Audit: []run.Audit{audit, {Action: "later"}},
	})
	got, err := w.Pull(ctx, pull.ID)
	check(t, "Pull", err)
	if diff := cmp.Diff(pull, got); diff != "" {
		t.Errorf("Pull() differs (-want +got):\n%s", diff)
	}
	stored, err := w.Findings(ctx, r.ID, "other")
	check(t, "Findings", err)
	if diff := cmp.Diff(map[run.ID][]run.Finding{r.ID: findings}, stored); diff != "" {
		t.Errorf("Findings() differs (-want +got):\n%s", diff)
	}
	w.move(r.ID, run.Planned, run.Change{Findings: map[run.ID][]run.Finding{r.ID: findings[1:]}})
	if stored, err = w.Findings(ctx, r.ID); err != nil || len(stored[r.ID]) != 1 {
		t.Errorf("Findings() after replacing = %v, %v, want one", stored, err)
	}
	overrides, err := w.Overrides(ctx, pull.ID)
	check(t, "Overrides", err)
	if diff := cmp.Diff([]run.Override{override}, overrides); diff != "" {
		t.Errorf("Overrides() differs (-want +got):\n%s", diff)
	}
	rows, err := w.AuditRows(ctx, run.AuditFilter{})
	check(t, "AuditRows", err)
	if len(rows) != 2 || rows[0].Action != "later" || rows[0].At.IsZero() {
		t.Fatalf("AuditRows() = %+v, want the later one first, with a time", rows)
	}
	audit.ID = rows[1].ID
	if diff := cmp.Diff(audit, rows[1]); diff != "" {
		t.Errorf("AuditRows() differs (-want +got):\n%s", diff)
	}
	if rows, err = w.AuditRows(ctx, run.AuditFilter{Pull: pull.ID}); err != nil || len(rows) != 1 {
		t.Errorf("AuditRows(of the pull) = %v, %v, want one", rows, err)
	}
}

func aSlotIsHandedOnInOneChange(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	added := w.add(w.newRun(0, "a"), w.newRun(0, "b"))
	p := w.projects[0].ID
	w.move(added[0].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{p: added[0].ID}})
	w.move(added[0].ID, run.Planning, run.Change{Take: map[run.ProjectID]run.ID{p: added[0].ID}}) // its own already: no conflict
	w.move(added[0].ID, run.Failed, run.Change{Free: []run.ProjectID{p}, Take: map[run.ProjectID]run.ID{p: added[1].ID}})
	if seen := w.see(run.Scope{Runs: []run.At{{ID: added[1].ID}}}); seen.Slots[p] != added[1].ID {
		t.Errorf("slot = %s, want %s", seen.Slots[p], added[1].ID)
	}
}

func touchedPullsAndCommitsWantTheirPostings(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	wanted := func() map[string]int64 {
		t.Helper()
		due, err := w.Due(t.Context(), 0)
		check(t, "Due", err)
		all := map[string]int64{}
		for _, p := range due {
			if p.Pull != w.pull.ID || p.Repo != w.repo.ID {
				t.Errorf("posting %+v, want those of pull %d", p, w.pull.ID)
			}
			all[string(p.Kind)+" "+p.Key] = p.Wanted
		}
		return all
	}
	summary := "summary " + strconv.FormatInt(int64(w.pull.ID), 10)
	if diff := cmp.Diff(map[string]int64{summary: 1, "statuses head1": 1}, wanted()); diff != "" {
		t.Errorf("after a revision (-want +got):\n%s", diff)
	}
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	if diff := cmp.Diff(map[string]int64{summary: 2, "statuses head1": 2}, wanted()); diff != "" {
		t.Errorf("after two runs at once (-want +got):\n%s", diff)
	}
	w.move(added[0].ID, run.Planning, run.Change{})
	pull := w.pull
	pull.HeadSHA = "head9"
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Pull: &pull})
	if diff := cmp.Diff(map[string]int64{summary: 4, "statuses head1": 3, "statuses head9": 1}, wanted()); diff != "" {
		t.Errorf("after a move and a pull (-want +got):\n%s", diff)
	}
}

func hostileTextIsOnlyText(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	for _, hostile := range []string{"'; DROP TABLE runs; --", `\'; DROP TABLE runs; --`, "? ?0 ?TableName", "nul \x00 and \xff\xfe bytes", strings.Repeat("é'", 3000), "\\", "$1 $$"} {
		p, err := w.SavePull(t.Context(), run.Pull{Repo: w.repo.ID, Number: 9, State: "open", Title: hostile})
		check(t, "SavePull", err)
		if want := strings.ReplaceAll(strings.ToValidUTF8(hostile, "\uFFFD"), "\x00", ""); p.Title != want {
			t.Errorf("title %q came back as %q, want %q", hostile, p.Title, want)
		}
		due := run.Posting{Kind: run.PostReply, Repo: w.repo.ID, Key: hostile, Body: hostile, Run: run.ID(hostile)}
		check(t, "Want", w.Want(t.Context(), due))
		w.advance(run.Scope{Pauses: true}, run.Change{Pause: []run.Pause{{Match: hostile, Reason: hostile}}})
		w.advance(run.Scope{}, run.Change{Audit: []run.Audit{{Actor: hostile, Detail: hostile}}})
		r := w.newRun(0, "cause "+hostile[:min(len(hostile), 20)])
		r.Settings.VarFiles, r.Reason, r.Blobs = []string{hostile}, hostile, map[string]string{hostile: hostile}
		stored := w.add(r)[0]
		if _, err := w.Run(t.Context(), stored.ID); err != nil {
			t.Errorf("Run() with %q: %v", hostile, err)
		}
	}
}

func killPointsSurroundTheCommit(t *testing.T, db Database) {
	var points []string
	var s Store
	var armed bool
	s = db.Open(t, Options{Kill: func(point string) {
		if !armed {
			return
		}
		// Before the commit others do not see what it writes; after it they do.
		if point == "after:planned" {
			if r, err := s.Run(t.Context(), "01RUN"); err != nil || r.State != run.Planned {
				t.Errorf("at %s the run is %s, %v", point, r.State, err)
			}
		}
		points = append(points, point)
	}})
	w := newWorld(t, s, 1)
	w.add(fullRun(w))
	armed = true
	w.move("01RUN", run.Planned, run.Change{Action: run.ActPlanned})
	_, err := s.Deliver(t.Context(), run.Delivery{Host: "gitea", ID: "d", Event: []byte("{}")})
	check(t, "Deliver", err)
	if _, err := w.try("01RUN", run.State("nonsense"), run.Change{Action: run.ActApplied}); err == nil {
		t.Error("Advance() to an unknown state succeeded")
	}
	if diff := cmp.Diff([]string{"before:planned", "after:planned", "before:deliver", "after:deliver"}, points); diff != "" {
		t.Errorf("kill points differ (-want +got):\n%s", diff)
	}
}

func missingRowsAreNotFound(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	ctx := t.Context()
	decide := func(run.Snapshot) (run.Change, error) { return run.Change{Action: run.ActRevise}, nil }
	for name, call := range map[string]func() error{
		"Advance of no run":   func() error { _, err := w.Advance(ctx, run.Scope{Runs: []run.At{{ID: "no"}}}, decide); return err },
		"Advance of no pull":  func() error { _, err := w.Advance(ctx, run.Scope{Pull: 99}, decide); return err },
		"Advance of no repo":  func() error { _, err := w.Advance(ctx, run.Scope{Repo: 99, Branch: "main"}, decide); return err },
		"Repo":                func() error { _, err := w.Repo(ctx, 99); return err },
		"RepoByName":          func() error { _, err := w.RepoByName(ctx, "gitea", "no/such"); return err },
		"Pull":                func() error { _, err := w.Pull(ctx, 99); return err },
		"PullByNumber":        func() error { _, err := w.PullByNumber(ctx, w.repo.ID, 99); return err },
		"Project":             func() error { _, err := w.Project(ctx, 99); return err },
		"Revision":            func() error { _, err := w.Revision(ctx, 99); return err },
		"LatestRevision":      func() error { _, err := w.LatestRevision(ctx, w.pull.ID, run.KindMerge); return err },
		"Run":                 func() error { _, err := w.Run(ctx, "no"); return err },
		"Position":            func() error { _, err := w.Position(ctx, "no"); return err },
		"Delivery":            func() error { _, err := w.Delivery(ctx, "gitea", "no"); return err },
		"Delivered":           func() error { return w.Delivered(ctx, "gitea", "no", "x") },
		"Posted":              func() error { return w.Posted(ctx, run.Posting{ID: 99}, run.Shows{}) },
		"Unposted":            func() error { return w.Unposted(ctx, run.Posting{ID: 99}) },
		"AppendLog":           func() error { return w.AppendLog(ctx, "no", "plan", 1, []byte("x")) },
		"SavePull of no repo": func() error { _, err := w.SavePull(ctx, run.Pull{Repo: 99, Number: 1}); return err },
	} {
		if err := call(); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("%s: error = %v, want ErrNotFound", name, err)
		}
	}
}
