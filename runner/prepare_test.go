package runner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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

func TestRunsThatStartTogetherGetOneWholeCLIConfiguration(t *testing.T) {
	t.Parallel()
	for range 20 {
		r := New(Parts{}, Options{Dir: t.TempDir()})
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				file, err := r.cliConfig()
				if err != nil {
					return err
				}
				text, err := os.ReadFile(file)
				if err == nil && !strings.Contains(string(text), "provider_installation {\n  direct {}\n}\n") {
					err = fmt.Errorf("the configuration is %q", text)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("cliConfig() = %v", err)
		}
	}
}
