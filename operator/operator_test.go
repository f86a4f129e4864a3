package operator_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// shop is a store with a pull request of two projects, one confirmed and one planned, whose postings are all sent.
type shop struct {
	*store.Store
	t    *testing.T
	pull run.Pull
	runs []run.Run
}

func open(t *testing.T) *shop {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	repo, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	check(t, err)
	pull, err := s.SavePull(ctx, run.Pull{Repo: repo.ID, Number: 7, State: "open", HeadSHA: "head", BaseBranch: "main"})
	check(t, err)
	projects, err := s.SaveProjects(ctx, []run.Project{
		{Repo: repo.ID, Dir: "prod/network", Workspace: "default"}, {Repo: repo.ID, Dir: "staging/network", Workspace: "default"},
	})
	check(t, err)
	rev := run.Revision{Repo: repo.ID, Pull: pull.ID, Branch: "main", Head: "head", Base: "base", Tree: "tree", Kind: run.KindChange}
	res, err := s.Advance(ctx, run.Scope{Pull: pull.ID}, func(run.Snapshot) (run.Change, error) {
		c := run.Change{Action: run.ActRevise, Revision: &rev}
		for i, p := range projects {
			c.New = append(c.New, run.Run{
				Repo: repo.ID, Pull: pull.ID, Project: p.ID, Dir: p.Dir, Work: p.Workspace, Label: p.Dir, Kind: run.KindChange, Cause: "delivery",
				State: []run.State{run.Confirmed, run.Planned}[i],
			})
		}
		return c, nil
	})
	check(t, err)
	shop := &shop{Store: s, t: t, pull: pull, runs: res.Runs}
	shop.sent()
	return shop
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sent marks everything that is due as posted and says what it was.
func (s *shop) sent() []string {
	s.t.Helper()
	due, err := s.Due(s.t.Context(), 0)
	check(s.t, err)
	var kinds []string
	for _, p := range due {
		kinds = append(kinds, string(p.Kind)+" "+p.Key)
		check(s.t, s.Posted(s.t.Context(), p, run.Shows{}))
	}
	slices.Sort(kinds)
	return kinds
}

func TestAPauseIsShownOnWhatItHoldsUpAndNothingElse(t *testing.T) {
	t.Parallel()
	for match, want := range map[string][]string{
		"//prod/**":    {"statuses head", "summary 1"},
		"//staging/**": {"statuses head", "summary 1"}, // a plan that waits cannot be confirmed meanwhile
		"//**":         {"statuses head", "summary 1"},
		"//other/**":   nil,
		"github":       nil,
		"a:b//":        {"statuses head", "summary 1"}, // what cannot be read stops everything
	} {
		t.Run(match, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			check(t, operator.Refresh(t.Context(), s, match))
			if got := s.sent(); !slices.Equal(got, want) {
				t.Errorf("Refresh(%s) wants %v, want %v", match, got, want)
			}
		})
	}
}

func TestPauseAndResumeAskForTheirRefresh(t *testing.T) {
	t.Parallel()
	s := open(t)
	seen := make(chan string, 4)
	s.Handle(operator.JobPauses, func(_ context.Context, match string) error { seen <- match; return nil })
	check(t, s.Start(t.Context()))
	t.Cleanup(func() { _ = s.Stop(t.Context()) })
	_, err := operator.Pause(t.Context(), s, "", "release week", "admin")
	check(t, err)
	if got := <-seen; got != operator.Everything {
		t.Errorf("refreshed %q, want %q", got, operator.Everything)
	}
	all, waiting, err := operator.Pauses(t.Context(), s)
	if err != nil || len(all) != 1 || waiting[0] != 1 {
		t.Errorf("Pauses() = %v, %v, %v; want one that the confirmed run waits for", all, waiting, err)
	}
	check(t, operator.Resume(t.Context(), s, "", "admin"))
	if got := <-seen; got != operator.Everything {
		t.Errorf("refreshed %q, want %q", got, operator.Everything)
	}
}

func TestBadInputIsAFaultAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	var fault *operator.Fault
	if _, err := operator.Pause(t.Context(), s, "a:b//", "x", "admin"); !errors.As(err, &fault) {
		t.Errorf("Pause() of a bad selector: error = %v, want a Fault", err)
	}
	if _, err := operator.Pause(t.Context(), s, "", " ", "admin"); !errors.As(err, &fault) {
		t.Errorf("Pause() without a reason: error = %v, want a Fault", err)
	}
	if err := operator.Resume(t.Context(), s, "", "admin"); !errors.Is(err, run.ErrNotFound) {
		t.Errorf("Resume() of nothing: error = %v, want ErrNotFound", err)
	}
	if rows, err := s.AuditRows(t.Context(), run.AuditFilter{}); err != nil || len(rows) != 0 {
		t.Errorf("AuditRows() = %v, %v, want none", rows, err)
	}
}
