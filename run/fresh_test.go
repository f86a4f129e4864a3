package run_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// TestARefusedPlanIsLookedAtAgain sends a confirmed run back for one gate after the other: only where what it was planned from may have
// changed is its pull request looked at again.
func TestARefusedPlanIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	look := []run.Job{{Kind: run.JobStale, Key: "5"}}
	for name, c := range map[string]struct {
		change func(m *run.Moment)
		want   []run.Job
		why    string
	}{
		"WhenTheHeadMoved":              {func(m *run.Moment) { m.Head = vcs.No }, look, "the plan is not of aaaaaaa on main"},
		"WhenTheHeadIsUnknown":          {func(m *run.Moment) { m.Head = vcs.Unknown }, look, "could not be found out"},
		"WhenTheBaseChangedItsInputs":   {func(m *run.Moment) { m.Fresh = vcs.No }, look, "main has changed what this plan was made from"},
		"WhenTheBaseIsUnknown":          {func(m *run.Moment) { m.Fresh = vcs.Unknown }, look, "could not be found out"},
		"NotWhenAnApprovalWasTakenBack": {func(m *run.Moment) { m.Pull.Reviews = nil }, nil, "approved"},
		"NotWhenPolicySaysNo":           {func(m *run.Moment) { m.Findings = []run.Finding{{Rule: "r", Level: run.Hard}} }, nil, "policy r fixed"},
		"NotWhereItIsNotAskedToBeCurrent": {func(m *run.Moment) {
			m.Fresh, m.Pull.Reviews, m.Run.Settings.Requirements = vcs.No, nil, []string{"approved"}
		}, nil, "approved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ready()
			m.Run.State, m.Run.Confirmed, m.Run.ConfirmedBy = run.Confirmed, now, "bob"
			c.change(&m)
			change, err := run.ClaimApply(snapshot(m.Run), "01A", run.Gates(m), owner)
			if err != nil {
				t.Fatal(err)
			}
			if got := change.Runs[0]; got.State != run.Planned || !strings.Contains(got.Reason, c.why) || len(change.Take) > 0 {
				t.Errorf("run = %s (%s), want planned because %q", got.State, got.Reason, c.why)
			}
			if diff := cmp.Diff(c.want, change.Jobs); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
			if len(change.Postings) != 1 || change.Postings[0].Kind != run.PostMergeWaits {
				t.Errorf("postings = %v, want one that tells", change.Postings)
			}
		})
	}
	t.Run("WhenNothingCouldBeFoundOut", func(t *testing.T) {
		t.Parallel()
		r := a(run.Confirmed)
		r.Confirmed = now
		change, err := run.ClaimApply(snapshot(r), "01A", nil, owner)
		if err != nil || !cmp.Equal(change.Jobs, look) {
			t.Errorf("jobs = %v, %v, want a look", change.Jobs, err)
		}
		r.Pull = 0
		if change, err = run.ClaimApply(snapshot(r), "01A", nil, owner); err != nil || len(change.Jobs) > 0 {
			t.Errorf("jobs without a pull request = %v, %v, want none", change.Jobs, err)
		}
	})
}

// TestAMergeIsNotAskedForItsHead: a merge run is of a commit of the branch, and the gates of the merge are judged as they were then.
func TestAMergeIsNotAskedForItsHead(t *testing.T) {
	t.Parallel()
	m := ready()
	m.Head, m.Merged = vcs.Unknown, true
	if gates := run.Gates(m); slices.ContainsFunc(gates, func(g run.Gate) bool { return g.Name == run.GateHead }) {
		t.Errorf("Gates() at the merge = %v, want no gate of the head", gates)
	}
	m.Run.Kind = run.KindMerge
	if gates := run.Gates(m); slices.ContainsFunc(gates, func(g run.Gate) bool { return g.Name == run.GateHead }) {
		t.Errorf("Gates() of a merge run = %v, want no gate of the head", gates)
	}
}

