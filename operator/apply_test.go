package operator_test

import (
	"errors"
	"testing"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
)

// TestApplyIsForPlansOfPushesOnly keeps the operator from going round a pull request. What is refused never reaches the store, which is none here.
func TestApplyIsForPlansOfPushesOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run   run.Run
		facts *facts.Gatherer
	}{
		"PlanOfAPullRequest":    {run.Run{Pull: 1, State: run.Planned}, &facts.Gatherer{}},
		"NobodyCanJudgeItsGate": {run.Run{State: run.Planned}, nil},
		"NotPlannedYet":         {run.Run{State: run.Planning}, &facts.Gatherer{}},
		"AppliedAlready":        {run.Run{State: run.Applied}, &facts.Gatherer{}},
		"Failed":                {run.Run{State: run.Failed}, &facts.Gatherer{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fault *operator.Fault
			if err := operator.Apply(t.Context(), nil, c.facts, c.run, "admin"); !errors.As(err, &fault) {
				t.Errorf("Apply() = %v, want a refusal that says why", err)
			}
		})
	}
}
