package e2e_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/helper"
)

const (
	asServer = "PLANLATCH_E2E_SERVE" // in the environment of a child: the server.yaml to serve
	asHelper = "PLANLATCH_E2E_SHIM"  // in the environment of a child: the planlatch-shim to execute runs with
	killFile = "PLANLATCH_E2E_KILL"  // in the environment of a child: where it keeps at which commits it died already
	asFirst  = "PLANLATCH_E2E_FIRST" // in the environment of a child: it is process 1 and mounts its own /proc
	patience = 3 * time.Minute       // of a loaded machine; seconds are usual
)

// TestMain lets the test binary be a shim, a server, or the tests.
func TestMain(m *testing.M) {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	env := app.Environment()
	if file := env[asServer]; file != "" {
		os.Exit(serve(file, env))
	}
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // stories wait for other processes more than they work
	}
	os.Exit(helper.With(asHelper, m.Run))
}

// serve is the child: a real server whose kill points may kill it.
func serve(file string, env map[string]string) int {
	if env[asFirst] != "" {
		if err := ownProc(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	}
	return child.Serve(file, app.ServerOptions{
		Env: env, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Kill: killer(env[killFile]), Shim: env[asHelper], Reconcile: 3 * time.Second,
	})
}

// ownProc shows this process the PID namespace that it is process 1 of, as a container's /proc does.
func ownProc() error {
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("the server has pid %d, want 1", pid)
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// first makes a process that is process 1 of a PID namespace of its own, as in a container.
func first() (a syscall.SysProcAttr) {
	a.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	if os.Getuid() != 0 { // root in there, who may mount
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// killer kills the process once before and once after every commit of a story, and at those that a story makes often again and again, but
// ever more rarely: what makes several commits in a row must come to its end some time. What it did is kept in a file, since it does not
// live to remember.
func killer(file string) func(point string) {
	if file == "" {
		return nil
	}
	var mu sync.Mutex
	return func(point string) {
		mu.Lock()
		defer mu.Unlock()
		deaths, passed := 0, 0 // of this point; passed counts since the last death
		if old, err := os.ReadFile(file); err == nil {
			for line := range strings.Lines(string(old)) {
				switch strings.TrimSpace(line) {
				case "passed " + point:
					passed++
				case "died " + point:
					deaths, passed = deaths+1, 0
				}
			}
		}
		dies, word := passed >= 1<<min(deaths, 20)-1, "passed "
		if dies {
			word = "died "
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, word+point)
		f.Close()
		if dies {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
}

// stop ends the server as an operator does. How it ended is not what these tests are about, but for that it did.
func (w *world) stop() {
	w.t.Helper()
	if err := w.server.Stop(); errors.Is(err, child.ErrLate) {
		w.t.Error(err)
	}
}

// restart starts a stopped server again.
func (w *world) restart() {
	w.t.Helper()
	w.server.Start(w.t)
}

// signal sends a signal to the server; group: to all of its process group, as a terminal does.
func (w *world) signal(s syscall.Signal, group bool) {
	w.t.Helper()
	if err := w.server.Signal(s, group); err != nil {
		w.t.Fatalf("signal the server: %v", err)
	}
}

// exits waits until the server has ended by itself, and returns how.
func (w *world) exits() error {
	w.t.Helper()
	err := w.server.Wait(patience)
	if errors.Is(err, child.ErrLate) {
		w.t.Fatal(err)
	}
	return err
}
