package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func fairTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"ACrowdedRepositoryTakesTurns":            aCrowdedRepositoryTakesTurns,
		"APullOfFiveHundredProjectsStarvesNobody": aPullOfFiveHundredProjectsStarvesNobody,
		"NobodyIsPassedForEver":                   nobodyIsPassedForEver,
		"WhatNobodyAskedForGoesLast":              whatNobodyAskedForGoesLast,
		"AppliesTakeTurnsToo":                     appliesTakeTurnsToo,
		"APullHasAtMostSoManyAtWork":              aPullHasAtMostSoManyAtWork,
		"OneStateHasOneHold":                      oneStateHasOneHold,
		"OnePullHoldsBothDirectoriesOfAState":     onePullHoldsBothDirectoriesOfAState,
		"TwoPullsCannotTakeOneStateAtOnce":        twoPullsCannotTakeOneStateAtOnce,
		"ClosingFreesThatPullAndNoNamesake":       closingFreesThatPullAndNoNamesake,
		"ClosingIsNotStoppedByAPlan":              closingIsNotStoppedByAPlan,
		"WhatKeepsARunIsNamed":                    whatKeepsARunIsNamed,
		"AFreedSlotIsHandedOverAtOnce":            aFreedSlotIsHandedOverAtOnce,
	}
}

// crowd is repositories and pull requests with projects of their own.
type crowd struct {
	Store
	t     *testing.T
	repos map[string]run.Repo
}

func newCrowd(t *testing.T, db Database) *crowd {
	return &crowd{Store: db.Open(t, Options{}), t: t, repos: map[string]run.Repo{}}
}

func (c *crowd) repo(host, name string) run.Repo {
	c.t.Helper()
	key := host + "/" + name
	if _, ok := c.repos[key]; !ok {
		r, err := c.SaveRepo(c.t.Context(), run.Repo{Host: host, HostID: fmt.Sprint(len(c.repos) + 1), Name: name, DefaultBranch: "main"})
		check(c.t, "SaveRepo", err)
		c.repos[key] = r
	}
	return c.repos[key]
}

// opens is a pull request that changes so many projects of its own, all of them queued as q says.
func (c *crowd) opens(repo run.Repo, number, projects int, q func(*run.Run)) (run.Pull, []run.Run) {
	c.t.Helper()
	ctx := c.t.Context()
	pull, err := c.SavePull(ctx, run.Pull{Repo: repo.ID, Number: number, State: "open", HeadSHA: fmt.Sprint("h", number), BaseBranch: "main"})
	check(c.t, "SavePull", err)
	var ps []run.Project
	for i := range projects {
		ps = append(ps, run.Project{Repo: repo.ID, Dir: fmt.Sprintf("pr%d/p%d", number, i), Workspace: "default", Label: fmt.Sprintf("p%d", i)})
	}
	ps, err = c.SaveProjects(ctx, ps)
	check(c.t, "SaveProjects", err)
	rev := run.Revision{Repo: repo.ID, Pull: pull.ID, Branch: "main", Head: pull.HeadSHA, Base: "b", Tree: "t", Kind: run.KindChange}
	var runs []run.Run
	for i, p := range ps {
		r := run.Run{
			Repo: repo.ID, Pull: pull.ID, Project: p.ID, Label: p.Label, Dir: p.Dir, Work: "default", Kind: run.KindChange, Cause: "opened",
			Ordinal: i, State: run.Queued, Settings: run.Settings{Lock: run.LockApply},
		}
		if q != nil {
			q(&r)
		}
		runs = append(runs, r)
	}
	res, err := c.Advance(ctx, run.Scope{Pull: pull.ID}, func(s run.Snapshot) (run.Change, error) { return run.Revise(s, rev, runs, "") })
	check(c.t, "Advance", err)
	return pull, res.Runs
}

func (c *crowd) ahead(r run.Run) int {
	c.t.Helper()
	n, err := c.Position(c.t.Context(), r.ID)
	check(c.t, "Position", err)
	return n
}

