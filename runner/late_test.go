package runner

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/executor/local/shim"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/powercut"
	"github.com/planlatch/planlatch/views"
)

// kept is a blob store in memory.
type kept struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (k *kept) Get(_ context.Context, key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if data, ok := k.data[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (k *kept) Put(_ context.Context, key string, data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data[key] = bytes.Clone(data)
	return nil
}

// node is one node with a store, an executor and an apply of one run whose commands are shell scripts.
type node struct {
	*Runner
	t    *testing.T
	dir  string // of the executor
	run  run.Run
	repo run.Repo
}

const planOfTwo = `{"resource_changes": []}`

// underApply makes a run that another node, or this one, is applying.
func underApply(t *testing.T, by string) *node {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	e, err := local.New(local.Options{Dir: dir})
	ok(t, err)
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() })
	b := &kept{data: map[string][]byte{"plan": []byte(planOfTwo)}}
	n := &node{t: t, dir: dir, Runner: New(Parts{Store: s, Exec: e, Blobs: b, Log: slog.New(slog.DiscardHandler)}, Options{
		Node: run.Node{ID: "here"}, Workers: 1, Dir: t.TempDir(),
		Grants: func(context.Context, selector.Target, string, run.ID) (Grant, error) { return Grant{}, nil },
		Fixed:  func(selector.Target, string) (Grant, bool, error) { return Grant{}, true, nil },
	})}
	n.repo, err = s.SaveRepo(ctx, run.Repo{Host: "h", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	ok(t, err)
	projects, err := s.SaveProjects(ctx, []run.Project{{Repo: n.repo.ID, Dir: "app", Workspace: "default", Label: "app"}})
	ok(t, err)
	view, err := views.Keep(ctx, b, "01A", "plan", views.Kept{Plan: report.Plan{Changes: []report.Change{{Address: "a.one", Kind: report.Create}, {Address: "a.two", Kind: report.Create}}}})
	ok(t, err)
	r := run.Run{
		ID: "01A", Repo: n.repo.ID, Project: projects[0].ID, Label: "app", Dir: "app", Work: "default", Kind: run.KindMerge, Cause: "merge", State: run.Applying,
		Node: by, Execution: run.ApplyName("01A"), ApplyStarted: time.Now(), Planned: time.Now(), Blobs: map[string]string{blobPlanJSON: "plan", views.KeptPlan: view},
	}
	res, err := s.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		rev := run.Revision{Repo: n.repo.ID, Branch: "main", Head: strings.Repeat("a", 40), Base: "b", Kind: run.KindMerge}
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{r}}, nil
	})
	ok(t, err)
	_, err = s.Advance(ctx, run.Scope{Runs: []run.At{{ID: "01A"}}}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActClaimApply, Take: map[run.ProjectID]run.ID{r.Project: "01A"}}, nil
	})
	ok(t, err)
	n.run = res.Runs[0]
	return n
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// starts starts the apply's execution here and waits until it has said something.
func (n *node) starts(script, said string) {
	n.t.Helper()
	s := executortest.Spec(n.t, executor.Name(n.run.Execution), "true", script)
	s.Steps[0].Label, s.Steps[1].Label = "init", "apply"
	s.Outputs = []string{fileErrored}
	executortest.Start(n.t, n.Exec, s)
	executortest.WaitLog(n.t, n.Exec, s.Name, said)
}

// givenUp is what another node does when this one falls silent.
func (n *node) givenUp() {
	n.t.Helper()
	n.orphaned(n.t.Context(), n.run)
	if got := n.now(); got.State != run.Interrupted {
		n.t.Fatalf("the run of a silent node is %s, want interrupted", got.State)
	}
}

func (n *node) now() run.Run {
	n.t.Helper()
	r, err := n.Store.Run(n.t.Context(), n.run.ID)
	ok(n.t, err)
	return r
}

