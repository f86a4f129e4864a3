// Package runner executes runs on this node: it claims them, prepares their source and tool, starts their named execution, follows it, and
// settles what became of it.
//
// It promises that an execution starts only after its claim is committed, that a run which was running when the process died is found
// again by its execution's name and followed to its end, and that a plan or apply settles exactly once. It leaves to callers which runs
// exist and which may apply. One Runner per process; its methods are safe for concurrent use.
package runner

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// Parts are what a Runner works with.
type Parts struct {
	Store     run.Store
	Exec      executor.Executor
	Git       *git.Mirrors
	Facts     *facts.Gatherer
	Tools     Tools
	Providers Providers
	Policy    *policy.Engine
	Blobs     views.Blobs
	Sealer    Sealer // of what is kept of credentials; nil: runs that have any are refused
	Log       *slog.Logger
}

// Tools finds the binary that a project asks for.
type Tools interface {
	Resolve(ctx context.Context, w tool.Want) (tool.Tool, error)
}

// Providers has the providers that a lock file selects, and says how a run gets them.
type Providers interface {
	View(ctx context.Context, product, binary string, lock []byte, only []string) (provider.View, error)
}

// Options are the node's own rules.
type Options struct {
	Node         run.Node
	Workers      int    // runs at once
	Dir          string // extracted trees and files handed to executions
	PlanTimeout  time.Duration
	ApplyTimeout time.Duration
	PlanGrace    time.Duration
	ApplyGrace   time.Duration
	LockTimeout  time.Duration // how long the tool waits for the backend's own lock; 0: not at all
	NodeTimeout  time.Duration // after which another node's silence counts as its end
	Limits       executor.Limits
	Network      executor.Network
	Networks     func(selector.Target) executor.Network // of one project's runs; nil: Network
	Environment  []string                               // NAME=value, passed through from the server
	Home         string                                 // of the runs, inside the sandbox; empty: /tmp
	EffectKey    []byte                                 // under which sensitive values enter effect digests
	Secrets      []string                               // of the server itself, withheld from every log

	// Style says how much of a plan and of a tool's words a repository's pull requests show. Nil: all.
	Style func(host, repo string) report.Style
	// Grants returns what a project's provider configurations give to a run of it in a phase, now. It may ask programs for it. The text of
	// its errors is shown to people.
	Grants func(ctx context.Context, t selector.Target, phase string, id run.ID) (Grant, error)
	// Fixed returns as much of that as is written in the configuration. whole says that this is all.
	Fixed func(t selector.Target, phase string) (g Grant, whole bool, err error)
	// Binds returns the extra paths a project may see in a phase.
	Binds func(t selector.Target, phase string) []executor.Bind
	// Room says why no run may start on this node now, as in "low on disk: …"; empty: one may. Nil: one always may.
	Room func() string
	// Permitted says whether a user may use a command on a project now.
	Permitted func(ctx context.Context, repo run.Repo, user, command string, t selector.Target) (bool, error)
}

// Runner is one node's hands.
type Runner struct {
	Parts
	o Options

	mu        sync.Mutex
	active    map[run.ID]bool
	asked     map[run.ID]time.Time // when this process first asked an execution to end
	gone      map[run.ID]bool      // interrupted applies whose executions will never tell more
	lent      map[run.ID]int       // whose source something beside it works with
	short     string               // why no run starts here
	toldShort bool                 // whether people were told that there is a reason
	wg        sync.WaitGroup
	free      chan struct{} // a token per idle worker
	wake      chan struct{} // a run ended here, or Drain was called
	pulse     pulse

	draining latch // nothing starts, plans end
	hurrying latch // applies end too

	trees sync.RWMutex // held for reading by who extracts, alone by who removes
}

// New returns a Runner that does nothing until Run.
func New(p Parts, o Options) *Runner {
	r := &Runner{
		Parts: p, o: o, active: map[run.ID]bool{}, asked: map[run.ID]time.Time{}, gone: map[run.ID]bool{}, lent: map[run.ID]int{},
		free: make(chan struct{}, o.Workers), wake: make(chan struct{}, 1),
		draining: latch{done: make(chan struct{})}, hurrying: latch{done: make(chan struct{})},
	}
	r.pulse.back = make(chan struct{})
	for range o.Workers {
		r.free <- struct{}{}
	}
	return r
}

