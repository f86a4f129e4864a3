// Package github is a GitHub for tests: [fakehost] behind the interfaces of [vcstest], so that the suites and stories that every host
// passes run on it. Each [World] is a host of its own and ends with its test.
package github

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/githubapi"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

const secret = "between GitHub and us"

// World is one fake host with the account of planlatch.
type World struct {
	Host *fakehost.Server
	Bot  fakehost.User

	made atomic.Int64
}

// NewWorld starts a host for this test, which fails if the host says what GitHub would not.
func NewWorld(t testing.TB) *World {
	t.Helper()
	return Start(t, fakehost.Options{Judge: githubapi.New(t)})
}

// Start starts a host with options of the test's own.
func Start(t testing.TB, o fakehost.Options) *World {
	t.Helper()
	o.Dir = t.TempDir()
	if o.HookTimeout == 0 {
		o.HookTimeout = 30 * time.Second // a loaded machine may take longer to answer than GitHub waits, and nothing is delivered twice
	}
	s, err := fakehost.Start(o)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	bot, err := s.CreateUser("planlatch", fakehost.Admin)
	check(t, err)
	return &World{Host: s, Bot: bot}
}

// Unique makes a name that nobody has.
func (w *World) Unique(name string) string { return fmt.Sprintf("%s-%d", name, w.made.Add(1)) }

// Person makes an account that may read what is public.
func (w *World) Person(t testing.TB, name string) vcstest.Person {
	t.Helper()
	u, err := w.Host.CreateUser(w.Unique(name), fakehost.None)
	check(t, err)
	return &Actor{world: w, user: u}
}

// Repo makes a repository with a first commit.
func (w *World) Repo(t testing.TB, private bool) vcs.Repo {
	t.Helper()
	return w.RepoAt(t, "acme/"+w.Unique("infra"), private)
}

// RepoAt is Repo with a name of the test's own.
func (w *World) RepoAt(t testing.TB, name string, private bool) vcs.Repo {
	t.Helper()
	check(t, w.Host.CreateRepo(name, fakehost.NewRepo{Private: private, By: w.Bot.Login, Files: map[string]string{"README.md": "hello\n"}}))
	r := w.port(t, name)
	r.Private = private
	return r
}

// port is a repository as the port tells it.
func (w *World) port(t testing.TB, name string) vcs.Repo {
	t.Helper()
	id, err := w.Host.RepoID(name)
	check(t, err)
	return vcs.Repo{ID: strconv.FormatInt(id, 10), Name: name, DefaultBranch: "main"}
}

// Grant gives somebody a permission.
func (w *World) Grant(t testing.TB, r vcs.Repo, p vcstest.Person, level vcs.Permission) {
	t.Helper()
	word := map[vcs.Permission]fakehost.Permission{
		vcs.PermissionNone: fakehost.None, vcs.PermissionRead: fakehost.Read, vcs.PermissionWrite: fakehost.Write, vcs.PermissionAdmin: fakehost.Admin,
	}[level]
	check(t, w.Host.SetPermission(r.Name, p.User().Login, word))
}

// Team makes a team.
func (w *World) Team(t testing.TB, members ...vcstest.Person) string {
	t.Helper()
	team := "acme/" + w.Unique("team")
	for _, m := range members {
		check(t, w.Host.CreateTeam(team, m.User().Login))
	}
	return team
}

// Protect protects a branch.
func (w *World) Protect(t testing.TB, r vcs.Repo, branch string, approvals int, contexts ...string) {
	t.Helper()
	check(t, w.Host.Protect(r.Name, branch, fakehost.Protection{Checks: contexts, Approvals: approvals}))
}

// Account is the bot's.
func (w *World) Account() vcstest.Account {
	return vcstest.Account{Kind: "github", URL: w.Host.URL, Token: w.Bot.Token, WebhookSecret: secret, Login: w.Bot.Login}
}

var methods = map[vcstest.Style]fakehost.MergeMethod{
	vcstest.MergeCommit: fakehost.MergeCommit, vcstest.Squash: fakehost.Squash, vcstest.Rebase: fakehost.Rebase,
	vcstest.FastForward: fakehost.FastForward, // on GitLab
}

