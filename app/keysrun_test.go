package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/runner"
)

const running = executor.Name("r1-plan-1")

// runs has an execution under way, which ends with the test, and what it must not show sealed under a key.
func (s *sealed) runs(key string) {
	s.t.Helper()
	e, err := local.New(local.Options{Dir: filepath.Join(s.dir, "data", "executions"), Sandbox: local.SandboxOff})
	if err != nil {
		s.t.Fatal(err)
	}
	executortest.Start(s.t, e, executortest.Spec(s.t, running, "sleep 1200"))
	s.list(key, running)
}

// work is the directory of the runner.
func (s *sealed) work() string { return filepath.Join(s.dir, "data", "work") }

// list keeps what an execution must not show under a key.
func (s *sealed) list(key string, of executor.Name) {
	s.t.Helper()
	sealer := s.sealer(key)
	defer sealer.Close()
	body, err := sealer.Seal(s.t.Context(), fmt.Appendf(nil, "what %s must not show", of))
	if err != nil {
		s.t.Fatal(err)
	}
	file := runner.HiddenFile(s.work(), of)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sealed) sealer(file string) *blob.Sealer {
	s.t.Helper()
	key, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	sealer, err := blob.OpenSealer(s.t.Context(), strings.TrimSpace(string(key)))
	if err != nil {
		s.t.Fatal(err)
	}
	return sealer
}

// opens says whether a key alone opens what is kept of the execution under way.
func (s *sealed) opens(key string) bool {
	s.t.Helper()
	sealer := s.sealer(key)
	defer sealer.Close()
	body, err := os.ReadFile(runner.HiddenFile(s.work(), running))
	if err != nil {
		s.t.Fatal(err)
	}
	plain, err := sealer.Open(s.t.Context(), body)
	return err == nil && string(plain) == fmt.Sprintf("what %s must not show", running)
}

func TestAnOldKeyGoesWhileARunGoesOn(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]func(s *sealed){
		"TheServerStartsWithBoth": func(s *sealed) {
			if err := s.start(s.config(s.fresh, s.first)); err != nil {
				s.t.Fatal(err)
			}
			if !s.opens(s.fresh) {
				s.t.Error("a start with both keys leaves what runs under the old one")
			}
			s.says(0, "rotate", "--config", s.config(s.fresh, s.first))
		},
		"ServersAreStopped": func(s *sealed) {
			both := s.config(s.fresh, s.first)
			if out, _ := s.says(1, "status", "--config", both); !strings.Contains(out, " 113 ") {
				s.t.Errorf("status = %s, want 112 values of rows and what is kept of a run", out)
			}
			s.says(0, "rotate", "--config", both)
			s.says(0, "status", "--config", both)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t, "", "")
			s.fill(s.config(s.first))
			s.runs(s.first)
			rotate(s)
			if err := s.start(s.config(s.fresh)); err != nil || !s.opens(s.fresh) {
				t.Errorf("starting with the new key alone = %v; the new key alone opens what is kept of the run: %v", err, s.opens(s.fresh))
			}
		})
	}
}

func TestAGeneratedKeyIsReplacedWhileARunGoesOn(t *testing.T) {
	t.Parallel()
	s := newSealed(t, "", "")
	file, key := s.config(), filepath.Join(s.dir, "data", "key")
	s.fill(file)
	s.runs(key)
	s.says(0, "rotate", "--generate", "--config", file)
	if !s.opens(key) {
		t.Error("the fresh key does not open what is kept of a run")
	}
}

// TestAKeyThatARunNeedsIsNotLeftOut: a machine whose server never had both keys, since keys rotate ran on another one.
func TestAKeyThatARunNeedsIsNotLeftOut(t *testing.T) {
	t.Parallel()
	s := newSealed(t, "", "")
	s.fill(s.config(s.first))
	s.says(0, "rotate", "--config", s.config(s.fresh, s.first))
	s.list(s.first, "r0-plan-1") // nobody follows it any more
	if err := s.start(s.config(s.fresh)); err != nil {
		t.Errorf("with what is kept of an execution that is gone, a start = %v", err)
	}
	s.runs(s.first)
	err := s.start(s.config(s.fresh))
	file := runner.HiddenFile(s.work(), running)
	if err == nil || !strings.Contains(err.Error(), "old_encryption_keys") || !strings.Contains(err.Error(), string(running)) || !strings.Contains(err.Error(), file) {
		t.Fatalf("starting without the key of a run = %v, want a refusal that names the run, the key and the file", err)
	}
	if !s.opens(s.first) {
		t.Error("what is kept of the run was changed")
	}
	if _, said := s.says(1, "status", "--config", s.config(s.fresh)); !strings.Contains(said, "what execution "+string(running)+" must not show needs key") {
		t.Errorf("status said %s", said)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := s.start(s.config(s.fresh)); err != nil {
		t.Errorf("without the list, a start = %v", err)
	}
}

func TestKeysRotateWritesNothingThatTheServerCannotRead(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	s := newSealed(t, "", "")
	s.fill(s.config(s.first))
	if err := os.Chown(filepath.Join(s.dir, "data", "node"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	both := s.config(s.fresh, s.first)
	if _, said := s.says(2, "rotate", "--config", both); !strings.Contains(said, "sudo -u ") {
		t.Errorf("rotate as another user said %s", said)
	}
	if _, said := s.says(1, "status", "--config", both); !strings.Contains(said, "112 values and 10 objects need an old key") {
		t.Errorf("status said %s", said)
	}
}
