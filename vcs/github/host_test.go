package github_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/planlatch/planlatch/testkit/githubapi"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/github"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name   = "acme/infra"
	secret = "It's a Secret to Everybody"
)

// world is a host with a repository, people and an adapter that acts as planlatch-bot.
type world struct {
	*fakehost.Server
	t      *testing.T
	people map[string]fakehost.User
	host   *github.Host
	repo   vcs.Repo
}

func setup(t *testing.T, o fakehost.Options) *world {
	t.Helper()
	o.Dir, o.Judge = t.TempDir(), githubapi.New(t)
	s, err := fakehost.Start(o)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	w := &world{Server: s, t: t, people: map[string]fakehost.User{}}
	for login, p := range map[string]fakehost.Permission{
		"alice": fakehost.Admin, "bob": fakehost.Write, "carol": fakehost.Write, "mallory": fakehost.None, "planlatch-bot": fakehost.Write,
	} {
		w.people[login] = must(s.CreateUser(login, p))(t)
	}
	ok(t, s.CreateRepo(name, fakehost.NewRepo{By: "alice", Files: map[string]string{"main.tf": "# nothing\n"}}))
	w.host = w.as("planlatch-bot")
	if o.Fault == nil {
		w.repo = must(w.host.Repo(t.Context(), name))(t)
	}
	return w
}

// as gives an adapter with a person's token.
func (w *world) as(login string) *github.Host {
	w.t.Helper()
	return adapter(w.t, w.URL, w.people[login].Token)
}

func adapter(t *testing.T, url, token string) *github.Host {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return must(github.New(github.Options{
		Name: "github", URL: url, Token: token, WebhookSecret: secret, HTTP: &http.Client{Transport: githubapi.New(t).Requests(transport)},
	}))(t)
}

// open pushes a branch as bob and opens a pull request from it.
func (w *world) open(branch string) int {
	w.t.Helper()
	must(w.Push(name, "bob", branch, fakehost.Commit{Message: "Add " + branch, Files: map[string]string{branch + ".tf": "# " + branch + "\n"}}))(w.t)
	return must(w.OpenPull(name, "bob", fakehost.NewPull{Title: "Add " + branch, Head: branch}))(w.t)
}

func (w *world) pull(n int) vcs.Pull {
	w.t.Helper()
	return must(w.host.Pull(w.t.Context(), w.repo, n))(w.t)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

func logins(u vcs.User) string { return u.Login }

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	good := github.Options{Token: "t", WebhookSecret: "s"}
	for name, c := range map[string]struct {
		change func(*github.Options)
		says   string
	}{
		"no token":              {func(o *github.Options) { o.Token = "" }, "token"},
		"token with a newline":  {func(o *github.Options) { o.Token = "t\n" }, "token"},
		"no secret":             {func(o *github.Options) { o.WebhookSecret = "" }, "webhook_secret"},
		"url without a scheme":  {func(o *github.Options) { o.URL = "github.com" }, "url"},
		"url with a password":   {func(o *github.Options) { o.URL = "https://a:b@github.com" }, "password"},
		"api url of other kind": {func(o *github.Options) { o.APIURL = "ssh://x" }, "api_url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good
			c.change(&o)
			_, err := github.New(o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("New() = %v, want an error about %s", err, c.says)
			}
		})
	}
	if _, err := github.New(good); err != nil {
		t.Errorf("New() = %v", err)
	}
}

