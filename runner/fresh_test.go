package runner

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs"
)

// host answers for one pull request, as long as it works.
type host struct {
	vcs.Host
	pull vcs.Pull
	tip  string
	gone string // the id of a repository that it does not know
	err  error
}

func (h *host) Pull(context.Context, vcs.Repo, int) (vcs.Pull, error) { return h.pull, h.err }
func (h *host) Branch(_ context.Context, r vcs.Repo, _ string) (string, error) {
	if r.ID == h.gone {
		return "", vcs.ErrNotFound
	}
	return h.tip, h.err
}
func (h *host) Remote(context.Context, vcs.Repo) (vcs.Remote, error) {
	return vcs.Remote{}, errors.New("git is down")
}
func (h *host) Permission(context.Context, vcs.Repo, string) (vcs.Permission, error) {
	return vcs.PermissionWrite, nil
}

// desk is a runner with one confirmed apply, every gate of which holds.
type desk struct {
	*Runner
	t     *testing.T
	host  *host
	blobs string
	run   run.Run
}

const allows = "package main\n\nimport rego.v1\n\ndeny contains msg if {\n\tinput.plan.never\n\tmsg := \"never\"\n}\n"

func (d *desk) policy(rego string) *policy.Engine {
	d.t.Helper()
	dir := d.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte(rego), 0o600); err != nil {
		d.t.Fatal(err)
	}
	e, err := policy.Load(d.t.Context(), []policy.Set{{Name: "ours", Source: dir, Level: run.Hard}}, policy.Options{})
	if _, faults := errors.AsType[*policy.LoadError](err); err != nil && !faults {
		d.t.Fatal(err)
	}
	return e // a set that cannot be loaded is a hard finding of every plan
}

var cloudKey = Grant{Secrets: executor.Secrets{Env: []string{"KEY=the-key-of-the-cloud"}}}

