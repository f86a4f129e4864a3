package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/flock"
)

// lockOfHidden is held while what is kept of an execution is changed: it may be sealed anew by another process.
func lockOfHidden(dir string) string { return filepath.Join(dir, dirHidden+".lock") }

// HiddenFile is where it is kept of an execution.
func HiddenFile(dir string, name executor.Name) string {
	return filepath.Join(dir, dirHidden, string(name))
}

// Hidden calls f with what is kept, sealed, of each execution that was given secrets, in the directory of a Runner: see Options. What f returns
// is written in its place, whole or not at all, unless a start has added to it meanwhile; nil leaves it. It may run beside the Runner. What is
// removed meanwhile may come back, and is swept later.
func Hidden(ctx context.Context, dir string, f func(name executor.Name, sealed []byte) (again []byte, err error)) error {
	entries, err := listed(filepath.Join(dir, dirHidden))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), half) {
			continue
		}
		sealed, err := os.ReadFile(filepath.Join(dir, dirHidden, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		again, err := f(executor.Name(e.Name()), sealed)
		if err == nil && again != nil {
			err = replaceHidden(ctx, dir, e.Name(), sealed, again)
		}
		if err != nil {
			return fmt.Errorf("seal anew what execution %s must not show: %w", e.Name(), err)
		}
	}
	return nil
}

func replaceHidden(ctx context.Context, dir, name string, was, is []byte) (err error) {
	lock, err := flock.Open(ctx, lockOfHidden(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	now, err := os.ReadFile(filepath.Join(dir, dirHidden, name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(now, was) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, dirHidden), name, is)
}