func TestPullIsAWholeSnapshot(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	must(w.Review(name, n, "carol", fakehost.Approved, ""))(t)
	ok(t, w.SetStatus(name, "carol", must(w.Tip(name, "one"))(t), fakehost.Status{Context: "ci", State: "success"}))
	got := w.pull(n)
	head := must(w.Tip(name, "one"))(t)
	want := vcs.Pull{
		Number: n, Title: "Add one", URL: w.URL + "/acme/infra/pull/1", State: vcs.PullOpen,
		Head: vcs.Ref{Branch: "one", SHA: head}, Base: vcs.Ref{Branch: "main", SHA: must(w.Tip(name, "main"))(t)}, Mergeable: vcs.Yes,
		Reviews:      []vcs.Review{{State: vcs.ReviewApproved, Commit: head}},
		Checks:       []vcs.Check{{Context: "ci", State: vcs.StatusSuccess}},
		Contributors: []string{w.people["bob"].Email, "bob"},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreTypes(vcs.User{}, time.Time{})); d != "" {
		t.Errorf("Pull() differs (-want +got):\n%s", d)
	}
	if logins(got.Author) != "bob" || logins(got.Reviews[0].Author) != "carol" || got.Updated.IsZero() {
		t.Errorf("Pull() = author %v, reviewer %v, updated %v", got.Author, got.Reviews[0].Author, got.Updated)
	}
}

func TestPullShowsTheTipOfAMovedBase(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	moved := must(w.Push(name, "alice", "main", fakehost.Commit{Files: map[string]string{"other.tf": ""}}))(t)
	if got := w.pull(n).Base.SHA; got != moved {
		t.Errorf("Pull().Base.SHA = %s, want %s", got, moved)
	}
}

func TestTheLastReviewOfAPersonCounts(t *testing.T) {
	t.Parallel()
	type step struct {
		who   string
		state fakehost.ReviewState
	}
	for name2, c := range map[string]struct {
		steps []step
		want  map[string]vcs.ReviewState
	}{
		"a comment does not take an approval back": {[]step{{"carol", fakehost.Approved}, {"carol", fakehost.Commented}}, map[string]vcs.ReviewState{"carol": vcs.ReviewApproved}},
		"changes requested after an approval":      {[]step{{"carol", fakehost.Approved}, {"carol", fakehost.ChangesRequested}}, map[string]vcs.ReviewState{"carol": vcs.ReviewChanges}},
		"approval after changes requested":         {[]step{{"carol", fakehost.ChangesRequested}, {"carol", fakehost.Approved}}, map[string]vcs.ReviewState{"carol": vcs.ReviewApproved}},
		"a dismissed approval":                     {[]step{{"carol", fakehost.Approved}, {"carol", fakehost.Dismissed}}, map[string]vcs.ReviewState{"carol": vcs.ReviewDismissed}},
		"a dismissed second approval":              {[]step{{"carol", fakehost.Approved}, {"carol", fakehost.Approved}, {"carol", fakehost.Dismissed}}, map[string]vcs.ReviewState{"carol": vcs.ReviewDismissed}},
		"only a comment":                           {[]step{{"carol", fakehost.Commented}}, map[string]vcs.ReviewState{"carol": vcs.ReviewCommented}},
		"two people":                               {[]step{{"carol", fakehost.Approved}, {"alice", fakehost.ChangesRequested}}, map[string]vcs.ReviewState{"carol": vcs.ReviewApproved, "alice": vcs.ReviewChanges}},
	} {
		t.Run(name2, func(t *testing.T) {
			t.Parallel()
			w := setup(t, fakehost.Options{})
			n := w.open("one")
			var last int64
			for _, s := range c.steps {
				if s.state == fakehost.Dismissed {
					ok(t, w.DismissReview(name, n, last, "alice", "not yet"))
					continue
				}
				last = must(w.Review(name, n, s.who, s.state, "words"))(t)
			}
			got := map[string]vcs.ReviewState{}
			for _, r := range w.pull(n).Reviews {
				got[r.Author.Login] = r.State
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("Pull().Reviews differ (-want +got):\n%s", d)
			}
		})
	}
}

