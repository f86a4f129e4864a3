package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/vcs"
)

const githubLimit = 65000

func TestSummary(t *testing.T) {
	t.Parallel()
	for name, v := range stories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := report.Summary(v, githubLimit)
			checkPage(t, got, githubLimit, report.SummaryMarker)
			golden(t, "summary_"+name+".md", got)
			if again := report.Summary(v, githubLimit); again != got {
				t.Error("Summary() differs when called twice")
			}
		})
	}
}

func TestComments(t *testing.T) {
	t.Parallel()
	all := stories(t)
	renderings := map[string]func(report.View, int) string{"result": report.Result, "merge_waits": report.MergeWaits, "interrupted": report.Interrupted}
	for _, tt := range []struct{ rendering, story string }{
		{"result", "applied"}, {"result", "apply_failed"}, {"result", "unsaved"}, {"merge_waits", "merge_differs"}, {"interrupted", "interrupted"},
	} {
		t.Run(tt.rendering+"_"+tt.story, func(t *testing.T) {
			t.Parallel()
			got := renderings[tt.rendering](all[tt.story], githubLimit)
			marker := report.CallMarker(headSHA)
			if tt.rendering == "result" {
				marker = report.ApplyMarker(headSHA)
			}
			checkPage(t, got, githubLimit, marker)
			golden(t, tt.rendering+"_"+tt.story+".md", got)
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	all := stories(t)
	for _, name := range sortedKeys(all) {
		fmt.Fprintf(&b, "%s\n", name)
		for _, s := range report.Statuses(all[name], 4) {
			fmt.Fprintf(&b, "  %-32s %-8s %s\n", s.Context, s.State, s.Description)
			if len([]rune(s.Description)) > 140 {
				t.Errorf("%s: description %q is too long", name, s.Description)
			}
		}
	}
	golden(t, "statuses.txt", b.String())
}

func TestOneHeadInTwoPullRequestsShowsTheWorst(t *testing.T) {
	t.Parallel()
	all := stories(t)
	got := report.Worst(report.Statuses(all["unchanged"], 0), report.Statuses(all["plan_failed"], 0), report.Statuses(all["planning"], 0))
	want := []vcs.Status{
		{Context: "planlatch/plan", State: vcs.StatusFailure, Description: "the plan of prod/network failed"},
		{Context: "planlatch/policy", State: vcs.StatusFailure, Description: "not judged: there is no plan of prod/network"},
		{Context: "planlatch/apply", State: vcs.StatusFailure, Description: "the plan of prod/network failed"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(vcs.Status{}, "URL")); diff != "" {
		t.Errorf("Worst() differs (-want +got):\n%s", diff)
	}
}

// Every body fits, whatever the limit: the answer stays, the rest is cut with a link.
func TestSummaryFitsEveryLimit(t *testing.T) {
	t.Parallel()
	for name, v := range stories(t) {
		for _, limit := range []int{300, 700, 1500, 2500, 4000, 8000, 16000, 32000} {
			body := report.Summary(v, limit)
			checkPage(t, body, limit, report.SummaryMarker)
			if limit >= 700 && !strings.HasPrefix(body, "### planlatch: ") {
				t.Errorf("%s in %d bytes has no answer:\n%s", name, limit, body)
			}
			if len(body) < len(report.Summary(v, githubLimit)) && limit >= 2500 && !strings.Contains(body, "/runs/") {
				t.Errorf("%s in %d bytes is cut without a link:\n%s", name, limit, body)
			}
		}
	}
}

func TestAHugePlanIsCutAtALine(t *testing.T) {
	t.Parallel()
	v := view(planned(t, 1, "huge", "network"), planned(t, 2, "small", "aws"))
	change := v.Projects[0].Plan.Changes[0]
	for n := range 2000 {
		change.Address = fmt.Sprintf("aws_security_group.many[%d]", n)
		v.Projects[0].Plan.Changes = append(v.Projects[0].Plan.Changes, change)
	}
	body := report.Summary(v, 32000)
	checkPage(t, body, 32000, report.SummaryMarker)
	if len(body) < 28000 {
		t.Errorf("%d bytes of 32,000 used", len(body))
	}
	for _, w := range []string{"more lines", "-/+ aws_db_instance.main", "[full output](https://planlatch.example.com/runs/01J00001"} {
		if !strings.Contains(body, w) {
			t.Errorf("%q is not in\n%s", w, body[len(body)-3000:])
		}
	}
}

func TestSummaryStyleShowsNoValue(t *testing.T) {
	t.Parallel()
	all := stories(t)
	for _, name := range []string{"everything", "three", "plan_failed", "apply_failed", "unsaved", "interrupted", "merge_differs", "lock_held"} {
		v := all[name]
		v.Style = report.StyleSummary
		for rendering, body := range map[string]string{"Summary": report.Summary(v, githubLimit), "Result": report.Result(v, githubLimit),
			"MergeWaits": report.MergeWaits(v, githubLimit), "Interrupted": report.Interrupted(v, githubLimit)} {
			for _, value := range []string{"payments", "10.0.", "4711", "old.example.com", "line two", "does not answer", "absent.txt", "no such subnet", "Still destroying", "would be replaced"} {
				if strings.Contains(body, value) {
					t.Errorf("%s of %s shows %q:\n%s", rendering, name, value, body)
				}
			}
		}
	}
}