// plans claims a run and, if it is to end, settles it.
func (c *crowd) plans(r run.Run, settled bool) error {
	at := run.Scope{Runs: []run.At{{ID: r.ID}}}
	_, err := c.Advance(c.t.Context(), at, func(s run.Snapshot) (run.Change, error) { return run.ClaimPlan(s, r.ID, run.Owner{Node: "n"}) })
	if err != nil || !settled {
		return err
	}
	_, err = c.Advance(c.t.Context(), at, func(s run.Snapshot) (run.Change, error) {
		return run.SettlePlan(s, r.ID, run.PlanOutcome{Planned: run.Run{EffectDigest: "e", PolicyDigest: "p"}})
	})
	return err
}

func (c *crowd) confirm(pull run.PullID, runs ...run.Run) error {
	ids := ids(runs)
	_, err := c.Advance(c.t.Context(), run.Scope{Pull: pull}, func(s run.Snapshot) (run.Change, error) { return run.Confirm(s, ids, "ann") })
	return err
}

// first are the runs at the head of the queue.
func (c *crowd) first(n int) []run.ID {
	c.t.Helper()
	runs, err := c.Next(c.t.Context(), n)
	check(c.t, "Next", err)
	return ids(runs)
}

func aCrowdedRepositoryTakesTurns(t *testing.T, db Database) {
	c := newCrowd(t, db)
	crowded, quiet := c.repo("gitea", "acme/crowded"), c.repo("gitea", "acme/quiet")
	var last run.Run
	for n := range 100 {
		_, runs := c.opens(crowded, n+1, 1, nil)
		last = runs[0]
	}
	_, runs := c.opens(quiet, 1, 3, nil)
	for i, r := range runs { // after each of its own comes one of the crowd
		if got := c.ahead(r); got > 2*i+1 {
			t.Errorf("%d runs are ahead of project %d of a quiet repository, want at most %d", got, i, 2*i+1)
		}
	}
	if got := c.ahead(last); got != 102 {
		t.Errorf("%d runs are ahead of the last of the crowd, want 102", got)
	}
	if got := c.first(6); !slices.Contains(got, runs[0].ID) || !slices.Contains(got, runs[1].ID) {
		t.Errorf("Next(6) = %v, want the first two of the quiet repository among them", got)
	}
}

func aPullOfFiveHundredProjectsStarvesNobody(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	c.opens(repo, 1, 500, nil)
	_, small := c.opens(repo, 2, 1, nil)
	if got := c.ahead(small[0]); got > 2 {
		t.Errorf("%d runs are ahead of a small pull request beside one of 500 projects, want at most 2", got)
	}
	_, runs := c.opens(c.repo("gitea", "acme/other"), 1, 1, nil)
	if got := c.ahead(runs[0]); got > 1 {
		t.Errorf("%d runs are ahead of a pull request of another repository, want at most 1", got)
	}
}

// nobodyIsPassedForEver has big pull requests come one after the other: the first one's rest is not put back by each.
func nobodyIsPassedForEver(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	_, old := c.opens(repo, 1, 40, nil)
	for _, r := range old[:20] {
		check(t, "plan", c.plans(r, true))
	}
	for n := range 5 {
		c.opens(c.repo("gitea", fmt.Sprint("acme/other", n)), 1, 10, nil)
	}
	if got := c.ahead(old[20]); got > 1 {
		t.Errorf("%d runs are ahead of the next of a pull request that has waited, want it among the first", got)
	}
	_, small := c.opens(repo, 2, 1, nil)
	if got := c.ahead(small[0]); got > 14 { // two rounds of the six that wait
		t.Errorf("%d runs are ahead of a small pull request, want at most two rounds of turns", got)
	}
}