func (n *node) slots() int {
	n.t.Helper()
	all, err := n.Store.Locks(n.t.Context())
	ok(n.t, err)
	return len(slices.DeleteFunc(all, func(l run.Lock) bool { return l.Run == "" }))
}

// returns is the node looking for what it left, until nothing of it is followed.
func (n *node) returns() {
	n.t.Helper()
	ok(n.t, n.late(n.t.Context()))
	n.wg.Wait()
}

// killAll kills an execution with everything in it.
func (n *node) killAll(name executor.Name) {
	n.t.Helper()
	powercut.Execution(n.t, filepath.Join(n.dir, "runs", string(name)))
}

func (n *node) progress() *report.Progress {
	n.t.Helper()
	k, err := (&views.Viewer{Blobs: n.Blobs}).Read(n.t.Context(), n.now(), views.KeptApply)
	ok(n.t, err)
	return k.Progress
}

func TestALateResultSettlesAnApplyThatWasGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		want   run.State
	}{
		"Applied": {"echo begun; while ! [ -e go ]; do sleep 0.02; done; echo 'a.one: Creation complete after 0s'", run.Applied},
		"Failed":  {"echo begun; while ! [ -e go ]; do sleep 0.02; done; exit 1", run.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			n.starts(c.script, "begun\n")
			n.givenUp()
			if n.slots() != 1 {
				t.Fatal("the slot of an apply that may still run is free")
			}
			ok(t, n.late(t.Context())) // the node is back, and the apply still runs
			executortest.Write(t, filepath.Join(n.dir, "runs", n.run.Execution, shim.DirWork, "go"), "")
			n.wg.Wait()
			if got := n.now(); got.State != c.want || n.slots() != 0 {
				t.Errorf("the late apply is %s (%s), %d slots; want %s and none", got.State, got.Reason, n.slots(), c.want)
			}
			if log, err := n.wholeLog(t.Context(), "01A", "apply"); err != nil || !strings.HasPrefix(log, "begun\n") {
				t.Errorf("log = %q, %v, want all of it", log, err)
			}
		})
	}
}

func TestAnApplyThatVanishedWaitsForAPersonAndSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.starts("echo 'a.one: Creating...'; echo 'a.one: Creation complete after 0s'; echo 'a.two: Creating...'; sleep 1000", "a.two: Creating...\n")
	n.killAll(executor.Name(n.run.Execution))
	n.follow(t.Context(), n.run, time.Time{})
	if got := n.now(); got.State != run.Interrupted || n.slots() != 1 {
		t.Fatalf("the run is %s, %d slots; want interrupted, and its slot kept", got.State, n.slots())
	}
	want := report.Progress{Done: []string{"a.one"}, Begun: []string{"a.two"}}
	if got := n.progress(); got == nil || !slices.Equal(got.Done, want.Done) || !slices.Equal(got.Begun, want.Begun) || len(got.Rest) != 0 {
		t.Errorf("progress = %+v, want %+v", got, want)
	}
	n.returns() // a later look finds nothing new, and starts nothing
	epoch := n.now().Epoch
	n.returns()
	if got := n.now(); got.State != run.Interrupted || got.Epoch != epoch {
		t.Errorf("the run is %s at epoch %d, want it left alone at %d", got.State, got.Epoch, epoch)
	}
	if left, err := n.Exec.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("List() = %v, %v, want nothing left", left, err)
	}
}

func TestAStateThatAVanishedApplyCouldNotSaveIsKept(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.starts("echo '{\"version\": 4}' >errored.tfstate; echo written; sleep 1000", "written\n")
	n.killAll(executor.Name(n.run.Execution))
	n.follow(t.Context(), n.run, time.Time{})
	got := n.now()
	if got.State != run.Failed || !got.Unsaved || n.slots() != 1 {
		t.Fatalf("the run is %s, unsaved %t, %d slots; want it failed with a state that was not saved, and its slot kept", got.State, got.Unsaved, n.slots())
	}
	if state, err := n.Blobs.Get(t.Context(), got.Blobs[BlobErrored]); err != nil || string(state) != "{\"version\": 4}\n" {
		t.Errorf("kept %q, %v, want the only copy", state, err)
	}
}

