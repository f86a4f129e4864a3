package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
)

// Drain brings the work of this process to its end, for one that its executions do not outlive: nothing starts any more, running plans are
// interrupted and go back to the queue, applies go on. Run returns once nothing runs here and all of it is settled.
func (r *Runner) Drain() {
	r.draining.shut()
	r.poke()
}

// Hurry interrupts the applies as well and gives them their grace. One that has not started does not start.
func (r *Runner) Hurry() {
	r.hurrying.shut()
	r.Drain()
}

// errDraining keeps a waiting run from being claimed by a process that ends.
var errDraining = errors.New("this process ends")

// ends is what ends a phase before its time.
func (r *Runner) ends(s run.State) *latch {
	if s == run.Applying {
		return &r.hurrying
	}
	return &r.draining
}

// stop asks an execution to end: an interrupt, and a kill once its grace is over. The grace is measured on our own clock from the first
// time that this process asked, for neither the clock of the database nor that of an earlier process is ours.
func (r *Runner) stop(ctx context.Context, running run.Run) {
	grace := r.o.PlanGrace
	if running.State == run.Applying {
		grace = r.o.ApplyGrace
	}
	r.mu.Lock()
	asked := r.asked[running.ID]
	r.mu.Unlock()
	err := r.Exec.Cancel(ctx, executor.Name(running.Execution), !asked.IsZero() && time.Since(asked) >= grace)
	switch {
	case errors.Is(err, executor.ErrAbsent): // it is being prepared, and will not start
	case err != nil:
		r.complain(ctx, "cancel an execution", err)
	case asked.IsZero():
		r.mu.Lock()
		r.asked[running.ID] = time.Now()
		r.mu.Unlock()
	}
}

// unwanted says whether an execution that is ready must not start, since it was asked to end while it was prepared: then its end is early. An
// apply that a stop keeps from starting is planned again like one whose plan is stale, and goes on by itself if its effect is the same. Error:
// run.ErrMoved if others have taken this node for gone meanwhile, as when its machine stood still: whatever became of the run, it is not ours to start.
func (r *Runner) unwanted(ctx context.Context, p phase) (ending, error) {
	const why = "its server was stopped before it started"
	switch {
	case !r.ends(p.run.State).isShut():
	case p.name == "apply":
		return ending{stale: &staleness{why}, early: true}, nil
	default:
		return ending{failed: why, early: true}, nil
	}
	now, err := r.Store.Run(ctx, p.run.ID)
	if err == nil && (now.State != p.run.State || now.Execution != p.run.Execution || now.Node != p.run.Node) {
		return ending{}, fmt.Errorf("start %s: %w", p.run.Execution, run.ErrMoved)
	}
	return ending{failed: now.StopWhy, early: err == nil && now.Stop != ""}, err
}

// idle says whether nobody here follows a run.
func (r *Runner) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.active) == 0
}

// poke wakes the loop.
func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// latch is a door that shuts once. newLatch makes one.
type latch struct {
	once sync.Once
	done chan struct{}
}

func (l *latch) shut() { l.once.Do(func() { close(l.done) }) }

func (l *latch) isShut() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// bound returns a context that ends with ctx or when the latch shuts. Call release when it is not needed any more.
func (l *latch) bound(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-l.done:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); watcher.Wait() }
}
