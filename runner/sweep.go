package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/run"
)

// Uses tells the paths of this machine that executions see.
type Uses func(ctx context.Context) (map[string]bool, error)

// The directories of Options.Dir.
const (
	dirTrees  = "trees"
	dirInputs = "inputs"
)

// The ages after which something in Options.Dir is nobody's.
const (
	halfTree    = time.Hour      // an extraction under way
	inputsStale = 24 * time.Hour // files handed to an execution, which it copies when it starts
)

// borrow keeps the source of a run that has ended from being swept, for an execution beside it: a push, an unlock.
func (r *Runner) borrow(id run.ID) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent[id]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lent[id]--; r.lent[id] == 0 {
			delete(r.lent, id)
		}
	}
}

// busy says whether a run is followed here, or something is executed beside it.
func (r *Runner) busy(id run.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[id] || r.lent[id] > 0
}

// needed names the trees that may not be removed: those of runs that go on, or with idle only of those for which something may be executed
// at this moment, and those that an execution sees.
func (r *Runner) needed(ctx context.Context, uses Uses, idle bool) (map[string]bool, error) {
	live, err := r.Store.Trees(ctx)
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for _, t := range live {
		if !idle || t.State.Running() {
			needed[t.Tree] = true
		}
	}
	r.mu.Lock()
	var lent []run.ID
	for id := range r.lent {
		lent = append(lent, id)
	}
	r.mu.Unlock()
	for _, id := range lent {
		of, err := r.Store.Run(ctx, id)
		if err != nil {
			return nil, err
		}
		rev, err := r.Store.Revision(ctx, of.Revision)
		if err != nil {
			return nil, err
		}
		needed[rev.Tree] = true
	}
	used, err := uses(ctx)
	if err != nil {
		return nil, err
	}
	for path := range used {
		if filepath.Base(filepath.Dir(path)) == dirTrees {
			needed[filepath.Base(path)] = true
		}
	}
	return needed, nil
}

// SweepWork removes extracted trees that no run needs, what killed extractions left, and files that were handed to executions long ago. At
// the start, before Run, all of the latter are nobody's.
func (r *Runner) SweepWork(ctx context.Context, uses Uses, start bool) (removed int, err error) {
	var faults []error
	entries, err := listed(filepath.Join(r.o.Dir, dirInputs))
	faults = append(faults, err)
	for _, e := range entries {
		if start || stale(e) {
			faults = append(faults, os.RemoveAll(filepath.Join(r.o.Dir, dirInputs, e.Name())))
		}
	}
	faults = append(faults, r.sweepHidden(ctx, start))
	entries, err = listed(filepath.Join(r.o.Dir, dirTrees))
	faults = append(faults, err)
	for _, e := range entries {
		name, _, mark := strings.Cut(e.Name(), ".")
		if mark { // of an extraction under way, or beside a tree
			faults = append(faults, r.sweepHalf(e, name, start))
			continue
		}
		gone, err := r.dropTree(ctx, name, uses, false)
		faults = append(faults, err)
		if gone {
			removed++
		}
	}
	return removed, errors.Join(faults...)
}

// stale says whether something that was made for an execution is so old that it has begun long ago.
func stale(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > inputsStale
}

// sweepHalf removes what belongs to no tree any more.
func (r *Runner) sweepHalf(e fs.DirEntry, tree string, start bool) error {
	info, err := e.Info()
	if err != nil || !start && time.Since(changed(info)) < halfTree {
		return nil //nolint:nilerr // gone meanwhile
	}
	path := filepath.Join(r.o.Dir, dirTrees, e.Name())
	if e.IsDir() {
		return git.RemoveExport(path)
	}
	if _, err := os.Lstat(filepath.Join(r.o.Dir, dirTrees, tree)); errors.Is(err, fs.ErrNotExist) {
		return os.Remove(path)
	}
	return nil
}

func listed(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// changed is when the status of a file last changed: extracted trees have a fixed time of modification.
func changed(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Sec, s.Ctim.Nsec)
	}
	return info.ModTime()
}

