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

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// lookAgain bounds how long an end goes unseen that no change of a file announces: the death of everything at once.
const lookAgain = 100 * time.Millisecond

// Attach copies the log and returns the result. It reads files only, so it works in any process and for any execution of this directory.
func (e *Executor) Attach(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	e.bury()
	r, err := e.follow(ctx, n, log, from)
	if err != nil {
		return executor.Result{}, fmt.Errorf("attach to execution %s: %w", n, err)
	}
	return r, nil
}

func (e *Executor) follow(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	w := watchDir(e.path(n))
	defer w.close()
	tail := tail{path: filepath.Join(e.path(n), shim.FileLog), at: from}
	defer tail.close()
	for {
		// The state first and the log after it: what is dead now has written all it ever will.
		s, err := e.look(n)
		if err != nil {
			return executor.Result{}, err
		}
		if err := tail.copy(ctx, log); err != nil {
			return executor.Result{}, err
		}
		switch {
		case s.result != nil:
			return *s.result, nil
		case !s.alive:
			// It may have published its result between our two looks at it; a second look after its death is certain.
			if s, err = e.look(n); err != nil {
				return executor.Result{}, err
			}
			if s.result != nil {
				return *s.result, tail.copy(ctx, log)
			}
			return executor.Result{}, executor.ErrLost
		}
		if err := w.wait(ctx); err != nil {
			return executor.Result{}, err
		}
	}
}

// tail reads a growing log.
type tail struct {
	path string
	file *os.File
	at   int64
}

// copy writes what is there and was not copied yet.
func (t *tail) copy(ctx context.Context, to io.Writer) error {
	if t.file == nil {
		f, err := os.Open(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // its start has not come so far
		}
		if err != nil {
			return err
		}
		t.file = f
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := t.file.ReadAt(buffer, t.at)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return fmt.Errorf("write log: %w", err)
			}
			t.at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // read only
	}
}

// watch wakes when files of a directory change. Where the kernel has no more watches for this user it just waits lookAgain.
type watch struct{ file *os.File }

func watchDir(dir string) watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return watch{}
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		_ = unix.Close(fd) // nothing was read
		return watch{}
	}
	return watch{os.NewFile(uintptr(fd), "inotify")}
}

// wait returns after a change, after lookAgain, or with ctx's error.
func (w watch) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.file == nil {
		timer := time.NewTimer(lookAgain)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		return ctx.Err()
	}
	if err := w.file.SetReadDeadline(time.Now().Add(lookAgain)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) }) // wakes the read
	defer stop()
	// What changed does not matter: all of it is looked at again.
	if _, err := w.file.Read(make([]byte, 4096)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

func (w watch) close() {
	if w.file != nil {
		_ = w.file.Close() // read only
	}
}
