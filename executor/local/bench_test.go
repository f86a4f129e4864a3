package local_test

import (
	"fmt"
	"io"
	"os/exec"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// BenchmarkTrue compares a whole execution of /bin/true, started, followed and removed, with the bare program.
func BenchmarkTrue(b *testing.B) {
	b.Run("Bare", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, c := range []struct {
		name string
		o    local.Options
		mode executor.NetworkMode
	}{
		{"Required", local.Options{}, executor.NetworkNone},
		{"RequiredOpenNetwork", local.Options{}, executor.NetworkOpen},
		{"LandlockAlone", local.Options{Sandbox: local.SandboxAuto, Bwrap: nowhere}, executor.NetworkNone},
		{"Off", local.Options{Sandbox: local.SandboxOff}, executor.NetworkNone},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := open(b, c.o)
			e.Walls(b.Context()) // probes once, before the clock runs
			s := executortest.Spec(b, "r-plan-0")
			s.Steps = []executor.Step{{Label: "true", Argv: []string{"/bin/true"}}}
			s.Network.Mode = c.mode
			i := 0
			for b.Loop() {
				i++
				s.Name = executor.Name(fmt.Sprintf("r%d-plan-1", i))
				if err := e.Start(b.Context(), s, executor.Secrets{}); err != nil {
					b.Fatal(err)
				}
				if r, err := e.Attach(b.Context(), s.Name, io.Discard, 0); err != nil || !r.OK(1) {
					b.Fatalf("%+v, %v", r, err)
				}
				if err := e.Remove(b.Context(), s.Name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
