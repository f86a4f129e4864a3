package store

import (
	"context"
	"maps"
	"time"

	"github.com/riverqueue/river/rivertype"
)

const (
	reapInterval = 5 * time.Second
	reapDead     = 2 // looks: a process that just lost its connection looks dead for a moment
	reapLost     = 4 // looks: River writes down what became of a job for some seconds after we are done with it
	awayAsk      = 250 * time.Millisecond
)

// begin notes that a job runs here, until the function it returns is called.
func (j *jobs) begin(id int64) (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active[id]++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.active[id]--; j.active[id] == 0 {
			delete(j.active, id)
		}
	}
}

// away says whether the database did not answer just now, and waits until it does again. What failed meanwhile says nothing about the job.
func (j *jobs) away(ctx context.Context) (was bool) {
	for ; ctx.Err() == nil; was = true {
		asked, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := j.store.Ping(asked)
		cancel()
		if err == nil {
			return was
		}
		select {
		case <-ctx.Done():
		case <-time.After(awayAsk):
		}
	}
	return false
}

// reaper takes back the jobs of processes that die while we live, and those of ours that nobody runs.
func (j *jobs) reaper(ctx context.Context) {
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	seen := map[int64]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := j.store.clock(ctx); err != nil && ctx.Err() == nil {
			j.store.log.Debug("cannot read the database's clock", "error", err) // the look that follows says what is wrong
		}
		if err := j.reap(ctx, seen, reapDead); err != nil && ctx.Err() == nil {
			j.store.log.Warn("cannot look for abandoned jobs", "error", err)
		}
	}
}

// reap takes back running jobs whose owner was found dead in as many looks as given, and those that we do not run although they are ours, after
// more looks; seen counts them between calls.
func (j *jobs) reap(ctx context.Context, seen map[int64]int, looks int) error {
	owners := map[string]bool{}
	dead := func(id string) (bool, error) {
		if d, ok := owners[id]; ok {
			return d, nil
		}
		alive, err := j.store.engine.alive(ctx, id)
		if err == nil {
			owners[id] = !alive
		}
		return !alive, err
	}
	found := map[int64]bool{}
	for after := int64(0); ; {
		rows, err := j.client.abandoned(ctx, after)
		if err != nil {
			return err
		}
		var gone []*rivertype.JobRow
		for _, row := range rows {
			after = row.ID
			enough, left, err := j.left(row, looks, dead)
			if err != nil {
				return err
			}
			if !left {
				continue
			}
			found[row.ID] = true
			if seen[row.ID]++; seen[row.ID] >= enough {
				gone = append(gone, row)
			}
		}
		if len(gone) > 0 {
			if err := j.client.rescue(ctx, gone); err != nil {
				return err
			}
			j.store.log.Info("took back jobs that nobody runs", "jobs", len(gone))
			j.store.kicks.wake.wake()
		}
		if len(rows) < reapBatch {
			break
		}
	}
	maps.DeleteFunc(seen, func(id int64, _ int) bool { return !found[id] })
	return j.client.dethrone(ctx, dead)
}

// left says whether nobody runs a running job, and how many looks it takes to be sure.
func (j *jobs) left(row *rivertype.JobRow, looks int, dead func(id string) (bool, error)) (enough int, left bool, err error) {
	if len(row.AttemptedBy) == 0 {
		return 0, false, nil
	}
	owner := row.AttemptedBy[len(row.AttemptedBy)-1]
	if owner == j.store.id {
		return reapLost, !j.runs(row.ID), nil
	}
	left, err = dead(owner)
	return looks, left, err
}

// runs says whether a job runs here.
func (j *jobs) runs(id int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active[id] > 0
}
