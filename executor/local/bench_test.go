package local_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

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
		{"RequiredAllowList", local.Options{}, executor.NetworkAllowList},
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
			if c.mode == executor.NetworkAllowList {
				s.Network.Allow = []string{"registry.opentofu.org", "github.com", "*.githubusercontent.com", "*.amazonaws.com", "10.1.0.0/16:5432", "127.0.0.1:9000"}
			}
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

// BenchmarkPlan compares a plan of two seconds or so in the sandbox, from its start to its removal, with the bare tool in a directory beside it.
// They take turns, and the bare tool gives way as much as runs do, so that what else the machine does hits both. The aim is a ratio of 1.05 at
// most.
func BenchmarkPlan(b *testing.B) {
	binary := pinned.Path(b, "tofu")
	e := open(b, local.Options{})
	e.Walls(b.Context()) // probes once, before the clock runs
	s := executortest.Spec(b, "r-plan-0")
	work := filepath.Join(s.Source.Dir, "in/work")
	executortest.Write(b, filepath.Join(work, "main.tf"), "resource \"terraform_data\" \"many\" {\n  count = 5000\n  input = \"value ${count.index}\"\n}\n")
	argv := []string{binary, "plan", "-input=false", "-no-color", "-out=tfplan"}
	s.Env = append(s.Env, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	s.Binds = []executor.Bind{{Path: binary}}
	s.Steps = []executor.Step{{Label: "plan", Argv: argv}}
	s.Limits = executor.Limits{Wall: 5 * time.Minute, Memory: 4 << 30, Processes: 512, Files: 4096, Disk: 10 << 30, Inodes: 500_000, Log: 64 << 20}
	s.Network.Mode = executor.NetworkOpen
	var bare, sandboxed []time.Duration
	for b.Loop() {
		giveWay := []string{"-c", `echo 5 2>/dev/null >/proc/self/autogroup; exec nice -n 5 "$@"`, "sh"}
		cmd := exec.CommandContext(b.Context(), "/bin/sh", append(giveWay, argv...)...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = work, s.Env, &syscall.SysProcAttr{Setsid: true}
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("bare plan: %v\n%s", err, out)
		}
		bare = append(bare, time.Since(began))
		if err := os.Remove(filepath.Join(work, "tfplan")); err != nil {
			b.Fatal(err)
		}
		s.Name = executor.Name(fmt.Sprintf("r%d-plan-1", len(bare)))
		began = time.Now()
		if err := e.Start(b.Context(), s, executor.Secrets{}); err != nil {
			b.Fatal(err)
		}
		if r, err := e.Attach(b.Context(), s.Name, io.Discard, 0); err != nil || !r.OK(1) {
			b.Fatalf("%+v, %v", r, err)
		}
		if err := e.Remove(b.Context(), s.Name); err != nil {
			b.Fatal(err)
		}
		sandboxed = append(sandboxed, time.Since(began))
	}
	slices.Sort(bare)
	slices.Sort(sandboxed)
	middle := len(bare) / 2
	b.ReportMetric(bare[middle].Seconds(), "bare-s")
	b.ReportMetric(sandboxed[middle].Seconds(), "sandboxed-s")
	b.ReportMetric(sandboxed[middle].Seconds()/bare[middle].Seconds(), "ratio")
	b.ReportMetric(sandboxed[0].Seconds()/bare[0].Seconds(), "ratio-of-best")
}