func TestAnApplyOfASilentNodeSaysWhatReachedUs(t *testing.T) {
	t.Parallel()
	n := underApply(t, "elsewhere")
	text := "a.one: Creating...\na.one: Creation complete after 0s\n"
	ok(t, n.Store.AppendLog(t.Context(), "01A", "apply", int64(len(text)), []byte(text)))
	n.givenUp()
	if got := n.progress(); got == nil || !slices.Equal(got.Done, []string{"a.one"}) || !slices.Equal(got.Rest, []string{"a.two"}) {
		t.Errorf("progress = %+v, want a.one done and a.two not begun", got)
	}
	n.returns()
	if got := n.now(); got.State != run.Interrupted {
		t.Errorf("a node settled the apply of another: %s", got.State)
	}
}

func TestAnApplyThatNeverBeganOnALateNodeIsNotStarted(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.givenUp()
	n.returns()
	if left, err := n.Exec.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("List() = %v, %v, want nothing started", left, err)
	}
	if got := n.now(); got.State != run.Interrupted {
		t.Errorf("the run is %s, want it left to a person", got.State)
	}
}

func TestAPlanOfASilentNodeIsPlannedAgainAndItsLockLeftAlone(t *testing.T) {
	t.Parallel()
	n := underApply(t, "elsewhere")
	planning := n.move(func(r *run.Run) { r.State, r.Execution, r.ApplyStarted = run.Planning, "01A-plan-1", time.Time{} })
	n.orphaned(t.Context(), planning)
	if got := n.now(); got.State != run.Queued || !got.Stray {
		t.Errorf("the run is %s, stray %t; want queued, with an attempt that may be at work", got.State, got.Stray)
	}
}

// move writes a run as a test wants it.
func (n *node) move(change func(r *run.Run)) run.Run {
	n.t.Helper()
	res, err := n.Store.Advance(n.t.Context(), run.Scope{Runs: []run.At{{ID: n.run.ID}}}, func(s run.Snapshot) (run.Change, error) {
		r := s.Runs[0]
		change(&r)
		return run.Change{Action: run.ActAdopt, Runs: []run.Run{r}}, nil
	})
	ok(n.t, err)
	return res.Runs[0]
}