func whatNobodyAskedForGoesLast(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	_, idle := c.opens(repo, 1, 2, func(r *run.Run) { r.Idle = true })
	_, asked := c.opens(repo, 2, 3, nil)
	want := append(ids(asked), ids(idle)...)
	if diff := cmp.Diff(want, c.first(10)); diff != "" {
		t.Errorf("Next() differs (-want +got):\n%s", diff)
	}
	if r, err := c.Run(t.Context(), idle[0].ID); err != nil || !r.Idle || asked[0].Idle {
		t.Errorf("Run() = idle %t, %v, want an idle one", r.Idle, err)
	}
	pull, err := c.PullByNumber(t.Context(), repo.ID, 1)
	check(t, "PullByNumber", err)
	check(t, "plan", c.plans(idle[0], true))
	check(t, "Confirm", c.confirm(pull.ID, idle[0])) // now somebody has asked
	if got := c.first(1); got[0] != idle[0].ID {
		t.Errorf("Next() = %v, want the confirmed run", got)
	}
}

func appliesTakeTurnsToo(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	big, many := c.opens(repo, 1, 20, nil)
	small, one := c.opens(repo, 2, 1, nil)
	for _, r := range append(slices.Clone(many), one...) {
		check(t, "plan", c.plans(r, true))
	}
	check(t, "Confirm", c.confirm(big.ID, many...))
	check(t, "Confirm", c.confirm(small.ID, one...))
	if got := c.ahead(one[0]); got > 2 {
		t.Errorf("%d applies are ahead of a small pull request beside one of 20, want at most 2", got)
	}
}

func aPullHasAtMostSoManyAtWork(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	_, bound := c.opens(repo, 1, 4, func(r *run.Run) { r.Settings.Parallel = 2 })
	_, free := c.opens(repo, 2, 3, nil)
	counts := func() (mine, others int) {
		for _, id := range c.first(10) {
			if slices.Contains(ids(bound), id) {
				mine++
			} else {
				others++
			}
		}
		return mine, others
	}
	for step, want := range []int{2, 1, 0} {
		if mine, others := counts(); mine != want || others != 3 {
			t.Errorf("with %d at work Next() has %d of the bound pull request and %d of the other, want %d and 3", step, mine, others, want)
		}
		err := c.plans(bound[step], false)
		if step < 2 && err != nil || step == 2 && !errors.Is(err, run.ErrMoved) {
			t.Errorf("ClaimPlan() of run %d error = %v, want ErrMoved only for the third", step, err)
		}
	}
	_, err := c.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: bound[0].ID}}}, func(s run.Snapshot) (run.Change, error) {
		return run.SettlePlan(s, bound[0].ID, run.PlanOutcome{})
	})
	check(t, "SettlePlan", err)
	if mine, _ := counts(); mine != 1 {
		t.Errorf("once one has ended Next() has %d of the bound pull request, want 1", mine)
	}
	check(t, "plan", c.plans(free[0], true))
}

// twins are two directories, of two repositories, that keep their state in one place, each planned by a pull request.
func (c *crowd) twins() (pulls []run.Pull, runs []run.Run) {
	c.t.Helper()
	for _, name := range []string{"acme/a", "acme/b"} {
		repo := c.repo("gitea", name)
		p, rs := c.opens(repo, 7, 1, nil)
		_, err := c.SaveProjects(c.t.Context(), []run.Project{{Repo: repo.ID, Dir: rs[0].Dir, Workspace: "default", Label: "p0", Identity: "s3:one"}})
		check(c.t, "SaveProjects", err)
		check(c.t, "plan", c.plans(rs[0], true))
		pulls, runs = append(pulls, p), append(runs, rs[0])
	}
	return pulls, runs
}

