package report_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/report/reporttest"
	"github.com/planlatch/planlatch/run"
)

// loud is a view of one project in a state, with a canary wherever a plan, a tool or a policy has a say.
func loud(t *testing.T, state run.State, tried, merge bool) report.View {
	t.Helper()
	p := report.Project{
		Run: run.Run{
			ID: "01J0000001", Project: 1, Label: "prod/app", Dir: "prod/app", Work: "default", Kind: run.KindChange, State: state, Settings: run.Settings{Apply: run.ApplyBeforeMerge},
			EffectDigest: "e", PolicyDigest: "p", Started: noon, Planned: noon, Counts: run.Counts{Change: 1, Replace: 1},
		},
		Plan: reporttest.LoudPlan(t, "canary"), Failure: reporttest.LoudLog("canary"), Left: []string{"x.y"}, RunURL: "https://planlatch.example.com/runs/1",
		Findings: []run.Finding{
			{Set: "s", Rule: "loud", Level: run.Hard, Resource: "x.y", Message: "canary-finding is bad", Fix: "say canary-fix", Value: "canary-value"},
			{Set: "s", Rule: "advice", Level: run.Advisory, Resource: "x.y", Message: "canary-advice is bad"},
		},
	}
	if state == run.Failed || state == run.Interrupted {
		p.Run.Reason = "plan: canary-reason"
	}
	if tried {
		p.Run.ApplyStarted, p.Run.Finished = noon, noon
	}
	v := view(p)
	v.Mode = run.ApplyBeforeMerge
	if merge {
		v.Kind, v.Projects[0].Run.Kind = run.KindMerge, run.KindMerge
		v.Projects[0].Findings = nil
		before := p.Run
		before.EffectDigest = "another"
		v.Projects[0].Reviewed = &report.Reviewed{Run: before, Plan: reporttest.LoudPlan(t, "canary-reviewed")}
	}
	return v
}

// waysOut are all renderings of a view that leave.
func waysOut(t *testing.T, v report.View) string {
	t.Helper()
	out := []string{
		report.Summary(v, githubLimit), report.Result(v, githubLimit), report.MergeWaits(v, githubLimit), report.Interrupted(v, githubLimit), report.Explain(v, githubLimit),
		report.Freed(v.Style, v.Projects[0].Run, "id", "plan: canary-reason\nError: canary-answer", false), fmt.Sprintf("%+v", report.Statuses(v, 5)), fmt.Sprintf("%+v", report.ChatCard(v)),
	}
	for _, e := range slices.Concat(report.PlanEvents(v, true), report.ApplyEvents(v)) {
		news, err := json.Marshal(report.NewsOf(v, e))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(news))
	}
	return strings.Join(out, "\n")
}

// TestNoPlanTextLeavesAQuietRepository also shows that in full all of it would.
func TestNoPlanTextLeavesAQuietRepository(t *testing.T) {
	t.Parallel()
	shown := map[report.Style]string{}
	for _, style := range []report.Style{report.StyleFull, report.StyleSummary, report.StyleOff, "of a later version"} {
		careless := ""
		for _, s := range []struct {
			state        run.State
			tried, merge bool
		}{
			{state: run.Planned}, {state: run.Planned, merge: true}, {state: run.Failed}, {state: run.Failed, tried: true}, {state: run.Interrupted, tried: true},
			{state: run.Applied, tried: true}, {state: run.Confirmed},
		} {
			for _, unsaved := range []bool{false, s.tried} {
				v := loud(t, s.state, s.tried, s.merge)
				v.Projects[0].Run.Unsaved = unsaved
				v.Style = style
				shown[style] += waysOut(t, report.Withhold(v))
				careless += waysOut(t, v)
			}
		}
		if style == report.StyleSummary && !strings.Contains(careless, "canary-reason") {
			t.Error("without Withhold nothing is found either")
		}
		at := strings.Index(shown[style], "canary")
		if style != report.StyleFull && at >= 0 {
			t.Errorf("style %s shows …%s…", style, shown[style][max(0, at-200):at+40])
		}
		for _, still := range []string{"prod/app", "x.y", "loud", "1 to replace"} {
			if !strings.Contains(shown[style], still) {
				t.Errorf("style %s does not show %q, by which people choose", style, still)
			}
		}
	}
	for _, what := range []string{"attribute", "before", "key", "import", "output", "check", "error", "log", "finding", "fix", "advice", "reason", "answer", "reviewed-attribute"} {
		if !strings.Contains(shown[report.StyleFull], "canary-"+what) {
			t.Errorf("in full, canary-%s is shown nowhere: this test would not notice it", what)
		}
	}
}

func TestAQuietMergeStillNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	v := loud(t, run.Planned, false, true)
	v.Style = report.StyleSummary
	text := report.MergeWaits(report.Withhold(v), githubLimit)
	for _, want := range []string{"`x.y` `name` becomes something else", "`x.y` `tags` becomes something else", "output `said` becomes something else"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	if v.Projects[0].Plan.Changes[0].Attrs[0].Path == "" || !strings.Contains(fmt.Sprintf("%+v", v.Projects[0].Plan), "canary") {
		t.Error("Withhold() changed the view that it was given")
	}
}

func TestAReasonOfOurOwnIsToldEverywhere(t *testing.T) {
	t.Parallel()
	for reason, told := range map[string]bool{
		"plan failed (exit code 1)": true, "before_plan 2 failed (exit code 137)": true, "state not saved: apply failed (exit code 1)": true, "everything was applied, but apply failed (exit code 1)": true,
		"its executor vanished; nobody knows how far it came": true, "the memory limit of 512 MiB was reached (OOM killed)": true, "the time limit of 1h0m0s was reached": true,
		"node worker-1.example is unreachable; the apply may still run there": true, "policy stopped it before anything ran: external-program": true,
		"alice said cancel; the tool was interrupted and ended by itself": true, "its server was stopped; the tool was interrupted and ended by itself": true,
		"it could not be started: canary": false, "nothing was applied: canary": false, "read plan: canary (exit code 1)": false, "canary\nplan failed (exit code 1)": false,
		"plan failed (exit code 1)\ncanary": false, "unreachable": false,
	} {
		v := view(report.Project{Run: run.Run{Label: "a", State: run.Failed, Reason: reason, StopWhy: "alice said cancel"}})
		v.Style = report.StyleSummary
		want := "its page says why"
		if told {
			want = reason
		}
		if got := report.Withhold(v).Projects[0].Run.Reason; got != want {
			t.Errorf("the reason %q is told as %q, want %q", reason, got, want)
		}
	}
}