// Styles are those of GitHub's button.
func (w *World) Styles() []vcstest.Style {
	return []vcstest.Style{vcstest.MergeCommit, vcstest.Squash, vcstest.Rebase}
}

// Hook adds a webhook with the secret of [World.Account].
func (w *World) Hook(t testing.TB, r vcs.Repo, url string) {
	t.Helper()
	_, err := w.Host.AddWebhook(url, secret, r.Name)
	check(t, err)
}

// comments are those on the page, by the timeline.
func (w *World) comments(t testing.TB, r vcs.Repo, number int) []fakehost.Entry {
	t.Helper()
	all, err := w.Host.Timeline(r.Name, number)
	check(t, err)
	var out []fakehost.Entry
	for _, e := range all {
		if e.Kind == fakehost.EntryComment && !e.Deleted {
			out = append(out, e)
		}
	}
	return out
}

// Comments returns the comments of a pull request.
func (w *World) Comments(t testing.TB, r vcs.Repo, number int) []vcs.Comment {
	t.Helper()
	var out []vcs.Comment
	for _, e := range w.comments(t, r, number) {
		out = append(out, vcs.Comment{ID: text(e.ID), Author: vcs.User{Login: e.Actor}, Body: e.Body, Created: e.At})
	}
	return out
}

// Reactions counts reactions.
func (w *World) Reactions(t testing.TB, r vcs.Repo, number int, comment string, with vcs.Reaction) int {
	t.Helper()
	n := 0
	for _, e := range w.comments(t, r, number) {
		for _, have := range e.Reactions {
			if text(e.ID) == comment && have.Content == string(with) {
				n++
			}
		}
	}
	return n
}

// Statuses returns the latest status of each context.
func (w *World) Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status {
	t.Helper()
	all, err := w.Host.Statuses(r.Name, sha)
	check(t, err)
	out := map[string]vcs.Status{}
	for _, s := range all {
		out[s.Context] = vcs.Status{Context: s.Context, State: vcs.StatusState(s.State), Description: s.Description, URL: s.URL}
	}
	return out
}

// Actor acts as one account of the fake host.
type Actor struct {
	world *World
	user  fakehost.User
}

// User is the account as the port tells it.
func (p *Actor) User() vcs.User { return vcs.User{ID: text(p.user.ID), Login: p.user.Login} }

// Email is the address of the commits.
func (p *Actor) Email() string { return p.user.Email }

// Push commits one file.
func (p *Actor) Push(t testing.TB, r vcs.Repo, branch, path, content string) string {
	t.Helper()
	return p.Commit(t, r, vcstest.Change{Branch: branch, Files: map[string]string{path: content}, Message: "Change " + path})
}

// Commit pushes a whole commit.
func (p *Actor) Commit(t testing.TB, r vcs.Repo, c vcstest.Change) string {
	t.Helper()
	sha, err := p.world.Host.Push(r.Name, p.user.Login, c.Branch, fakehost.Commit{
		Message: c.Message, Files: c.Files, Links: c.Links, Modules: c.Modules, Delete: c.Delete, From: c.From, Force: c.Force,
	})
	check(t, err)
	return sha
}

// DeleteBranch deletes a branch.
func (p *Actor) DeleteBranch(t testing.TB, r vcs.Repo, branch string) {
	t.Helper()
	check(t, p.world.Host.DeleteBranch(r.Name, p.user.Login, branch))
}

// Open opens a pull request.
func (p *Actor) Open(t testing.TB, r vcs.Repo, head, base, title string) int {
	t.Helper()
	n, err := p.world.Host.OpenPull(r.Name, p.user.Login, fakehost.NewPull{Title: title, Head: head, Base: base})
	check(t, err)
	return n
}

// Fork copies a repository to the account.
func (p *Actor) Fork(t testing.TB, r vcs.Repo) vcs.Repo {
	t.Helper()
	name, err := p.world.Host.Fork(r.Name, p.user.Login)
	check(t, err)
	return p.world.port(t, name)
}

// OpenFrom opens a pull request from a fork.
func (p *Actor) OpenFrom(t testing.TB, r, fork vcs.Repo, head, base, title string) int {
	t.Helper()
	owner, _, _ := strings.Cut(fork.Name, "/")
	return p.Open(t, r, owner+":"+head, base, title)
}

