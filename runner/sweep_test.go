package runner

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// yard is a runner with a database and an executor, and one run in each state that a test asks for.
type yard struct {
	*Runner

	t    *testing.T
	exec *local.Executor
	dir  string
}

func newYard(t *testing.T, o Options) *yard {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(dir, "db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	x, err := local.New(local.Options{Dir: filepath.Join(dir, "executions"), Sandbox: local.SandboxOff, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	o.Workers, o.Dir = 1, filepath.Join(dir, "work")
	return &yard{Runner: New(Parts{Store: s, Exec: x, Log: log}, o), t: t, exec: x, dir: dir}
}

// add makes a run with a project of its own.
func (y *yard) add(id run.ID, s run.State, change ...func(*run.Run)) {
	y.t.Helper()
	ctx := y.t.Context()
	repo, err := y.Store.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
	if err != nil {
		y.t.Fatal(err)
	}
	ps, err := y.Store.SaveProjects(ctx, []run.Project{{Repo: repo.ID, Dir: string(id), Workspace: "default"}})
	if err != nil {
		y.t.Fatal(err)
	}
	r := run.Run{
		ID: id, Repo: repo.ID, Project: ps[0].ID, Dir: string(id), Work: "default", Kind: run.KindMerge, Cause: "x", State: s, Execution: string(id) + "-plan-1",
	}
	for _, f := range change {
		f(&r)
	}
	rev := run.Revision{Repo: repo.ID, Branch: "main", Head: "h" + string(id), Base: "b", Tree: "tree" + string(id), Kind: run.KindMerge}
	_, err = y.Store.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{r}}, nil
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

func applying(r *run.Run) { r.Execution = string(r.ID) + "-apply" }

// executed runs something of this name, to its end unless the script waits.
func (y *yard) executed(n executor.Name, script string) {
	y.t.Helper()
	s := executortest.Spec(y.t, n, script)
	s.Outputs = []string{fileErrored}
	executortest.Start(y.t, y.exec, s)
	if !strings.Contains(script, "wait") {
		executortest.Follow(y.t, y.exec, n)
	}
}

func (y *yard) names() string {
	y.t.Helper()
	names, err := y.exec.List(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	slices.Sort(names)
	var all []string
	for _, n := range names {
		all = append(all, string(n))
	}
	return strings.Join(all, " ")
}

func TestExecutionsThatNobodyAsksForAreRemoved(t *testing.T) {
	t.Parallel()
	y := newYard(t, Options{})
	const state = `echo '{"serial":2}' >errored.tfstate`
	y.add("A", run.Applied, applying)
	y.executed("A-apply", "true")
	y.executed("A-push-17", "true")
	y.add("B", run.Interrupted, applying)
	y.executed("B-apply", state)
	y.add("C", run.Planning, func(r *run.Run) { r.Execution = "C-plan-2" })
	y.executed("C-plan-1", "sleep 1000 & wait")
	y.executed("C-plan-2", "true")
	y.add("D", run.Failed, applying) // acknowledged before its result was seen
	y.executed("D-apply", state)
	y.add("E", run.Failed, applying, func(r *run.Run) { r.Unsaved, r.Blobs = true, map[string]string{BlobErrored: "kept"} })
	y.executed("E-apply", state)
	y.add("F", run.Canceled, applying)
	y.executed("F-apply", "sleep 1000 & wait")
	y.add("G", run.Failed)
	y.executed("G-plan-1", "true")
	defer y.borrow("G")()
	y.executed("NOBODY-plan-1", "true")
	y.executed("NOBODY-apply", state)
	y.executed("providers-x", "true")
	defer func() { // it would outlive the test
		if err := y.exec.Cancel(t.Context(), "F-apply", true); err != nil {
			t.Error(err)
		}
		executortest.Follow(t, y.exec, "F-apply")
	}()
	if _, err := y.SweepExecutions(t.Context()); err != nil {
		t.Fatalf("SweepExecutions() = %v", err)
	}
	for deadline := time.Now().Add(2 * time.Minute); strings.Contains(y.names(), "C-plan-1") && time.Now().Before(deadline); {
		if _, err := y.SweepExecutions(t.Context()); err != nil { // the interrupted plan takes a moment to end
			t.Fatal(err)
		}
	}
	want := "B-apply C-plan-2 D-apply F-apply G-plan-1 NOBODY-apply providers-x"
	if got := y.names(); got != want {
		t.Errorf("executions are %s, want %s", got, want)
	}
}

func TestTreesGoWhenNoRunNeedsThem(t *testing.T) {
	t.Parallel()
	y := newYard(t, Options{})
	y.add("A", run.Applied)
	y.add("B", run.Planned)
	y.add("C", run.Planning)
	y.add("D", run.Failed) // its state is pushed right now
	y.add("E", run.Failed)
	seen := func(ctx context.Context) (map[string]bool, error) { // by an execution that outlived its server
		return map[string]bool{filepath.Join(y.o.Dir, dirTrees, "treeE"): true}, ctx.Err()
	}
	for _, id := range []string{"A", "B", "C", "D", "E"} {
		executortest.Write(t, filepath.Join(y.o.Dir, dirTrees, "tree"+id, "main.tf"), "x")
		executortest.Write(t, filepath.Join(y.o.Dir, dirTrees, "tree"+id+".boot"), "x")
	}
	executortest.Write(t, filepath.Join(y.o.Dir, dirTrees, "treeF.tmp-1", "main.tf"), "x")
	executortest.Write(t, filepath.Join(y.o.Dir, dirInputs, "run-1", "tfplan"), "x")
	release := y.borrow("D")
	there := func() string {
		all, err := filepath.Glob(filepath.Join(y.o.Dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			all[i] = strings.TrimPrefix(filepath.Base(all[i]), "tree")
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	sweep := func(start bool, want string) {
		t.Helper()
		if _, err := y.SweepWork(t.Context(), seen, start); err != nil {
			t.Fatalf("SweepWork() = %v", err)
		}
		if got := there(); got != want {
			t.Errorf("work has %s, want %s", got, want)
		}
	}
	sweep(false, "B B.boot C C.boot D D.boot E E.boot F.tmp-1 run-1")
	release()
	sweep(true, "B B.boot C C.boot E E.boot")

	items, err := y.Items(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items { // for room: also what waits, never what runs
		if _, err := i.Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := there(), "C C.boot E E.boot"; got != want {
		t.Errorf("work has %s, want %s", got, want)
	}
}

func TestWithoutRoomNoRunStartsAndPeopleAreTold(t *testing.T) {
	t.Parallel()
	short := "low on disk: 0.5 GiB free, 1 GiB wanted"
	y := newYard(t, Options{Node: run.Node{ID: "n1", Name: "n1"}, Room: func() string { return short }})
	ctx := t.Context()
	y.add("A", run.Queued)
	told := func() (note string) {
		t.Helper()
		y.beat(ctx)
		nodes, err := y.Store.Nodes(ctx, time.Minute)
		if err != nil || len(nodes) != 1 {
			t.Fatalf("Nodes() = %v, %v", nodes, err)
		}
		return nodes[0].Note
	}
	if got := told(); got != short {
		t.Errorf("note = %q, want %q", got, short)
	}
	if err := y.claim(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := y.Store.Run(ctx, "A"); err != nil || r.State != run.Queued || len(y.active) != 0 {
		t.Errorf("the run is %s, %v, want it to wait in the queue", r.State, err)
	}
	if !y.toldShort {
		t.Error("nobody was told of the shortage")
	}
	short = ""
	if got := told(); got != "" || y.toldShort {
		t.Errorf("note = %q with room, want none", got)
	}
	if next, err := y.next(ctx); err != nil || len(next) != 1 || y.shortage() != "" {
		t.Errorf("next = %v, %v, want the run to be claimed", next, err)
	}
}

func TestNamesOfAppliesAreNeverForgotten(t *testing.T) {
	t.Parallel()
	y := newYard(t, Options{})
	y.add("A", run.Applied, applying)
	y.add("B", run.Planning)
	for n, want := range map[executor.Name]bool{
		"A-apply": false, "A-plan-1": true, "B-plan-1": false, "A-push-1f": true, "GONE-plan-1": true, "GONE-apply": false, "providers-abc": true, "odd": false,
	} {
		if got, err := y.Forgettable(t.Context(), n); err != nil || got != want {
			t.Errorf("Forgettable(%s) = %v, %v, want %v", n, got, err, want)
		}
	}
}
