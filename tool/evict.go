package tool

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/planlatch/planlatch/disk"
)

// recent is how long a download stays after Resolve named it: by then the execution that it was named for has started, or never will.
const recent = 30 * time.Minute

// downloaded says whether a binary was downloaded into our cache, and the directory of its version there.
func (f *Finder) downloaded(path string) (dir string, ok bool) {
	if f.o.Cache == "" || f.from == nil {
		return "", false
	}
	root, err := filepath.EvalSymlinks(f.o.Cache)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	_, err = os.Lstat(path + digestSuffix) // what somebody put there by hand cannot be had again
	return filepath.Dir(path), err == nil
}

// claim keeps a downloaded binary from eviction for a while. It says no when the binary is gone already.
func (f *Finder) claim(t Tool) bool {
	dir, ok := f.downloaded(t.Path)
	if !ok {
		_, err := os.Lstat(t.Path)
		return err == nil
	}
	f.evicting.RLock()
	defer f.evicting.RUnlock()
	now := time.Now()
	return os.Chtimes(dir, now, now) == nil
}

// Items lists what was downloaded. uses tells the paths that executions on this machine see.
func (f *Finder) Items(ctx context.Context, uses func(context.Context) (map[string]bool, error)) ([]disk.Item, error) {
	if f.o.Cache == "" || f.from == nil {
		return nil, nil
	}
	root, err := filepath.EvalSymlinks(f.o.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var items []disk.Item
	for _, name := range []string{"tofu", "terraform"} {
		found, err := filepath.Glob(filepath.Join(root, name, "*", name+digestSuffix))
		if err != nil {
			return nil, err
		}
		for _, mark := range found {
			dir := filepath.Dir(mark)
			info, err := os.Lstat(dir)
			if err != nil {
				continue // evicted meanwhile
			}
			items = append(items, disk.Item{
				Part: "tools", Name: name + " " + filepath.Base(dir), Bytes: disk.Usage(ctx, dir), Used: info.ModTime(),
				Drop: func(ctx context.Context) (bool, error) { return f.evict(ctx, dir, name, uses) },
			})
		}
	}
	return items, nil
}

// evict takes a downloaded version away that nobody uses.
func (f *Finder) evict(ctx context.Context, dir, name string, uses func(context.Context) (map[string]bool, error)) (bool, error) {
	f.evicting.Lock()
	defer f.evicting.Unlock()
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || time.Since(info.ModTime()) < recent {
		return false, err
	}
	used, err := uses(ctx)
	if err != nil || used[filepath.Join(dir, name)] {
		return false, err
	}
	away := filepath.Join(filepath.Dir(dir), leftover+strings.ToLower(rand.Text()))
	if err := os.Rename(dir, away); err != nil {
		return false, err
	}
	return true, os.RemoveAll(away)
}

// leftover begins the names of directories of downloads under way, and of what is being evicted.
const leftover = ".new-"

// Sweep removes what downloads and evictions left that were killed. Call it now and then.
func (f *Finder) Sweep() error {
	if f.o.Cache == "" || f.from == nil {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(f.o.Cache, "*", leftover+"*"))
	faults := []error{err}
	for _, path := range found {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > 2*f.from.timeout {
			faults = append(faults, os.RemoveAll(path))
		}
	}
	return errors.Join(faults...)
}
