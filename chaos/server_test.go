package chaos_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/planlatch/planlatch/testkit/child"
)

// server is one replica, started again whenever it dies.
type server struct {
	child.Server
	name string

	mu    sync.Mutex // while its machine is lost
	fresh bool       // the next life has an empty data directory: its disk was lost
}

// afresh is called before each life.
func (s *server) afresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh {
		s.fresh = false
		_ = os.RemoveAll(filepath.Join(s.Dir, "data")) // what cannot go is found by the invariants
	}
}

// kill ends this life, if it answers. With everything, what it runs dies as well and its disk is lost: the machine is gone.
func (s *server) kill(everything bool) bool {
	s.mu.Lock() // until then no next life begins
	defer s.mu.Unlock()
	if s.Ready().IsZero() || s.Signal(syscall.SIGKILL, false) != nil {
		return false
	}
	s.fresh = everything
	if everything {
		for left := s.workers(); len(left) > 0; left = s.workers() {
			for _, w := range left {
				_ = syscall.Kill(w, syscall.SIGKILL)
			}
		}
	}
	return true
}

// workers are the processes of its executions.
func (s *server) workers() []int { return child.Below(filepath.Join(s.Dir, "data", "executions")) }
