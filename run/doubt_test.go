package run_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/run"
)

// TestAnAcknowledgedApplyShowsWhatIsLeft settles an apply in doubt for a person, among what else there is of its project.
func TestAnAcknowledgedApplyShowsWhatIsLeft(t *testing.T) {
	t.Parallel()
	interrupted, unsaved, push, merge := a(run.Interrupted), a(run.Failed), a(run.Interrupted), a(run.Interrupted)
	unsaved.Unsaved = true
	push.Pull, push.Kind, merge.Kind = 0, run.KindMerge, run.KindMerge
	newer, other := a(run.Queued), a(run.Queued)
	newer.ID = "01B"
	other.ID, other.Project = "01C", 4
	for name, c := range map[string]struct {
		run     run.Run
		others  []run.Run
		pull    run.Pull
		old     bool // another revision counts now
		planned bool
	}{
		"Interrupted":                        {run: interrupted, pull: run.Pull{ID: 5, State: "open"}, planned: true},
		"StateNotSaved":                      {run: unsaved, pull: run.Pull{ID: 5, State: "open"}, planned: true},
		"WhileAnotherProjectWaits":           {run: interrupted, others: []run.Run{other}, pull: run.Pull{ID: 5, State: "open"}, planned: true},
		"OfAMerge":                           {run: merge, pull: run.Pull{ID: 5, State: "merged"}, planned: true},
		"OfAPush":                            {run: push, planned: true},
		"NotWhenANewerPlanWaitsAlready":      {run: interrupted, others: []run.Run{newer}, pull: run.Pull{ID: 5, State: "open"}},
		"NotWhenAnotherRevisionCounts":       {run: interrupted, pull: run.Pull{ID: 5, State: "open"}, old: true},
		"NotWhenThePullRequestWasClosed":     {run: interrupted, pull: run.Pull{ID: 5, State: "closed"}},
		"NotWhenItIsADraft":                  {run: interrupted, pull: run.Pull{ID: 5, State: "open", Draft: true}},
		"NotWhenTheMergeOfItIsPlannedAnyway": {run: interrupted, pull: run.Pull{ID: 5, State: "merged"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := snapshot(append([]run.Run{c.run}, c.others...)...)
			s.Pull = c.pull
			change, err := run.Acknowledge(s, "01A", "bob", !c.old)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0]; got.State != run.Failed || got.Unsaved || !strings.Contains(got.Reason, "acknowledged by bob") || len(change.Free) != 1 || len(change.Audit) != 1 {
				t.Errorf("settled as %s (%s), freed %v, audit %v; want failed with who looked, the slot free and a row", got.State, got.Reason, change.Free, change.Audit)
			}
			if len(change.Runs) != 1 || len(change.New) > 0 != c.planned {
				t.Fatalf("planned again: %v, want %t", change.New, c.planned)
			}
			if c.planned && (!run.AfterDoubt(change.New[0]) || change.New[0].State != run.Queued || change.New[0].Project != 3) {
				t.Errorf("the new run is %+v, want one that shows what is left of the project", change.New[0])
			}
		})
	}
	for _, s := range []run.State{run.Applying, run.Planned, run.Failed, run.Applied} {
		if _, err := run.Acknowledge(snapshot(a(s)), "01A", "bob", true); !errors.Is(err, run.ErrIllegal) {
			t.Errorf("Acknowledge() of a run that is %s: error = %v, want ErrIllegal", s, err)
		}
	}
}

func TestARepairedStateIsPlannedAgain(t *testing.T) {
	t.Parallel()
	unsaved := a(run.Failed)
	unsaved.Unsaved = true
	s := snapshot(unsaved)
	s.Pull = run.Pull{ID: 5, State: "open"}
	if c, err := run.Repaired(s, "01A", "admin", true); err != nil || len(c.New) != 1 || !run.AfterDoubt(c.New[0]) {
		t.Errorf("Repaired() = %+v, %v, want a plan of what is left", c, err)
	}
}

