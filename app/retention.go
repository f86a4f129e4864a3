package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/views"
)

const jobRetention = "retention"

// Bounds of what retention does at once.
const (
	runsAtOnce  = 50
	rowsAtOnce  = 200
	nodesKept   = 7 * 24 * time.Hour
	orphanAfter = time.Hour // a settle under way has written blobs that no row has yet
	lostAfter   = 24 * time.Hour
)

// retention removes what is old: rows in small pieces, so that nobody waits long for the database, and blobs only once no row has them. What
// a kill leaves between the two is found as a blob without a row. It is one job of all replicas.
type retention struct {
	store run.Store
	blobs *blob.Store
	rules config.Retention
	disk  config.Disk
	log   *slog.Logger
	now   func() time.Time
}

func (r *retention) run(ctx context.Context, _ string) error {
	began := r.now()
	steps := []struct {
		what string
		do   func(context.Context) (int, error)
	}{
		{"logs", func(ctx context.Context) (int, error) { return r.forget(ctx, run.PartLog, r.rules.Logs) }},
		{"plans", func(ctx context.Context) (int, error) { return r.forget(ctx, run.PartPlan, r.rules.Plans) }},
		{"deliveries", func(ctx context.Context) (int, error) { return r.prune(ctx, run.PruneDeliveries, r.rules.Deliveries) }},
		{"messages", func(ctx context.Context) (int, error) { return r.prune(ctx, run.PruneMessages, r.rules.Messages) }},
		{"nodes", func(ctx context.Context) (int, error) { return r.prune(ctx, run.PruneNodes, nodesKept) }},
		{"wakes", func(ctx context.Context) (int, error) { return r.prune(ctx, run.PruneWakes, time.Hour) }},
		{"plans over disk.blobs", r.shrink},
		{"blobs without a run", r.orphans},
	}
	var faults []error
	for _, s := range steps {
		n, err := s.do(ctx)
		if err != nil {
			faults = append(faults, fmt.Errorf("remove old %s: %w", s.what, err))
		}
		if n > 0 {
			r.log.Info("retention removed what is old", "what", s.what, "count", n, "took", r.now().Sub(began))
		}
	}
	return errors.Join(faults...)
}

// blobsOf names the blobs of a run that make up a part.
func blobsOf(part run.Part) []string {
	if part == run.PartLog {
		return []string{views.KeptPlan, views.KeptApply}
	}
	return runner.PlanBlobs()
}

// forget takes a part off every run that ended longer ago than age.
func (r *retention) forget(ctx context.Context, part run.Part, age time.Duration) (n int, err error) {
	if age == 0 {
		return 0, nil
	}
	before := r.now().Add(-age)
	for {
		old, err := r.store.Expired(ctx, part, before, runsAtOnce)
		if err != nil || len(old) == 0 {
			return n, err
		}
		for _, o := range old {
			if err := r.drop(ctx, o, part); err != nil {
				return n, err
			}
			n++
		}
	}
}

// drop takes a part off a run, and then its blobs out of their bucket.
func (r *retention) drop(ctx context.Context, of run.Run, part run.Part) error {
	keys, err := r.store.Forget(ctx, of.ID, part, blobsOf(part)...)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := r.blobs.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (r *retention) prune(ctx context.Context, kind run.Pruned, age time.Duration) (all int, err error) {
	if age == 0 {
		return 0, nil
	}
	before := r.now().Add(-age)
	for {
		n, err := r.store.Prune(ctx, kind, before, rowsAtOnce)
		all += n
		if err != nil || n < rowsAtOnce {
			return all, err
		}
	}
}

// shrink takes plans off ended runs before their time, oldest first, while blobs in files take more than disk.blobs.
func (r *retention) shrink(ctx context.Context) (n int, err error) {
	most := int64(r.disk.Blobs)
	if most == 0 || r.blobs.Dir() == "" {
		return 0, nil
	}
	var size int64
	if err := r.blobs.List(ctx, "", func(o blob.Object) error { size += o.Size; return nil }); err != nil {
		return 0, err
	}
	for size > most {
		old, err := r.store.Expired(ctx, run.PartPlan, r.now(), runsAtOnce)
		if err != nil || len(old) == 0 {
			if err == nil {
				r.log.Warn("blobs take more than disk.blobs, and nothing of them may go", "bytes", size, "most", most)
			}
			return n, err
		}
		for _, o := range old {
			if size <= most {
				break
			}
			size -= r.sizeOf(ctx, o)
			if err := r.drop(ctx, o, run.PartPlan); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (r *retention) sizeOf(ctx context.Context, of run.Run) (size int64) {
	for _, name := range blobsOf(run.PartPlan) {
		if key := of.Blobs[name]; key != "" {
			_ = r.blobs.List(ctx, key, func(o blob.Object) error { size += o.Size; return nil }) // best effort: it is counted again next time
		}
	}
	return size
}

// orphans removes blobs that no run has: what a kill left between a blob and its row, in either order. A state that could not be saved is
// never one of them, since no other copy of it may exist.
func (r *retention) orphans(ctx context.Context) (n int, err error) {
	now := r.now()
	var of run.Run
	var known bool
	err = r.blobs.List(ctx, "runs/", func(o blob.Object) error {
		id, _, _ := strings.Cut(strings.TrimPrefix(o.Key, "runs/"), "/")
		if strings.HasSuffix(o.Key, runner.ErroredState) || now.Sub(o.Written) < orphanAfter {
			return nil
		}
		if string(of.ID) != id { // the keys of one run come one after the other
			var err error
			if of, err = r.store.Run(ctx, run.ID(id)); err != nil && !errors.Is(err, run.ErrNotFound) {
				return err
			}
			known = err == nil
			of.ID = run.ID(id)
		}
		if known && (of.State.Running() || has(of, o.Key)) || !known && now.Sub(o.Written) < lostAfter {
			return nil
		}
		if known { // it was read before this key was listed
			fresh, err := r.store.Run(ctx, of.ID)
			if err != nil || fresh.State.Running() || has(fresh, o.Key) {
				return err
			}
		}
		n++
		return r.blobs.Delete(ctx, o.Key)
	})
	return n, errors.Join(err, r.blobs.Sweep(now.Add(-lostAfter)))
}

func has(r run.Run, key string) bool {
	for _, k := range r.Blobs {
		if k == key {
			return true
		}
	}
	return false
}