func TestAnApprovalKeepsTheCommitItWasGivenOn(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	first := must(w.Tip(name, "one"))(t)
	must(w.Review(name, n, "carol", fakehost.Approved, ""))(t)
	second := must(w.Push(name, "bob", "one", fakehost.Commit{Files: map[string]string{"x.tf": ""}}))(t)
	p := w.pull(n)
	if p.Head.SHA != second || len(p.Reviews) != 1 || p.Reviews[0].Commit != first {
		t.Errorf("Pull() = head %s, reviews %v; want head %s and the review on %s", p.Head.SHA, p.Reviews, second, first)
	}
}

func TestMergeability(t *testing.T) {
	t.Parallel()
	required := fakehost.Protection{Checks: []string{"ci"}}
	for what, c := range map[string]struct {
		options fakehost.Options
		change  func(w *world, n int, head string)
		want    vcs.Tri
		says    string
	}{
		"clean":   {want: vcs.Yes, change: func(*world, int, string) {}},
		"unknown": {options: fakehost.Options{SlowMergeable: 1}, want: vcs.Unknown, change: func(*world, int, string) {}},
		"conflict": {want: vcs.No, says: "conflicts with main", change: func(w *world, _ int, _ string) {
			must(w.Push(name, "alice", "main", fakehost.Commit{Files: map[string]string{"one.tf": "# other\n"}}))(w.t)
		}},
		"draft": {want: vcs.No, says: "draft", change: func(w *world, n int, _ string) { ok(w.t, w.SetDraft(name, n, "bob", true)) }},
		"required check missing": {want: vcs.No, says: "rules of main", change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", required))
		}},
		"other check failed": {want: vcs.Yes, change: func(w *world, _ int, head string) {
			ok(w.t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "lint", State: "failure"}))
		}},
		"only our own check missing": {want: vcs.Yes, change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true}))
		}},
		"only our own check missing, approved": {want: vcs.Yes, change: func(w *world, n int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true, Approvals: 1}))
			must(w.Review(name, n, "carol", fakehost.Approved, ""))(w.t)
		}},
		"our own check and an approval missing": {want: vcs.No, says: "rules of main", change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true, Approvals: 1}))
		}},
		"our own check missing, approved by a stranger": {want: vcs.No, says: "rules of main", change: func(w *world, n int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true, Approvals: 1}))
			must(w.Review(name, n, "mallory", fakehost.Approved, ""))(w.t)
		}},
		"our own check missing, for one who does not administer": {want: vcs.Yes, change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}}))
		}},
		"our own check and an approval missing, for one who does not administer": {want: vcs.No, says: "rules of main", change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, Approvals: 1}))
		}},
		"our own check missing, changes requested": {want: vcs.No, says: "rules of main", change: func(w *world, n int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true, Approvals: 1}))
			must(w.Review(name, n, "carol", fakehost.Approved, ""))(w.t)
			must(w.Review(name, n, "alice", fakehost.ChangesRequested, "no"))(w.t)
		}},
		"our own check missing, a conversation open": {want: vcs.No, says: "rules of main", change: func(w *world, n int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, Threads: true}))
			ok(w.t, w.SetThreads(name, n, true, false))
		}},
		"our own check missing, conversations resolved": {want: vcs.Yes, change: func(w *world, n int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, Threads: true, RuleSet: true}))
			ok(w.t, w.SetThreads(name, n, true, true))
		}},
		"our own check missing, with a merge queue": {want: vcs.Yes, change: func(w *world, _ int, _ string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, Queue: true, RuleSet: true}))
		}},
		"our own check missing, check runs hidden from a fine-grained token": {
			options: fakehost.Options{FineGrained: true}, want: vcs.No, says: "rules of main", change: func(w *world, _ int, head string) {
				ok(w.t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "unit", Status: "completed", Conclusion: "success"}))
				ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true}))
			},
		},
		"clean, check runs hidden from a fine-grained token": {
			options: fakehost.Options{FineGrained: true}, want: vcs.Yes, change: func(w *world, _ int, head string) {
				ok(w.t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "unit", Status: "completed", Conclusion: "success"}))
				ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"unit"}}))
			},
		},
		"our own check missing, protection readable": {want: vcs.Yes, change: func(w *world, _ int, _ string) {
			ok(w.t, w.SetPermission(name, "planlatch-bot", fakehost.Admin))
			ok(w.t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}}))
		}},
		"our own check missing, another's set by a person for an app": {want: vcs.No, says: "rules of main", change: func(w *world, _ int, head string) {
			ok(w.t, w.Protect(name, "main", fakehost.Protection{
				Checks: []string{"planlatch/apply", "ci"}, Apps: map[string]int64{"ci": 7}, RuleSet: true,
			}))
			ok(w.t, w.SetStatus(name, "bob", head, fakehost.Status{Context: "ci", State: "success"}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := setup(t, c.options)
			n := w.open("one")
			c.change(w, n, must(w.Tip(name, "one"))(t))
			p := w.pull(n)
			if p.Mergeable != c.want || !strings.Contains(p.MergeBlocked, c.says) || c.says == "" && p.MergeBlocked != "" {
				t.Errorf("Pull() = mergeable %v (%q), want %v (%q)", p.Mergeable, p.MergeBlocked, c.want, c.says)
			}
		})
	}
}

