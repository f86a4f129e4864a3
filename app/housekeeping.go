package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/run"
)

const jobHousekeeping = "housekeeping"

// unusedFor is how old an extracted tree must be before it goes. It can be extracted again at any time from the mirror.
const unusedFor = 48 * time.Hour

// housekeeper keeps the data directory from growing: mirrors are repacked; extracted trees that no live run reads, and what killed fetches of
// providers left, are removed.
type housekeeper struct {
	store     run.Store
	git       *git.Mirrors
	providers *provider.Store
	dir       string
	log       *slog.Logger
}

func (h *housekeeper) run(ctx context.Context, _ string) error {
	repos, err := h.store.Repos(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, r := range repos {
		if err := h.git.Repo(r.Host, r.HostID).Maintain(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("repack the mirror of %s: %w", r.Name, err))
		}
	}
	return errors.Join(append(faults, h.trees(ctx), h.providers.Sweep(ctx))...)
}

// trees removes old extracted trees, but those of runs that are not final.
func (h *housekeeper) trees(ctx context.Context) error {
	live, err := h.store.Runs(ctx, run.Filter{States: []run.State{run.Queued, run.Planning, run.Planned, run.Confirmed, run.Applying}, Limit: 100_000})
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, r := range live {
		rev, err := h.store.Revision(ctx, r.Revision)
		if err != nil {
			return err
		}
		used[rev.Tree] = true
	}
	dir := filepath.Join(h.dir, "trees")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || used[e.Name()] {
			continue
		}
		// The root of an export has a fixed modification time; when its status last changed tells its age.
		if time.Since(changed(info)) < unusedFor {
			continue
		}
		faults = append(faults, git.RemoveExport(filepath.Join(dir, e.Name())))
		h.log.Info("removed an extracted tree", "tree", e.Name())
	}
	return errors.Join(faults...)
}
