package intake_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// works has the jobs of the office done by themselves.
func (o *office) works() {
	o.t.Helper()
	o.store.Handle(intake.JobDelivery, func(context.Context, string) error { return nil }) // handed over by the test
	o.store.Handle(intake.JobPushed, func(context.Context, string) error { return nil })
	o.store.Handle(intake.JobStale, o.intake.Stale)
	o.store.Handle(intake.JobBase, o.intake.Base)
	check(o.t, o.store.Start(o.t.Context()))
	o.t.Cleanup(func() { _ = o.store.Stop(context.WithoutCancel(o.t.Context())) })
}

func (o *office) eventually(what string, ok func() bool) {
	o.t.Helper()
	kicks, deadline := o.store.Kicks(), time.After(2*time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-kicks:
		case <-tick.C:
		case <-deadline:
			o.t.Fatalf("never: %s", what)
		}
	}
}

// opens is a pull request of alice that changes so many projects of its own, beside a module that main may change.
func (o *office) opens(name string, projects int) (number int, head string) {
	o.t.Helper()
	files := map[string]string{}
	for n := range projects {
		files[fmt.Sprintf("%s/p%d/main.tf", name, n)] = "terraform {\n  backend \"s3\" {}\n}\n\nmodule \"m\" {\n  source = \"../../modules/m\"\n}\n"
	}
	head, err := o.host.Push(repository, "alice", name, fakehost.Commit{Files: files})
	check(o.t, err)
	number, err = o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: name, Head: name})
	check(o.t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	if runs := o.runs(head); len(runs) != projects {
		o.t.Fatalf("%s has %d runs, want %d", name, len(runs), projects)
	}
	return number, head
}

// main pushes to the base what the module is to say.
func (o *office) main(value string) string {
	o.t.Helper()
	sha, err := o.host.Push(repository, "alice", "main", fakehost.Commit{Files: map[string]string{"modules/m/main.tf": "# " + value + "\n"}})
	check(o.t, err)
	return sha
}

func (o *office) advance(id run.ID, decide func(run.Snapshot) (run.Change, error)) {
	o.t.Helper()
	_, err := o.store.Advance(o.t.Context(), run.Scope{Runs: []run.At{{ID: id}}}, decide)
	check(o.t, err)
}

func (o *office) claims(id run.ID) {
	o.t.Helper()
	o.advance(id, func(s run.Snapshot) (run.Change, error) { return run.ClaimPlan(s, id, run.Owner{Node: "n"}) })
}

func (o *office) settles(id run.ID, out run.PlanOutcome) {
	o.t.Helper()
	out.Planned = run.Run{EffectDigest: "e", PolicyDigest: "p"}
	o.advance(id, func(s run.Snapshot) (run.Change, error) { return run.SettlePlan(s, id, out) })
}

func (o *office) base() error {
	return o.intake.Base(o.t.Context(), fmt.Sprintf("%d/main", o.pull(1).Repo))
}

// TestAPushPlansTwentyProjectsAgain has three pull requests of eight projects: the two that were active last fit.
func TestAPushPlansTwentyProjectsAgain(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.main("one")
	heads := map[string]string{}
	for n, name := range []string{"a", "b", "c"} {
		number, head := o.opens(name, 8)
		heads[name] = head
		p := o.pull(number)
		p.Updated = time.Now().Add(time.Duration(n) * time.Minute)
		_, err := o.store.SavePull(t.Context(), p)
		check(t, err)
	}
	o.main("two")
	check(t, o.base())
	for name, want := range map[string]int{"a": 8, "b": 16, "c": 16} {
		runs := o.runs(heads[name])
		if len(runs) != want {
			t.Errorf("%s has %d runs after the push, want %d", name, len(runs), want)
		}
		if want == 16 && (!runs[0].Idle || runs[15].State != run.Superseded || !strings.Contains(runs[15].Reason, "main moved to")) {
			t.Errorf("%s is planned again idly = %t, the plan before is %s (%s)", name, runs[0].Idle, runs[15].State, runs[15].Reason)
		}
	}
	check(t, o.base()) // delivered twice, or found by a reconcile: it is looked at once
	if runs := o.runs(heads["a"]); len(runs) != 8 {
		t.Errorf("the same push has been looked at twice: %d runs", len(runs))
	}
	o.says("alice", 1, "planlatch plan") // and the rest when asked
	if runs := o.runs(heads["a"]); len(runs) != 16 || runs[0].Idle {
		t.Errorf("%d runs after the word of a person, idle = %t, want 16 that are not", len(runs), runs[0].Idle)
	}
}

