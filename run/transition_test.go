package run_test

import (
	"errors"
	"os"
	"regexp"
	"testing"

	"github.com/planlatch/planlatch/run"
)

var states = []run.State{
	run.Queued, run.Planning, run.Planned, run.Unchanged, run.Confirmed, run.Applying, run.Applied, run.Failed, run.Interrupted,
	run.Canceled, run.Superseded,
}

var actions = []run.Action{
	run.ActRevise, run.ActClaimPlan, run.ActPlanned, run.ActUnchanged, run.ActFail, run.ActRequeue, run.ActConfirm, run.ActClaimApply,
	run.ActApplied, run.ActInterrupt, run.ActAcknowledge, run.ActCancel, run.ActSupersede, run.ActAdopt, run.ActUnconfirm,
	run.ActClose, run.ActMerge, run.ActOverride, run.ActUnlock, run.ActRejudge,
}

var arrow = regexp.MustCompile(`(?m)^    (\w+) --> (\w+): (\w+)$`)

// TestEveryTransitionIsTheOneThatIsDrawn walks every state and action: what docs/state-machine.md draws is possible, all else is illegal.
func TestEveryTransitionIsTheOneThatIsDrawn(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/state-machine.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[run.State]map[run.Action]run.State{}
	for _, m := range arrow.FindAllStringSubmatch(string(page), -1) {
		from := run.State(m[1])
		if drawn[from] == nil {
			drawn[from] = map[run.Action]run.State{}
		}
		drawn[from][run.Action(m[3])] = run.State(m[2])
	}
	for _, from := range states {
		for _, by := range actions {
			want, legal := drawn[from][by]
			got, err := run.Next(from, by)
			switch {
			case legal && (err != nil || got != want):
				t.Errorf("Next(%s, %s) = %s, %v; the drawing says %s", from, by, got, err, want)
			case !legal && !errors.Is(err, run.ErrIllegal):
				t.Errorf("Next(%s, %s) = %s, %v; the drawing has no such arrow", from, by, got, err)
			}
		}
	}
}

func TestNothingLeavesAFinalState(t *testing.T) {
	t.Parallel()
	for _, from := range states {
		if !from.Final() {
			continue
		}
		for _, by := range actions {
			if to, err := run.Next(from, by); err == nil {
				t.Errorf("Next(%s, %s) = %s, want a refusal", from, by, to)
			}
		}
	}
}