func openDesk(t *testing.T) *desk {
	t.Helper()
	ctx := t.Context()
	d := &desk{t: t, blobs: t.TempDir(), host: &host{tip: "base", pull: vcs.Pull{
		Number: 7, State: vcs.PullOpen, Head: vcs.Ref{SHA: "head"}, Base: vcs.Ref{Branch: "main"}, Mergeable: vcs.Yes,
	}}}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(ctx, store.Options{Dir: t.TempDir()})
	must(err)
	t.Cleanup(func() { _ = s.Close() })
	blobs, err := blob.Open(ctx, blob.Options{Dir: d.blobs, Key: "base64key://MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
	must(err)
	t.Cleanup(func() { _ = blobs.Close() })
	log := slog.New(slog.DiscardHandler)
	mirrors := git.New(git.Options{Dir: t.TempDir()})
	d.Runner = New(Parts{
		Store: s, Blobs: blobs, Log: log, Git: mirrors, Policy: d.policy(allows),
		Facts: &facts.Gatherer{Hosts: map[string]vcs.Host{"gitea": d.host}, Store: s, Git: mirrors, Log: log},
	}, Options{Workers: 1, Node: run.Node{ID: "n"}, ApplyTimeout: time.Hour, EffectKey: []byte("k"), Secrets: []string{"the-server's-token"},
		Grants: func(context.Context, selector.Target, string, run.ID) (Grant, error) { return cloudKey, nil },
		Fixed:  func(selector.Target, string) (Grant, bool, error) { return cloudKey, true, nil },
	})

	repo, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra", DefaultBranch: "main"})
	must(err)
	pull, err := s.SavePull(ctx, run.Pull{Repo: repo.ID, Number: 7, State: "open", HeadSHA: "head", BaseBranch: "main"})
	must(err)
	projects, err := s.SaveProjects(ctx, []run.Project{{Repo: repo.ID, Dir: "a", Workspace: "default", Label: "a"}})
	must(err)
	must(blobs.Put(ctx, "plan", []byte("the plan")))
	must(blobs.Put(ctx, "other", []byte("another plan")))
	must(blobs.Put(ctx, "json", []byte(`{"format_version":"1.2"}`)))
	d.run = run.Run{
		Repo: repo.ID, Pull: pull.ID, Project: projects[0].ID, Label: "a", Dir: "a", Work: "default", Kind: run.KindChange, Cause: "opened",
		State: run.Confirmed, Confirmed: time.Now(), ConfirmedBy: "bob", PlanDigest: digest([]byte("the plan")), EffectDigest: "e",
		PolicyDigest: d.Policy.Digest(policy.Input{Target: selector.Target{Host: "gitea", Repo: "acme/infra", Dir: "a", Workspace: "default"}}),
		Blobs:        map[string]string{blobPlan: "plan", blobPlanJSON: "json"},
		Settings:     run.Settings{Apply: run.ApplyBeforeMerge, Lock: run.LockApply, Requirements: []string{"up_to_date"}},
	}
	return d
}

// claims has the runner claim the apply and returns the runs that there are then, newest last.
func (d *desk) claims() []run.Run {
	d.t.Helper()
	ctx := d.t.Context()
	rev := run.Revision{Repo: d.run.Repo, Pull: d.run.Pull, Branch: "main", Head: "head", Base: "base", Tree: "t", Kind: run.KindChange}
	res, err := d.Store.Advance(ctx, run.Scope{Pull: d.run.Pull}, func(s run.Snapshot) (run.Change, error) { return run.Revise(s, rev, []run.Run{d.run}, "") })
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.claimApply(ctx, res.Runs[0]); err != nil {
		d.t.Fatal(err)
	}
	runs, err := d.Store.Runs(ctx, run.Filter{Pull: d.run.Pull})
	if err != nil {
		d.t.Fatal(err)
	}
	if len(runs) == 2 {
		runs[0], runs[1] = runs[1], runs[0]
	}
	return runs
}

// TestAnApplyIsRefusedBeforeItStarts when anything that it stands on is not what it was, or cannot be found out; and it says what.
func TestAnApplyIsRefusedBeforeItStarts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(d *desk)
		want    run.State
		why     string
		another bool // it has a successor
	}{
		"NotWhenAllIsAsItWas":           {func(*desk) {}, run.Applying, "", false},
		"WhenTheHeadMoved":              {func(d *desk) { d.host.pull.Head.SHA = "newer" }, run.Planned, "the plan is not of newer on main", false},
		"WhenTheBaseBranchIsAnother":    {func(d *desk) { d.host.pull.Base.Branch = "next" }, run.Planned, "the plan is not of head on next", false},
		"WhenTheHeadMovedUnasked":       {func(d *desk) { d.host.pull.Head.SHA, d.run.Settings.Requirements = "newer", nil }, run.Planned, "the plan is not of newer", false},
		"WhenTheHostFails":              {func(d *desk) { d.host.err = errors.New("500") }, run.Planned, "its gates could not be judged", false},
		"WhenTheHostTakesTooLong":       {func(d *desk) { d.host.err = context.DeadlineExceeded }, run.Planned, "its gates could not be judged", false},
		"WhenGitFails":                  {func(d *desk) { d.host.tip = "moved" }, run.Planned, "whether the plan is up to date could not be found out", false},
		"WhenThePlanIsAnotherOne":       {func(d *desk) { d.run.Blobs[blobPlan] = "other" }, run.Superseded, "its digest differs", true},
		"WhenThePlanIsGone":             {func(d *desk) { d.run.Blobs[blobPlan] = "nowhere" }, run.Superseded, "the stored plan cannot be read", true},
		"WhenThePlanWasAlteredInPlace":  {func(d *desk) { d.alter("plan") }, run.Superseded, "the stored plan cannot be read", true},
		"WhenWhatPolicyReadsIsGone":     {func(d *desk) { d.run.Blobs[blobPlanJSON] = "nowhere" }, run.Superseded, "the stored plan cannot be read", true},
		"WhenPolicyChangedAndSaysNo":    {func(d *desk) { d.Policy = d.policy(strings.Replace(allows, "input.plan.never", "true", 1)) }, run.Planned, "policy has changed since the plan was made and says no now", false},
		"WhenPolicyCannotBeLoaded":      {func(d *desk) { d.Policy = d.policy("package main\n\ndeny contains") }, run.Planned, "policy has changed since the plan was made and says no now", false},
		"WhenItsStateIsOfAnother":       {func(d *desk) { d.sharesState("1") }, run.Planned, "its state belongs to b", false}, // with git down, nobody knows that b is gone
		"WhenItsStateIsOfAnotherRepo":   {func(d *desk) { d.sharesState("2") }, run.Planned, "its state belongs to a project of another repository", false},
		"NotWhenTheOtherRepoIsGone":     {func(d *desk) { d.sharesState("2"); d.host.gone = "2" }, run.Applying, "", false},
		"NotWhenPolicyChangedAndSaysSo": {func(d *desk) { d.Policy = d.policy(allows + "\n# as before\n") }, run.Applying, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDesk(t)
			c.change(d)
			runs := d.claims()
			if got := runs[0]; got.State != c.want || !strings.Contains(got.Reason, c.why) {
				t.Errorf("run = %s (%s), want %s because %q", got.State, got.Reason, c.want, c.why)
			}
			if len(runs) == 2 != c.another {
				t.Errorf("%d runs, want a successor = %t", len(runs), c.another)
			}
			if want := d.Policy.Digest(policy.Input{Target: selector.Target{Host: "gitea", Repo: "acme/infra", Dir: "a", Workspace: "default"}}); c.want != run.Superseded && d.host.err == nil && runs[0].PolicyDigest != want {
				t.Errorf("judged by policy %s, want the policy of today", runs[0].PolicyDigest)
			}
		})
	}
}

