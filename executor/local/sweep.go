package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// Uses tells the paths of this machine that executions see: sources and binds, of every execution that was not removed.
func (e *Executor) Uses(ctx context.Context) (map[string]bool, error) {
	entries, err := os.ReadDir(filepath.Join(e.dir, dirRuns))
	if err != nil {
		return nil, fmt.Errorf("list executions: %w", err)
	}
	used := map[string]bool{}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var launch shim.Launch
		err := shim.ReadJSON(filepath.Join(e.dir, dirRuns, entry.Name()), shim.FileLaunch, &launch)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile, or not laid out so far
		}
		if err != nil {
			if alive, aliveErr := shim.Alive(filepath.Join(e.dir, dirRuns, entry.Name())); aliveErr == nil && !alive {
				continue // a crash of the machine took its content
			}
			return nil, fmt.Errorf("execution %s: %w", entry.Name(), err)
		}
		used[launch.Spec.Source.Dir] = true
		for _, b := range launch.Spec.Binds {
			used[b.Path] = true
		}
	}
	return used, nil
}

// Expire removes the tombstones of executions that were removed, and began before a time, where may says that nobody will ever start that
// name again. A tombstone costs an inode.
func (e *Executor) Expire(ctx context.Context, before time.Time, may func(executor.Name) (bool, error)) (n int, err error) {
	dir, err := os.Open(filepath.Join(e.dir, dirNames))
	if err != nil {
		return 0, fmt.Errorf("list names of executions: %w", err)
	}
	defer func() { _ = dir.Close() }() // read only
	for {
		entries, err := dir.ReadDir(1000) // there may be a great many
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || !info.ModTime().Before(before) || !removed(info) {
				continue // gone meanwhile, young, or still there
			}
			name := executor.Name(entry.Name())
			if _, err := os.Lstat(e.path(name)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if ok, err := may(name); err != nil || !ok {
				if err != nil {
					return n, err
				}
				continue
			}
			if err := os.Remove(e.tombstone(name)); err != nil {
				return n, err
			}
			n++
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			return n, err
		}
	}
}
