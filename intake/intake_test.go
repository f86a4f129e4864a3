package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/github"
	"github.com/planlatch/planlatch/views"
)

const repository, secret = "acme/infra", "a webhook secret"

// office is an intake on a real store, real git and a fake host, whose deliveries the test hands over one by one.
type office struct {
	t      *testing.T
	host   *fakehost.Server
	store  *store.Store
	intake *intake.Intake
	repo   vcs.Repo
	seq    int
}

func open(t *testing.T) *office {
	t.Helper()
	o := &office{t: t}
	var err error
	o.host, err = fakehost.Start(fakehost.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { _ = o.host.Close() })
	bot, err := o.host.CreateUser("planlatch-bot", fakehost.Admin)
	check(t, err)
	for login, p := range map[string]fakehost.Permission{"alice": fakehost.Write, "bob": fakehost.Write, "mallory": fakehost.Read, "erin": fakehost.Read} {
		_, err := o.host.CreateUser(login, p)
		check(t, err)
	}
	check(t, o.host.CreateRepo(repository, fakehost.NewRepo{By: "alice", Files: project("start")}))
	h, err := github.New(github.Options{URL: o.host.URL, Token: bot.Token, WebhookSecret: secret})
	check(t, err)
	o.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { _ = o.store.Close() })
	cfg := config.Default(t.TempDir())
	cfg.VCS = []config.Host{{Name: "github", Kind: "github", URL: o.host.URL, Repos: []string{repository}}}
	hosts := map[string]vcs.Host{"github": h}
	mirrors := git.New(git.Options{Dir: filepath.Join(t.TempDir(), "mirrors")})
	log := slog.New(slog.DiscardHandler)
	gatherer := &facts.Gatherer{Hosts: hosts, Store: o.store, Git: mirrors, Log: log}
	o.intake = &intake.Intake{
		Store: o.store, Hosts: hosts, Config: cfg, Git: mirrors, Facts: gatherer, Log: log, Now: time.Now,
		Views: &views.Viewer{Store: o.store, Facts: gatherer, Look: func(string, string) views.Look { return views.Look{} }},
	}
	o.repo, err = h.Repo(t.Context(), repository)
	check(t, err)
	return o
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func project(value string) map[string]string {
	return map[string]string{"network/main.tf": `terraform {
  backend "s3" {}
}

resource "terraform_data" "x" {
  input = ` + strconv.Quote(value) + "\n}\n"}
}

// hand hands a delivery over, and what it leads to.
func (o *office) hand(e vcs.Event) {
	o.t.Helper()
	o.seq++
	e.Repo = o.repo
	body, err := json.Marshal(e)
	check(o.t, err)
	id := strconv.Itoa(o.seq)
	_, err = o.store.Deliver(o.t.Context(), run.Delivery{Host: "github", ID: id, Event: body, Received: time.Now()})
	check(o.t, err)
	check(o.t, o.intake.Delivery(o.t.Context(), "github/"+id))
	if e.Comment != nil {
		check(o.t, o.intake.Delivery(o.t.Context(), "github/comment."+o.repo.ID+".c"+e.Comment.ID))
	}
}

// says comments on a pull request, as somebody who has read what stands there, and hands the comment over. It returns our answer.
func (o *office) says(login string, number int, body string) string {
	o.t.Helper()
	return o.said(login, number, body, time.Now().Add(2*time.Second))
}

// said is says at another time.
func (o *office) said(login string, number int, body string, at time.Time) string {
	o.t.Helper()
	id, err := o.host.Comment(repository, number, login, body)
	check(o.t, err)
	o.hand(vcs.Event{Kind: vcs.EventComment, Number: number, Comment: &vcs.Comment{
		ID: strconv.FormatInt(id, 10), Author: vcs.User{Login: login}, Body: body, Created: at,
	}})
	due, err := o.store.Due(o.t.Context(), 1000)
	check(o.t, err)
	for _, p := range due {
		if p.Kind == run.PostReply && strings.HasPrefix(p.Key, "reply:"+strconv.FormatInt(id, 10)+":") {
			return p.Body
		}
	}
	return ""
}

// proposes opens alice's pull request with a change of the one project, and hands its delivery over.
func (o *office) proposes() (number int, head string) {
	o.t.Helper()
	head, err := o.host.Push(repository, "alice", "change", fakehost.Commit{Files: project("one")})
	check(o.t, err)
	number, err = o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: "Change", Head: "change"})
	check(o.t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	return number, head
}

// runs lists the runs of a head.
func (o *office) runs(head string) []run.Run {
	o.t.Helper()
	runs, err := o.store.Runs(o.t.Context(), run.Filter{Head: head})
	check(o.t, err)
	return runs
}

func (o *office) pull(number int) run.Pull {
	o.t.Helper()
	repos, err := o.store.Repos(o.t.Context())
	check(o.t, err)
	p, err := o.store.PullByNumber(o.t.Context(), repos[0].ID, number)
	check(o.t, err)
	return p
}

