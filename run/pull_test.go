package run_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func TestReviseReplacesWhatIsOlder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old  run.Run
		rev  run.Revision
		want run.State
		stop run.State
	}{
		"QueuedIsSuperseded":                      {a(run.Queued), run.Revision{Pull: 5, Kind: run.KindChange}, run.Superseded, ""},
		"PlannedIsSuperseded":                     {a(run.Planned), run.Revision{Pull: 5, Kind: run.KindChange}, run.Superseded, ""},
		"PlanningIsAskedToStop":                   {a(run.Planning), run.Revision{Pull: 5, Kind: run.KindChange}, run.Planning, run.Superseded},
		"ApplyingGoesOn":                          {a(run.Applying), run.Revision{Pull: 5, Kind: run.KindChange}, "", ""},
		"InterruptedWaitsForAPerson":              {a(run.Interrupted), run.Revision{Pull: 5, Kind: run.KindChange}, "", ""},
		"OfTheSameRevisionAndOtherProjectStays":   {a(run.Planned), run.Revision{ID: 7, Pull: 5, Kind: run.KindChange}, "", ""},
		"ChangeIsNotReplacedByAMergeRevision":     {a(run.Planned), run.Revision{Pull: 5, Kind: run.KindMerge}, "", ""},
		"OfAnotherPullRequestStays":               {a(run.Planned), run.Revision{Pull: 6, Kind: run.KindChange}, "", ""},
		"WithoutPullRequestNothingIsReplacedHere": {a(run.Planned), run.Revision{Kind: run.KindChange}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := run.Revise(snapshot(c.old), c.rev, nil, "newer commit")
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if len(change.Runs) != 0 {
					t.Fatalf("wrote %v, want the run left alone", change.Runs)
				}
				return
			}
			if got := change.Runs[0]; got.State != c.want || got.Stop != c.stop {
				t.Errorf("run = %s, stop %q; want %s, stop %q", got.State, got.Stop, c.want, c.stop)
			}
		})
	}
}

func TestCloseFreesOnlyWhatNobodyUses(t *testing.T) {
	t.Parallel()
	waiting, applying := a(run.Confirmed), a(run.Applying)
	applying.ID, applying.Project = "01B", 4
	s := snapshot(waiting, applying)
	s.Holds = map[run.ProjectID]run.PullID{3: 5, 4: 5, 8: 5, 9: 6}
	s.Slots = map[run.ProjectID]run.ID{3: "01D", 4: "01B", 8: "01C"} // 3: somebody else plans; 8: a failed run that left its state unsaved
	s.Users = map[run.ProjectID]run.State{3: run.Planning, 4: run.Applying, 8: run.Failed}
	c, err := run.Close(s, run.Pull{ID: 5}, "closed")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]run.ProjectID{3}, c.Unhold); diff != "" {
		t.Errorf("holds freed (-want +got):\n%s", diff)
	}
	if len(c.Runs) != 1 || c.Runs[0].State != run.Canceled {
		t.Errorf("runs written = %v, want the waiting one canceled", c.Runs)
	}
}
