// Package disk measures what directories take and what their file system has left, and chooses what of a cache goes first.
//
// It promises nothing about what is in use: an [Item] knows that itself, and refuses to be dropped. It keeps no state.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Space is what a file system has.
type Space struct {
	Free  int64 // for us: what is reserved for root does not count
	Total int64
}

// Of says what the file system of a directory has.
func Of(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, fmt.Errorf("measure the file system of %s: %w", dir, err)
	}
	return Space{Free: int64(s.Bavail) * s.Bsize, Total: int64(s.Blocks) * s.Bsize}, nil //nolint:gosec // no disk has 2^63 bytes
}

// Full says whether an error tells that there was no room to write.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Usage is the space that a file, or everything below a directory, takes. What cannot be read, or goes meanwhile, counts nothing.
func Usage(ctx context.Context, dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // as said above
		}
		if info, err := e.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				total += s.Blocks * 512
			}
		}
		return nil
	})
	return total
}

// Item is a part of a cache that can be had again.
type Item struct {
	Part  string // providers, tools, …
	Name  string
	Bytes int64
	Used  time.Time // last
	// Drop removes it, unless it is in use or was lately: then gone is false.
	Drop func(ctx context.Context) (gone bool, err error)
}

// Total is what items take together.
func Total(items []Item) (bytes int64) {
	for _, i := range items {
		bytes += i.Bytes
	}
	return bytes
}

// Shrink drops items, those first that were not used for longest, until at least excess bytes are free, and returns what went. An item
// that cannot be dropped does not keep the others.
func Shrink(ctx context.Context, items []Item, excess int64) (dropped []Item, err error) {
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b Item) int { return a.Used.Compare(b.Used) })
	var faults []error
	for _, i := range items {
		if excess <= 0 || ctx.Err() != nil {
			break
		}
		gone, err := i.Drop(ctx)
		if err != nil {
			faults = append(faults, fmt.Errorf("drop %s %s: %w", i.Part, i.Name, err))
		}
		if gone {
			dropped, excess = append(dropped, i), excess-i.Bytes
		}
	}
	return dropped, errors.Join(faults...)
}

// Text is a size for people: 1.2 GiB.
func Text(bytes int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	n, unit := float64(bytes), 0
	for n >= 1024 && unit < len(units)-1 {
		n, unit = n/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d %s", bytes, units[0])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") + " " + units[unit]
}