func TestRequiredChecks(t *testing.T) {
	t.Parallel()
	for what, ruleSet := range map[string]bool{"branch protection": false, "rule set": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := setup(t, fakehost.Options{})
			n := w.open("one")
			head := must(w.Tip(name, "one"))(t)
			ok(t, w.Protect(name, "main", fakehost.Protection{
				Checks: []string{"ci", "scan", "app"}, Apps: map[string]int64{"app": 7}, RuleSet: ruleSet,
			}))
			ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "ci", State: "pending"}))
			ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "ci", State: "success"}))
			ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "lint", State: "failure"}))
			ok(t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "app", Status: "completed", Conclusion: "success", App: 8}))
			ok(t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "app", Status: "in_progress", App: 7}))
			ok(t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "unit", Status: "completed", Conclusion: "skipped"}))
			want := []vcs.Check{
				{Context: "app", State: vcs.StatusPending, Required: true}, {Context: "ci", State: vcs.StatusSuccess, Required: true},
				{Context: "lint", State: vcs.StatusFailure}, {Context: "scan", State: vcs.StatusPending, Required: true},
				{Context: "unit", State: vcs.StatusSuccess},
			}
			if d := cmp.Diff(want, w.pull(n).Checks); d != "" {
				t.Errorf("Pull().Checks differ (-want +got):\n%s", d)
			}
		})
	}
}

func TestMergedAndClosedPulls(t *testing.T) {
	t.Parallel()
	for _, method := range []fakehost.MergeMethod{fakehost.MergeCommit, fakehost.Squash, fakehost.Rebase} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			w := setup(t, fakehost.Options{})
			n := w.open("one")
			must(w.Push(name, "alice", "main", fakehost.Commit{Files: map[string]string{"other.tf": ""}}))(t)
			sha := must(w.Merge(name, n, "alice", method))(t)
			p := w.pull(n)
			if p.State != vcs.PullMerged || p.MergeCommit != sha || p.MergedBy.Login != "alice" || p.MergedAt.IsZero() {
				t.Errorf("Pull() = %v, merged as %s by %v at %v; want merged as %s", p.State, p.MergeCommit, p.MergedBy, p.MergedAt, sha)
			}
			if tip := must(w.host.Branch(t.Context(), w.repo, "main"))(t); tip != sha {
				t.Errorf("Branch(main) = %s, want %s", tip, sha)
			}
		})
	}
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	ok(t, w.ClosePull(name, n, "bob"))
	if p := w.pull(n); p.State != vcs.PullClosed || p.MergeCommit != "" {
		t.Errorf("Pull() = %v, merge commit %q; want closed", p.State, p.MergeCommit)
	}
}