// Items lists the extracted trees: those of runs that wait may be dropped, for they can be extracted again.
func (r *Runner) Items(ctx context.Context, uses Uses) ([]disk.Item, error) {
	dir := filepath.Join(r.o.Dir, dirTrees)
	entries, err := listed(dir)
	if err != nil {
		return nil, err
	}
	var items []disk.Item
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.Contains(e.Name(), ".") {
			continue
		}
		items = append(items, disk.Item{
			Part: dirTrees, Name: e.Name(), Bytes: disk.Usage(ctx, filepath.Join(dir, e.Name())), Used: changed(info),
			Drop: func(ctx context.Context) (bool, error) { return r.dropTree(ctx, e.Name(), uses, true) },
		})
	}
	return items, nil
}

// dropTree removes a tree that is not needed. Whoever extracts one for a run has made the run running before it comes here, so it is seen.
func (r *Runner) dropTree(ctx context.Context, name string, uses Uses, idle bool) (bool, error) {
	if !r.trees.TryLock() { // one is being extracted, which may take its time: nobody waits for us, nor we for them
		return false, nil
	}
	defer r.trees.Unlock()
	needed, err := r.needed(ctx, uses, idle)
	if err != nil || needed[name] {
		return false, err
	}
	return true, git.RemoveExport(filepath.Join(r.o.Dir, dirTrees, name))
}

// SweepExecutions removes executions that nobody will ask for: of runs that have ended or moved on, of nobody's. It ends plans that still
// run for nothing. Two kinds stay: what may still apply, and what has a state in it that was saved nowhere else.
func (r *Runner) SweepExecutions(ctx context.Context) (removed int, err error) {
	names, err := r.Exec.List(ctx)
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, n := range names {
		id, what, ok := strings.Cut(string(n), "-")
		if !ok || id == "providers" || r.busy(run.ID(id)) {
			continue
		}
		gone, err := r.sweepExecution(ctx, n, run.ID(id), what == "apply")
		if err != nil {
			faults = append(faults, fmt.Errorf("sweep execution %s: %w", n, err))
		}
		if gone {
			removed++
		}
	}
	return removed, errors.Join(faults...)
}

func (r *Runner) sweepExecution(ctx context.Context, n executor.Name, id run.ID, apply bool) (gone bool, err error) {
	of, err := r.Store.Run(ctx, id)
	known := err == nil
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return false, err
	}
	if known && of.Execution == string(n) && (of.State.Running() || of.State == run.Interrupted) || r.busy(id) {
		return false, nil
	}
	if apply && of.Blobs[BlobErrored] == "" {
		if unsaved, err := r.unsaved(ctx, n, of); err != nil || unsaved {
			return false, err
		}
	}
	if strings.Contains(string(n), "-plan-") {
		if err := r.Exec.Cancel(ctx, n, false); err != nil && !errors.Is(err, executor.ErrAbsent) {
			return false, err
		}
	}
	err = r.Exec.Remove(ctx, n)
	if errors.Is(err, executor.ErrRunning) {
		return false, nil // it ends by itself, or somebody ends it; another look follows
	}
	if err == nil {
		r.Log.Info("removed an execution that nobody asks for", "execution", n, "state", of.State)
	}
	return err == nil, err
}

// unsaved says whether an apply left a state that it could not save, and says so in the log: it may be the only copy.
func (r *Runner) unsaved(ctx context.Context, n executor.Name, of run.Run) (bool, error) {
	f, err := r.Exec.Open(ctx, n, erroredFile(of.Settings.Steps))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, executor.ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return true, nil //nolint:nilerr // it runs, or cannot be read: it stays
	}
	defer func() { _ = f.Close() }() // read only
	if n, err := f.Read(make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) {
		return false, nil
	}
	r.Log.Warn("an apply that was settled without its result has left a state that it could not save; it is kept in data/executions/runs", "execution", n)
	return true, nil
}

// Forgettable says whether nobody will ever start an execution of this name again. An apply's name is never forgotten: it keeps one that a
// restored backup believes to be under way from starting again.
func (r *Runner) Forgettable(ctx context.Context, n executor.Name) (bool, error) {
	id, what, ok := strings.Cut(string(n), "-")
	if !ok || what == "apply" {
		return false, nil
	}
	of, err := r.Store.Run(ctx, run.ID(id))
	if errors.Is(err, run.ErrNotFound) {
		return true, nil
	}
	return err == nil && of.State.Final(), err
}