func TestARefusedPlanHasASuccessorInTheSameChange(t *testing.T) {
	t.Parallel()
	confirmed := a(run.Confirmed)
	confirmed.ConfirmedBy = "bob"
	for name, c := range map[string]struct {
		out  run.ApplyOutcome
		goes bool // on by itself, if its effect is the same
	}{
		"ThatGoesOn":            {run.ApplyOutcome{Stale: true, Reason: "it cannot be read", Told: "told"}, true},
		"ThatWaitsWhereInDoubt": {run.ApplyOutcome{Stale: true, Doubt: true, Reason: "its digest differs", Told: "told"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, err := run.Supersede(snapshot(confirmed), "01A", c.out)
			if err != nil {
				t.Fatal(err)
			}
			after, err := run.SettleApply(snapshot(a(run.Applying)), "01A", c.out)
			if err != nil {
				t.Fatal(err)
			}
			for when, change := range map[string]run.Change{"before its claim": before, "after its claim": after} {
				if r := change.Runs[0]; r.State != run.Superseded || r.Reason != c.out.Reason || len(change.Take) > 0 {
					t.Errorf("%s: run = %s (%s), want superseded", when, r.State, r.Reason)
				}
				if len(change.New) != 1 || change.New[0].State != run.Queued || change.New[0].Project != 3 {
					t.Fatalf("%s: successors = %v, want one", when, change.New)
				}
				if id, goes := run.Continues(change.New[0]); goes != c.goes || goes && id != "01A" {
					t.Errorf("%s: the successor goes on = %t, want %t", when, goes, c.goes)
				}
				if n := len(change.Postings); n != 1 || change.Postings[0].Kind != run.PostReply || change.Postings[0].Body != "told" {
					t.Errorf("%s: postings = %v, want the one that tells", when, change.Postings)
				}
			}
		})
	}
	if _, err := run.Supersede(snapshot(a(run.Planned)), "01A", run.ApplyOutcome{}); !errors.Is(err, run.ErrMoved) {
		t.Errorf("Supersede() of a run that nobody confirmed error = %v, want ErrMoved", err)
	}
}

func TestAChangedPolicyIsWrittenDownWithTheClaim(t *testing.T) {
	t.Parallel()
	m := ready()
	m.Run.State, m.Run.Confirmed = run.Confirmed, now
	findings := []run.Finding{{Rule: "new", Level: run.Hard}}
	for name, c := range map[string]struct {
		findings []run.Finding
		want     run.State
	}{
		"ThatSaysNo":       {findings, run.Planned},
		"ThatStillSaysYes": {nil, run.Applying},
	} {
		m.Findings, m.Run.PolicyDigest = c.findings, "p2"
		change, err := run.ClaimApply(snapshot(m.Run), "01A", run.Gates(m), owner)
		if err != nil {
			t.Fatal(err)
		}
		change = run.Rejudged(change, "01A", "p2", c.findings)
		if r := change.Runs[0]; r.State != c.want || r.PolicyDigest != "p2" || !cmp.Equal(change.Findings[r.ID], c.findings) {
			t.Errorf("%s: run = %s judged by %s with %v, want %s", name, r.State, r.PolicyDigest, change.Findings, c.want)
		}
	}
	change, err := run.Rejudge(snapshot(a(run.Planned)), "01A", "p2", findings)
	if err != nil || change.Runs[0].State != run.Planned || change.Runs[0].PolicyDigest != "p2" || len(change.Findings["01A"]) != 1 {
		t.Errorf("Rejudge() = %+v, %v", change, err)
	}
	if _, err := run.Rejudge(snapshot(a(run.Applying)), "01A", "p2", nil); !errors.Is(err, run.ErrIllegal) {
		t.Errorf("Rejudge() of a run that applies error = %v, want ErrIllegal", err)
	}
}

// TestAPlanOfAMovedBaseIsLookedAtWhenItHasSettled, however it ends.
func TestAPlanOfAMovedBaseIsLookedAtWhenItHasSettled(t *testing.T) {
	t.Parallel()
	queued, other := a(run.Queued), a(run.Planning)
	queued.ID, other.ID, other.Kind = "01B", "01C", run.KindMerge
	s := snapshot(a(run.Planning), queued, other)
	s.Pull.ID = 5
	c := run.Recheck(s)
	if len(c.Runs) != 1 || c.Runs[0].ID != "01A" || !c.Runs[0].Recheck || c.Runs[0].State != run.Planning || c.Runs[0].Stop != "" {
		t.Fatalf("Recheck() = %+v, want a note on the one that is being planned, which goes on", c.Runs)
	}
	for name, out := range map[string]run.PlanOutcome{"planned": {}, "unchanged": {Unchanged: true}, "failed": {Failed: "x"}, "lost": {Lost: true}} {
		change, err := run.SettlePlan(snapshot(c.Runs[0]), "01A", out)
		if err != nil {
			t.Fatal(err)
		}
		if len(change.Jobs) != 1 || change.Jobs[0].Kind != run.JobStale || change.Runs[0].Recheck {
			t.Errorf("%s: jobs = %v, recheck = %t; want one look and no more", name, change.Jobs, change.Runs[0].Recheck)
		}
	}
}
