package local_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// server is a process of its own that starts one execution.
type server struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startServer(t *testing.T, o order, env ...string) *server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "__program", "start")
	cmd.Env, cmd.Stdin = env, bytes.NewReader(body)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd, out: bufio.NewReader(out)}
	t.Cleanup(s.kill)
	return s
}

// waitFor reads the server's output up to a line.
func (s *server) waitFor(t *testing.T, line string) {
	t.Helper()
	for {
		got, err := s.out.ReadString('\n')
		if got == line+"\n" {
			return
		}
		if err != nil {
			t.Fatalf("server never said %q; last %q, %v", line, got, err)
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may be dead already
	_ = s.cmd.Wait()         // killed is its only end
}

func TestKilledServer(t *testing.T) {
	t.Parallel()
	for _, sandbox := range []local.Options{{}, {Sandbox: local.SandboxAuto, Bwrap: nowhere}} {
		t.Run("ExecutionGoesOnAndIsFoundAgain/"+string(sandbox.Sandbox), func(t *testing.T) {
			t.Parallel()
			sandbox.Dir, sandbox.Shim = t.TempDir(), builtShim(t)
			s := executortest.Spec(t, "r1-apply", "echo one; while ! [ -e go ]; do sleep 0.02; done; echo two $TOKEN $(cat $KEY)", "echo three")
			s.Outputs = []string{"file"}
			first := startServer(t, order{Options: sandbox, Spec: s, Secrets: executor.Secrets{
				Env: []string{"TOKEN=geheim"}, Files: []executor.SecretFile{{Variable: "KEY", Content: []byte("in a file")}},
			}})
			first.waitFor(t, "started")
			e := open(t, sandbox)
			executortest.WaitLog(t, e, s.Name, "one\n")
			first.kill()
			work := filepath.Join(sandbox.Dir, "runs/r1-apply", shim.DirWork)
			if sandbox.Bwrap != "" {
				work = filepath.Join(sandbox.Dir, "runs/r1-apply", shim.DirSource, "in/work")
			}
			executortest.Write(t, filepath.Join(work, "go"), "")
			r, log := executortest.Follow(t, e, s.Name)
			if want := "one\ntwo geheim in a file\nthree\n"; !r.OK(2) || log != want || len(r.Outputs) != 1 {
				t.Errorf("result %+v, log %q, want %q", r, log, want)
			}
		})
	}

	t.Run("AtAnyInstantNothingRunsTwice", func(t *testing.T) {
		t.Parallel()
		marks := t.TempDir()
		o := local.Options{Dir: t.TempDir(), Shim: builtShim(t)}
		e := open(t, o)
		began := 0
		for i := range 24 {
			mark := filepath.Join(marks, fmt.Sprint(i))
			executortest.Write(t, mark, "")
			s := executortest.Spec(t, executor.Name(fmt.Sprintf("r%d-apply", i)), "echo ran >>"+mark)
			s.Binds = []executor.Bind{{Path: mark, Write: true}}
			first := startServer(t, order{Options: o, Spec: s})
			first.waitFor(t, "begin")
			<-time.After(time.Duration(i) * 3 * time.Millisecond) // the instant is the point: from before the claim to after the end
			first.kill()
			r, err := e.Attach(t.Context(), s.Name, io.Discard, 0)
			switch {
			case errors.Is(err, executor.ErrAbsent):
				if r, log := executortest.Finish(t, e, s); !r.OK(1) {
					t.Errorf("start after an absent one: %+v, log %q", r, log)
				}
			case err != nil || !r.OK(1):
				t.Errorf("Attach() = %+v, %v", r, err)
			default:
				began++
				if err := e.Start(t.Context(), s, executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
					t.Errorf("Start() after it ran = %v, want ErrExists", err)
				}
			}
			if got, err := os.ReadFile(mark); err != nil || string(got) != "ran\n" {
				t.Errorf("execution %d ran %q, %v, want once", i, got, err)
			}
		}
		t.Logf("%d of 24 had begun before the kill", began)
	})
}

// killOwner kills the shim that owns an execution and waits until it is gone.
func killOwner(t *testing.T, dir string) {
	t.Helper()
	var procs shim.Procs
	if err := shim.ReadJSON(dir, shim.FileProcs, &procs); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", procs.Root.PID))
	if err != nil {
		t.Fatal(err)
	}
	var owner int
	if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %1s %d", new(string), &owner); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(owner, unix.SIGKILL); err != nil {
		t.Fatalf("kill owner %d: %v", owner, err)
	}
	eventually(t, "the owner is gone", func() bool { owned, err := shim.Owned(dir); return err == nil && !owned })
}

// eventually polls at a process border.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(executortest.Patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never true: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestKilledOwner(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, s executor.Spec) (*local.Executor, string) {
		t.Helper()
		o := local.Options{Dir: t.TempDir()}
		e := open(t, o)
		executortest.Start(t, e, s)
		executortest.WaitLog(t, e, s.Name, "ready\n")
		dir := filepath.Join(o.Dir, "runs", string(s.Name))
		killOwner(t, dir)
		return e, dir
	}
	const patient = "echo ready; while ! [ -e go ]; do sleep 0.02; done; echo saved >errored.tfstate; echo done"

	t.Run("ApplyKeepsTheLockUntilItsToolEnds", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r1-apply", patient, "echo next")
		s.Outputs = []string{"errored.tfstate"}
		e, dir := setup(t, s)
		if alive, err := shim.Alive(dir); err != nil || !alive {
			t.Fatalf("Alive() without its owner = %v, %v, want true: the tool runs", alive, err)
		}
		if err := e.Start(t.Context(), s, executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
			t.Errorf("Start() meanwhile = %v, want ErrExists", err)
		}
		if err := e.Remove(t.Context(), s.Name); err == nil {
			t.Error("Remove() meanwhile = nil, want a refusal")
		}
		executortest.Write(t, filepath.Join(dir, shim.DirWork, "go"), "")
		var log strings.Builder
		if _, err := e.Attach(t.Context(), s.Name, &log, 0); !errors.Is(err, executor.ErrLost) {
			t.Errorf("Attach() = %v, want ErrLost", err)
		}
		if want := "ready\ndone\n"; log.String() != want {
			t.Errorf("log = %q, want %q: the step ends, the next does not begin", log.String(), want)
		}
		state, err := e.Open(t.Context(), s.Name, "errored.tfstate")
		if err != nil {
			t.Fatalf("Open() of a lost execution = %v", err)
		}
		if body, err := io.ReadAll(state); err != nil || string(body) != "saved\n" {
			t.Errorf("state = %q, %v", body, err)
		}
		if err := errors.Join(state.Close(), e.Remove(t.Context(), s.Name)); err != nil {
			t.Errorf("Remove() of a lost execution = %v", err)
		}
	})

	t.Run("PlanEndsAtOnce", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r1-plan-1", "trap '' INT TERM HUP; "+patient)
		s.Unattended = time.Hour
		e, _ := setup(t, s)
		if _, err := e.Attach(t.Context(), s.Name, io.Discard, 0); !errors.Is(err, executor.ErrLost) {
			t.Errorf("Attach() = %v, want ErrLost", err)
		}
	})

	t.Run("NetworkStackLivesAsLongAsTheTool", func(t *testing.T) {
		t.Parallel()
		name := "r" + strings.ToLower(rand.Text()) + "-apply" // nobody else's on this machine, whose processes are looked at
		s := executortest.Spec(t, executor.Name(name), patient)
		s.Network.Mode = executor.NetworkOpen
		e, dir := setup(t, s)
		stacks := func() (found int) {
			files, err := filepath.Glob("/proc/[0-9]*/cmdline")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				body, _ := os.ReadFile(file) // gone in the meantime: not ours
				if strings.HasPrefix(string(body), "slirp4netns:"+name+"\x00") {
					found++
				}
			}
			return found
		}
		if got := stacks(); got == 0 {
			t.Error("the network stack died with the owner, while the tool may need it to save its state")
		}
		executortest.Write(t, filepath.Join(dir, shim.DirWork, "go"), "")
		if _, err := e.Attach(t.Context(), s.Name, io.Discard, 0); !errors.Is(err, executor.ErrLost) {
			t.Errorf("Attach() = %v, want ErrLost", err)
		}
		eventually(t, "the network stack ended with the tool", func() bool { return stacks() == 0 })
	})

	t.Run("CancelStillInterruptsAndKills", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r1-apply", "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.02; done")
		e, _ := setup(t, s)
		if err := e.Cancel(t.Context(), s.Name, false); err != nil {
			t.Fatalf("Cancel() = %v", err)
		}
		executortest.WaitLog(t, e, s.Name, "interrupted\n")
		if err := e.Cancel(t.Context(), s.Name, true); err != nil {
			t.Fatalf("Cancel(kill) = %v", err)
		}
		if _, err := e.Attach(t.Context(), s.Name, io.Discard, 0); !errors.Is(err, executor.ErrLost) {
			t.Errorf("Attach() = %v, want ErrLost", err)
		}
	})
}

