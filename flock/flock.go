// Package flock gives one process at a time the right to change what lies behind a file.
//
// It promises that the lock ends with the file: closed, or its process killed. A program that inherits the file keeps the lock. It leaves
// to callers that goroutines of one process open the file anew for each turn.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// every is how often a taken lock is tried again: the kernel cannot end a wait with a context.
const every = 25 * time.Millisecond

// Open makes the file if it is not there and returns it once it is locked. Close it to give the lock back. Error: the cause of ctx's end.
func Open(ctx context.Context, path string) (*os.File, error) { return open(ctx, path, unix.LOCK_EX) }

// Shared is Open for those who may have the lock beside each other, but not beside one of Open.
func Shared(ctx context.Context, path string) (*os.File, error) { return open(ctx, path, unix.LOCK_SH) }

func open(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a lock: %w", err)
	}
	if err := wait(ctx, f, how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func wait(ctx context.Context, f *os.File, how int) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