func TestAPushThatTouchesNothingPlansNothing(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.main("one")
	_, head := o.opens("a", 2)
	_, err := o.host.Push(repository, "alice", "main", fakehost.Commit{Files: map[string]string{"README.md": "x\n", "other/p/main.tf": "# x\n"}})
	check(t, err)
	check(t, o.base())
	if runs := o.runs(head); len(runs) != 2 {
		t.Errorf("%d runs, want the 2 there were", len(runs))
	}
}

// TestAPlanBeingMadeWhileTheBaseMovesIsMadeAgain once it has settled, by itself, and is not stopped for it.
func TestAPlanBeingMadeWhileTheBaseMovesIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]run.PlanOutcome{"planned": {}, "unchanged": {Unchanged: true}, "failed": {Failed: "exit code 1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.main("one")
			_, head := o.opens("a", 1)
			o.works()
			id := o.runs(head)[0].ID
			o.claims(id)
			tip := o.main("two")
			o.hand(vcs.Event{Kind: vcs.EventPush, Push: &vcs.Push{Branch: "main", After: tip}})
			o.eventually("the run is noted", func() bool { return o.runs(head)[0].Recheck })
			if runs := o.runs(head); len(runs) != 1 || runs[0].State != run.Planning || runs[0].Stop != "" {
				t.Fatalf("runs = %v, want the one that goes on", runs)
			}
			o.settles(id, out)
			o.eventually("it is planned again", func() bool { return len(o.runs(head)) == 2 })
			if runs := o.runs(head); runs[0].State != run.Queued || !runs[0].Idle {
				t.Errorf("the new run is %s, idle %t, want a queued idle one", runs[0].State, runs[0].Idle)
			}
		})
	}
}

// TestAnApplyOfAStalePlanPlansItAgain: the command is refused with the reason, and nobody has to say plan.
func TestAnApplyOfAStalePlanPlansItAgain(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.intake.Config.Defaults.Apply, o.intake.Config.Defaults.Requirements.Apply = run.ApplyBeforeMerge, []string{"up_to_date"}
	o.main("one")
	number, head := o.opens("a", 1)
	id := o.runs(head)[0].ID
	o.claims(id)
	o.settles(id, run.PlanOutcome{})
	o.shows(number, id)
	o.main("two")
	o.works()
	contains(t, o.says("alice", number, "planlatch apply"), "Not applied", "main has changed what this plan was made from")
	o.eventually("it is planned again", func() bool { return len(o.runs(head)) == 2 })
	if runs := o.runs(head); runs[1].State != run.Superseded || runs[0].State != run.Queued {
		t.Errorf("runs are %s and %s, want a new one in the place of the first", runs[0].State, runs[1].State)
	}
}

// shows is the report of a pull request as it is now having been posted: people can see its newest revision, and these plans.
func (o *office) shows(number int, plans ...run.ID) {
	o.t.Helper()
	rev, err := o.store.LatestRevision(o.t.Context(), o.pull(number).ID, run.KindChange)
	check(o.t, err)
	check(o.t, o.store.Posted(o.t.Context(), run.Posting{ID: o.summary(number).ID, Wanted: 1}, run.Shows{Revision: rev.ID, Plans: plans}))
}

func (o *office) summary(number int) run.Posting {
	o.t.Helper()
	all, err := o.store.Postings(o.t.Context(), run.PostingFilter{Kind: run.PostSummary, Key: fmt.Sprint(int64(o.pull(number).ID))})
	check(o.t, err)
	return all[0]
}

// TestALostPushToThePullRequestIsFound when its plan is looked at: the new head is planned, and the old plan ends.
func TestALostPushToThePullRequestIsFound(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	next, err := o.host.Push(repository, "alice", "change", fakehost.Commit{Files: project("two")})
	check(t, err)
	look := func() { check(t, o.intake.Stale(t.Context(), fmt.Sprint(int64(o.pull(number).ID)))) }
	look()
	look()
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number}) // the news arrives after all
	if runs := o.runs(next); len(runs) != 1 {
		t.Errorf("the new head has %d runs, want 1", len(runs))
	}
	if runs := o.runs(head); len(runs) != 1 || runs[0].State != run.Superseded {
		t.Errorf("runs of the old head = %v, want one that is superseded", runs)
	}
}

