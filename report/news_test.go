package report_test

import (
	"slices"
	"testing"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

func TestPlansTellWhatTheyComeTo(t *testing.T) {
	t.Parallel()
	plan := func(state run.State, level run.Level, approved bool) report.Project {
		p := report.Project{
			Run:   run.Run{Project: 1, Label: "a", State: state, Settings: run.Settings{Apply: run.ApplyAfterMerge}, PolicyDigest: "p", EffectDigest: "e"},
			Gates: []run.Gate{{Name: run.GateApproved, Holds: approved, Text: "approved"}},
		}
		if level != "" {
			p.Findings = []run.Finding{{Set: "s", Rule: "r", Level: level}}
		}
		return p
	}
	waits := plan(run.Queued, "", false)
	waits.HeldBy = "#12"
	ok, soft, hard := plan(run.Planned, "", false), plan(run.Planned, run.Soft, true), plan(run.Planned, run.Hard, false)
	partial := ok
	partial.Run.Partial = true
	view := func(ps ...report.Project) report.View {
		return report.View{Pull: run.Pull{Number: 7, State: "open"}, Kind: run.KindChange, Head: "abc", Projects: ps}
	}
	change := func(v report.View, f func(*report.View)) report.View {
		f(&v)
		return v
	}
	for name, c := range map[string]struct {
		view    report.View
		unknown bool
		want    []report.Event
	}{
		"nothing while one is planning":           {view: view(plan(run.Failed, "", false), plan(run.Planning, "", false))},
		"what waits for another holds nothing up": {view: view(plan(run.Failed, "", false), waits), want: []report.Event{report.EventPlanFailed}},
		"worst first": {
			view: view(ok, hard, plan(run.Failed, "", false)), want: []report.Event{report.EventPlanFailed, report.EventPolicyFailed, report.EventNeedsApproval},
		},
		"an approval is missing":               {view: view(ok), want: []report.Event{report.EventNeedsApproval}},
		"an override is missing":               {view: view(soft), want: []report.Event{report.EventPolicyFailed, report.EventNeedsApproval}},
		"a hard finding is for the author":     {view: view(hard), want: []report.Event{report.EventPolicyFailed}},
		"approved":                             {view: view(plan(run.Planned, "", true))},
		"unchanged":                            {view: view(plan(run.Unchanged, "", false))},
		"part of a plan is nothing to approve": {view: view(partial)},
		"a draft calls nobody":                 {view: change(view(ok), func(v *report.View) { v.Pull.Draft = true })},
		"nobody is called on a guess":          {view: view(ok), unknown: true},
		"closed":                               {view: change(view(hard), func(v *report.View) { v.Pull.State = "closed" })},
		"a conflict is the host's to tell":     {view: change(view(), func(v *report.View) { v.Conflict, v.Problems = true, []run.Problem{{Message: "x"}} })},
		"a wrong configuration":                {view: change(view(), func(v *report.View) { v.Problems = []run.Problem{{Message: "x"}} }), want: []report.Event{report.EventPlanFailed}},
		"a merged plan has a call of its own":  {view: change(view(ok, hard), func(v *report.View) { v.Kind = run.KindMerge })},
	} {
		if got := report.PlanEvents(c.view, !c.unknown); !slices.Equal(got, c.want) {
			t.Errorf("%s: PlanEvents() = %v, want %v", name, got, c.want)
		}
	}
}

func TestAnEventIsTheSameAsLongAsItsSubstanceIs(t *testing.T) {
	t.Parallel()
	v := report.View{Head: "abc", Projects: []report.Project{{Run: run.Run{Project: 1, ID: "1", State: run.Planned, EffectDigest: "e"}}}}
	again := report.View{Head: "abc", Projects: []report.Project{{Run: run.Run{Project: 1, ID: "2", State: run.Planned, EffectDigest: "e"}}}}
	if report.Substance(v, report.EventNeedsApproval) != report.Substance(again, report.EventNeedsApproval) {
		t.Error("a plan that was made again with the same effect calls for approval again")
	}
	again.Projects[0].Run.EffectDigest = "another"
	if report.Substance(v, report.EventNeedsApproval) == report.Substance(again, report.EventNeedsApproval) {
		t.Error("another effect does not call for approval again")
	}
}

func TestAQuietRepositoryTellsChatNoValues(t *testing.T) {
	t.Parallel()
	v := report.View{Style: report.StyleSummary, Projects: []report.Project{{
		Run: run.Run{Project: 1, Label: "a", State: run.Planned, PolicyDigest: "p"}, Findings: []run.Finding{{Rule: "r", Level: run.Hard, Message: "password is hunter2"}},
	}, {Run: run.Run{Project: 2, Label: "b", State: run.Failed}, Failure: "Error: hunter2 is wrong"}}}
	c := report.ChatCard(v)
	if len(c.Quote) > 0 {
		t.Errorf("the tool is quoted: %q", c.Quote)
	}
	for _, l := range c.Lines {
		for _, s := range l {
			if s.Text == ": password is hunter2" {
				t.Error("a policy's message is told")
			}
		}
	}
}
