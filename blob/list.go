package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"gocloud.dev/blob"
)

// Object is what a listing tells of an object.
type Object struct {
	Key     string
	Size    int64 // as it is stored
	Written time.Time
}

// List calls f for every object whose name begins with prefix, in the order of their names, until f returns an error.
func (s *Store) List(ctx context.Context, prefix string, f func(Object) error) error {
	for it := s.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if checkName(o.Key) != nil || s.dir != "" && half.MatchString(o.Key) {
			continue // a write under way, or not ours
		}
		if err := f(Object{Key: o.Key, Size: o.Size, Written: o.ModTime}); err != nil {
			return err
		}
	}
}

// Dir is the directory of a bucket in files; empty for a service.
func (s *Store) Dir() string { return s.dir }

// half is how the driver names a file that is being written: a suffix of the time and ".tmp".
var half = regexp.MustCompile(`\.[0-9a-f]{8,}\.tmp$`)

// Sweep removes, of a bucket in files, what writes left that were killed before a time, and directories that have become empty.
func (s *Store) Sweep(before time.Time) error {
	if s.dir == "" {
		return nil
	}
	var dirs []string
	err := filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			if path != s.dir {
				dirs = append(dirs, path)
			}
			return nil
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) || !half.MatchString(e.Name()) {
			return nil //nolint:nilerr // gone meanwhile
		}
		return os.Remove(path) //nolint:gosec // only we write below it
	})
	for _, dir := range slices.Backward(dirs) {
		info, statErr := os.Stat(dir)
		if statErr == nil && info.ModTime().Before(before) {
			_ = os.Remove(dir) // one that has something in it stays
		}
	}
	return err
}
