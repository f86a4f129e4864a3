package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/cgroup"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// state is what can be seen of a name from outside.
type state struct {
	alive  bool
	result *executor.Result
	began  bool
}

// look reads the state of a name. Error: ErrAbsent.
func (e *Executor) look(n executor.Name) (state, error) {
	if err := checkName(n); err != nil {
		return state{}, errors.Join(executor.ErrAbsent, err)
	}
	dir := e.path(n)
	var s state
	var err error
	// In this order: what is dead now has written all it ever will.
	if s.alive, err = shim.Alive(dir); err == nil {
		s.began, err = e.started(n)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return e.lookGone(n)
	}
	if err != nil {
		return state{}, err
	}
	var r executor.Result
	switch err := shim.ReadJSON(dir, shim.FileExit, &r); {
	case err == nil:
		s.result = &r
	case !errors.Is(err, fs.ErrNotExist):
		return state{}, err
	case !s.alive && !s.began:
		return state{}, executor.ErrAbsent // its start died before the first step
	}
	return s, nil
}

// lookGone tells a directory that was removed from one that a crash of the machine took: then the tombstone has no mark of Remove.
func (e *Executor) lookGone(n executor.Name) (state, error) {
	info, err := os.Lstat(e.tombstone(n))
	switch {
	case errors.Is(err, fs.ErrNotExist) || (err == nil && removed(info)):
		return state{}, executor.ErrAbsent
	case err != nil:
		return state{}, err
	}
	return state{began: true}, nil
}

// removedMode is the mark of Remove on a tombstone: a mode, because a full disk has no room for a text, and each of thousands of texts would
// take a block.
const removedMode = 0o400

// removed says whether a tombstone has the mark of Remove. Earlier versions wrote a word into it.
func removed(tombstone fs.FileInfo) bool {
	return tombstone.Size() > 0 || tombstone.Mode().Perm() == removedMode
}

// Cancel passes the request to the owner. When the owner was killed and the tool lives on, it signals the processes itself.
func (e *Executor) Cancel(ctx context.Context, n executor.Name, kill bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := e.look(n)
	if err != nil {
		return fmt.Errorf("cancel execution %s: %w", n, err)
	}
	if s.result != nil || !s.alive {
		return nil
	}
	request := byte(shim.RequestInterrupt)
	if kill {
		request = shim.RequestKill
	}
	err = e.request(e.path(n), request)
	if errors.Is(err, unix.ENXIO) {
		err = e.signal(e.path(n), kill)
	}
	if err != nil {
		return fmt.Errorf("cancel execution %s: %w", n, err)
	}
	return nil
}

// request writes one byte to the owner's fifo. Error: ENXIO when nobody reads it.
func (e *Executor) request(dir string, request byte) error {
	fd, err := unix.Open(filepath.Join(dir, shim.FileControl), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte{request})
	return errors.Join(err, unix.Close(fd))
}

// signal reaches the sandbox of an execution without an owner.
func (e *Executor) signal(dir string, kill bool) error {
	if owned, err := shim.Owned(dir); err != nil || owned {
		return err // it is just ending, or has not begun: nothing to interrupt
	}
	var procs shim.Procs
	if err := shim.ReadJSON(dir, shim.FileProcs, &procs); err != nil {
		return err
	}
	if !kill {
		return procs.Inner.Signal(unix.SIGINT)
	}
	return errors.Join(procs.Root.KillTree(), procs.Inner.KillTree())
}

// Renew touches the lease.
func (e *Executor) Renew(ctx context.Context, n executor.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(n); err != nil {
		return errors.Join(executor.ErrAbsent, err)
	}
	now := time.Now()
	err := os.Chtimes(filepath.Join(e.path(n), shim.FileLease), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = executor.ErrAbsent
	}
	if err != nil {
		return fmt.Errorf("renew execution %s: %w", n, err)
	}
	return nil
}

// Open reads a kept output. Of a lost execution it reads what lies in the work directory, for that may be the only copy of a state.
func (e *Executor) Open(ctx context.Context, n executor.Name, output string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := e.openOutput(n, output)
	if err != nil {
		return nil, fmt.Errorf("output %s of execution %s: %w", output, n, err)
	}
	return f, nil
}

func (e *Executor) openOutput(n executor.Name, output string) (*os.File, error) {
	s, err := e.look(n)
	if err != nil {
		return nil, err
	}
	var launch shim.Launch
	if err := shim.ReadJSON(e.path(n), shim.FileLaunch, &launch); err != nil {
		return nil, err
	}
	i := slices.Index(launch.Spec.Outputs, output)
	switch {
	case i < 0:
		return nil, fs.ErrNotExist
	case s.result != nil:
		return os.Open(filepath.Join(e.path(n), shim.DirOut, strconv.Itoa(i)))
	case s.alive:
		return nil, errors.New("it still runs")
	}
	return shim.OpenOutput(launch.WorkDir(e.path(n)), output)
}

// Remove frees what an ended execution holds. One that runs is refused.
func (e *Executor) Remove(ctx context.Context, n executor.Name) error {
	e.bury()
	if err := ctx.Err(); err != nil {
		return err
	}
	if checkName(n) != nil {
		return nil //nolint:nilerr // nothing has such a name
	}
	s, err := e.look(n)
	if errors.Is(err, executor.ErrAbsent) {
		if err := e.abandon(n); err != nil {
			return fmt.Errorf("remove what a start of execution %s left: %w", n, err)
		}
		return nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("remove execution %s: %w", n, err)
	case s.alive && s.result == nil:
		return fmt.Errorf("remove execution %s: %w", n, executor.ErrRunning)
	}
	var launch shim.Launch
	if err := shim.ReadJSON(e.path(n), shim.FileLaunch, &launch); err == nil {
		cgroup.Remove(launch.Cgroups)
	}
	// Marked first, so that what is gone was meant to go. The tombstone itself stays.
	if err := errors.Join(os.Chmod(e.tombstone(n), removedMode), e.discard(e.path(n))); err != nil {
		return fmt.Errorf("remove execution %s: %w", n, err)
	}
	return nil
}

// discard makes an execution's directory disappear at once and then frees it.
func (e *Executor) discard(dir string) error {
	to := filepath.Join(e.dir, dirTrash, "removed-"+strings.ToLower(rand.Text())) // a rename works on a full disk, too
	if err := os.Rename(dir, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return removeAll(to)
}

// List names the executions that began and were not removed.
func (e *Executor) List(ctx context.Context) ([]executor.Name, error) {
	e.bury()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(e.dir, dirRuns))
	if err != nil {
		return nil, fmt.Errorf("list executions: %w", err)
	}
	var names []executor.Name
	for _, entry := range entries {
		n := executor.Name(entry.Name())
		began, err := e.started(n)
		if err != nil {
			return nil, fmt.Errorf("list executions: %w", err)
		}
		if began {
			names = append(names, n)
		}
	}
	return names, nil
}