// Comment writes a comment and returns its id.
func (p *Actor) Comment(t testing.TB, r vcs.Repo, number int, body string) string {
	t.Helper()
	id, err := p.world.Host.Comment(r.Name, number, p.user.Login, body)
	check(t, err)
	return text(id)
}

// EditComment changes a comment.
func (p *Actor) EditComment(t testing.TB, r vcs.Repo, _ int, comment, body string) {
	t.Helper()
	check(t, p.world.Host.EditComment(r.Name, number(t, comment), p.user.Login, body))
}

// DeleteComment deletes a comment.
func (p *Actor) DeleteComment(t testing.TB, r vcs.Repo, _ int, comment string) {
	t.Helper()
	check(t, p.world.Host.DeleteComment(r.Name, number(t, comment), p.user.Login))
}

// CommentOnIssue opens an issue and comments on it.
func (p *Actor) CommentOnIssue(t testing.TB, r vcs.Repo, body string) {
	t.Helper()
	check(t, p.world.Host.CommentOnIssue(r.Name, p.user.Login, body))
}

// Review reviews a pull request as it is now.
func (p *Actor) Review(t testing.TB, r vcs.Repo, number int, says vcs.ReviewState, body string) {
	t.Helper()
	word := map[vcs.ReviewState]fakehost.ReviewState{
		vcs.ReviewApproved: fakehost.Approved, vcs.ReviewChanges: fakehost.ChangesRequested, vcs.ReviewCommented: fakehost.Commented,
	}[says]
	_, err := p.world.Host.Review(r.Name, number, p.user.Login, word, body)
	check(t, err)
}

// Dismiss voids somebody's last review.
func (p *Actor) Dismiss(t testing.TB, r vcs.Repo, number int, of vcstest.Person) {
	t.Helper()
	all, err := p.world.Host.Timeline(r.Name, number)
	check(t, err)
	var last int64
	for _, e := range all {
		if e.Kind == fakehost.EntryReview && e.Actor == of.User().Login {
			last = e.ID
		}
	}
	check(t, p.world.Host.DismissReview(r.Name, number, last, p.user.Login, "not any more"))
}

// SetDraft turns a pull request into a draft or makes it ready.
func (p *Actor) SetDraft(t testing.TB, r vcs.Repo, number int, draft bool) {
	t.Helper()
	check(t, p.world.Host.SetDraft(r.Name, number, p.user.Login, draft))
}

// SetBase points a pull request at another branch.
func (p *Actor) SetBase(t testing.TB, r vcs.Repo, number int, base string) {
	t.Helper()
	check(t, p.world.Host.SetBase(r.Name, number, p.user.Login, base))
}

// SetDescription changes the text of a pull request.
func (p *Actor) SetDescription(t testing.TB, r vcs.Repo, number int, body string) {
	t.Helper()
	check(t, p.world.Host.SetBody(r.Name, number, p.user.Login, body))
}

// Close closes a pull request.
func (p *Actor) Close(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	check(t, p.world.Host.ClosePull(r.Name, number, p.user.Login))
}

// Reopen opens a closed pull request again.
func (p *Actor) Reopen(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	check(t, p.world.Host.Reopen(r.Name, number, p.user.Login))
}

// Merge merges and returns the commit that the base branch then points to.
func (p *Actor) Merge(t testing.TB, r vcs.Repo, number int, how vcstest.Style) string {
	t.Helper()
	sha, err := p.world.Host.Merge(r.Name, number, p.user.Login, methods[how])
	check(t, err)
	return sha
}

// SetStatus sets a commit status as another tool would.
func (p *Actor) SetStatus(t testing.TB, r vcs.Repo, sha, context string, state vcs.StatusState) {
	t.Helper()
	check(t, p.world.Host.SetStatus(r.Name, p.user.Login, sha, fakehost.Status{Context: context, State: string(state)}))
}

func text(id int64) string { return strconv.FormatInt(id, 10) }

func number(t testing.TB, id string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(id, 10, 64)
	check(t, err)
	return n
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
