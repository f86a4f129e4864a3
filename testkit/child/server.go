package child

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/loopback"
)

// Server is a planlatch server in a process of its own: the test binary, whose TestMain calls Serve. The fields are set before Start.
type Server struct {
	URL    string              // where it answers
	Env    []string            // its whole environment
	Dir    string              // where it and its executions work: whoever has it in its arguments, or a file of it open, ends with the test
	Reborn bool                // when a signal kills it, another life begins, as systemd and Kubernetes see to
	Pause  time.Duration       // between two lives
	Attr   syscall.SysProcAttr // of its process, besides that it leads a group, as one that a shell starts
	Before func()              // is called before each life, if it is not nil

	mu      sync.Mutex
	log     bytes.Buffer
	process *os.Process // of this life; nil: none
	lives   int
	ready   time.Time       // since when this life answers; zero: not yet
	died    time.Time       // the life before; zero: it did not
	back    []time.Duration // from each death until it answered again
	over    bool            // no life follows
	ended   chan struct{}   // closed when the last life is over
	last    error           // how it ended
}

// ErrLate says that a server did not end in time.
var ErrLate = errors.New("the server did not end within")

// Patience is how long a server may take to answer, or to end, on a loaded machine; seconds are usual.
const Patience = 4 * time.Minute

// Start begins the first life, or the first after a stop, and returns when it answers. The test is over if it ends before, or never does. What
// is left of it when the test ends is killed.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	ended := make(chan struct{})
	s.mu.Lock()
	first := s.ended == nil
	s.ended, s.over, s.ready, s.died, s.last = ended, false, time.Time{}, time.Time{}, nil
	s.mu.Unlock()
	if first {
		t.Cleanup(s.end)
	}
	go s.keep(ended)
	for late := time.After(Patience); s.Ready().IsZero(); {
		select {
		case <-ended:
			t.Fatalf("the server ended before it answered: %v\n%s", s.last, s.Tail())
		case <-late:
			t.Fatalf("the server does not answer after %s:\n%s", Patience, s.Tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keep lives one life after the other.
func (s *Server) keep(ended chan struct{}) {
	defer close(ended)
	runtime.LockOSThread() // a child dies with the thread that started it, and so with a test that was killed
	for {
		if s.Before != nil {
			s.Before()
		}
		cmd := exec.Command(os.Args[0]) //nolint:noctx // ended by Stop, or by the end of the test
		cmd.Env, cmd.Stdout, cmd.Stderr = s.Env, writer{s}, writer{s}
		attr := s.Attr
		attr.Setpgid, attr.Pdeathsig = true, syscall.SIGKILL
		cmd.SysProcAttr = &attr
		life, err := s.begin(cmd)
		if life == 0 {
			return
		}
		if err == nil {
			gone := make(chan struct{})
			go s.await(life, gone)
			err = cmd.Wait()
			close(gone)
		}
		if s.follows(err) {
			time.Sleep(s.Pause) //nolint:forbidigo // what a supervisor waits
			continue
		}
		return
	}
}

// begin starts a life and returns its number; zero when none may follow.
func (s *Server) begin(cmd *exec.Cmd) (life int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, nil
	}
	s.lives++
	if err = cmd.Start(); err == nil {
		s.process = cmd.Process
	}
	return s.lives, err
}

// follows notes how a life ended and says whether another one follows.
func (s *Server) follows(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ready, s.died, s.last = nil, time.Time{}, time.Now(), err
	exit := (*exec.ExitError)(nil)
	killed := errors.As(err, &exit) && exit.ExitCode() < 0 // no code of its own: a signal ended it
	return s.Reborn && !s.over && killed
}

// await notes since when a life answers.
func (s *Server) await(life int, gone chan struct{}) {
	client := http.Client{Timeout: 10 * time.Second} // a connection to who is not there is refused at once
	for {
		res, err := client.Get(s.URL + "/readyz") //nolint:noctx // bounded by the client
		if err == nil {
			res.Body.Close()
		}
		if err == nil && res.StatusCode == http.StatusOK {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.process == nil || s.lives != life {
				return
			}
			s.ready = time.Now()
			if !s.died.IsZero() {
				s.back = append(s.back, time.Since(s.died))
			}
			return
		}
		select {
		case <-gone:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the server; group: to all of its process group, as a terminal does. Error: it does not live.
func (s *Server) Signal(signal syscall.Signal, group bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.process == nil:
		return os.ErrProcessDone
	case group:
		return syscall.Kill(-s.process.Pid, signal)
	}
	return s.process.Signal(signal)
}

// Stop ends the server as an operator does and returns how it ended: nil for the exit code 0, also of a server that had ended before. What it
// executes may go on. Error: ErrLate for one that was killed as it took longer than Patience.
func (s *Server) Stop() error {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	_ = s.Signal(syscall.SIGTERM, false) // it may have ended by itself, which Wait tells
	err := s.Wait(Patience)
	if errors.Is(err, ErrLate) {
		_ = s.Signal(syscall.SIGKILL, false)
	}
	return err
}

// Wait waits until the server has ended and no life follows, and returns how it ended. Error: ErrLate, too.
func (s *Server) Wait(within time.Duration) error {
	select {
	case <-s.ended:
		return s.last
	case <-time.After(within):
		return fmt.Errorf("%w %s:\n%s", ErrLate, within, s.Tail())
	}
}

// end kills the server, and what its test has left of all that it ever started. It returns when they are gone.
func (s *Server) end() {
	s.mu.Lock()
	s.over = true
	if s.process != nil {
		_ = s.process.Kill()
	}
	s.mu.Unlock()
	<-s.ended
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // other processes
		left := Below(s.Dir)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Below lists the processes, but for servers, that work below a directory, whatever became of their parents: it is in their arguments, or they
// have a file of it open, as the tool has its log.
func Below(dir string) (pids []int) {
	dir += "/"
	self, _ := os.Readlink("/proc/self/exe")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		if exe, err := os.Readlink(filepath.Join(proc, "exe")); err != nil || exe == self {
			continue // ended, or one of us
		}
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		open, _ := os.ReadDir(filepath.Join(proc, "fd"))
		if strings.Contains(string(line), dir) || slices.ContainsFunc(open, func(fd os.DirEntry) bool {
			to, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
			return strings.HasPrefix(to, dir)
		}) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Ready is since when the server answers; zero while it does not.
func (s *Server) Ready() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// Pid is the server's process; zero between two lives.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// Lives is how often it was started.
func (s *Server) Lives() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lives
}

// Back is how long it took from each death until it answered again.
func (s *Server) Back() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.back)
}

// Log is what all lives have logged.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Tail is the end of the log, for whoever reads why a test failed.
func (s *Server) Tail() string {
	text := s.Log()
	return text[max(0, len(text)-40_000):]
}

type writer struct{ s *Server }

func (w writer) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(p)
}

// Address is one for a server, which finds it free in its next life.
func Address(t testing.TB) string {
	t.Helper()
	at, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	return at.String()
}
