package run_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func TestClaimApply(t *testing.T) {
	t.Parallel()
	confirmed := a(run.Confirmed)
	confirmed.Confirmed, confirmed.ConfirmedBy = now.Add(-time.Minute), "alice"
	t.Run("StartsUnderTheOneNameOfItsApply", func(t *testing.T) {
		t.Parallel()
		c, err := run.ClaimApply(snapshot(confirmed), "01A", open, owner)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Runs[0]; got.State != run.Applying || got.Execution != "01A-apply" {
			t.Errorf("run = %s %s, want applying 01A-apply", got.State, got.Execution)
		}
	})
	closedGate := []run.Gate{{Name: run.GateApproved, Text: "approved by someone else"}}
	old := confirmed
	old.Confirmed = now.Add(-25 * time.Hour)
	for name, c := range map[string]struct {
		run   run.Run
		gates []run.Gate
	}{
		"GoesBackWhenAGateClosedMeanwhile":    {confirmed, closedGate},
		"GoesBackWhenGatesCouldNotBeJudged":   {confirmed, nil},
		"GoesBackWhenItWaitedLongerThanADay":  {old, open},
		"GoesBackWhenOneOfManyGatesIsNotOpen": {confirmed, append([]run.Gate{{Holds: true}}, closedGate...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := run.ClaimApply(snapshot(c.run), "01A", c.gates, owner)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0]; got.State != run.Planned || got.Reason == "" || len(change.Take) > 0 {
				t.Errorf("run = %s (%s), slots taken %v; want planned with a reason and no slot", got.State, got.Reason, change.Take)
			}
		})
	}
	t.Run("RefusedWhileAnotherPullHasTheHold", func(t *testing.T) {
		t.Parallel()
		s := snapshot(confirmed)
		s.Holds[3] = 6
		if _, err := run.ClaimApply(s, "01A", open, owner); !errors.Is(err, run.ErrMoved) {
			t.Errorf("ClaimApply() error = %v, want ErrMoved", err)
		}
	})
}

func TestConfirmTakesAllHoldsOrNone(t *testing.T) {
	t.Parallel()
	first, second := a(run.Planned), a(run.Planned)
	second.ID, second.Project = "01B", 4
	s := snapshot(first, second)
	c, err := run.Confirm(s, []run.ID{"01A", "01B"}, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[run.ProjectID]run.PullID{3: 5, 4: 5}, c.Hold); diff != "" {
		t.Errorf("holds (-want +got):\n%s", diff)
	}
	s.Holds[4] = 9
	if _, err := run.Confirm(s, []run.ID{"01A", "01B"}, "alice"); !errors.Is(err, run.ErrMoved) {
		t.Errorf("Confirm() with one hold taken: error = %v, want ErrMoved", err)
	}
}

func TestSettleApply(t *testing.T) {
	t.Parallel()
	merge := a(run.Applying)
	merge.Kind = run.KindMerge
	for name, c := range map[string]struct {
		run       run.Run
		out       run.ApplyOutcome
		state     run.State
		freesSlot bool
		freesHold bool
		successor bool
	}{
		"AppliedBeforeMergeKeepsTheHold":    {a(run.Applying), run.ApplyOutcome{Applied: true}, run.Applied, true, false, false},
		"AppliedMergeFreesSlotAndHold":      {merge, run.ApplyOutcome{Applied: true}, run.Applied, true, true, false},
		"FailedKeepsTheHold":                {a(run.Applying), run.ApplyOutcome{Reason: "apply failed"}, run.Failed, true, false, false},
		"InterruptedKeepsSlotAndHold":       {a(run.Applying), run.ApplyOutcome{Interrupted: true}, run.Interrupted, false, false, false},
		"UnsavedStateKeepsSlotAndHold":      {a(run.Applying), run.ApplyOutcome{Unsaved: true}, run.Failed, false, false, false},
		"StalePlanIsReplacedByASuccessor":   {a(run.Applying), run.ApplyOutcome{Stale: true}, run.Superseded, true, false, true},
		"LateResultSettlesAnInterruptedRun": {a(run.Interrupted), run.ApplyOutcome{Applied: true}, run.Applied, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := snapshot(c.run)
			s.Holds[3] = 5
			change, err := run.SettleApply(s, "01A", c.out)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0].State; got != c.state {
				t.Errorf("state = %s, want %s", got, c.state)
			}
			if got := len(change.Free) > 0; got != c.freesSlot {
				t.Errorf("slot freed = %t, want %t", got, c.freesSlot)
			}
			if got := len(change.Unhold) > 0; got != c.freesHold {
				t.Errorf("hold freed = %t, want %t", got, c.freesHold)
			}
			if got := len(change.New) > 0; got != c.successor {
				t.Errorf("successor = %t, want %t", got, c.successor)
			}
		})
	}
}