// TestAHostThatFailsIsAskedAgain: what cannot be found out is neither fresh nor forgotten.
func TestAHostThatFailsIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"the API": "/api/", "git": ".git/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.main("one")
			number, head := o.opens("a", 1)
			o.main("two")
			o.host.SetFault(func(r *http.Request) *fakehost.Fault {
				if strings.Contains(r.URL.Path, path) || path == "/api/" && !strings.Contains(r.URL.Path, ".git/") {
					return &fakehost.Fault{Status: http.StatusInternalServerError}
				}
				return nil
			})
			if err := o.intake.Stale(t.Context(), fmt.Sprint(int64(o.pull(number).ID))); err == nil {
				t.Error("Stale() error = nil, want one, so that the job comes back")
			}
			if runs := o.runs(head); len(runs) != 1 {
				t.Errorf("%d runs, want the 1 there was", len(runs))
			}
			o.host.SetFault(nil)
			o.works()
			check(t, o.base())
			o.eventually("it is planned again", func() bool { return len(o.runs(head)) == 2 })
		})
	}
}

// TestANewPushReplacesWhatWaitsAndWhatRuns: the project of a running plan is free as soon as that has ended, without its grace.
func TestANewPushReplacesWhatWaitsAndWhatRuns(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.main("one")
	number, head := o.opens("a", 3)
	runs := o.runs(head)
	o.claims(runs[0].ID)
	o.claims(runs[1].ID)
	o.settles(runs[1].ID, run.PlanOutcome{})
	next, err := o.host.Push(repository, "alice", "a", fakehost.Commit{Files: map[string]string{"a/p0/x.tf": "# x\n"}})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	states := map[run.ID]run.Run{}
	for _, r := range o.runs(head) {
		states[r.ID] = r
	}
	if r := states[runs[0].ID]; r.State != run.Planning || r.Stop != run.Superseded {
		t.Errorf("the running one is %s and asked to stop as %q, want superseded", r.State, r.Stop)
	}
	for _, r := range runs[1:] {
		if got := states[r.ID].State; got != run.Superseded {
			t.Errorf("a waiting one is %s, want superseded", got)
		}
	}
	free, err := o.store.Next(t.Context(), 10)
	check(t, err)
	waiting := o.runs(next)
	if len(waiting) != 3 || len(free) != 2 {
		t.Fatalf("%d runs of the new head, %d of them can start; want 3 and, while one is being stopped, 2", len(waiting), len(free))
	}
	o.settles(runs[0].ID, run.PlanOutcome{Lost: true}) // its execution has ended
	if free, err = o.store.Next(t.Context(), 10); err != nil || len(free) != 3 {
		t.Errorf("%d runs can start, %v, want all 3 as soon as the old one has ended", len(free), err)
	}
	if !slices.ContainsFunc(o.runs(head), func(r run.Run) bool { return r.ID == runs[0].ID && r.State == run.Superseded }) {
		t.Error("the stopped run was not superseded")
	}
}

// TestAllLocksAreTakenOrNone: of two projects another pull request holds one, and the refusal says which and who.
func TestAllLocksAreTakenOrNone(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.intake.Config.Defaults.Apply, o.intake.Config.Defaults.Requirements.Apply = run.ApplyBeforeMerge, []string{"up_to_date"}
	o.main("one")
	o.opens("other", 1)
	number, head := o.opens("a", 2)
	runs := o.runs(head)
	for _, r := range runs {
		o.claims(r.ID)
		o.settles(r.ID, run.PlanOutcome{})
		o.shows(number, r.ID)
	}
	held := runs[0]
	_, err := o.store.Advance(t.Context(), run.Scope{Pull: o.pull(1).ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActConfirm, Hold: map[run.ProjectID]run.PullID{held.Project: o.pull(1).ID}}, nil
	})
	check(t, err)
	contains(t, o.says("alice", number, "planlatch apply"), "Not applied", held.Label+" is held by", "1 until that is merged, closed or unlocked")
	holds, err := o.store.Holds(t.Context(), held.Repo)
	check(t, err)
	if len(holds) != 1 {
		t.Errorf("holds = %v, want only that of the other pull request", holds)
	}
	for _, r := range o.runs(head) {
		if r.State != run.Planned {
			t.Errorf("run of %s is %s, want planned", r.Label, r.State)
		}
	}
	o.says("alice", 1, "planlatch unlock")
	if answer := o.says("alice", number, "planlatch apply"); answer != "" {
		t.Errorf("the answer is %q, want none", answer)
	}
	if holds, err = o.store.Holds(t.Context(), held.Repo); err != nil || len(holds) != 2 {
		t.Errorf("holds = %v, %v, want both", holds, err)
	}
}
