package provider_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// drop tries to evict everything and says how much went.
func (b *bench) drop(t *testing.T) (gone int) {
	t.Helper()
	uses := func(ctx context.Context) (map[string]bool, error) {
		x, ok := b.exec.(*local.Executor)
		if !ok {
			t.Fatal("the executor is another one")
		}
		return x.Uses(ctx)
	}
	items, err := b.Items(t.Context(), uses)
	if err != nil {
		t.Fatalf("Items() = %v", err)
	}
	for _, i := range items {
		if i.Bytes < 1<<20 || i.Part != "providers" {
			t.Errorf("item %+v, want a provider with the size of its program", i)
		}
		ok, err := i.Drop(t.Context())
		if err != nil {
			t.Fatalf("Drop() = %v", err)
		}
		if ok {
			gone++
		}
	}
	return gone
}

// unused makes the stored package one that nobody asked for lately.
func (b *bench) unused(t *testing.T, tool string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(b.packages(tool), old, old); err != nil {
		t.Fatal(err)
	}
}

func TestAProviderInUseIsNeverEvicted(t *testing.T) {
	t.Parallel()
	const tool = "tofu"
	b := setup(t, local.Options{}, nil)
	lock := locked(tool, kit.sum)
	v := b.view(t, tool, lock)
	if n := b.drop(t); n != 0 {
		t.Fatalf("%d packages went that were given out a moment ago", n)
	}
	s := b.spec(t, tool, nil, lock, v)
	s.Steps = append(s.Steps, sh("echo initialised; sleep 1000 & wait"))
	executortest.Start(t, b.exec, s)
	executortest.WaitLog(t, b.exec, s.Name, "initialised")
	b.unused(t, tool)
	if n := b.drop(t); n != 0 {
		t.Fatalf("%d packages went that a run sees", n)
	}
	if _, err := os.Stat(b.stored(tool)); err != nil {
		t.Fatalf("the package of a running run is gone: %v", err)
	}
	if err := b.exec.Cancel(t.Context(), s.Name, true); err != nil {
		t.Fatal(err)
	}
	executortest.Follow(t, b.exec, s.Name)
	if n := b.drop(t); n != 0 {
		t.Fatalf("%d packages went before the execution was removed", n)
	}
	if err := b.exec.Remove(t.Context(), s.Name); err != nil {
		t.Fatal(err)
	}
	if n := b.drop(t); n != 1 {
		t.Fatalf("%d packages went that nobody uses, want 1", n)
	}
	for _, dir := range []string{"packages", "incoming"} {
		if left, err := filepath.Glob(filepath.Join(b.dir, dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s has %v, %v, want nothing", dir, left, err)
		}
	}
}

func TestAnEvictedProviderIsFetchedAgain(t *testing.T) {
	t.Parallel()
	const tool = "tofu"
	b := setup(t, local.Options{}, nil)
	lock := locked(tool, kit.sum)
	b.view(t, tool, lock)
	b.unused(t, tool)
	if n := b.drop(t); n != 1 {
		t.Fatalf("%d packages went, want 1", n)
	}
	v := b.view(t, tool, lock)
	s := b.spec(t, tool, nil, lock, v)
	s.Steps = append(s.Steps, planStep(kit.tools[tool]), sh("readlink .terraform/providers/*/*/*/*/*; true"))
	r, log := executortest.Finish(t, b.exec, s)
	if !r.OK(3) || !strings.Contains(log, b.stored(tool)+"\n") {
		t.Fatalf("%+v, want a plan with the stored provider; log:\n%s", r, log)
	}
	if n := b.log.count("stored a provider"); n != 2 {
		t.Errorf("it was fetched %d times, want twice", n)
	}
}
