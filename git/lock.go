package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/planlatch/planlatch/flock"
)

// lock waits for the right to write to the mirror, among goroutines and processes. The returned file carries the lock: a git that inherits
// it keeps the mirror locked for as long as it lives, even when we are killed. release gives the right back.
func (m *Mirror) lock(ctx context.Context) (file *os.File, release func(), err error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for another fetch of this repository: %w", context.Cause(ctx))
	}
	defer func() {
		if err != nil {
			<-m.turn
		}
	}()
	if err := os.MkdirAll(filepath.Dir(m.dir), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the directory of mirrors: %w", err)
	}
	f, err := flock.Open(ctx, strings.TrimSuffix(m.dir, ".git")+".lock")
	if err != nil {
		return nil, nil, fmt.Errorf("wait for another process's fetch of this repository: %w", err)
	}
	return f, func() { _ = f.Close(); <-m.turn }, nil // closing gives the lock back and cannot fail usefully
}

// sweep removes what a git that was killed left behind. The caller holds the lock, so no git that writes is alive.
func (m *Mirror) sweep() error {
	for _, name := range []string{"packed-refs.lock", "config.lock", "HEAD.lock", "shallow.lock"} {
		if err := m.drop(filepath.Join(m.dir, name)); err != nil {
			return err
		}
	}
	refs := filepath.Join(m.dir, "refs")
	err := filepath.WalkDir(refs, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".lock") {
			return err
		}
		return m.drop(name)
	})
	if err != nil {
		return err
	}
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "tmp_*"))
	if err != nil {
		return err
	}
	for _, name := range packs {
		if err := m.drop(name); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) drop(name string) error {
	err := os.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		m.ms.o.Log.Info("removed what a killed git left in a mirror", "file", name)
	}
	return err
}