func TestALockIsOursToFreeOnlyWhenItsPlanIsDead(t *testing.T) {
	t.Parallel()
	lock := report.LockInfo{ID: "5b8f", Who: "root@planlatch-01A", Operation: "OperationTypePlan"}
	other := run.Run{ID: "01B"}
	for name, c := range map[string]struct {
		change func(r *run.Run)
		lock   func(l *report.LockInfo)
		same   bool // the lock was met by another attempt of the run that has it
		want   bool
	}{
		"OfAnotherPlanThatEnded":           {change: func(r *run.Run) { r.State = run.Superseded }, want: true},
		"OfAnEarlierAttemptOfThisPlan":     {change: func(r *run.Run) { r.State, r.Planned = run.Planning, time.Time{} }, same: true, want: true},
		"OfAnAttemptOnASilentNode":         {change: func(r *run.Run) { r.State, r.Stray = run.Planning, true }, same: true},
		"OfAPlanWithASilentAttempt":        {change: func(r *run.Run) { r.State, r.Stray = run.Failed, true }},
		"OfAPlanUnderWay":                  {change: func(r *run.Run) { r.State = run.Planning }},
		"OfAPlanThatIsPlannedAgain":        {change: func(r *run.Run) { r.State, r.Planned = run.Queued, time.Time{} }},
		"OfAnApplyOfThatRun":               {change: func(r *run.Run) { r.State = run.Superseded }, lock: func(l *report.LockInfo) { l.Operation = "OperationTypeApply" }},
		"OfAPlanThatWasApplied":            {change: func(r *run.Run) { r.State, r.ApplyStarted = run.Failed, time.Now() }},
		"OfSomebodyElse":                   {change: func(r *run.Run) { r.State = run.Superseded }, lock: func(l *report.LockInfo) { l.Who = "carol@laptop" }},
		"OfARunThatNobodyKnows":            {change: func(r *run.Run) { r.State = run.Superseded }, lock: func(l *report.LockInfo) { l.Who = "root@planlatch-01Z" }},
		"WithAnIDThatWouldBeAnOption":      {change: func(r *run.Run) { r.State = run.Superseded }, lock: func(l *report.LockInfo) { l.ID = "-force" }},
		"OfAnotherProjectOnTheSameMachine": {change: func(r *run.Run) { r.State = run.Superseded }, lock: func(l *report.LockInfo) { l.Path = "elsewhere" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			held := n.move(func(r *run.Run) { r.ApplyStarted = time.Time{}; c.change(r) })
			of, l := other, lock
			of.Project = held.Project
			if c.same {
				of = held
			}
			if c.lock != nil {
				c.lock(&l)
			}
			if l.Path == "elsewhere" {
				of.Project++
			}
			if got := n.leftByOurPlan(t.Context(), of, l); got != c.want {
				t.Errorf("leftByOurPlan() = %t, want %t", got, c.want)
			}
		})
	}
}

func TestALockOfOurDeadApplyIsToldAndNeverFreed(t *testing.T) {
	t.Parallel()
	lock := report.LockInfo{ID: "5b8f", Who: "root@planlatch-01A", Operation: "OperationTypeApply"}
	for name, c := range map[string]struct {
		change func(r *run.Run)
		want   string
	}{
		"Acknowledged": {func(r *run.Run) { r.State, r.Reason = run.Failed, "interrupted; acknowledged by bob" }, "the apply of our run 01A, which is failed: interrupted; acknowledged by bob"},
		"Interrupted":  {func(r *run.Run) { r.State = run.Interrupted }, ""},
		"AtWork":       {func(*run.Run) {}, ""},
		"Unsaved":      {func(r *run.Run) { r.State, r.Unsaved = run.Failed, true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			held := n.move(c.change)
			of := run.Run{ID: "01B", Project: held.Project}
			if got := n.leftByOurApply(t.Context(), of, lock); got != c.want {
				t.Errorf("leftByOurApply() = %q, want %q", got, c.want)
			}
			if n.leftByOurPlan(t.Context(), of, lock) {
				t.Error("the lock of an apply would be freed by itself")
			}
		})
	}
}

func TestAPushThatAKilledServerLeftIsFollowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		kill   bool
		done   bool
	}{
		"Pushed": {"echo begun; while ! [ -e go ]; do sleep 0.02; done", false, true},
		"Failed": {"echo begun; while ! [ -e go ]; do sleep 0.02; done; exit 1", false, false},
		"Killed": {"echo begun; sleep 1000", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			name := executor.Name(pushName("01A") + "18a")
			s := executortest.Spec(t, name, "true", c.script)
			s.Steps[0].Label, s.Steps[1].Label = "init", stepPush
			executortest.Start(t, n.Exec, s)
			executortest.WaitLog(t, n.Exec, name, "begun\n")
			if c.kill {
				n.killAll(name)
			} else {
				executortest.Write(t, filepath.Join(n.dir, "runs", string(name), shim.DirWork, "go"), "")
			}
			done, err := n.followPush(t.Context(), "01A")
			if err != nil || done != c.done {
				t.Errorf("followPush() = %t, %v, want %t", done, err, c.done)
			}
			if left, err := n.Exec.List(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("List() = %v, %v, want nothing left", left, err)
			}
		})
	}
}
