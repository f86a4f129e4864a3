package local_test

import (
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// open opens an executor in a fresh directory with the real planlatch-shim.
func open(t testing.TB, o local.Options) *local.Executor {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Shim == "" {
		o.Shim = builtShim(t)
	}
	e, err := local.New(o)
	if err != nil {
		t.Fatalf("New(%+v) = %v", o, err)
	}
	return e
}

// nowhere is a program that does not exist: it takes bubblewrap or slirp4netns away.
const nowhere = "/nonexistent/program"

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]local.Options{
		"Required":              {},
		"AutoWithNamespaces":    {Sandbox: local.SandboxAuto},
		"AutoWithoutNamespaces": {Sandbox: local.SandboxAuto, Bwrap: nowhere},
		"Off":                   {Sandbox: local.SandboxOff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			executortest.Run(t, func(t *testing.T) executor.Executor { return open(t, o) })
		})
	}
}