func TestWhatTheLogOfAnInterruptedApplyTellsLaterIsKept(t *testing.T) {
	t.Parallel()
	r := a(run.Interrupted)
	r.Reason, r.Blobs = "node n is unreachable", map[string]string{"plan": "p", "view_apply": "old"}
	c, err := run.SettleApply(snapshot(r), "01A", run.ApplyOutcome{Interrupted: true, Reason: "vanished", Blobs: map[string]string{"view_apply": "new"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Runs[0]; got.State != run.Interrupted || got.Blobs["view_apply"] != "new" || got.Blobs["plan"] != "p" || len(c.Free)+len(c.Unhold) > 0 || len(c.Postings) > 0 {
		t.Errorf("settled %+v, freed %v, told %v; want it interrupted still, silently", got, c.Free, c.Postings)
	}
}

func TestAFreedLockPlansWhatItStopped(t *testing.T) {
	t.Parallel()
	open := run.Pull{ID: 5, State: "open"}
	stopped, left, applied, waiting := a(run.Failed), a(run.Failed), a(run.Failed), a(run.Queued)
	left.Cause = "left:01Z"
	applied.ApplyStarted = now
	waiting.ID = "01B"
	for name, c := range map[string]struct {
		run    run.Run
		others []run.Run
		cause  string
	}{
		"ThePlan":                     {stopped, nil, "freed:5b8f"},
		"ThePlanThatWaitsForAWord":    {left, nil, "left:freed:5b8f"},
		"NotAnApply":                  {applied, nil, ""},
		"NotWhenItIsPlannedAgainElse": {stopped, []run.Run{waiting}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := snapshot(append([]run.Run{c.run}, c.others...)...)
			s.Pull = open
			got := run.Unstuck(s, c.run, "5b8f")
			if len(got) > 0 != (c.cause != "") || len(got) > 0 && got[0].Cause != c.cause {
				t.Errorf("Unstuck() = %+v, want cause %q", got, c.cause)
			}
		})
	}
}

func TestALockThatAnEarlierPlanLeftIsFreedOnceForEach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		freed string // for this very run
		again bool
	}{"First": {"", true}, "TheSameDoesNotGo": {"5b8f", false}, "Another": {"77aa", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := a(run.Planning)
			r.Settings.Unlock = c.freed
			change, err := run.SettlePlan(snapshot(r), "01A", run.PlanOutcome{Failed: "plan failed", Unlock: "5b8f"})
			if err != nil || len(change.New) > 0 != c.again || c.again && change.New[0].Settings.Unlock != "5b8f" {
				t.Errorf("SettlePlan() = %+v, %v, want another plan that frees the lock: %t", change.New, err, c.again)
			}
		})
	}
}

// TestWhatAnApplyLeftNeedsNoOtherApproval is an approval that was given for all of which this plan is the rest.
func TestWhatAnApplyLeftNeedsNoOtherApproval(t *testing.T) {
	t.Parallel()
	approval := func(m run.Moment) run.Gate {
		for _, g := range run.Gates(m) {
			if g.Name == run.GateApproved {
				return g
			}
		}
		return run.Gate{}
	}
	m := ready()
	m.Run.EffectDigest, m.Run.RestOf = "rest", "e1"
	if g := approval(m); !g.Holds {
		t.Errorf("the gate of what is left = %+v, want it open", g)
	}
	m.Run.RestOf = "e0"
	if g := approval(m); g.Holds {
		t.Errorf("the gate of the rest of something else = %+v, want it shut", g)
	}
	m.Run.RestOf, m.Shown = "", append(m.Shown, run.Shown{Head: head, Effect: "", At: now.Add(-1)})
	if g := approval(m); g.Holds {
		t.Errorf("the gate of a plan that is nothing's rest = %+v, want it shut", g)
	}
}

func TestARetryIsConfirmedByWhoAskedForIt(t *testing.T) {
	t.Parallel()
	failed := a(run.Failed)
	next := run.Retry(failed, "bob")
	if id, ok := run.Continues(next); !ok || id != "01A" || next.Actor != "bob" || next.State != run.Queued {
		t.Errorf("Retry() = %+v, want a plan that continues 01A for bob", next)
	}
	planning := next
	planning.ID, planning.State = "01B", run.Planning
	c, err := run.SettlePlan(snapshot(planning), "01B", run.PlanOutcome{Confirm: "bob", Planned: run.Run{RestOf: "e1"}})
	if err != nil || c.Runs[0].State != run.Confirmed || c.Runs[0].ConfirmedBy != "bob" || c.Runs[0].RestOf != "e1" {
		t.Errorf("SettlePlan() = %+v, %v, want it confirmed by bob", c.Runs, err)
	}
}

func TestUnlockLeavesWhatAnApplyUses(t *testing.T) {
	t.Parallel()
	s := run.Snapshot{
		Now: now, Pull: run.Pull{ID: 5}, Holds: map[run.ProjectID]run.PullID{3: 5, 4: 5, 8: 5, 9: 6},
		Slots: map[run.ProjectID]run.ID{3: "01D", 4: "01B"}, Users: map[run.ProjectID]run.State{3: run.Planning, 4: run.Interrupted},
	}
	c, err := run.Unlock(s, "bob")
	if err != nil || len(c.Unhold) != 2 || c.Unhold[0] != 3 || c.Unhold[1] != 8 {
		t.Errorf("Unlock() frees %v, %v, want 3 and 8", c.Unhold, err)
	}
	if c, err = run.Unlock(s, "bob", 8); err != nil || len(c.Unhold) != 1 || c.Unhold[0] != 8 {
		t.Errorf("Unlock(8) frees %v, %v, want 8 alone", c.Unhold, err)
	}
}
