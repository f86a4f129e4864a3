package run_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

// TestLockPoliciesTakeTheHold at the plan, at the confirmation, or never. A hold of another pull request stops applies and no plan.
func TestLockPoliciesTakeTheHold(t *testing.T) {
	t.Parallel()
	mine := map[run.ProjectID]run.PullID{3: 5}
	for policy, want := range map[run.LockPolicy]struct{ plan, apply map[run.ProjectID]run.PullID }{
		run.LockApply: {nil, mine},
		run.LockPlan:  {mine, mine},
		run.LockNone:  {nil, nil},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			in := func(s run.State) run.Run {
				r := a(s)
				r.Settings.Lock, r.Confirmed = policy, now
				return r
			}
			plan := func(s run.Snapshot) (run.Change, error) { return run.ClaimPlan(s, "01A", owner) }
			confirm := func(s run.Snapshot) (run.Change, error) { return run.Confirm(s, []run.ID{"01A"}, "bob") }
			claim := func(s run.Snapshot) (run.Change, error) { return run.ClaimApply(s, "01A", open, owner) }
			for name, step := range map[string]struct {
				from run.State
				do   func(run.Snapshot) (run.Change, error)
				want map[run.ProjectID]run.PullID
				held error
			}{
				"plan":    {run.Queued, plan, want.plan, nil},
				"confirm": {run.Planned, confirm, want.apply, run.ErrMoved},
				"apply":   {run.Confirmed, claim, want.apply, run.ErrMoved},
			} {
				s := snapshot(in(step.from))
				c, err := step.do(s)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if len(c.Hold)+len(step.want) > 0 && !cmp.Equal(step.want, c.Hold) {
					t.Errorf("%s takes holds %v, want %v", name, c.Hold, step.want)
				}
				s.Holds[3] = 6
				if c, err = step.do(s); !errors.Is(err, step.held) || len(c.Hold) > 0 {
					t.Errorf("%s while another pull request holds the project: holds %v, error %v; want none and %v", name, c.Hold, err, step.held)
				}
			}
		})
	}
}

func TestAPullRequestHasAtMostSoManyRunsAtWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parallel, running int
		pull              run.PullID
		want              error
	}{
		"WithRoom":            {2, 1, 5, nil},
		"Full":                {2, 2, 5, run.ErrMoved},
		"WithoutALimit":       {0, 9, 5, nil},
		"WithoutAPullRequest": {2, 2, 0, nil},
	} {
		for _, from := range []run.State{run.Queued, run.Confirmed} {
			r := a(from)
			r.Settings.Parallel, r.Pull, r.Confirmed = c.parallel, c.pull, now
			s := snapshot(r)
			s.Running = c.running
			_, err := run.ClaimPlan(s, "01A", owner)
			if from == run.Confirmed {
				_, err = run.ClaimApply(s, "01A", open, owner)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%s: claiming one that is %s: error = %v, want %v", name, from, err, c.want)
			}
		}
	}
}

// TestAHoldIsFreedUnlessAnApplyUsesIt, by closing and by unlock.
func TestAHoldIsFreedUnlessAnApplyUsesIt(t *testing.T) {
	t.Parallel()
	for state, freed := range map[run.State]bool{
		run.Planning:    true, // a plan needs no hold, whoever makes it
		run.Applying:    false,
		run.Interrupted: false,
		run.Failed:      false, // it could not save its state
		"":              false, // not known
	} {
		s := snapshot()
		s.Pull = run.Pull{ID: 5}
		s.Holds[3], s.Holds[4], s.Slots[3], s.Users = 5, 6, "01X", map[run.ProjectID]run.State{3: state}
		closed, err := run.Close(s, s.Pull, "closed")
		if err != nil {
			t.Fatal(err)
		}
		merged, err := run.Merge(s, s.Pull, run.Revision{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		unlocked, err := run.Unlock(s, "bob")
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]run.Change{"Close": closed, "Merge": merged, "Unlock": unlocked} {
			if cmp.Equal(got.Unhold, []run.ProjectID{3}) != freed {
				t.Errorf("%s() beside a slot whose run is %q frees %v, want freed = %t", name, state, got.Unhold, freed)
			}
		}
	}
}
