package runner

import (
	"fmt"
	"testing"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// TestPlansGoPastWhatIsFrozen fills the head of the queue with more frozen applies than are looked at in one go.
func TestPlansGoPastWhatIsFrozen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	repo, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	const frozen = 20
	projects := make([]run.Project, frozen+1)
	for i := range projects {
		projects[i] = run.Project{Repo: repo.ID, Dir: fmt.Sprintf("prod/p%d", i), Workspace: "default"}
	}
	if projects, err = s.SaveProjects(ctx, projects); err != nil {
		t.Fatal(err)
	}
	rev := run.Revision{Repo: repo.ID, Branch: "main", Head: "head", Base: "base", Tree: "tree", Kind: run.KindMerge}
	var runs []run.Run
	for i, p := range projects {
		r := run.Run{Repo: repo.ID, Project: p.ID, Dir: p.Dir, Work: p.Workspace, Kind: run.KindMerge, Cause: "merge", State: run.Confirmed}
		if i == frozen {
			r.State = run.Queued
		}
		runs = append(runs, r)
	}
	if _, err = s.Advance(ctx, run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Revision: &rev, New: runs}, nil
	}); err != nil {
		t.Fatal(err)
	}
	r := New(Parts{Store: s}, Options{Workers: 1})
	next := func() (applies, plans int) {
		t.Helper()
		all, err := r.next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range all {
			if n.State == run.Confirmed {
				applies++
			} else {
				plans++
			}
		}
		return applies, plans
	}
	if applies, _ := next(); applies == 0 {
		t.Fatal("no apply could be claimed before the pause")
	}
	if _, err := operator.Pause(ctx, s, "//prod/**", "release week", "admin"); err != nil {
		t.Fatal(err)
	}
	if applies, plans := next(); applies != 0 || plans != 1 {
		t.Errorf("%d applies and %d plans could be claimed during the pause, want the one plan", applies, plans)
	}
	if _, err := operator.Pause(ctx, s, "//staging/**", "another", "admin"); err != nil {
		t.Fatal(err)
	}
	if err := operator.Resume(ctx, s, "//prod/**", "admin"); err != nil {
		t.Fatal(err)
	}
	if applies, _ := next(); applies == 0 {
		t.Error("no apply could be claimed after the resume, while something else is paused")
	}
}