func TestAForkIsTold(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	fork := must(w.Fork(name, "mallory"))(t)
	must(w.Push(fork, "mallory", "evil", fakehost.Commit{Files: map[string]string{"evil.tf": ""}}))(t)
	n := must(w.OpenPull(name, "mallory", fakehost.NewPull{Title: "Evil", Head: "mallory:evil"}))(t)
	if p := w.pull(n); !p.Fork || p.Head.Branch != "evil" || p.Mergeable != vcs.Yes {
		t.Errorf("Pull() = fork %v, head %v, mergeable %v", p.Fork, p.Head, p.Mergeable)
	}
	ok(t, w.DeleteRepo(fork))
	if p := w.pull(n); !p.Fork {
		t.Errorf("Pull().Fork = false after the fork was deleted")
	}
}

func TestUpdatedSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := make(chan time.Time, 1)
	clock <- now
	w := setup(t, fakehost.Options{Now: func() time.Time { at := <-clock; clock <- at; return at }})
	set := func(at time.Time) { <-clock; clock <- at }
	old := w.open("old")
	merged, closed := w.open("merged"), w.open("closed")
	since := now.Add(time.Hour)
	set(since)
	opened := w.open("opened")
	ok(t, w.ClosePull(name, closed, "bob"))
	set(since.Add(time.Second))
	must(w.Merge(name, merged, "alice", fakehost.Squash))(t)
	got := map[int]vcs.PullState{}
	for _, p := range must(w.host.UpdatedSince(t.Context(), w.repo, since))(t) {
		got[p.Number] = p.State
	}
	want := map[int]vcs.PullState{merged: vcs.PullMerged, closed: vcs.PullClosed, opened: vcs.PullOpen}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("UpdatedSince() differs (-want +got):\n%s", d)
	}
	if all := must(w.host.UpdatedSince(t.Context(), w.repo, time.Time{}))(t); len(all) != 4 {
		t.Errorf("UpdatedSince(zero) = %d pull requests, want 4 with #%d", len(all), old)
	}
}

func TestANamesakeInheritsNothing(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	w.open("one")
	ok(t, w.DeleteRepo(name))
	ok(t, w.CreateRepo(name, fakehost.NewRepo{By: "alice", Files: map[string]string{"main.tf": ""}}))
	n := w.open("one")
	if _, err := w.host.Pull(t.Context(), w.repo, n); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Pull() of a namesake = %v, want ErrNotFound", err)
	}
}

func TestARenamedRepositoryIsFollowed(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	ok(t, w.RenameRepo(name, "acme/platform"))
	r := must(w.host.Repo(t.Context(), name))(t)
	if r.ID != w.repo.ID || r.Name != "acme/platform" {
		t.Errorf("Repo(old name) = %v, want id %s and the new name", r, w.repo.ID)
	}
	must(w.host.Pull(t.Context(), w.repo, n))(t)
	must(w.host.Comment(t.Context(), w.repo, n, "", "", "hello"))(t)
}

func TestMissingThingsAreNotFound(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	ctx := t.Context()
	for what, call := range map[string]func(context.Context) error{
		"repository":      func(ctx context.Context) error { _, err := w.host.Repo(ctx, "acme/none"); return err },
		"repository name": func(ctx context.Context) error { _, err := w.host.Repo(ctx, "../user"); return err },
		"pull request":    func(ctx context.Context) error { _, err := w.host.Pull(ctx, w.repo, 99); return err },
		"branch":          func(ctx context.Context) error { _, err := w.host.Branch(ctx, w.repo, "none"); return err },
		"reaction":        func(ctx context.Context) error { return w.host.React(ctx, w.repo, 1, "99", vcs.ReactionSeen) },
		"status": func(ctx context.Context) error {
			return w.host.SetStatus(ctx, w.repo, "main", vcs.Status{Context: "c", State: vcs.StatusSuccess})
		},
	} {
		if err := call(ctx); !errors.Is(err, vcs.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
}
