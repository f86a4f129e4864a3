package runner

import (
	"context"
	"time"
)

// calm is how long the database must have answered before this node calls others gone. After an outage nobody has beaten for a while, and
// whoever is back first must not take the rest for dead.
const calm = 30 * time.Second

// pulse is how the beats of this node go.
type pulse struct {
	beaten time.Time     // the last that was written
	since  time.Time     // since when they come without a gap; zero: the last one failed
	back   chan struct{} // closed, and replaced, when one is written after others failed
}

// beat renews this node's lease when its time has come, or when there is something to say with it: that there is no room, or room again.
func (r *Runner) beat(ctx context.Context) {
	turned := r.lookForRoom()
	if !turned && time.Since(r.pulse.beaten) < beat {
		return
	}
	node := r.o.Node
	node.Note = r.shortage()
	err := r.Store.Beat(ctx, node)
	if err == nil && turned {
		r.tellRoom(ctx)
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.complain(ctx, "beat", err)
		r.pulse.since = time.Time{}
		return
	case r.pulse.since.IsZero():
		close(r.pulse.back)
		r.pulse.back = make(chan struct{})
		r.pulse.since = now
	case now.Sub(r.pulse.beaten) > 3*beat: // it hung
		r.pulse.since = now
	}
	r.pulse.beaten = now
}

// steady says whether the database has answered for long enough to believe that a node which did not beat is gone.
func (r *Runner) steady() bool {
	return !r.pulse.since.IsZero() && time.Since(r.pulse.since) >= min(calm, r.o.NodeTimeout)
}

// lapse is how long after its last beat this node goes on to renew what it runs.
const lapse = 3 * beat

// unattended is how long a plan goes on when no server renews it: long enough for a restart, and short enough that it has ended, its grace
// included, before another node takes this one for gone and plans again.
func (r *Runner) unattended() time.Duration {
	const margin = 15 * time.Second
	return max(min(time.Minute, r.o.NodeTimeout-r.o.PlanGrace-lapse-margin), beat)
}

// wanted says whether this node may renew what it runs: it was heard of a moment ago. One that nobody hears of is taken for gone, and what
// it plans is planned elsewhere.
func (r *Runner) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.pulse.beaten) < lapse
}

// later waits before another try: for the time given, or until the database is back, or until what is tried is asked to end. It returns false
// when ctx ended.
func (r *Runner) later(ctx context.Context, end *latch, wait time.Duration) bool {
	r.mu.Lock()
	back := r.pulse.back
	r.mu.Unlock()
	var asked <-chan struct{}
	if !end.isShut() { // else it was asked before, and waits like all others
		asked = end.done
	}
	select {
	case <-ctx.Done():
		return false
	case <-asked:
	case <-back:
	case <-time.After(wait):
	}
	return true
}
