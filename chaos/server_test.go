package chaos_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one replica, started again whenever it dies, as systemd or Kubernetes does.
type server struct {
	name  string
	dir   string // its data directory and server.yaml
	url   string
	env   []string
	pause time.Duration // between its death and its next life

	mu      sync.Mutex
	log     bytes.Buffer
	process *os.Process
	ready   time.Time // of this life; zero before
	lives   int
	died    time.Time
	back    []time.Duration // from each death until it answered again
	fresh   bool            // the next life has an empty data directory: its disk was lost
	over    bool
	ended   chan error
}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// text is the end of the log.
func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.log.String()
	return text[max(0, len(text)-40_000):]
}

// start begins the first life and returns when it answers.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	s.ended, s.over, s.died = make(chan error, 1), false, time.Time{}
	s.mu.Unlock()
	go s.keep()
	deadline := time.Now().Add(patience)
	for !s.alive() {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer:\n%s", s.name, s.text())
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polling another process
	}
}

func (s *server) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ready.IsZero()
}

// keep lives one life after the other until stop.
func (s *server) keep() {
	runtime.LockOSThread() // a child dies with the thread that started it, and so with a test that was killed
	for {
		cmd := exec.Command(os.Args[0]) //nolint:noctx // ended by stop
		cmd.Env, cmd.Stdout, cmd.Stderr = s.env, s, s
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		s.mu.Lock()
		if s.fresh {
			s.fresh = false
			_ = os.RemoveAll(filepath.Join(s.dir, "data")) // what cannot go is found by the invariants
		}
		err := cmd.Start()
		if err == nil {
			s.process, s.lives = cmd.Process, s.lives+1
		}
		s.mu.Unlock()
		if err != nil {
			s.ended <- err
			return
		}
		gone := make(chan struct{})
		go s.await(gone)
		err = cmd.Wait()
		close(gone)
		s.mu.Lock()
		s.process, s.ready, s.died = nil, time.Time{}, time.Now()
		over := s.over
		s.mu.Unlock()
		if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); over || ok && !state.Signaled() {
			s.ended <- err // it went by itself, which only stop may make it do
			return
		}
		time.Sleep(s.pause) //nolint:forbidigo // what a supervisor waits
	}
}

// await notes when a life answers.
func (s *server) await(gone chan struct{}) {
	client := http.Client{Timeout: time.Second}
	for {
		res, err := client.Get(s.url + "/readyz") //nolint:noctx // bounded by the client
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				s.mu.Lock()
				s.ready = time.Now()
				if !s.died.IsZero() {
					s.back = append(s.back, time.Since(s.died))
				}
				s.mu.Unlock()
				return
			}
		}
		select {
		case <-gone:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends this life. With everything, what it runs dies as well and its disk is lost: the machine is gone.
func (s *server) kill(everything bool) bool {
	s.mu.Lock()
	p := s.process
	if p == nil || s.ready.IsZero() {
		s.mu.Unlock()
		return false
	}
	s.fresh = everything
	err := p.Kill()
	defer s.mu.Unlock() // only then the next life begins
	if everything {
		for left := workersOf(s.dir); len(left) > 0; left = workersOf(s.dir) {
			for _, w := range left {
				_ = syscall.Kill(w, syscall.SIGKILL)
			}
		}
	}
	return err == nil
}

// stop ends the server as an operator does.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	s.over = true
	if s.process != nil {
		_ = s.process.Signal(syscall.SIGTERM)
	}
	s.mu.Unlock()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("%s ended with %v:\n%s", s.name, err, s.text())
		}
	case <-time.After(patience):
		t.Errorf("%s does not stop:\n%s", s.name, s.text())
	}
}

// workersOf lists the processes of executions below a directory, whatever became of their parents: their arguments name it, or they have
// something open there, as the tool has its log.
func workersOf(dir string) (pids []int) {
	dir = filepath.Join(dir, "data", "executions")
	self, _ := os.Readlink("/proc/self/exe")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		proc := filepath.Join("/proc", e.Name())
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join(proc, "exe")); err != nil || exe == self {
			continue // ended, or one of us
		}
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		ours := strings.Contains(string(line), dir)
		open, _ := os.ReadDir(filepath.Join(proc, "fd"))
		for _, fd := range open {
			to, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
			ours = ours || strings.HasPrefix(to, dir)
		}
		if ours {
			pids = append(pids, pid)
		}
	}
	return pids
}
