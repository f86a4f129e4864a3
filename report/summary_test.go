package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/report"
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
			checkPage(t, got, githubLimit, report.ApplyMarker(headSHA))
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