// TestADeadStartLeavesNothing when its name is removed, because nobody wants the run any more, or when the next server starts.
func TestADeadStartLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, frees := range map[string]func(t *testing.T, e *local.Executor, o local.Options, n executor.Name){
		"Remove": func(t *testing.T, e *local.Executor, _ local.Options, n executor.Name) {
			t.Helper()
			if err := e.Remove(t.Context(), n); err != nil {
				t.Errorf("Remove() error = %v", err)
			}
		},
		"New": func(t *testing.T, _ *local.Executor, o local.Options, _ executor.Name) { t.Helper(); open(t, o) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := local.Options{Dir: t.TempDir()}
			e := open(t, o)
			runs := filepath.Join(o.Dir, "runs")
			executortest.Write(t, filepath.Join(runs, "r1-plan-1", shim.FileLock), "")
			executortest.Write(t, filepath.Join(runs, "r1-plan-1", shim.FileLaunch), "{")
			if err := os.Mkdir(filepath.Join(runs, "r2-plan-1"), 0o700); err != nil { // before it had a lock
				t.Fatal(err)
			}
			executortest.Write(t, filepath.Join(runs, "r3-plan-1", shim.FileLock), "")
			going, err := os.OpenFile(filepath.Join(runs, "r3-plan-1", shim.FileLock), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = going.Close() }() // nothing was written
			if free, err := shim.Lock(going); err != nil || !free {
				t.Fatalf("Lock() = %t, %v", free, err)
			}
			for _, n := range []executor.Name{"r1-plan-1", "r2-plan-1"} {
				frees(t, e, o, n)
			}
			if err := e.Remove(t.Context(), "r3-plan-1"); name == "Remove" && !errors.Is(err, executor.ErrRunning) {
				t.Errorf("Remove() of a start that goes on = %v, want ErrRunning", err)
			}
			left, err := os.ReadDir(runs)
			if err != nil || len(left) != 1 || left[0].Name() != "r3-plan-1" {
				t.Errorf("left: %v, %v, want the start that goes on", left, err)
			}
		})
	}
}

// TestKilledFromOutside: what the machine kills, for want of memory for instance, did not fail by itself and was not asked to end.
func TestKilledFromOutside(t *testing.T) {
	t.Parallel()
	o := local.Options{Dir: t.TempDir()}
	e := open(t, o)
	s := executortest.Spec(t, "r1-plan-1", "echo ready; while :; do sleep 0.02; done")
	executortest.Start(t, e, s)
	executortest.WaitLog(t, e, s.Name, "ready\n")
	var procs shim.Procs
	if err := shim.ReadJSON(filepath.Join(o.Dir, "runs", string(s.Name)), shim.FileProcs, &procs); err != nil {
		t.Fatal(err)
	}
	if err := procs.Inner.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := e.Attach(t.Context(), s.Name, io.Discard, 0)
	if err != nil || r.Ended != executor.EndLost || !strings.Contains(r.Reason, "from outside") {
		t.Errorf("Attach() = %+v, %v, want it lost, killed from outside", r, err)
	}
}
