package runner

import (
	"context"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
)

// lookForRoom asks whether runs may start on this node and says whether people have still to be told that the answer has changed. What
// waits stays in the queue, where another node may take it.
func (r *Runner) lookForRoom() (turned bool) {
	short := ""
	if r.o.Room != nil {
		short = r.o.Room()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = short
	return (short != "") != r.toldShort
}

// shortage is why no run starts on this node; empty if runs do.
func (r *Runner) shortage() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.short
}

// tellRoom has people told of a change, once the node's row says it.
func (r *Runner) tellRoom(ctx context.Context) {
	if short := r.shortage(); short != "" {
		r.Log.Error("no run starts on this node before there is room again", "node", r.o.Node.Name, "why", short)
	} else {
		r.Log.Info("there is room again, runs start", "node", r.o.Node.Name)
	}
	r.mu.Lock()
	r.toldShort = r.short != ""
	r.mu.Unlock()
	if err := r.Store.Enqueue(ctx, run.Job{Kind: operator.JobPauses, Key: operator.Everything}); err != nil {
		r.complain(ctx, "tell of a shortage", err)
	}
}

// crowded says whether a failure to start may be for want of room: the owner of an execution tells its failures as text.
func (r *Runner) crowded() bool { return r.o.Room != nil && r.o.Room() != "" }