const (
	tick = time.Second
	beat = 5 * time.Second
)

// Run works until ctx ends, then lets go of what is running, which goes on without us, and returns once nothing of ours does. After Drain it
// returns by itself, once nothing is running. kicks wakes it early.
func (r *Runner) Run(ctx context.Context, kicks <-chan struct{}) error {
	defer r.wg.Wait()
	r.wg.Go(func() { r.rejudge(ctx) })
	every := time.NewTicker(tick)
	defer every.Stop()
	var adopted, returned time.Time
	for {
		r.beat(ctx)
		ending := r.draining.isShut()
		if now := time.Now(); ending || now.Sub(adopted) >= tick { // stops and strays need no more than a look per second
			adopted = now
			owned, err := r.watch(ctx)
			if err != nil {
				r.complain(ctx, "watch running executions", err)
			}
			if ending && err == nil && owned == 0 && r.idle() { // in this order: what was claimed since is followed
				return nil
			}
		}
		if now := time.Now(); now.Sub(returned) >= beat {
			returned = now
			if err := r.late(ctx); err != nil {
				r.complain(ctx, "look for late results", err)
			}
		}
		if !ending {
			if err := r.claim(ctx); err != nil {
				r.complain(ctx, "claim runs", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-kicks:
		case <-r.wake:
		case <-every.C:
		}
	}
}

func (r *Runner) complain(ctx context.Context, doing string, err error) {
	if ctx.Err() == nil {
		r.Log.Error(doing, "error", err)
	}
}

// watch follows running runs of this node that nobody follows, passes on requests to stop, and settles runs of nodes that are gone. owned is
// how many runs of this node are running.
func (r *Runner) watch(ctx context.Context) (owned int, err error) {
	ours, err := r.Store.Owned(ctx, r.o.Node.ID)
	if err != nil {
		return 0, err
	}
	for _, running := range ours {
		if running.Stop != "" || r.ends(running.State).isShut() {
			r.stop(ctx, running)
		}
		if r.hold(running.ID) {
			r.Log.Info("following a run again", "run", running.ID, "state", running.State)
			r.go_(func() { r.follow(ctx, running, time.Time{}) }, running.ID, false)
		}
	}
	if !r.steady() {
		return len(ours), nil
	}
	orphans, err := r.Store.Orphans(ctx, r.o.NodeTimeout)
	if err != nil {
		return len(ours), err
	}
	for _, o := range orphans {
		if o.Node != r.o.Node.ID {
			r.orphaned(ctx, o)
		}
	}
	return len(ours), nil
}

// claim takes runs from the queue while there are idle workers.
func (r *Runner) claim(ctx context.Context) error {
	if len(r.free) == 0 || r.shortage() != "" {
		return nil
	}
	next, err := r.next(ctx)
	if err != nil {
		return err
	}
	for _, waiting := range next {
		select {
		case <-r.free:
		default:
			return nil
		}
		if !r.hold(waiting.ID) {
			r.free <- struct{}{}
			continue
		}
		r.go_(func() { r.take(ctx, waiting) }, waiting.ID, true)
	}
	return nil
}

// next lists what could be claimed now, best first, without what is paused: frozen applies stand at the head of the queue, and plans go
// past them.
func (r *Runner) next(ctx context.Context) ([]run.Run, error) {
	limit := 4 * r.o.Workers
	pauses, err := r.Store.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	if len(pauses) == 0 {
		return r.Store.Next(ctx, limit)
	}
	confirmed, err := r.Store.Runs(ctx, run.Filter{States: []run.State{run.Confirmed}, Limit: 100_000})
	if err != nil {
		return nil, err
	}
	next, err := r.Store.Next(ctx, limit+len(confirmed))
	if err != nil {
		return nil, err
	}
	var free []run.Run
	for _, n := range next {
		if n.State == run.Confirmed {
			repo, err := r.Store.Repo(ctx, n.Repo)
			if err != nil {
				return nil, err
			}
			if facts.Paused(pauses, repo, n) != nil {
				continue
			}
		}
		free = append(free, n)
	}
	return free, nil
}

// hold marks a run as followed here; false if it is already.
func (r *Runner) hold(id run.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[id] {
		return false
	}
	r.active[id] = true
	return true
}

// go_ runs f for a held run and lets go of it afterwards, and of the worker if it took one.
func (r *Runner) go_(f func(), id run.ID, worker bool) {
	r.wg.Go(func() {
		defer func() {
			r.mu.Lock()
			delete(r.active, id)
			delete(r.asked, id)
			r.mu.Unlock()
			if worker {
				r.free <- struct{}{}
			}
			r.poke()
		}()
		f()
	})
}

// take claims a waiting run and follows it. Losing the race for it is no news.
func (r *Runner) take(ctx context.Context, waiting run.Run) {
	var claimed run.Run
	var err error
	if waiting.State == run.Confirmed {
		claimed, err = r.claimApply(ctx, waiting)
	} else {
		claimed, err = r.advanced(ctx, waiting, func(s run.Snapshot) (run.Change, error) {
			if r.draining.isShut() {
				return run.Change{}, errDraining
			}
			return run.ClaimPlan(s, waiting.ID, run.Owner{Node: r.o.Node.ID, Deadline: s.Now.Add(r.o.PlanTimeout)})
		})
	}
	switch {
	case errors.Is(err, run.ErrMoved), errors.Is(err, run.ErrPaused), errors.Is(err, errDraining):
	case err != nil:
		r.complain(ctx, "claim a run", err)
	case claimed.State.Running():
		r.follow(ctx, claimed, time.Now())
	}
}

// claimApply judges the gates on a fresh snapshot and claims, or sends the run back with the reason. Pauses are judged as they are when the
// claim is written, so that none starts after `planlatch pause` has returned.
func (r *Runner) claimApply(ctx context.Context, waiting run.Run) (run.Run, error) {
	repo, err := r.Store.Repo(ctx, waiting.Repo)
	if err != nil {
		return run.Run{}, err
	}
	if o, ok := r.keptWhole(ctx, waiting); !ok {
		return r.advanced(ctx, waiting, func(s run.Snapshot) (run.Change, error) { return run.Supersede(s, waiting.ID, o) })
	}
	gates, anew := r.gates(ctx, waiting)
	return r.advanced(ctx, waiting, func(s run.Snapshot) (run.Change, error) {
		if r.draining.isShut() {
			return run.Change{}, errDraining
		}
		gates := slices.DeleteFunc(slices.Clone(gates), func(g run.Gate) bool { return g.Name == run.GatePaused })
		if p := facts.Paused(s.Pauses, repo, s.Runs[0]); p != nil {
			gates = append(gates, run.PauseGate(*p))
		}
		c, err := run.ClaimApply(s, waiting.ID, gates, run.Owner{Node: r.o.Node.ID, Deadline: s.Now.Add(r.o.ApplyTimeout)})
		if err == nil && anew != nil {
			c = run.Rejudged(c, waiting.ID, anew.Digest, anew.Findings)
		}
		return c, err
	})
}

func (r *Runner) moment(ctx context.Context, of run.Run) (run.Moment, error) {
	var pull run.Pull
	if of.Pull != 0 {
		var err error
		if pull, err = r.Store.Pull(ctx, of.Pull); err != nil {
			return run.Moment{}, err
		}
	}
	repo, err := r.Store.Repo(ctx, of.Repo)
	if err != nil {
		return run.Moment{}, err
	}
	var snap *vcs.Pull // a push has none
	if of.Pull != 0 {
		settled, err := r.Facts.Settled(ctx, repo, pull)
		if err != nil {
			return run.Moment{}, err
		}
		snap = &settled
	}
	moments, err := r.Facts.Moments(ctx, time.Now(), pull, snap, []run.Run{of})
	if err != nil {
		return run.Moment{}, err
	}
	return moments[0], nil
}

// advance writes one decision about one run as this node last saw it.
func (r *Runner) advance(ctx context.Context, seen run.Run, decide func(run.Snapshot) (run.Change, error)) error {
	_, err := r.advanced(ctx, seen, decide)
	return err
}

func (r *Runner) advanced(ctx context.Context, seen run.Run, decide func(run.Snapshot) (run.Change, error)) (run.Run, error) {
	res, err := r.Store.Advance(ctx, run.Scope{Runs: []run.At{{ID: seen.ID, Epoch: seen.Epoch}}}, decide)
	if err != nil {
		return run.Run{}, err
	}
	if len(res.Runs) == 0 {
		return seen, nil
	}
	return res.Runs[0], nil
}
