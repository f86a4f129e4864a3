package run_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// dependent is a run of project 4 that comes after project 3, planned an hour ago.
func dependent(in run.State) run.Run {
	r := a(in)
	r.ID, r.Project, r.Label = "01D", 4, "app"
	r.Settings.After = []run.ProjectID{3}
	r.Started = now.Add(-time.Hour)
	return r
}

// TestPending tells previews from plans: a plan is one unless it knows all that the dependency did, or had to do.
func TestPending(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dep  run.State
		done time.Time
		want int
	}{
		"WhileTheDependencyIsPlanned":       {run.Planned, time.Time{}, 1},
		"WhileItIsConfirmed":                {run.Confirmed, time.Time{}, 1},
		"AfterItFailed":                     {run.Failed, now.Add(-2 * time.Hour), 1},
		"WhileNobodyKnowsHowFarItCame":      {run.Interrupted, time.Time{}, 1},
		"AfterItWasCanceled":                {run.Canceled, now.Add(-2 * time.Hour), 1},
		"NotAfterItWasAppliedBefore":        {run.Applied, now.Add(-2 * time.Hour), 0},
		"WhenItWasAppliedSince":             {run.Applied, now, 1},
		"NotWhenItHadNothingToChange":       {run.Unchanged, now, 0},
		"WhenItsPlanWasReplacedByNobodyYet": {run.Superseded, now, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dep := a(c.dep)
			dep.Finished = c.done
			if got := run.Pending(dependent(run.Planned), map[run.ProjectID]run.Run{3: dep}); len(got) != c.want {
				t.Errorf("Pending() = %v, want %d", got, c.want)
			}
		})
	}
	t.Run("WhenTheDependencyWasNeverPlanned", func(t *testing.T) {
		t.Parallel()
		if got := run.Pending(dependent(run.Planned), nil); len(got) != 1 {
			t.Errorf("Pending() = %v, want one that nobody knows", got)
		}
	})
}

func TestAPreviewIsNeverApplied(t *testing.T) {
	t.Parallel()
	m := ready()
	m.Pending = []run.Run{a(run.Planned)}
	if run.Hold(run.Gates(m)) {
		t.Error("every gate of a preview holds")
	}
}

func TestAPreviewIsConfirmedOnlyWithWhatItDependsOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dep  run.State
		with []run.Run
		want bool
	}{
		{run.Planned, nil, false},
		{run.Planned, []run.Run{a(run.Planned)}, true},
		{run.Confirmed, nil, true},
		{run.Applying, nil, true},
		{run.Failed, nil, false},
		{run.Interrupted, nil, false},
	} {
		if got := run.Leads(run.Moment{Pending: []run.Run{a(c.dep)}}, c.with); got != c.want {
			t.Errorf("Leads(dependency %s, with %d) = %v, want %v", c.dep, len(c.with), got, c.want)
		}
	}
}

// TestWhatDependsOnAnAppliedProjectIsPlannedAgain walks the states in which an apply can find a dependent.
func TestWhatDependsOnAnAppliedProjectIsPlannedAgain(t *testing.T) {
	t.Parallel()
	for in, replaced := range map[run.State]bool{
		run.Planned: true, run.Confirmed: true, run.Unchanged: true,
		run.Queued: false, run.Failed: false, run.Canceled: false, run.Superseded: false,
	} {
		t.Run(string(in), func(t *testing.T) {
			t.Parallel()
			applying, dep := a(run.Applying), dependent(in)
			applying.ApplyStarted = now.Add(-time.Minute)
			if in == run.Confirmed {
				dep.ConfirmedBy = "bob"
			}
			s := snapshot(applying)
			if !in.Final() {
				s.Runs = append(s.Runs, dep)
			}
			c, err := run.SettleApply(s, applying.ID, run.ApplyOutcome{Applied: true, Latest: []run.Run{dep}})
			if err != nil {
				t.Fatal(err)
			}
			if !replaced {
				if len(c.New) > 0 {
					t.Fatalf("planned again: %+v", c.New)
				}
				return
			}
			if len(c.New) != 1 || c.New[0].State != run.Queued || c.New[0].Project != dep.Project {
				t.Fatalf("new runs = %+v, want one that plans %s again", c.New, dep.Label)
			}
			if from, ok := run.Continues(c.New[0]); !ok || from != dep.ID {
				t.Errorf("the new run continues %q, want %s", from, dep.ID)
			}
			i := slices.IndexFunc(c.Runs, func(r run.Run) bool { return r.ID == dep.ID })
			if in != run.Unchanged && (i < 0 || c.Runs[i].State != run.Superseded || c.Runs[i].ConfirmedBy != dep.ConfirmedBy) {
				t.Errorf("runs = %+v, want the preview superseded, with the name of who confirmed it", c.Runs)
			}
		})
	}
}