// sharesState has a project of a repository apply to the state that the confirmed plan is of.
func (d *desk) sharesState(repository string) {
	d.t.Helper()
	ctx := d.t.Context()
	repo, err := d.Store.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: repository, Name: "acme/infra", DefaultBranch: "main"})
	if err != nil {
		d.t.Fatal(err)
	}
	of, err := d.Store.SaveProjects(ctx, []run.Project{{Repo: repo.ID, Dir: "b", Workspace: "default", Label: "b"}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.run.Identity = "s3:one"
	rev := run.Revision{Repo: repo.ID, Branch: "main", Head: "before", Base: "base", Tree: "t", Kind: run.KindMerge}
	done := run.Run{
		Repo: repo.ID, Project: of[0].ID, Label: "b", Dir: "b", Work: "default", Kind: run.KindMerge, Cause: "merged", State: run.Applied,
		Identity: d.run.Identity, ApplyStarted: time.Now(),
	}
	if _, err := d.Store.Advance(ctx, run.Scope{Repo: repo.ID, Branch: "main"}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{done}}, nil
	}); err != nil {
		d.t.Fatal(err)
	}
}

// alter changes a byte of every kept file of an object.
func (d *desk) alter(name string) {
	d.t.Helper()
	found := false
	err := filepath.WalkDir(d.blobs, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), name) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		found = true
		data[len(data)-1] ^= 1
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || !found {
		d.t.Fatalf("alter %s: found %t, %v", name, found, err)
	}
}