func TestAnApplyThatWasAskedToEndSaysByWhom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		why  string
		out  run.ApplyOutcome
		want string
	}{
		"ByAPerson":       {"canceled by bob", run.ApplyOutcome{Reason: "canceled"}, "canceled by bob; the tool was interrupted and ended by itself"},
		"ByAStop":         {"", run.ApplyOutcome{Reason: "canceled"}, "its server was stopped; the tool was interrupted and ended by itself"},
		"KilledInTheEnd":  {"", run.ApplyOutcome{Interrupted: true}, "its server was stopped; the tool did not end within its grace and was killed"},
		"WithoutItsState": {"canceled by bob", run.ApplyOutcome{Unsaved: true}, "state not saved: canceled by bob"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := a(run.Applying)
			if c.why != "" {
				r.Stop, r.StopWhy = run.Canceled, c.why
			}
			c.out.Asked = true
			change, err := run.SettleApply(snapshot(r), r.ID, c.out)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0].Reason; got != c.want {
				t.Errorf("Reason = %q, want %q", got, c.want)
			}
		})
	}
}

func TestBatchIsWhatWasConfirmedTogether(t *testing.T) {
	t.Parallel()
	r := a(run.Applied)
	r.Planned, r.Confirmed = now, now.Add(time.Second)
	other := r
	other.ID = "01B"
	if run.Batch(r) != run.Batch(other) {
		t.Error("two runs of one command have different batches")
	}
	other.Confirmed = now.Add(time.Minute)
	if run.Batch(r) == run.Batch(other) {
		t.Error("runs of two commands share a batch")
	}
	merge := r
	merge.Kind, merge.Cause, merge.Confirmed = run.KindMerge, "merge:abc", merge.Planned
	later := merge
	later.Planned, later.Confirmed = now.Add(time.Hour), now.Add(time.Hour)
	if run.Batch(merge) != run.Batch(later) {
		t.Error("what one merge applied by itself has two batches")
	}
}

func TestAfterAFailureNoFurtherProjectOfThePullRequestStarts(t *testing.T) {
	t.Parallel()
	failed, waiting, foreign := a(run.Applying), a(run.Confirmed), a(run.Confirmed)
	waiting.ID, waiting.Project = "01B", 4
	foreign.ID, foreign.Project, foreign.Pull = "01C", 5, 6
	for name, c := range map[string]struct {
		out  run.ApplyOutcome
		rule string
		want int
	}{
		"WhenItFailed":            {run.ApplyOutcome{Reason: "apply failed"}, "stop", 2},
		"WhenItWasInterrupted":    {run.ApplyOutcome{Interrupted: true}, "", 2},
		"ButWhenToldToContinue":   {run.ApplyOutcome{Reason: "apply failed"}, "continue", 1},
		"AndSuccessHoldsUpNobody": {run.ApplyOutcome{Applied: true}, "stop", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := failed
			first.Settings.OnFailure = c.rule
			change, err := run.SettleApply(snapshot(first, waiting, foreign), "01A", c.out)
			if err != nil {
				t.Fatal(err)
			}
			if len(change.Runs) != c.want {
				t.Fatalf("wrote %d runs, want %d", len(change.Runs), c.want)
			}
			if c.want == 2 && (change.Runs[1].ID != "01B" || change.Runs[1].State != run.Planned || change.Runs[1].Reason == "") {
				t.Errorf("the waiting run became %s (%s), want planned with the reason", change.Runs[1].State, change.Runs[1].Reason)
			}
		})
	}
}