func TestAPlanThatReplacesAConfirmedOneMayGoOn(t *testing.T) {
	t.Parallel()
	for cause, want := range map[string]run.State{"after:01C": run.Confirmed, "stale:01C": run.Confirmed, "comment:7:1": run.Planned} {
		r := a(run.Planning)
		r.Cause = cause
		c, err := run.SettlePlan(snapshot(r), r.ID, run.PlanOutcome{Confirm: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Runs[0].State; got != want {
			t.Errorf("a run for %s settles as %s, want %s", cause, got, want)
		}
	}
}

// TestAFailureEndsWhatDependsOnItEvenWhereOthersGoOn holds on_failure: continue against depends_on.
func TestAFailureEndsWhatDependsOnItEvenWhereOthersGoOn(t *testing.T) {
	t.Parallel()
	failing, dep, other := a(run.Applying), dependent(run.Confirmed), a(run.Confirmed)
	failing.Settings.OnFailure = "continue"
	other.ID, other.Project = "01E", 5
	s := snapshot(failing)
	s.Runs = append(s.Runs, dep, other)
	c, err := run.SettleApply(s, failing.ID, run.ApplyOutcome{Reason: "apply failed (exit code 1)"})
	if err != nil {
		t.Fatal(err)
	}
	var back []run.ID
	for _, r := range c.Runs {
		if r.State == run.Planned {
			back = append(back, r.ID)
		}
	}
	if len(back) != 1 || back[0] != dep.ID {
		t.Errorf("sent back: %v, want only %s", back, dep.ID)
	}
}

// TestALaterMergeContainsTheEarlierOnesOfItsProject is the order of merges: what waits for a person is done by the later plan, what runs
// and what belongs to others is left alone.
func TestALaterMergeContainsTheEarlierOnesOfItsProject(t *testing.T) {
	t.Parallel()
	merge := func(id run.ID, project run.ProjectID, turn int64, in run.State) run.Run {
		r := a(in)
		r.ID, r.Project, r.Turn, r.Kind, r.Pull = id, project, turn, run.KindMerge, 77
		return r
	}
	later := merge("01Z", 3, 9, run.Planning)
	s := snapshot(later)
	s.Pull.Number = 215
	s.Runs = append(s.Runs, merge("01B", 3, 7, run.Planned), merge("01C", 3, 11, run.Planned), merge("01D", 4, 7, run.Planned), merge("01E", 3, 8, run.Applying))
	c, err := run.SettlePlan(s, later.ID, run.PlanOutcome{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Runs) != 2 || c.Runs[1].ID != "01B" || c.Runs[1].State != run.Superseded || c.Runs[1].Reason != "contained in #215" {
		t.Errorf("runs = %+v, want the later one and 01B, contained in #215", c.Runs)
	}
	c, err = run.SettlePlan(s, later.ID, run.PlanOutcome{Failed: "plan failed (exit code 1)"})
	if err != nil || len(c.Runs) != 1 {
		t.Errorf("a failed plan ends others: %+v, %v", c.Runs, err)
	}
}

func TestALaterMergeTakesOverFromAConfirmedOneAndItsHold(t *testing.T) {
	t.Parallel()
	later, earlier := a(run.Planning), a(run.Confirmed)
	later.Kind, later.Turn, later.Pull = run.KindMerge, 9, 78
	earlier.ID, earlier.Kind, earlier.Turn, earlier.Pull = "01B", run.KindMerge, 8, 77
	s := snapshot(later)
	s.Runs, s.Holds = append(s.Runs, earlier), map[run.ProjectID]run.PullID{3: 77}
	c, err := run.SettlePlan(s, later.ID, run.PlanOutcome{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Runs) != 2 || c.Runs[1].ID != "01B" || c.Runs[1].State != run.Superseded || !cmp.Equal(c.Unhold, []run.ProjectID{3}) {
		t.Errorf("runs = %+v, freed %v, want the confirmed one superseded and its hold free", c.Runs, c.Unhold)
	}
}

func TestAMergeThatLeftItsBranchNeverApplies(t *testing.T) {
	t.Parallel()
	for fresh, want := range map[vcs.Tri]bool{vcs.Yes: true, vcs.No: false, vcs.Unknown: false} {
		m := ready()
		m.Run.Kind, m.Merged, m.Fresh = run.KindMerge, true, fresh
		if got := run.Hold(run.Gates(m)); got != want {
			t.Errorf("with its commit on the branch: %v, the gates hold: %v, want %v", fresh, got, want)
		}
	}
}
