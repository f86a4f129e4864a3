package intake_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// becomes writes the newest run of a head as a test wants it, with the hold of its project.
func (o *office) becomes(head string, change func(r *run.Run)) {
	o.t.Helper()
	id := o.runs(head)[0].ID
	_, err := o.store.Advance(o.t.Context(), run.Scope{Runs: []run.At{{ID: id}}}, func(s run.Snapshot) (run.Change, error) {
		r := s.Runs[0]
		change(&r)
		c := run.Change{Action: run.ActAdopt, Runs: []run.Run{r}, Hold: map[run.ProjectID]run.PullID{r.Project: r.Pull}}
		if !r.State.Final() || r.Unsaved {
			c.Take = map[run.ProjectID]run.ID{r.Project: r.ID}
		}
		return c, nil
	})
	check(o.t, err)
}

func (o *office) holds(number int) int {
	o.t.Helper()
	n := 0
	holds, err := o.store.Holds(o.t.Context(), o.pull(number).Repo)
	check(o.t, err)
	for _, by := range holds {
		if by == o.pull(number).ID {
			n++
		}
	}
	return n
}

func TestAnInterruptedApplyIsAcknowledgedByItsName(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	o.becomes(head, func(r *run.Run) { r.State, r.ApplyStarted, r.Planned = run.Interrupted, time.Now(), time.Now() })
	contains(t, o.says("bob", number, "planlatch unlock"), "planlatch unlock -p network")
	contains(t, o.says("bob", number, "planlatch apply"), "network")
	contains(t, o.says("mallory", number, "planlatch unlock -p network"), "write permission")
	if runs := o.runs(head); len(runs) != 1 || runs[0].State != run.Interrupted || o.holds(number) != 1 {
		t.Fatalf("runs = %+v, want the one, interrupted and locked", runs)
	}
	if answer := o.says("bob", number, "planlatch unlock -p network"); answer != "" {
		t.Errorf("the answer is %q, want none", answer)
	}
	runs := o.runs(head)
	if len(runs) != 2 || runs[1].State != run.Failed || runs[0].State != run.Queued || !run.AfterDoubt(runs[0]) || o.holds(number) != 0 {
		t.Errorf("runs = %+v, %d holds; want it settled, a plan of what is left, and no hold", runs, o.holds(number))
	}
}

func TestUnlockOfOneProjectLeavesTheOthers(t *testing.T) {
	t.Parallel()
	other := map[string]string{"dns/main.tf": "terraform {\n  backend \"s3\" {}\n}\n"}
	o, number, head := opened(t, other)
	for _, r := range o.runs(head) {
		_, err := o.store.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActAdopt, Hold: map[run.ProjectID]run.PullID{r.Project: r.Pull}}, nil
		})
		check(t, err)
	}
	if o.says("bob", number, "planlatch unlock -p dns"); o.holds(number) != 1 {
		t.Errorf("%d holds after unlock -p dns, want the one of network", o.holds(number))
	}
	if o.says("bob", number, "planlatch unlock"); o.holds(number) != 0 {
		t.Errorf("%d holds after unlock, want none", o.holds(number))
	}
}

func TestApplyAfterAFailureGoesOnWithWhatIsLeft(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	ended := time.Now()
	fail := func(change func(r *run.Run)) {
		o.becomes(head, func(r *run.Run) {
			r.State, r.ApplyStarted, r.Planned, r.Finished, r.Unsaved = run.Failed, ended, ended, ended, false
			change(r)
		})
	}
	fail(func(r *run.Run) { r.ApplyStarted = time.Time{} })
	contains(t, o.says("bob", number, "planlatch apply"), "Nothing to") // it was the plan that failed
	fail(func(r *run.Run) { r.Unsaved = true })
	contains(t, o.says("bob", number, "planlatch apply"), "state")
	fail(func(*run.Run) {})
	contains(t, o.said("bob", number, "planlatch apply", ended.Add(-time.Second)), "Nothing to") // said twice, before it failed
	contains(t, o.says("mallory", number, "planlatch apply"), "write permission")
	if runs := o.runs(head); len(runs) != 1 {
		t.Fatalf("runs = %+v, want none but the failed one", runs)
	}
	if answer := o.says("bob", number, "planlatch apply -p network"); answer != "" {
		t.Errorf("the answer is %q, want none", answer)
	}
	runs := o.runs(head)
	if len(runs) != 2 || runs[0].State != run.Queued || runs[0].Actor != "bob" {
		t.Fatalf("runs = %+v, want another plan for bob", runs)
	}
	if of, ok := run.Continues(runs[0]); !ok || of != runs[1].ID {
		t.Errorf("the new run continues %q, want the failed one", of)
	}
}

// counting counts the deliveries that are written.
type counting struct {
	run.Store
	delivered atomic.Int64
}

func (c *counting) Deliver(ctx context.Context, d run.Delivery) (bool, error) {
	c.delivered.Add(1)
	return c.Store.Deliver(ctx, d)
}

func TestReconcileWritesNothingForWhatItKnows(t *testing.T) {
	t.Parallel()
	o, number, _ := opened(t)
	check(t, o.intake.Reconcile(t.Context(), "github")) // from now on comments are commands
	for _, body := range []string{"planlatch help", "looks good"} {
		_, err := o.host.Comment(repository, number, "bob", body)
		check(t, err)
	}
	store := &counting{Store: o.store}
	o.intake.Store = store
	check(t, o.intake.Reconcile(t.Context(), "github"))
	found := store.delivered.Load()
	check(t, o.intake.Reconcile(t.Context(), "github"))
	if again := store.delivered.Load() - found; found != 2 || again != 0 {
		t.Errorf("the first look wrote %d comments and the next %d, want 2 and none", found, again)
	}
}

func TestADraftKeepsNothingButWhatIsInDoubt(t *testing.T) {
	t.Parallel()
	for drafts, want := range map[string]run.State{"plan": run.Planned, "ignore": run.Canceled} {
		t.Run(drafts, func(t *testing.T) {
			t.Parallel()
			other := map[string]string{"dns/main.tf": "terraform {\n  backend \"s3\" {}\n}\n"}
			o, number, head := opened(t, other)
			o.intake.Config.Defaults.Drafts = drafts
			o.becomes(head, func(r *run.Run) { r.State, r.ApplyStarted = run.Interrupted, time.Now() })
			inDoubt, waiting := o.runs(head)[0], o.runs(head)[1]
			_, err := o.store.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: waiting.ID}}}, func(s run.Snapshot) (run.Change, error) {
				r := s.Runs[0]
				r.State, r.ConfirmedBy = run.Confirmed, "bob"
				return run.Change{Action: run.ActConfirm, Runs: []run.Run{r}, Hold: map[run.ProjectID]run.PullID{r.Project: r.Pull}}, nil
			})
			check(t, err)
			check(t, o.host.SetDraft(repository, number, "alice", true))
			o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
			holds, err := o.store.Holds(t.Context(), waiting.Repo)
			check(t, err)
			if runs := o.runs(head); runs[0].State != run.Interrupted || runs[1].State != want || len(holds) != 1 || holds[inDoubt.Project] == 0 || !o.pull(number).Draft {
				t.Errorf("runs = %s and %s, holds %v; want the interrupted one with its hold, the other %s", runs[0].State, runs[1].State, holds, want)
			}
		})
	}
}