func TestEveryNewHeadOfAStrangerNeedsAnotherWord(t *testing.T) {
	t.Parallel()
	o := open(t)
	fork, err := o.host.Fork(repository, "mallory")
	check(t, err)
	check(t, o.host.SetPermission(fork, "mallory", fakehost.Admin))
	head, err := o.host.Push(fork, "mallory", "evil", fakehost.Commit{Files: project("one")})
	check(t, err)
	number, err := o.host.OpenPull(repository, "mallory", fakehost.NewPull{Title: "Hello", Head: "mallory:evil"})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	if runs := o.runs(head); len(runs) > 0 {
		t.Fatalf("a stranger's head has runs before anybody said so: %v", runs)
	}
	o.says("mallory", number, "planlatch plan")
	if runs := o.runs(head); len(runs) > 0 {
		t.Fatalf("a stranger started runs: %v", runs)
	}
	o.shows(number)
	o.says("bob", number, "planlatch plan")
	if runs := o.runs(head); len(runs) != 1 {
		t.Fatalf("%d runs after a maintainer's word, want 1", len(runs))
	}

	// The stranger pushes, the base moves, and the base is looked at first.
	next, err := o.host.Push(fork, "mallory", "evil", fakehost.Commit{Files: project("two")})
	check(t, err)
	_, err = o.host.Push(repository, "alice", "main", fakehost.Commit{Files: map[string]string{"network/other.tf": "# moved\n"}})
	check(t, err)
	check(t, o.intake.Stale(t.Context(), strconv.FormatInt(int64(o.pull(number).ID), 10)))
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	if runs := o.runs(next); len(runs) > 0 {
		t.Errorf("the new head has runs nobody allowed: %v", runs)
	}
}

func TestADeliveryHandledTwiceDoesItsWorkOnce(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, head := o.proposes()
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number}) // a title was edited, or it came twice
	if runs := o.runs(head); len(runs) != 1 {
		t.Errorf("%d runs, want 1", len(runs))
	}
	o.says("alice", number, "planlatch plan")
	if runs := o.runs(head); len(runs) != 2 || runs[1].State != run.Superseded || runs[0].State != run.Queued {
		t.Errorf("runs = %v, want a new one that replaces the first", runs)
	}
}

func TestAMovedBasePlansAgainWhatItTouches(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, head := o.proposes()
	stale := func() {
		check(t, o.intake.Stale(context.WithoutCancel(t.Context()), strconv.FormatInt(int64(o.pull(number).ID), 10)))
	}
	_, err := o.host.Push(repository, "alice", "main", fakehost.Commit{Files: map[string]string{"README.md": "elsewhere\n"}})
	check(t, err)
	stale()
	if runs := o.runs(head); len(runs) != 1 {
		t.Fatalf("%d runs after the base moved elsewhere, want the 1 there was", len(runs))
	}
	_, err = o.host.Push(repository, "alice", "main", fakehost.Commit{Files: map[string]string{"network/other.tf": "# moved\n"}})
	check(t, err)
	stale()
	if runs := o.runs(head); len(runs) != 2 || runs[1].State != run.Superseded {
		t.Errorf("runs = %v, want a new one on the new base", runs)
	}
}

// forgetful is the store of a server that is killed before it can write down that a delivery was handled.
type forgetful struct{ run.Store }

func (forgetful) Delivered(context.Context, string, string, string) error { return nil }

func TestACommandIsCarriedOutAndAnsweredOnceHoweverOftenItsDeliveryIsHandled(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		outcome string
		answers int
	}{
		"planlatch cancel": {"done", 0}, // the second time there would be nothing to cancel
		"planlatch apply":  {"refused", 1},
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			number, _ := o.proposes()
			lives := o.intake.Store
			o.intake.Store = forgetful{lives}
			o.says("alice", number, body)
			o.intake.Store = lives
			comments, err := o.host.Timeline(repository, number)
			check(t, err)
			for _, e := range comments {
				if e.Kind == fakehost.EntryComment {
					check(t, o.intake.Delivery(t.Context(), "github/comment."+o.repo.ID+".c"+strconv.FormatInt(e.ID, 10)))
				}
			}
			rows, err := o.store.AuditRows(t.Context(), run.AuditFilter{Action: "command"})
			check(t, err)
			if len(rows) != 1 || rows[0].Outcome != want.outcome {
				t.Errorf("audit rows of the command = %+v, want one that is %s", rows, want.outcome)
			}
			due, err := o.store.Due(t.Context(), 1000)
			check(t, err)
			answers := 0
			for _, p := range due {
				if p.Kind == run.PostReply {
					answers++
				}
			}
			if answers != want.answers {
				t.Errorf("%d answers, want %d", answers, want.answers)
			}
		})
	}
}

// late is a host on which something happens right after a pull request was read.
type late struct {
	vcs.Host
	then func()
}

func (l *late) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := l.Host.Pull(ctx, r, number)
	if then := l.then; then != nil {
		l.then = nil
		then()
	}
	return p, err
}

