package local_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// bomb is a step that takes without end, the limit that is to end it, and how that is told.
type bomb struct {
	name   string
	argv   []string
	limits executor.Limits
	ended  executor.End
	reason string
}

func bombs(t *testing.T) []bomb {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sh := func(script string) []string { return []string{"/bin/sh", "-c", "trap '' INT; " + script} }
	return []bomb{
		{"Memory", []string{self, "__program", "eat", "1000000000"}, executor.Limits{Memory: 96 << 20}, executor.EndMemory, "the memory limit of 96 MiB was reached"},
		{"Processes", sh("for i in $(seq 200); do sleep 60 & done; wait"), executor.Limits{Processes: 40}, executor.EndProcesses, "the limit of 40 processes was reached"},
		{"Files", []string{self, "__program", "open"}, executor.Limits{Files: 200}, executor.EndFiles, "the limit of 200 open files was reached"},
		{"Disk", sh("cat /dev/zero >file"), executor.Limits{Disk: 8 << 20}, executor.EndDisk, "the disk limit of 8 MiB was reached"},
		{"DiskOfSmallSteps", sh("while :; do cat /dev/zero | head -c 100000 >>file; done"), executor.Limits{Disk: 4 << 20}, executor.EndDisk, "the disk limit of 4 MiB was reached"},
		{
			"DiskWithoutAName", sh("exec 3>file; rm file; while :; do head -c 1000000 /dev/zero >&3; done"), executor.Limits{Disk: 8 << 20},
			executor.EndDisk, "the disk limit of 8 MiB was reached",
		},
		{
			"DiskInAClosedDirectory", sh("mkdir d; chmod 0300 d; i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero >d/$i; done"),
			executor.Limits{Disk: 8 << 20}, executor.EndDisk, "the disk limit of 8 MiB was reached",
		},
		{
			"Inodes", sh("i=0; while :; do i=$((i+1)); : >$i; done"), executor.Limits{Inodes: 1000}, executor.EndInodes,
			"the limit of 1000 files and directories was reached",
		},
		{"Depth", sh("while mkdir d && cd d; do :; done; sleep 60"), executor.Limits{Inodes: 100_000}, executor.EndInodes, "the limit of directories 256 deep was reached"},
		{"Log", sh("yes"), executor.Limits{Log: 1 << 20}, executor.EndLog, "the log limit of 1 MiB was reached"},
		// Long enough for the shell to have ignored the interrupt, on a machine that others starve.
		{"Time", sh("sleep 60"), executor.Limits{Wall: 5 * time.Second}, executor.EndKilled, "the time limit of 5s was reached, and the grace of 100ms ran out"},
	}
}

func (b bomb) spec(t *testing.T, n executor.Name) executor.Spec {
	t.Helper()
	s := executortest.Spec(t, n)
	s.Steps = []executor.Step{{Label: "bomb", Argv: b.argv}}
	if strings.HasPrefix(b.argv[len(b.argv)-1], "trap") {
		s.Steps[0].Label = "sh"
	} else {
		s.Binds = []executor.Bind{{Path: b.argv[0]}}
	}
	s.Limits = b.limits
	if b.limits.Wall > 0 {
		s.Grace = 100 * time.Millisecond
	} else {
		s.Limits.Wall = executortest.Patience
	}
	return s
}

