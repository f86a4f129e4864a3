package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// JobForceUnlock is the kind of job that frees a backend's own lock. Its key is a [Forced] in JSON.
const JobForceUnlock = "force_unlock"

// Forced is a lock of a backend that somebody wants to have freed.
type Forced struct {
	Run   run.ID // that stopped at the lock
	Lock  string // its id, as the backend told the run
	Actor string
	Reply string // key of the posting that tells what came of it
}

// ForceUnlock asks for the lock of a backend that stopped a run to be freed, by an execution of its own with what an apply of the project
// may do. A run that may still be at work itself, or whose state waits to be saved, is refused with a [*Fault].
func ForceUnlock(ctx context.Context, s run.Store, stopped run.Run, holder string, f Forced) error {
	switch {
	case stopped.Unsaved:
		return &Fault{"an earlier apply could not save its state, which has to be pushed back before the lock goes"}
	case stopped.State == run.Interrupted:
		return &Fault{"its apply was interrupted: acknowledge that first, and the plan that follows meets the lock"}
	case !stopped.State.Final():
		return &Fault{"its last run has not ended"}
	}
	if ours, err := s.Run(ctx, holderRun(holder)); err == nil && atWork(ours) {
		return &Fault{fmt.Sprintf("the lock is held by our own run of %s, which is %s", ours.Label, ours.State)}
	}
	// Whose lock it is was read from a log, which a pull request can have a say in: nothing of ours may be using that state.
	twins, err := s.Twins(ctx, stopped.Project)
	if err != nil {
		return err
	}
	for _, project := range append(twins, run.Project{ID: stopped.Project}) {
		using, err := s.Runs(ctx, run.Filter{Project: project.ID, States: []run.State{run.Planning, run.Applying, run.Interrupted}})
		if err != nil {
			return err
		}
		if len(using) > 0 {
			return &Fault{fmt.Sprintf("another run of %s is %s, and the lock may be its own", using[0].Label, using[0].State)}
		}
	}
	key, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = s.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{
			Action: run.ActUnlock, Jobs: []run.Job{{Kind: JobForceUnlock, Key: string(key)}},
			Audit: []run.Audit{{
				Actor: f.Actor, Action: JobForceUnlock, Repo: stopped.Repo, Pull: stopped.Pull, Run: stopped.ID, Outcome: "done", Detail: "asked to free " + f.Lock,
			}},
		}, nil
	})
	return err
}

// atWork says whether something of a run may be using its state.
func atWork(r run.Run) bool { return r.State.Running() || r.State == run.Interrupted }

// holderRun is the run that a lock's holder is, if it is one of ours: executions are called planlatch-<run> on their network.
func holderRun(who string) run.ID {
	_, host, _ := strings.Cut(strings.ToUpper(who), "@")
	id, ok := strings.CutPrefix(host, "PLANLATCH-")
	if !ok {
		return "none"
	}
	return run.ID(id)
}
