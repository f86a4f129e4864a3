package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

func TestUsesTellWhatExecutionsSeeUntilTheyAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := local.New(local.Options{Dir: dir, Shim: builtShim(t)})
	if err != nil {
		t.Fatal(err)
	}
	s := executortest.Spec(t, "r1-plan-1", "true")
	seen := t.TempDir()
	s.Binds = append(s.Binds, executor.Bind{Path: seen})
	executortest.Finish(t, e, s)
	used, err := e.Uses(t.Context())
	if err != nil || !used[seen] || !used[s.Source.Dir] {
		t.Errorf("Uses() = %v, %v, want source and bind of the execution", used, err)
	}
	if err := e.Remove(t.Context(), s.Name); err != nil {
		t.Fatal(err)
	}
	if used, err = e.Uses(t.Context()); err != nil || len(used) != 0 {
		t.Errorf("Uses() after Remove = %v, %v, want nothing", used, err)
	}
}

func TestATombstoneIsEmptyAndExpiresOnlyWhenItMay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := local.New(local.Options{Dir: dir, Shim: builtShim(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []executor.Name{"r1-apply", "r1-plan-1", "r2-plan-1"} {
		executortest.Finish(t, e, executortest.Spec(t, n, "true"))
		if n == "r2-plan-1" {
			continue // not removed
		}
		if err := e.Remove(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Attach(t.Context(), n, os.Stderr, 0); !errors.Is(err, executor.ErrAbsent) {
			t.Errorf("Attach(%s) after Remove = %v, want ErrAbsent", n, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "names", "r1-apply")); err != nil || info.Size() != 0 {
		t.Errorf("tombstone = %v, %v, want an empty file", info, err)
	}
	plans := func(n executor.Name) (bool, error) { return n != "r1-apply", nil }
	if n, err := e.Expire(t.Context(), time.Now().Add(-time.Hour), plans); err != nil || n != 0 {
		t.Errorf("Expire() of young names = %d, %v, want 0", n, err)
	}
	if n, err := e.Expire(t.Context(), time.Now().Add(time.Hour), plans); err != nil || n != 1 {
		t.Errorf("Expire() = %d, %v, want the one name that may go", n, err)
	}
	if err := e.Start(t.Context(), executortest.Spec(t, "r1-apply", "true"), executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
		t.Errorf("Start() of a removed apply = %v, want ErrExists", err)
	}
	if err := e.Start(t.Context(), executortest.Spec(t, "r2-plan-1", "true"), executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
		t.Errorf("Start() of one that is there = %v, want ErrExists", err)
	}
}
