package intake_test

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/run"
)

func TestEveryCommandIsOneRowOfTheAudit(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, _ := o.proposes()
	for _, c := range []struct{ who, says, outcome, detail string }{
		{"mallory", "planlatch cancel -p network", "refused", "cancel -p network: denied"},
		{"bob", "planlatch apply", "refused", "apply: busy"},
		{"bob", "planlatch plan -- -lock=false", "refused", "-lock"},
		{"bob", "planlatch help", "done", "help"},
		{"bob", "planlatch cancel", "done", "cancel"},
		{"bob", "planlatch cancel", "refused", "cancel: nothing"},
	} {
		o.says(c.who, number, c.says)
		rows, err := o.store.AuditRows(t.Context(), run.AuditFilter{Action: "command", Limit: 1})
		check(t, err)
		if len(rows) == 0 {
			t.Fatalf("%s says %q: no row", c.who, c.says)
		}
		got := rows[0]
		if got.Actor != c.who || got.Outcome != c.outcome || !strings.Contains(got.Detail, c.detail) || got.Pull != o.pull(number).ID {
			t.Errorf("%s says %q: row = %+v, want it %s with %q", c.who, c.says, got, c.outcome, c.detail)
		}
	}
	rows, err := o.store.AuditRows(t.Context(), run.AuditFilter{Action: "command"})
	check(t, err)
	if len(rows) != 6 {
		t.Errorf("%d rows for 6 commands", len(rows))
	}
}
