package runner

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// asks is an executor that writes down how executions are asked to end.
type asks struct {
	executor.Executor
	kills []bool
	err   error
}

func (a *asks) Cancel(_ context.Context, _ executor.Name, kill bool) error {
	if a.err == nil {
		a.kills = append(a.kills, kill)
	}
	return a.err
}

// TestTheGraceIsMeasuredOnOurOwnClock gives a deadline from a database whose clock is hours away, either way.
func TestTheGraceIsMeasuredOnOurOwnClock(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"DatabaseAhead": 5 * time.Hour, "DatabaseBehind": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				exec := &asks{err: executor.ErrAbsent}
				r := New(Parts{Exec: exec, Log: slog.New(slog.DiscardHandler)}, Options{PlanGrace: 30 * time.Second, ApplyGrace: 10 * time.Minute})
				running := run.Run{ID: "01A", State: run.Applying, Execution: "01A-apply", Stop: run.Canceled, Deadline: time.Now().Add(skew)}
				r.stop(t.Context(), running) // while it is prepared its grace has not begun
				<-time.After(time.Hour)
				exec.err = nil
				for range 12 {
					r.stop(t.Context(), running)
					<-time.After(time.Minute)
				}
				if want := append(make([]bool, 10), true, true); !slices.Equal(exec.kills, want) {
					t.Errorf("asked once a minute to kill: %v, want only after the grace of ten: %v", exec.kills, want)
				}
			})
		})
	}
}

func TestARunnerThatDrainsStartsNothingAndEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	queued := queue(t, s)
	r := New(Parts{Store: s, Exec: &asks{}, Log: slog.New(slog.DiscardHandler)}, Options{Node: run.Node{ID: "n1", Name: "n1"}, Workers: 2, NodeTimeout: time.Minute})
	r.Drain()
	if err := r.Run(ctx, nil); err != nil {
		t.Errorf("Run() = %v, want nil once nothing runs", err)
	}
	r.take(ctx, queued) // a claim that was under way when the drain began
	if now, err := s.Run(ctx, queued.ID); err != nil || now.State != run.Queued || now.Attempt != 0 {
		t.Errorf("the run is %s after attempt %d, %v; want it queued and untouched", now.State, now.Attempt, err)
	}
	if failed, err := r.PushState(ctx, run.Run{ID: "01P", State: run.Failed, Unsaved: true, Blobs: map[string]string{BlobErrored: "k"}}); failed == "" || err != nil {
		t.Errorf("PushState() = %q, %v; want a refusal", failed, err)
	}
	if err := r.ForceUnlock(ctx, `{"Run":"`+string(queued.ID)+`"}`); !errors.Is(err, errDraining) {
		t.Errorf("ForceUnlock() = %v, want it to be done later", err)
	}
}

// queue stores one waiting run.
func queue(t *testing.T, s *store.Store) run.Run {
	t.Helper()
	ctx := t.Context()
	repo, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	projects, err := s.SaveProjects(ctx, []run.Project{{Repo: repo.ID, Dir: "net", Workspace: "default"}})
	if err != nil {
		t.Fatal(err)
	}
	rev := run.Revision{Repo: repo.ID, Branch: "main", Head: "head", Base: "base", Tree: "tree", Kind: run.KindMerge}
	made, err := s.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{
			{Repo: repo.ID, Project: projects[0].ID, Dir: "net", Work: "default", Kind: run.KindMerge, Cause: "merge", State: run.Queued},
		}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.Runs[0]
}

func TestAPhaseDoesNotStartAfterItWasAskedToEnd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	queued := queue(t, s)
	r := New(Parts{Store: s, Exec: &asks{}, Log: slog.New(slog.DiscardHandler)}, Options{Workers: 1})
	claimed, err := r.advanced(ctx, queued, func(s run.Snapshot) (run.Change, error) {
		return run.ClaimPlan(s, queued.ID, run.Owner{Node: "n1", Deadline: s.Now.Add(time.Hour)})
	})
	if err != nil {
		t.Fatal(err)
	}
	prepares := func(during func()) phase {
		return phase{name: "plan", run: claimed, prepare: func(ctx context.Context) (prepared, error) {
			during()
			return prepared{done: func() {}}, ctx.Err()
		}}
	}
	t.Run("ByAPerson", func(t *testing.T) {
		e, err := r.start(ctx, prepares(func() {
			if _, err := r.advanced(ctx, claimed, func(s run.Snapshot) (run.Change, error) { return run.Cancel(s, []run.ID{queued.ID}, "bob") }); err != nil {
				t.Error(err)
			}
		}), "01A-plan-1")
		if err != nil || !e.early || e.failed != "canceled by bob" {
			t.Errorf("start() = %+v, %v; want that bob canceled it", e, err)
		}
	})
	t.Run("ByAStop", func(t *testing.T) {
		e, err := r.start(ctx, prepares(r.Drain), "01A-plan-1") // what it prepares with ends at once
		if err != nil || !e.early {
			t.Errorf("start() = %+v, %v; want that it ends before it starts", e, err)
		}
	})
	t.Run("AnApplyByAStopThatCannotWait", func(t *testing.T) {
		p := prepares(r.Hurry)
		p.name, p.run.State = "apply", run.Applying
		if e, err := r.start(ctx, p, "01A-apply"); err != nil || !e.early || e.stale == nil {
			t.Errorf("start() = %+v, %v; want that it is planned again", e, err)
		}
	})
}
