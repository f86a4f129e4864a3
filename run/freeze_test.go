package run_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
)

func TestAPausedApplyWaitsAndStaysConfirmed(t *testing.T) {
	t.Parallel()
	confirmed := a(run.Confirmed)
	confirmed.Confirmed, confirmed.ConfirmedBy = now.Add(-time.Minute), "alice"
	frozen := run.PauseGate(run.Pause{Match: "//**", Actor: "admin", Reason: "release week"})
	for name, gates := range map[string][]run.Gate{
		"AloneShut":          {open[0], frozen},
		"WithAnotherOneShut": {{Name: run.GateApproved, Text: "approved by someone else"}, frozen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := run.ClaimApply(snapshot(confirmed), "01A", gates, owner)
			if !errors.Is(err, run.ErrPaused) || len(change.Runs) > 0 {
				t.Errorf("ClaimApply() = %+v, %v; want ErrPaused and nothing written", change, err)
			}
		})
	}
	t.Run("AndGoesOnAfterwards", func(t *testing.T) {
		t.Parallel()
		change, err := run.ClaimApply(snapshot(confirmed), "01A", open, owner)
		if err != nil || change.Runs[0].State != run.Applying {
			t.Errorf("ClaimApply() = %+v, %v; want applying", change.Runs, err)
		}
	})
}

func TestAPauseNeedsSelectorAndReason(t *testing.T) {
	t.Parallel()
	for _, p := range []run.Pause{{Match: "//**", Actor: "admin"}, {Match: "//**", Reason: " "}, {Reason: "release week"}} {
		if c, err := run.Freeze(snapshot(), p); err == nil {
			t.Errorf("Freeze(%+v) = %+v, want an error", p, c)
		}
	}
	c, err := run.Freeze(snapshot(), run.Pause{Match: "//**", Actor: "admin", Reason: "release week"})
	if err != nil || !c.Pause[0].At.Equal(now) || len(c.Audit) != 1 || c.Audit[0].Actor != "admin" {
		t.Errorf("Freeze() = %+v, %v; want it since now and written down", c, err)
	}
}

func TestResumeNamesWhatIsPaused(t *testing.T) {
	t.Parallel()
	s := snapshot()
	if _, err := run.Resume(s, "//**", "admin"); !errors.Is(err, run.ErrNotFound) {
		t.Errorf("Resume() with nothing paused: error = %v, want ErrNotFound", err)
	}
	s.Pauses = []run.Pause{{Match: "//prod/**"}}
	if _, err := run.Resume(s, "//**", "admin"); !errors.Is(err, run.ErrNotFound) || !strings.Contains(err.Error(), "//prod/**") {
		t.Errorf("Resume() of another selector: error = %v, want ErrNotFound that names //prod/**", err)
	}
	c, err := run.Resume(s, "//prod/**", "admin")
	if err != nil || len(c.Resume) != 1 || len(c.Audit) != 1 {
		t.Errorf("Resume() = %+v, %v; want the pause to end and a row", c, err)
	}
}

func TestGateDecisionsAreWrittenDown(t *testing.T) {
	t.Parallel()
	planned, confirmed := a(run.Planned), a(run.Confirmed)
	confirmed.Confirmed, confirmed.ConfirmedBy = now.Add(-time.Minute), "alice"
	shut := []run.Gate{{Name: run.GateApproved, Text: "approved by someone else"}}
	held := []run.Gate{{Name: run.GatePolicy, Holds: true, Text: "policy passes"}}
	merged := a(run.Planning)
	merged.Kind = run.KindMerge
	for name, c := range map[string]struct {
		decide  func() (run.Change, error)
		actor   string
		outcome string
		detail  string
	}{
		"Confirm": {func() (run.Change, error) { return run.Confirm(snapshot(planned), []run.ID{"01A"}, "alice", held) }, "alice", "done", "policy passes"},
		"Claim":   {func() (run.Change, error) { return run.ClaimApply(snapshot(confirmed), "01A", held, owner) }, "alice", "done", "policy passes"},
		"ClaimRefused": {
			func() (run.Change, error) { return run.ClaimApply(snapshot(confirmed), "01A", shut, owner) }, "alice", "refused", "shut: approved",
		},
		"MergeConfirmed": {
			func() (run.Change, error) {
				return run.SettlePlan(snapshot(merged), "01A", run.PlanOutcome{Confirm: "bob"})
			}, "bob", "done", "effect",
		},
		"MergeWaits": {
			func() (run.Change, error) {
				return run.SettlePlan(snapshot(merged), "01A", run.PlanOutcome{Waits: "another effect"})
			}, "", "refused", "another effect",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := c.decide()
			if err != nil {
				t.Fatal(err)
			}
			if len(change.Audit) != 1 {
				t.Fatalf("%d audit rows, want one", len(change.Audit))
			}
			if got := change.Audit[0]; got.Actor != c.actor || got.Outcome != c.outcome || !strings.Contains(got.Detail, c.detail) || got.Run != "01A" {
				t.Errorf("audit row = %+v, want %q %s with %q", got, c.actor, c.outcome, c.detail)
			}
		})
	}
}

func TestRepairedFreesOnlyARunWhoseStateWasNotSaved(t *testing.T) {
	t.Parallel()
	unsaved := a(run.Failed)
	unsaved.Unsaved, unsaved.Reason = true, "state not saved"
	s := snapshot(unsaved)
	s.Slots[3] = "01A"
	c, err := run.Repaired(s, "01A", "admin", false)
	if err != nil || c.Runs[0].Unsaved || len(c.Free) != 1 || len(c.Audit) != 1 {
		t.Errorf("Repaired() = %+v, %v; want it settled, its slot free and a row", c, err)
	}
	for _, state := range []run.State{run.Failed, run.Applied, run.Interrupted, run.Applying} {
		if _, err := run.Repaired(snapshot(a(state)), "01A", "admin", true); !errors.Is(err, run.ErrIllegal) {
			t.Errorf("Repaired() of a run that is %s: error = %v, want ErrIllegal", state, err)
		}
	}
}