func oneStateHasOneHold(t *testing.T, db Database) {
	c := newCrowd(t, db)
	pulls, runs := c.twins()
	check(t, "Confirm", c.confirm(pulls[0].ID, runs[0]))
	holds, err := c.Holds(t.Context(), runs[1].Repo)
	check(t, "Holds", err)
	if diff := cmp.Diff(map[run.ProjectID]run.PullID{runs[1].Project: pulls[0].ID}, holds); diff != "" {
		t.Errorf("Holds() of the other directory's repository differs (-want +got):\n%s", diff)
	}
	if err := c.confirm(pulls[1].ID, runs[1]); !errors.Is(err, run.ErrMoved) {
		t.Errorf("Confirm() of the other directory error = %v, want ErrMoved", err)
	}
	take := run.Change{Action: run.ActConfirm, Hold: map[run.ProjectID]run.PullID{runs[1].Project: pulls[1].ID}}
	_, err = c.Advance(t.Context(), run.Scope{Pull: pulls[1].ID}, func(run.Snapshot) (run.Change, error) { return take, nil })
	if !errors.Is(err, run.ErrMoved) { // whatever a decision that saw too little says
		t.Errorf("taking the hold error = %v, want ErrMoved", err)
	}
	_, err = c.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: runs[1].ID}}}, func(s run.Snapshot) (run.Change, error) {
		r := s.Runs[0]
		r.State = run.Confirmed
		return run.Change{Action: run.ActConfirm, Runs: []run.Run{r}}, nil
	})
	check(t, "Advance", err)
	if got := c.first(10); slices.Contains(got, runs[1].ID) || !slices.Contains(got, runs[0].ID) {
		t.Errorf("Next() = %v, want %s and not %s", got, runs[0].ID, runs[1].ID)
	}
	_, err = c.Advance(t.Context(), run.Scope{Pull: pulls[0].ID}, func(s run.Snapshot) (run.Change, error) { return run.Unlock(s, "ann") })
	check(t, "Unlock", err)
	if got := c.first(10); !slices.Contains(got, runs[1].ID) {
		t.Errorf("Next() = %v once the state is free, want %s among them", got, runs[1].ID)
	}
}

func onePullHoldsBothDirectoriesOfAState(t *testing.T, db Database) {
	c := newCrowd(t, db)
	repo := c.repo("gitea", "acme/infra")
	pull, runs := c.opens(repo, 1, 2, nil)
	for _, r := range runs {
		_, err := c.SaveProjects(t.Context(), []run.Project{{Repo: repo.ID, Dir: r.Dir, Workspace: "default", Label: r.Label, Identity: "s3:one"}})
		check(t, "SaveProjects", err)
		check(t, "plan", c.plans(r, true))
	}
	check(t, "Confirm", c.confirm(pull.ID, runs...))
	holds, err := c.Holds(t.Context(), repo.ID)
	check(t, "Holds", err)
	if len(holds) != 2 {
		t.Errorf("Holds() = %v, want both", holds)
	}
}

