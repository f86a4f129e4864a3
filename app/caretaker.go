package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/tool"
)

// How often a node looks after its data directory.
const (
	lookEvery     = 10 * time.Second // at the free space
	workEvery     = time.Minute      // at what runs left that have ended
	allEvery      = time.Hour        // at everything
	maintainEvery = 24 * time.Hour   // at the mirrors, which are repacked then
	fruitless     = 5 * time.Minute  // when nothing could be dropped, before it is tried again
	namesKept     = 30 * 24 * time.Hour
)

// caretaker keeps one node's data directory in bounds. What it removes can be had again, or is nobody's: rows and blobs are for retention.
type caretaker struct {
	store     run.Store
	exec      *local.Executor
	runner    *runner.Runner
	git       *git.Mirrors
	providers *provider.Store
	tools     *tool.Finder
	data      string
	bounds    config.Disk
	log       *slog.Logger

	mu    sync.Mutex
	short bool
	usage map[string]int64
}

// parts are what the data directory consists of, for people.
func parts(data string) map[string][]string {
	in := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, filepath.Join(data, n))
		}
		return all
	}
	return map[string][]string{
		"database": in("planlatch.db", "planlatch.db-wal", "planlatch.db-shm"), "blobs": in("blobs"), "executions": in("executions"),
		"trees": in("work"), "mirrors": in("mirrors"), "providers": in("providers"), "tools": in("tools"),
	}
}

// measure says what each part of a data directory takes.
func measure(ctx context.Context, data string) map[string]int64 {
	sizes := map[string]int64{}
	for part, paths := range parts(data) {
		for _, p := range paths {
			sizes[part] += disk.Usage(ctx, p)
		}
	}
	return sizes
}