// TestWhoKeepsStateInTheSamePlaceIsNamed unless their directory is gone, or they are of another repository.
func TestWhoKeepsStateInTheSamePlaceIsNamed(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	ctx := t.Context()
	other, err := d.Store.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "2", Name: "acme/secret", DefaultBranch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	var ps []run.Project
	for dir, repo := range map[string]run.RepoID{"a": d.run.Repo, "copy": d.run.Repo, "moved/away": d.run.Repo, "hidden": other.ID} {
		ps = append(ps, run.Project{Repo: repo, Dir: dir, Workspace: "default", Label: dir, Identity: "s3:one"})
	}
	if _, err := d.Store.SaveProjects(ctx, ps); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for _, dir := range []string{"a", "copy"} {
		if err := os.Mkdir(filepath.Join(tree, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.beside(ctx, ground{run: d.run, tree: tree})
	if want := []string{"copy", "a project of another repository"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("beside() = %q, %v, want %q", got, err, want)
	}
}

// TestPlansThatWaitAreJudgedByThePolicyOfToday, so that reports say what a claim will.
func TestPlansThatWaitAreJudgedByThePolicyOfToday(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	d.run.State, d.run.Confirmed, d.run.ConfirmedBy = run.Planned, time.Time{}, ""
	ctx := t.Context()
	rev := run.Revision{Repo: d.run.Repo, Pull: d.run.Pull, Branch: "main", Head: "head", Base: "base", Tree: "t", Kind: run.KindChange}
	res, err := d.Store.Advance(ctx, run.Scope{Pull: d.run.Pull}, func(s run.Snapshot) (run.Change, error) { return run.Revise(s, rev, []run.Run{d.run}, "") })
	if err != nil {
		t.Fatal(err)
	}
	id := res.Runs[0].ID
	for rego, want := range map[string]int{allows: 0, strings.Replace(allows, "input.plan.never", "true", 1): 1} {
		d.Policy = d.policy(rego)
		d.rejudge(ctx)
		findings, err := d.Store.Findings(ctx, id)
		if err != nil || len(findings[id]) != want {
			t.Errorf("findings = %v, %v, want %d", findings[id], err, want)
		}
	}
}

// TestAPlanThatWasAlteredAfterItsClaimIsNotApplied: the last look is right before the execution, and the next plan waits for a person.
func TestAPlanThatWasAlteredAfterItsClaimIsNotApplied(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	claimed := d.claims()[0]
	if claimed.State != run.Applying {
		t.Fatalf("run = %s (%s), want applying", claimed.State, claimed.Reason)
	}
	claimed.Blobs[blobPlan] = "other"
	if _, err := d.plan(t.Context(), claimed); !errors.Is(err, errAltered) {
		t.Fatalf("plan() error = %v, want that it was altered", err)
	}
	p := d.applyPhase(claimed, time.Now())
	if err := p.settle(t.Context(), ending{stale: errAltered}); err != nil {
		t.Fatal(err)
	}
	runs, err := d.Store.Runs(t.Context(), run.Filter{Pull: d.run.Pull})
	if err != nil || len(runs) != 2 {
		t.Fatalf("runs = %v, %v, want a successor", runs, err)
	}
	next, old := runs[0], runs[1]
	if old.State != run.Superseded || next.State != run.Queued {
		t.Errorf("the runs are %s and %s, want superseded and queued", old.State, next.State)
	}
	if _, goes := run.Continues(next); goes {
		t.Error("the successor goes on by itself, want it to wait for a person")
	}
	due, err := d.Store.Due(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, posting := range due {
		if posting.Kind == run.PostReply {
			told = posting.Body
		}
	}
	if !strings.Contains(told, "Not applied") || !strings.Contains(told, "its digest differs") || !strings.Contains(told, "operator") {
		t.Errorf("the pull request is told %q", told)
	}
	if locks, err := d.Store.Locks(t.Context()); err != nil || len(locks) != 1 || locks[0].Run != "" {
		t.Errorf("locks = %v, %v, want the hold and no slot", locks, err)
	}
}

func TestAMovedProjectIsJudgedByTheSetsOfBothPlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte("package main\n\ndeny contains \"never\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "guard", Source: dir, Level: run.Hard, Projects: []string{"//guarded:prod"}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := ground{repo: run.Repo{Host: "gitea", Name: "acme/infra"}, run: run.Run{Dir: "free", Work: "prod"}}
	for name, c := range map[string]struct {
		of     run.Selected
		judged bool
	}{
		"Moved":              {run.Selected{Dir: "free", Workspace: "prod", From: "guarded"}, true},
		"AlwaysThere":        {run.Selected{Dir: "free", Workspace: "prod"}, false},
		"AnotherWorkspace":   {run.Selected{Dir: "free", Workspace: "test", From: "guarded"}, false},
		"AnotherDirectory":   {run.Selected{Dir: "other", Workspace: "prod", From: "guarded"}, false},
		"MovedFromSomeplace": {run.Selected{Dir: "free", Workspace: "prod", From: "unguarded"}, false},
	} {
		g.rev.Selection = []run.Selected{c.of}
		in := g.judged()
		in.Plan = []byte(`{"format_version":"1.2"}`)
		if got := slices.Contains(e.Judge(t.Context(), in).Sets, "guard"); got != c.judged {
			t.Errorf("%s: the set of //guarded judges = %t, want %t", name, got, c.judged)
		}
	}
}