func twoPullsCannotTakeOneStateAtOnce(t *testing.T, db Database) {
	c := newCrowd(t, db)
	pulls, runs := c.twins()
	var won atomic.Int32
	atOnce(func(i int) {
		err := c.confirm(pulls[i%2].ID, runs[i%2])
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, run.ErrMoved) && !errors.Is(err, run.ErrIllegal):
			t.Errorf("Confirm() error = %v, want ErrMoved", err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d pull requests took the hold of one state, want 1", won.Load())
	}
}

func closingFreesThatPullAndNoNamesake(t *testing.T, db Database) {
	c := newCrowd(t, db)
	type place struct{ host, name string }
	held := map[place]run.Pull{}
	waiting := map[place][]run.Run{}
	places := []place{{"gitea", "acme/infra"}, {"gitea", "acme/infra-2"}, {"gitea", "acme/inf"}, {"github", "acme/infra"}, {"gitea", "acme/infra/sub"}}
	for _, at := range places {
		pull, runs := c.opens(c.repo(at.host, at.name), 7, 2, nil)
		check(t, "plan", c.plans(runs[0], true))
		check(t, "Confirm", c.confirm(pull.ID, runs[0]))
		held[at], waiting[at] = pull, runs
	}
	_, beside := c.opens(c.repo("gitea", "acme/infra"), 77, 1, nil)
	closed := held[places[0]]
	_, err := c.Advance(t.Context(), run.Scope{Pull: closed.ID}, func(s run.Snapshot) (run.Change, error) {
		p := s.Pull
		p.State = "closed"
		return run.Close(s, p, "closed")
	})
	check(t, "Close", err)
	locks, err := c.Locks(t.Context())
	check(t, "Locks", err)
	owners := map[run.PullID]int{}
	for _, l := range locks {
		owners[l.Pull]++
	}
	for n, at := range places {
		want := map[bool]int{true: 0, false: 1}[n == 0]
		if owners[held[at].ID] != want {
			t.Errorf("#7 of %v has %d holds, want %d", at, owners[held[at].ID], want)
		}
		for _, r := range waiting[at] {
			now, err := c.Run(t.Context(), r.ID)
			check(t, "Run", err)
			if ended := now.State == run.Canceled; ended != (n == 0) {
				t.Errorf("run of #7 of %v is %s", at, now.State)
			}
		}
	}
	if now, err := c.Run(t.Context(), beside[0].ID); err != nil || now.State != run.Queued {
		t.Errorf("run of #77 beside it is %s, %v, want queued", now.State, err)
	}
}

// closingIsNotStoppedByAPlan closes a pull request whose project is being planned, by itself or by another: a plan needs no hold.
func closingIsNotStoppedByAPlan(t *testing.T, db Database) {
	c := newCrowd(t, db)
	for _, own := range []bool{true, false} {
		repo := c.repo("gitea", fmt.Sprint("acme/", own))
		pull, runs := c.opens(repo, 1, 1, func(r *run.Run) { r.Settings.Lock = run.LockPlan })
		check(t, "plan", c.plans(runs[0], !own)) // takes the hold
		if !own {
			other, _ := c.opens(repo, 2, 1, nil)
			r := runs[0]
			r.ID, r.Pull, r.Cause, r.State, r.Epoch = "", other.ID, "of another", run.Queued, 0
			res, err := c.Advance(t.Context(), run.Scope{Pull: other.ID}, func(run.Snapshot) (run.Change, error) {
				return run.Change{Action: run.ActRevise, New: []run.Run{r}}, nil
			})
			check(t, "Advance", err)
			check(t, "plan", c.plans(res.Runs[0], false))
		}
		_, err := c.Advance(t.Context(), run.Scope{Pull: pull.ID}, func(s run.Snapshot) (run.Change, error) { return run.Close(s, s.Pull, "closed") })
		check(t, "Close", err)
		holds, err := c.Holds(t.Context(), repo.ID)
		check(t, "Holds", err)
		if len(holds) != 0 {
			t.Errorf("with a plan of its own %t, holds of a closed pull request: %v, want none", own, holds)
		}
	}
}

// aFreedSlotIsHandedOverAtOnce has two runs of one project, one handle that ends the first and one that waits for the second without ever
// looking by the clock: without the kick it would wait for ever.
func aFreedSlotIsHandedOverAtOnce(t *testing.T, db Database) {
	c := newCrowd(t, db)
	there := c.Store
	if db.Shared() {
		there = db.Open(t, Options{})
	}
	kicks := there.Kicks()
	repo := c.repo("gitea", "acme/infra")
	var took []time.Duration
	for n := range 10 {
		_, runs := c.opens(repo, n+1, 1, nil)
		check(t, "plan", c.plans(runs[0], false))
		next := runs[0]
		next.ID, next.Cause, next.Epoch, next.Settings.Flags = "", "again", 0, nil
		res, err := c.Advance(t.Context(), run.Scope{Pull: next.Pull}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActRevise, New: []run.Run{next}}, nil
		})
		check(t, "Advance", err)
		freed := make(chan time.Time, 1)
		go func() {
			_, err := c.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: runs[0].ID}}}, func(s run.Snapshot) (run.Change, error) {
				return run.SettlePlan(s, runs[0].ID, run.PlanOutcome{})
			})
			if err != nil {
				t.Error(err)
			}
			freed <- time.Now()
		}()
		for claimed := false; !claimed; {
			select {
			case <-kicks:
			case <-time.After(patience):
				t.Fatal("nobody said that a slot is free")
			}
			runs, err := there.Next(t.Context(), 10)
			check(t, "Next", err)
			if !slices.Contains(ids(runs), res.Runs[0].ID) {
				continue
			}
			_, err = there.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: res.Runs[0].ID}}}, func(s run.Snapshot) (run.Change, error) {
				return run.ClaimPlan(s, res.Runs[0].ID, run.Owner{Node: "there"})
			})
			claimed = err == nil
		}
		took = append(took, max(0, time.Since(<-freed)))
	}
	slices.Sort(took)
	t.Logf("from freed to claimed: median %v, most %v", took[len(took)/2], took[len(took)-1]) // 40 ms; a loaded machine takes longer
}

