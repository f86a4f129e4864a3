package operator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// TestALockThatMayBeOurOwnIsNotFreed seeds a failed run of a project and another run, and asks for the lock that stopped the first.
func TestALockThatMayBeOurOwnIsNotFreed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stopped, other run.State
		elsewhere      bool // the other run is of another project
		unsaved        bool
		holder, want   string
	}{
		"nobody is at work":            {stopped: run.Failed, other: run.Failed, holder: "carol@laptop"},
		"the run has not ended":        {stopped: run.Planning, other: run.Failed, want: "has not ended"},
		"the run is interrupted":       {stopped: run.Interrupted, other: run.Failed, want: "acknowledge that first"},
		"the state waits to be saved":  {stopped: run.Failed, other: run.Failed, unsaved: true, want: "could not save its state"},
		"another run is at work":       {stopped: run.Failed, other: run.Applying, want: "another run of b is applying"},
		"another run is interrupted":   {stopped: run.Failed, other: run.Interrupted, want: "another run of b is interrupted"},
		"another project is at work":   {stopped: run.Failed, other: run.Applying, elsewhere: true, holder: "carol@laptop"},
		"our own run elsewhere has it": {stopped: run.Failed, other: run.Applying, elsewhere: true, holder: "root@planlatch-01other", want: "held by our own run of b"},
		"our own run had it":           {stopped: run.Failed, other: run.Failed, elsewhere: true, holder: "root@planlatch-01other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
			check(t, err)
			t.Cleanup(func() { _ = db.Close() })
			repo, err := db.SaveRepo(t.Context(), run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
			check(t, err)
			projects, err := db.SaveProjects(t.Context(), []run.Project{{Repo: repo.ID, Dir: "a", Workspace: "default", Label: "a"}, {Repo: repo.ID, Dir: "b", Workspace: "default", Label: "b"}})
			check(t, err)
			stopped := run.Run{ID: "01STOPPED", Repo: repo.ID, Project: projects[0].ID, Label: "a", Dir: "a", Work: "default", Kind: run.KindChange, Cause: "1", State: c.stopped, Unsaved: c.unsaved}
			other := stopped
			other.ID, other.Label, other.Cause, other.State, other.Unsaved = "01OTHER", "b", "2", c.other, false
			if c.elsewhere {
				other.Project = projects[1].ID
			}
			_, err = db.Advance(t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) {
				return run.Change{
					Action: run.ActRevise, Revision: &run.Revision{Repo: repo.ID, Branch: "main", Head: "h", Base: "b", Kind: run.KindChange}, New: []run.Run{stopped, other},
				}, nil
			})
			check(t, err)
			err = operator.ForceUnlock(t.Context(), db, stopped, c.holder, operator.Forced{Run: stopped.ID, Lock: "5b8f", Actor: "alice"})
			var fault *operator.Fault
			switch {
			case c.want == "" && err != nil:
				t.Errorf("ForceUnlock() = %v, want it asked for", err)
			case c.want != "" && (!errors.As(err, &fault) || !strings.Contains(fault.Error(), c.want)):
				t.Errorf("ForceUnlock() = %v, want a fault with %q", err, c.want)
			}
		})
	}
}
