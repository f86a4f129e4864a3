package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Server is a cluster of one test's own, which may take it away and bring it back.
type Server struct {
	URL string // of an empty database

	t testing.TB
	c *cluster
}

// Own starts a cluster for this test alone, at some cost: about a second. It ends with the test.
func Own(t testing.TB, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := start(ctx, o)
	if err != nil {
		t.Fatalf("start PostgreSQL for this test: %v", err)
	}
	t.Cleanup(func() { _ = c.guard.Close() }) // the guard ends the server
	return &Server{URL: c.url.String(), t: t, c: c}
}

// Stop ends the server as a crash would, with whatever it was doing.
func (s *Server) Stop() {
	s.t.Helper()
	s.run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", s.c.data())
}

// Start starts the stopped server again, on the same port.
func (s *Server) Start() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.c.up(ctx); err != nil {
		s.t.Fatalf("start PostgreSQL again: %v", err)
	}
}

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.c.runAs(ctx, program, args...); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze makes the server stop answering without ending it: connections stay open, and new ones are taken by the kernel and never spoken to.
func (s *Server) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

// signal reaches the server first, so that it makes no new processes meanwhile, and then each process of it.
func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.c.data(), "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	master, err := strconv.Atoi(first)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Kill(master, sig); err != nil {
		s.t.Fatalf("signal PostgreSQL: %v", err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		_, after, _ := strings.Cut(string(text), ") ") // the name before it may have spaces
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == first {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				_ = syscall.Kill(pid, sig) // it may end meanwhile
			}
		}
	}
}
