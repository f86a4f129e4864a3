package run_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func TestClaimPlan(t *testing.T) {
	t.Parallel()
	t.Run("TakesTheSlotUnderANameNeverUsedBefore", func(t *testing.T) {
		t.Parallel()
		r := a(run.Queued)
		r.Attempt = 1
		c, err := run.ClaimPlan(snapshot(r), r.ID, owner)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.Runs[0].Execution, "01A-plan-2"; got != want {
			t.Errorf("Execution = %s, want %s", got, want)
		}
		if diff := cmp.Diff(map[run.ProjectID]run.ID{3: "01A"}, c.Take); diff != "" {
			t.Errorf("slots taken (-want +got):\n%s", diff)
		}
	})
	t.Run("RefusedWhileAnotherRunHasTheSlot", func(t *testing.T) {
		t.Parallel()
		s := snapshot(a(run.Queued))
		s.Slots[3] = "01B"
		if _, err := run.ClaimPlan(s, "01A", owner); !errors.Is(err, run.ErrMoved) {
			t.Errorf("ClaimPlan() error = %v, want ErrMoved", err)
		}
	})
}

func TestSettlePlan(t *testing.T) {
	t.Parallel()
	stopped := func(as run.State) run.Run {
		r := a(run.Planning)
		r.Stop, r.StopWhy = as, "asked"
		return r
	}
	merge := a(run.Planning)
	merge.Kind = run.KindMerge
	tenth := a(run.Planning)
	tenth.Attempt = 10
	for name, c := range map[string]struct {
		run  run.Run
		out  run.PlanOutcome
		want run.State
	}{
		"PlannedWithChanges":                {a(run.Planning), run.PlanOutcome{}, run.Planned},
		"UnchangedIsFinal":                  {a(run.Planning), run.PlanOutcome{Unchanged: true}, run.Unchanged},
		"FailedSaysWhy":                     {a(run.Planning), run.PlanOutcome{Failed: "plan failed"}, run.Failed},
		"LostTooOftenFails":                 {tenth, run.PlanOutcome{Lost: true}, run.Failed},
		"LostIsPlannedAgain":                {a(run.Planning), run.PlanOutcome{Lost: true}, run.Queued},
		"StoppedIsPlannedAgain":             {a(run.Planning), run.PlanOutcome{Stopped: true}, run.Queued},
		"CancelWinsOverAStop":               {stopped(run.Canceled), run.PlanOutcome{Stopped: true}, run.Canceled},
		"SupersedeWinsOverSuccess":          {stopped(run.Superseded), run.PlanOutcome{}, run.Superseded},
		"CancelWinsOverLoss":                {stopped(run.Canceled), run.PlanOutcome{Lost: true}, run.Canceled},
		"MergeThatMayAppliesByItself":       {merge, run.PlanOutcome{Confirm: "bob"}, run.Confirmed},
		"MergeThatMayNotWaits":              {merge, run.PlanOutcome{Waits: "differs"}, run.Planned},
		"ChangeNeverConfirmsItself":         {a(run.Planning), run.PlanOutcome{Confirm: "bob"}, run.Planned},
		"UnchangedMergeHasNothingToConfirm": {merge, run.PlanOutcome{Unchanged: true, Confirm: "bob"}, run.Unchanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := run.SettlePlan(snapshot(c.run), "01A", c.out)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0].State; got != c.want {
				t.Errorf("state = %s, want %s", got, c.want)
			}
			if diff := cmp.Diff([]run.ProjectID{3}, change.Free); diff != "" {
				t.Errorf("slots freed (-want +got):\n%s", diff)
			}
		})
	}
}