// room says why no run may start; empty if one may. It needs a tenth more than is wanted to change its mind again.
func (c *caretaker) room() string {
	want := int64(c.bounds.Free)
	if want == 0 {
		return ""
	}
	space, err := disk.Of(c.data)
	if err != nil {
		return "" // whatever is wrong shows at the first write
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.short = space.Free < want || c.short && space.Free < want+want/10
	if !c.short {
		return ""
	}
	return fmt.Sprintf("low on disk: %s free, %s wanted", disk.Text(space.Free), disk.Text(want))
}

// begin sweeps what a server that died left, before anything runs.
func (c *caretaker) begin(ctx context.Context) {
	c.complain(ctx, "sweep at the start", c.sweep(ctx, true))
}

// run looks after the directory until ctx ends.
func (c *caretaker) run(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	var worked, looked, tried time.Time
	for {
		now := time.Now()
		if now.Sub(worked) >= workEvery {
			worked = now
			_, err := c.runner.SweepWork(ctx, c.exec.Uses, false)
			c.complain(ctx, "sweep what runs left", err)
		}
		if now.Sub(looked) >= allEvery {
			looked = now
			c.complain(ctx, "sweep the data directory", errors.Join(c.sweep(ctx, false), c.maintain(ctx)))
			c.complain(ctx, "hold caches to their bound", c.bound(ctx))
			c.remember(measure(ctx, c.data))
		}
		if now.Sub(tried) >= fruitless {
			dropped, err := c.makeRoom(ctx)
			c.complain(ctx, "make room on the disk", err)
			if err != nil || !dropped {
				tried = now
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (c *caretaker) complain(ctx context.Context, doing string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.Error(doing, "error", err)
	}
}

// sweep removes what belongs to nobody.
func (c *caretaker) sweep(ctx context.Context, start bool) error {
	executions, err := c.runner.SweepExecutions(ctx)
	faults := []error{err}
	trees, err := c.runner.SweepWork(ctx, c.exec.Uses, start)
	faults = append(faults, err, c.providers.Sweep(ctx), c.tools.Sweep(), c.git.Sweep())
	names, err := c.exec.Expire(ctx, time.Now().Add(-namesKept), func(n executor.Name) (bool, error) { return c.runner.Forgettable(ctx, n) })
	if executions+trees+names > 0 {
		c.log.Info("swept the data directory", "executions", executions, "trees", trees, "names", names)
	}
	return errors.Join(append(faults, err)...)
}

// maintain repacks the mirrors once a day.
func (c *caretaker) maintain(ctx context.Context) error {
	mark := filepath.Join(c.data, "mirrors", ".maintained")
	info, err := os.Stat(mark)
	if err == nil && time.Since(info.ModTime()) < maintainEvery {
		return nil
	}
	repos, err := c.store.Repos(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, r := range repos {
		if err := c.git.Repo(r.Host, r.HostID).Maintain(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("repack the mirror of %s: %w", r.Name, err))
		}
	}
	if ctx.Err() == nil {
		faults = append(faults, os.MkdirAll(filepath.Dir(mark), 0o700), os.WriteFile(mark, nil, 0o600))
		now := time.Now()
		faults = append(faults, os.Chtimes(mark, now, now))
	}
	return errors.Join(faults...)
}

// items lists everything that may be dropped and had again.
func (c *caretaker) items(ctx context.Context) ([]disk.Item, error) {
	providers, err := c.providers.Items(ctx, c.exec.Uses)
	faults := []error{err}
	tools, err := c.tools.Items(ctx, c.exec.Uses)
	faults = append(faults, err)
	trees, err := c.runner.Items(ctx, c.exec.Uses)
	faults = append(faults, err)
	mirrors, err := c.git.Items(ctx, c.busy)
	all := append(append(append(providers, tools...), trees...), mirrors...)
	return all, errors.Join(append(faults, err)...)
}

// busy says whether a mirror is of a repository whose runs have not all ended: what their gates are judged by is read from it.
func (c *caretaker) busy(ctx context.Context, dir string) (bool, error) {
	live, err := c.store.Trees(ctx)
	if err != nil {
		return false, err
	}
	seen := map[run.RepoID]bool{}
	for _, t := range live {
		if seen[t.Repo] {
			continue
		}
		seen[t.Repo] = true
		repo, err := c.store.Repo(ctx, t.Repo)
		if err != nil {
			return false, err
		}
		if c.git.Repo(repo.Host, repo.HostID).Dir() == dir {
			return true, nil
		}
	}
	return false, nil
}

// bound drops what was not used for longest while caches take more than they may.
func (c *caretaker) bound(ctx context.Context) error {
	most := int64(c.bounds.Caches)
	if most == 0 {
		return nil
	}
	items, err := c.items(ctx)
	if over := disk.Total(items) - most; over > 0 {
		_, shrinkErr := c.shrink(ctx, items, over, "caches take more than disk.caches")
		err = errors.Join(err, shrinkErr)
	}
	return err
}

// makeRoom drops caches before the free space is so little that no run starts, and says whether there was something to drop.
func (c *caretaker) makeRoom(ctx context.Context) (dropped bool, err error) {
	want := int64(c.bounds.Free)
	space, err := disk.Of(c.data)
	if err != nil || want == 0 || space.Free >= want+want/2 {
		return true, err
	}
	items, err := c.items(ctx)
	gone, shrinkErr := c.shrink(ctx, items, want+want/2-space.Free, "the disk is nearly full")
	if gone > 0 {
		c.remember(measure(ctx, c.data))
	}
	return gone > 0, errors.Join(err, shrinkErr)
}

func (c *caretaker) shrink(ctx context.Context, items []disk.Item, excess int64, why string) (int, error) {
	dropped, err := disk.Shrink(ctx, items, excess)
	for _, d := range dropped {
		c.log.Info("dropped what can be had again", "why", why, "part", d.Part, "name", d.Name, "bytes", d.Bytes, "used", d.Used.Format(time.RFC3339))
	}
	return len(dropped), err
}

func (c *caretaker) remember(sizes map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usage = sizes
}

// sizes are those of the parts when they were last measured.
func (c *caretaker) sizes() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.usage)
}
