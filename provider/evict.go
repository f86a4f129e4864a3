package provider

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
	"github.com/planlatch/planlatch/flock"
	"github.com/planlatch/planlatch/project"
)

// recent is how long a package stays after a View gave it out: by then the execution that it was given for has started, or never will.
const recent = 30 * time.Minute

// lockEvict is held shared by those who give packages out, and alone by who takes one away.
const lockEvict = "evict"

// claim makes the View of packages that were found a moment ago, and keeps them from eviction for a while. whole is false when one of them
// is not there any more.
func (s *Store) claim(ctx context.Context, locks []project.Lock, sums, only []string) (v View, whole bool, err error) {
	turn, err := flock.Shared(ctx, filepath.Join(s.o.Dir, dirLocks, lockEvict))
	if err != nil {
		return View{}, false, err
	}
	defer func() { _ = turn.Close() }() // nothing was written to it
	for n, l := range locks {
		if sums[n] == "" {
			continue
		}
		e, err := s.entry(l)
		if err != nil || e.sum != sums[n] {
			return View{}, false, err
		}
		if err := s.touch(l); err != nil {
			return View{}, false, err
		}
	}
	v, err = s.view(locks, sums, only)
	return v, true, err
}

// touch notes that a package is used now.
func (s *Store) touch(l project.Lock) error {
	now := s.now()
	return os.Chtimes(s.mirrorOf(l), now, now)
}

// Items lists the packages. uses tells the paths that executions on this machine see.
func (s *Store) Items(ctx context.Context, uses func(context.Context) (map[string]bool, error)) ([]disk.Item, error) {
	dir := filepath.Join(s.o.Dir, dirPackages)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var items []disk.Item
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // evicted meanwhile
		}
		items = append(items, disk.Item{
			Part: "providers", Name: e.Name(), Bytes: disk.Usage(ctx, filepath.Join(dir, e.Name())), Used: info.ModTime(),
			Drop: func(ctx context.Context) (bool, error) { return s.evict(ctx, e.Name(), uses) },
		})
	}
	return items, nil
}

// evict takes a package away that nobody uses.
func (s *Store) evict(ctx context.Context, name string, uses func(context.Context) (map[string]bool, error)) (bool, error) {
	away, err := s.withdraw(ctx, name, uses)
	if err != nil || away == "" {
		return false, err
	}
	return true, os.RemoveAll(away)
}

// withdraw moves a package to where nobody looks, and says where; empty if it is in use. What says that it is there goes first.
func (s *Store) withdraw(ctx context.Context, name string, uses func(context.Context) (map[string]bool, error)) (away string, err error) {
	turn, err := flock.Open(ctx, filepath.Join(s.o.Dir, dirLocks, lockEvict))
	if err != nil {
		return "", err
	}
	defer func() { _ = turn.Close() }() // nothing was written to it
	path := filepath.Join(s.o.Dir, dirPackages, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || s.now().Sub(info.ModTime()) < recent {
		return "", err
	}
	used, err := uses(ctx)
	if err != nil || used[path] {
		return "", err
	}
	parts := strings.Split(name, "@")
	sums := filepath.Join(append([]string{s.o.Dir, dirSums}, parts...)...)
	if err := os.RemoveAll(sums); err != nil {
		return "", err
	}
	away = filepath.Join(s.o.Dir, dirIncoming, "evicted-"+strings.ToLower(rand.Text())) // a rename works on a full disk, too
	return away, os.Rename(path, away)
}
