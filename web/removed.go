package web

import (
	"fmt"
	"time"

	"github.com/planlatch/planlatch/run"
)

// removals tell what retention took of a run, in place of an empty page.
func removals(r run.Run) []notice {
	var out []notice
	if !r.LogGone.IsZero() {
		out = append(out, notice{Class: "info", Title: "Log removed", Text: logRemoved(r)})
	}
	if !r.PlanGone.IsZero() {
		out = append(out, notice{Class: "info", Title: "Plan file removed",
			Text: "The plan file and its JSON " + removed(r, r.PlanGone) + ", as retention.plans or disk.blobs says."})
	}
	return out
}

// logRemoved says so in a sentence.
func logRemoved(r run.Run) string {
	return "The log and what was shown of the plan " + removed(r, r.LogGone) + ", as retention.logs says."
}

func removed(r run.Run, at time.Time) string {
	days := int(at.Sub(r.Finished) / (24 * time.Hour))
	after := "less than a day"
	switch {
	case days == 1:
		after = "1 day"
	case days > 1:
		after = fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("were removed on %s, %s after the run ended", at.Format(time.DateOnly), after)
}
