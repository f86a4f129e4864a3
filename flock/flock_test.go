package flock_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/flock"
)

func TestOneHoldsItAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			f, err := flock.Open(t.Context(), path)
			if err != nil {
				t.Errorf("Open() = %v", err)
				return
			}
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d hold the lock at once, want 1", n)
			}
			runtime.Gosched()
			inside.Add(-1)
			if err := f.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		})
	}
	wg.Wait()
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	held, err := flock.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }() // read only
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := flock.Open(ctx, path); !errors.Is(err, enough) {
		t.Errorf("Open() of a held lock = %v, want the cause of its context's end", err)
	}
}
