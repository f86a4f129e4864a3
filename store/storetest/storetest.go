// Package storetest is what every store must do, as tests. An engine passes when [Run] does.
//
// The suite asks for fresh databases through Engine and so never shares state between its tests, which all run in parallel.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
)

// Store is a run.Store with its jobs and its end.
type Store interface {
	run.Store
	Handle(kind string, f func(ctx context.Context, key string) error)
	Every(kind, key string, interval time.Duration, atStart bool)
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Close() error
}

// Options are those of a handle that a test cares for.
type Options struct {
	Kill func(point string)
}

// Database opens handles on one database.
type Database interface {
	// Open returns a handle that is closed when the test ends, unless the test closes it.
	Open(t *testing.T, o Options) Store
	// Shared says whether two handles may be open at once.
	Shared() bool
}

// Run runs the suite; fresh makes an empty database.
func Run(t *testing.T, fresh func(t *testing.T) Database) {
	for _, group := range []struct {
		name  string
		tests map[string]func(t *testing.T, db Database)
	}{
		{"Advance", advanceTests()},
		{"Conflicts", conflictTests()},
		{"Rows", rowTests()},
		{"Queue", queueTests()},
		{"Fair", fairTests()},
		{"Logs", logTests()},
		{"Outbox", outboxTests()},
		{"Operator", operatorTests()},
		{"Deliveries", deliveryTests()},
		{"Retention", retentionTests()},
		{"Jobs", jobTests()},
		{"Handles", handleTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, fresh(t))
				})
			}
		})
	}
}

// world is a repository with a pull request, a revision and projects.
type world struct {
	Store
	t        *testing.T
	repo     run.Repo
	pull     run.Pull
	revision run.Revision
	projects []run.Project
}

func newWorld(t *testing.T, s Store, projects int) *world {
	t.Helper()
	w := &world{Store: s, t: t}
	ctx := t.Context()
	var err error
	w.repo, err = s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	check(t, "SaveRepo", err)
	w.pull = w.savePull(7)
	var ps []run.Project
	for i := range projects {
		ps = append(ps, run.Project{Repo: w.repo.ID, Dir: fmt.Sprintf("p%d", i), Workspace: "default", Label: fmt.Sprintf("p%d", i)})
	}
	w.projects, err = s.SaveProjects(ctx, ps)
	check(t, "SaveProjects", err)
	w.revision = w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, "head1")}).Revision
	return w
}

func (w *world) savePull(number int) run.Pull {
	w.t.Helper()
	p, err := w.SavePull(w.t.Context(), run.Pull{
		Repo: w.repo.ID, Number: number, State: "open", Title: "Change", Author: "ann", HeadSHA: fmt.Sprintf("sha%d", number), HeadBranch: "topic",
		BaseBranch: "main", Updated: instant(1),
	})
	check(w.t, "SavePull", err)
	return p
}

func (w *world) newRevision(p run.Pull, head string) *run.Revision {
	return &run.Revision{Repo: w.repo.ID, Pull: p.ID, Branch: "main", Head: head, Base: "base", Tree: "tree", Kind: run.KindChange}
}

func (w *world) newRun(project int, cause string) run.Run {
	p := w.projects[project]
	return run.Run{
		Repo: w.repo.ID, Revision: w.revision.ID, Pull: w.pull.ID, Project: p.ID, Label: p.Label, Dir: p.Dir, Work: p.Workspace,
		Kind: run.KindChange, Cause: cause, State: run.Queued,
	}
}

// advance writes a change that does not depend on what is there.
func (w *world) advance(scope run.Scope, c run.Change) run.Result {
	w.t.Helper()
	if c.Action == "" {
		c.Action = run.ActRevise
	}
	res, err := w.Advance(w.t.Context(), scope, func(run.Snapshot) (run.Change, error) { return c, nil })
	check(w.t, "Advance", err)
	return res
}

// add inserts runs and returns them as stored.
func (w *world) add(runs ...run.Run) []run.Run {
	w.t.Helper()
	return w.advance(run.Scope{Pull: w.pull.ID}, run.Change{New: runs}).Runs
}

// move brings one run on, with what else the change says.
func (w *world) move(id run.ID, to run.State, c run.Change) run.Run {
	w.t.Helper()
	res, err := w.try(id, to, c)
	check(w.t, "Advance", err)
	return res
}

func (w *world) try(id run.ID, to run.State, c run.Change) (run.Run, error) {
	res, err := w.Advance(w.t.Context(), run.Scope{Runs: []run.At{{ID: id}}}, func(s run.Snapshot) (run.Change, error) {
		next := c
		if next.Action == "" {
			next.Action = run.ActClaimPlan
		}
		r := s.Runs[0]
		r.State = to
		next.Runs = []run.Run{r}
		return next, nil
	})
	if err != nil {
		return run.Run{}, err
	}
	return res.Runs[0], nil
}

func check(t *testing.T, call string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s() error = %v, want none", call, err)
	}
}

// instant is a time that both engines keep exactly.
func instant(n int) time.Time {
	return time.Date(2025, 6, 1, 12, 0, n, 123_456_000, time.UTC)
}

func ids(runs []run.Run) []run.ID {
	all := make([]run.ID, len(runs))
	for i, r := range runs {
		all[i] = r.ID
	}
	return all
}
