package e2e_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
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

// process is how a server's process is made. It leads a group, as one that a shell starts; and it dies with the thread that started it, and
// so with a test that was killed.
func (w *world) process() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if w.alone {
		a.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	if w.alone && os.Getuid() != 0 { // root in there, who may mount
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

// start starts the server as a child process and waits until it answers. A child that a kill point kills is started again, for ever.
func (w *world) start() {
	w.ended = make(chan error, 1)
	ready := make(chan struct{})
	go w.keep(ready)
	select {
	case <-ready:
	case <-time.After(patience):
		w.t.Fatalf("the server was not ready:\n%s", w.log)
	}
}

func (w *world) keep(ready chan struct{}) {
	runtime.LockOSThread() // see process
	for {
		cmd := exec.Command(os.Args[0]) //nolint:noctx // ended by stop
		cmd.Env, cmd.Stderr, cmd.Stdout = w.env, w.log, w.log
		cmd.SysProcAttr = w.process()
		if err := cmd.Start(); err != nil {
			w.ended <- err
			return
		}
		w.log.setProcess(cmd.Process)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		alive := make(chan struct{})
		go func() {
			for {
				if answers(w.url + "/readyz") {
					close(alive)
					return
				}
				select {
				case <-w.log.stopped():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		var err error
		select {
		case <-alive:
			if ready != nil {
				close(ready)
				ready = nil
			}
			err = <-done
		case err = <-done:
		}
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if !killed || w.log.isStopped() {
			w.ended <- err
			return
		}
	}
}

func answers(url string) bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get(url) //nolint:noctx // bounded by the client
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stop ends the server as an operator does.
func (w *world) stop() {
	w.log.stop()
	select {
	case <-w.ended: //nolint:errcheck // how it ended is not what these tests are about
	case <-time.After(30 * time.Second):
		w.t.Error("the server did not stop within 30 s of SIGTERM")
		w.log.kill()
	}
}

// signal sends a signal to the server; group: to all of its process group, as a terminal does.
func (w *world) signal(s syscall.Signal, group bool) {
	w.t.Helper()
	w.log.mu.Lock()
	pid := w.log.process.Pid
	w.log.mu.Unlock()
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, s); err != nil {
		w.t.Fatalf("signal the server: %v", err)
	}
}

// exits waits until the server has ended by itself, and returns how.
func (w *world) exits(within time.Duration) error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		w.ended <- err // for stop
		return err
	case <-time.After(within):
		w.t.Fatalf("the server did not end within %s:\n%s", within, w.log)
		return nil
	}
}

// restart starts a stopped server again.
func (w *world) restart() {
	w.t.Helper()
	w.log = &logBuffer{}
	w.start()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// logBuffer collects what the children log and knows the current one.
type logBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	process *os.Process
	end     chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	if len(text) > 60000 {
		text = text[len(text)-60000:]
	}
	return text
}

func (l *logBuffer) setProcess(p *os.Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.process = p
}

func (l *logBuffer) stopped() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil {
		l.end = make(chan struct{})
	}
	return l.end
}

func (l *logBuffer) isStopped() bool {
	select {
	case <-l.stopped():
		return true
	default:
		return false
	}
}

func (l *logBuffer) stop() {
	end := l.stopped()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-end:
		return
	default:
		close(end)
	}
	if l.process != nil {
		_ = l.process.Signal(syscall.SIGTERM)
	}
}

func (l *logBuffer) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process != nil {
		_ = l.process.Kill()
	}
}
