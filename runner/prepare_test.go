package runner

import (
	"slices"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

func TestBothPhasesWaitForTheBackendsLockAsConfigured(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		time.Minute: "-lock-timeout=1m0s",
		0:           "-lock-timeout=0s",
	} {
		r := New(Parts{}, Options{LockTimeout: wait, Binds: func(selector.Target, string) []executor.Bind { return nil }})
		g := ground{run: run.Run{Execution: "one-plan-1", Dir: ".", Work: "default"}}
		for phase, spec := range map[string]executor.Spec{"plan": r.planSpec(g), "apply": r.applySpec(g, nil)} {
			if argv := spec.Steps[1].Argv; !slices.Contains(argv, want) {
				t.Errorf("%s with LockTimeout %s = %q, want %s in it", phase, wait, argv, want)
			}
		}
	}
}