// Another replica may write that a pull request is merged while this one still carries out what was said before.
func TestWhatAnotherReplicaWroteMeanwhileIsNotOverwritten(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, _ := o.proposes()
	o.intake.Hosts["github"] = &late{o.intake.Hosts["github"], func() {
		p := o.pull(number)
		p.State, p.Updated = "merged", time.Now().Add(time.Minute)
		_, err := o.store.Advance(t.Context(), run.Scope{Pull: p.ID}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActMerge, Pull: &p}, nil
		})
		check(t, err)
	}}
	_, err := o.host.Push(repository, "alice", "change", fakehost.Commit{Files: project("two")})
	check(t, err)
	body, err := json.Marshal(vcs.Event{Kind: vcs.EventPull, Repo: o.repo, Number: number})
	check(t, err)
	_, err = o.store.Deliver(t.Context(), run.Delivery{Host: "github", ID: "slow", Event: body, Received: time.Now()})
	check(t, err)
	var again *vcs.RetryError
	if err := o.intake.Delivery(t.Context(), "github/slow"); !errors.As(err, &again) || !errors.Is(err, run.ErrMoved) {
		t.Errorf("Delivery() = %v, want to be asked again because the pull request moved", err)
	}
	if p := o.pull(number); p.State != "merged" {
		t.Errorf("the pull request is %s, want what the other replica wrote", p.State)
	}
}

// A merge may come between our look at the pull request and our fetch of its base. What was found then, that nothing is left to change, must
// not hide what the merge has to apply.
func TestAMergeThatOvertakesALookLosesNothing(t *testing.T) {
	t.Parallel()
	for _, method := range []fakehost.MergeMethod{fakehost.MergeCommit, fakehost.Squash, fakehost.Rebase} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			o := open(t)
			_, err := o.host.Push(repository, "alice", "change", fakehost.Commit{Files: project("one")})
			check(t, err)
			_, err = o.host.Push(repository, "alice", "change", fakehost.Commit{Files: map[string]string{"README.md": "and a word\n"}})
			check(t, err)
			number, err := o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: "Change", Head: "change"})
			check(t, err)
			o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
			commit := ""
			o.intake.Hosts["github"] = &late{o.intake.Hosts["github"], func() {
				commit, err = o.host.Merge(repository, number, "bob", method)
				check(t, err)
			}}
			id, err := o.host.Comment(repository, number, "alice", "planlatch plan")
			check(t, err)
			event := vcs.Event{Kind: vcs.EventComment, Repo: o.repo, Number: number, Comment: &vcs.Comment{
				ID: strconv.FormatInt(id, 10), Author: vcs.User{Login: "alice"}, Body: "planlatch plan", Created: time.Now().Add(2 * time.Second),
			}}
			body, err := json.Marshal(event)
			check(t, err)
			_, err = o.store.Deliver(t.Context(), run.Delivery{Host: "github", ID: "late", Event: body, Received: time.Now()})
			check(t, err)
			check(t, o.intake.Delivery(t.Context(), "github/late"))
			key := "github/comment." + o.repo.ID + ".c" + strconv.FormatInt(id, 10)
			var again *vcs.RetryError
			if err := o.intake.Delivery(t.Context(), key); !errors.As(err, &again) {
				t.Errorf("Delivery() while it is merged = %v, want to be asked again", err)
			}
			o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
			if runs := o.runs(commit); len(runs) != 1 || runs[0].Label != "network" || runs[0].Kind != run.KindMerge {
				t.Errorf("runs of the merge = %+v, want one of network", runs)
			}
			check(t, o.intake.Delivery(t.Context(), key))
		})
	}
}

// An apply of the older commit would take the later one's change back.
func TestAMergeThatALaterOneContainsIsNotPlannedAgain(t *testing.T) {
	t.Parallel()
	o := open(t)
	merge := func(branch string) (number int, made run.Run) {
		_, err := o.host.Push(repository, "alice", branch, fakehost.Commit{Files: map[string]string{"network/" + branch + ".tf": "# new\n"}})
		check(t, err)
		number, err = o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: branch, Head: branch})
		check(t, err)
		o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
		commit, err := o.host.Merge(repository, number, "bob", fakehost.MergeCommit)
		check(t, err)
		o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
		return number, o.runs(commit)[0]
	}
	first, earlier := merge("one")
	_, later := merge("two")
	for _, r := range []run.Run{earlier, later} {
		r.State = map[run.ID]run.State{earlier.ID: run.Superseded, later.ID: run.Planned}[r.ID]
		_, err := o.store.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, func(run.Snapshot) (run.Change, error) {
			return run.Change{Action: run.ActPlanned, Runs: []run.Run{r}}, nil
		})
		check(t, err)
	}
	if said := o.says("alice", first, "planlatch plan"); !strings.Contains(said, "Nothing to `plan`") {
		t.Errorf("plan of the contained merge says %q, want that there is nothing to plan", said)
	}
}