// whatKeepsARunIsNamed walks one run past everything that can keep it.
func whatKeepsARunIsNamed(t *testing.T, db Database) {
	c := newCrowd(t, db)
	pulls, runs := c.twins() // of two repositories, planned
	waits := func(why string, id run.ID, want run.Wait) {
		t.Helper()
		got, err := c.Waits(t.Context(), id)
		check(t, "Waits", err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: Waits() differs (-want +got):\n%s", why, diff)
		}
		next := slices.Contains(c.first(100), id)
		if only := got == (run.Wait{Ahead: got.Ahead}); why != "planned" && why != "its turn" && next != only {
			t.Errorf("%s: it is among the next = %t, and Waits() = %+v", why, next, got)
		}
	}
	waits("planned", runs[0].ID, run.Wait{})
	check(t, "Confirm", c.confirm(pulls[0].ID, runs[0]))
	_, err := c.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: runs[1].ID}}}, func(s run.Snapshot) (run.Change, error) {
		r := s.Runs[0]
		r.State, r.Confirmed = run.Confirmed, instant(1)
		return run.Change{Action: run.ActConfirm, Runs: []run.Run{r}}, nil
	})
	check(t, "Advance", err)
	waits("its state is held", runs[1].ID, run.Wait{Ahead: 1, Pull: pulls[0].ID})
	_, err = c.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: runs[0].ID}}}, func(s run.Snapshot) (run.Change, error) {
		return run.ClaimApply(s, runs[0].ID, []run.Gate{{Holds: true}}, run.Owner{Node: "n"})
	})
	check(t, "ClaimApply", err)
	waits("its state is being applied", runs[1].ID, run.Wait{Run: runs[0].ID})

	_, bound := c.opens(c.repo("gitea", "acme/c"), 1, 3, func(r *run.Run) { r.Settings.Parallel = 1 })
	waits("its turn", bound[1].ID, run.Wait{Ahead: 2})
	check(t, "plan", c.plans(bound[0], false))
	waits("its pull request is full", bound[1].ID, run.Wait{Ahead: 1, Full: 1})

	_, chain := c.opens(c.repo("gitea", "acme/d"), 1, 1, nil)
	dependent := chain[0]
	ps, err := c.SaveProjects(t.Context(), []run.Project{{Repo: dependent.Repo, Dir: "dependent", Workspace: "default", Label: "dependent"}})
	check(t, "SaveProjects", err)
	dependent.ID, dependent.Project, dependent.Epoch, dependent.Ordinal = "", ps[0].ID, 0, 1
	dependent.Settings.After = []run.ProjectID{chain[0].Project}
	res, err := c.Advance(t.Context(), run.Scope{Pull: dependent.Pull}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, New: []run.Run{dependent}}, nil
	})
	check(t, "Advance", err)
	got, err := c.Waits(t.Context(), res.Runs[0].ID)
	check(t, "Waits", err)
	if got.Run != chain[0].ID {
		t.Errorf("Waits() of a dependent = %+v, want %s first", got, chain[0].ID)
	}
	queue, more, err := c.Waiting(t.Context(), 2)
	check(t, "Waiting", err)
	if len(queue) != 2 || more != 3 || queue[0].ID != runs[1].ID {
		t.Errorf("Waiting(2) = %v and %d more, want the apply first, and 3 more", ids(queue), more)
	}
}