func (b bomb) check(t *testing.T, r executor.Result) {
	t.Helper()
	if r.Ended != b.ended || !strings.Contains(r.Reason, b.reason) {
		t.Errorf("%s: Ended = %q (%s), want %q (%s)", b.name, r.Ended, r.Reason, b.ended, b.reason)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, o := range walled() {
		for _, b := range bombs(t) {
			t.Run(name+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				r, _ := executortest.Finish(t, open(t, o), b.spec(t, "r1-plan-1"))
				b.check(t, r)
			})
		}
	}
	t.Run("Namespaces/MemoryOfFilesInTmp", func(t *testing.T) {
		t.Parallel()
		b := bomb{
			name: "Tmp", argv: []string{"/bin/sh", "-c", "trap '' INT; for d in /tmp /dev/shm; do head -c 60000000 /dev/zero >$d/x; done; sleep 60"},
			limits: executor.Limits{Memory: 96 << 20}, ended: executor.EndMemory, reason: "the memory limit of 96 MiB was reached",
		}
		for _, without := range [][]string{nil, {shim.WithoutCgroups}} {
			r, _ := executortest.Finish(t, open(t, local.Options{Without: without}), b.spec(t, "r1-plan-1"))
			b.check(t, r)
		}
	})
	t.Run("Namespaces/MemoryWithoutControlGroupsIsWatched", func(t *testing.T) {
		t.Parallel()
		b := bombs(t)[0]
		b.reason += " (watched)"
		r, _ := executortest.Finish(t, open(t, local.Options{Without: []string{shim.WithoutCgroups}}), b.spec(t, "r1-plan-1"))
		b.check(t, r)
	})
	t.Run("ThreadsThatTheKernelRefuses", func(t *testing.T) { // nobody counts them; and a bomb of processes can come this far before it is counted
		t.Parallel()
		if held := open(t, local.Options{}).Limits(); !strings.HasSuffix(held, "by the same") {
			t.Skipf("no control group tells that it refused a process: %s", held)
		}
		b := bombs(t)[0]
		b.argv = []string{b.argv[0], "__program", "threads", "600"}
		b.limits, b.ended, b.reason = executor.Limits{Processes: 1}, executor.EndProcesses, "the limit of 1 processes was reached (520 with all threads)"
		for _, o := range walled() {
			r, _ := executortest.Finish(t, open(t, o), b.spec(t, "r1-plan-1"))
			b.check(t, r)
		}
	})
	t.Run("Namespaces/NothingIsEndedThatHasNoLimit", func(t *testing.T) { // or the tests above prove nothing
		t.Parallel()
		s := executortest.Spec(t, "r1-plan-1", `for i in $(seq 60); do sleep 0.5 & done; head -c 12000000 /dev/zero >file; head -c 60000000 /dev/zero >/tmp/x
			mkdir many; cd many; for i in $(seq 1500); do : >$i; done; yes | head -c 2000000; wait`)
		if r, _ := executortest.Finish(t, open(t, local.Options{}), s); !r.OK(1) {
			t.Errorf("result %+v", r)
		}
	})
}

// TestFiveBombsLeaveTheSixthAlone sets off a memory bomb, a fork bomb, a disk filler, an endless log and a sleeper at once, and two busy loops.
func TestFiveBombsLeaveTheSixthAlone(t *testing.T) {
	t.Parallel()
	e := open(t, local.Options{})
	chosen := []bomb{}
	for _, b := range bombs(t) {
		switch b.name {
		case "Memory", "Processes", "Disk", "Log", "Time":
			chosen = append(chosen, b)
		}
	}
	loop := executortest.Spec(t, "r8-plan-1", "(while :; do :; done) & while :; do :; done")
	executortest.Start(t, e, loop)
	var specs []executor.Spec
	for i, b := range chosen {
		specs = append(specs, b.spec(t, executor.Name("r"+string(rune('1'+i))+"-plan-1")))
		executortest.Start(t, e, specs[i])
	}
	sixth := executortest.Spec(t, "r9-plan-1", "for i in $(seq 20); do echo $i >$i; done; cat 20")
	r, log := executortest.Finish(t, e, sixth)
	if !r.OK(1) || log != "20\n" {
		t.Errorf("the sixth: %+v, log %q", r, log)
	}
	for i, b := range chosen {
		r, _ := executortest.Follow(t, e, specs[i].Name)
		b.check(t, r)
	}
}

func TestWhoHoldsMemoryAndProcessesIsTold(t *testing.T) {
	t.Parallel()
	const spaces = "processes are watched and bounded per user namespace"
	bare := t.TempDir()
	for _, c := range []struct {
		name string
		o    local.Options
		want string
	}{
		{"NoControlGroups", local.Options{Cgroups: bare}, "memory is watched, not held: a run may pass its limit for a moment; " + spaces},
		{"TakenAway", local.Options{Without: []string{shim.WithoutCgroups}}, "memory is watched, not held: a run may pass its limit for a moment; " + spaces},
		{"NoNamespaces", local.Options{Cgroups: bare, Sandbox: local.SandboxAuto, Bwrap: nowhere}, "processes are watched"},
	} {
		if got := open(t, c.o).Limits(); !strings.HasSuffix(c.want, got) && !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: Limits() = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRunsStandBehindTheServer(t *testing.T) {
	t.Parallel()
	_, log := executortest.Finish(t, open(t, local.Options{}), executortest.Spec(t, "r1-plan-1", "cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj; ulimit -c"))
	if log != "5\n500\n0\n" {
		t.Errorf("niceness, adjustment for want of memory, size of cores = %q", log)
	}
}
