package gitea

import (
	"strconv"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

const secret = "between gitea and us"

// World is a Gitea for the stories and suites that every host passes, see [vcstest.World]: the one that all tests of a binary share.
// The account of planlatch is the bot; an owner makes the repositories.
type World struct {
	Server     *Server
	Bot, Owner *Person
}

// NewWorld makes a bot and an owner on the shared server.
func NewWorld(t testing.TB) *World {
	t.Helper()
	s := Shared(t)
	return &World{Server: s, Bot: s.CreateUser(t, s.Unique("planlatch")), Owner: s.CreateUser(t, s.Unique("owner"))}
}

// Person makes an account, as vcstest.World asks.
func (w *World) Person(t testing.TB, name string) vcstest.Person {
	t.Helper()
	return w.Actor(t, name)
}

// Actor makes an account.
func (w *World) Actor(t testing.TB, name string) *Actor {
	t.Helper()
	return &Actor{Person: w.Server.CreateUser(t, w.Server.Unique(name)), world: w}
}

// Repo makes a repository with a first commit; the bot administrates it.
func (w *World) Repo(t testing.TB, private bool) vcs.Repo {
	t.Helper()
	made := w.Owner.CreateRepoWithReadme(t, w.Owner.Login, w.Server.Unique("infra"), private)
	w.Owner.AddCollaborator(t, made, w.Bot, "admin")
	r := port(made)
	r.Private = private
	return r
}

// port is a repository as the port tells it.
func port(r Repo) vcs.Repo {
	return vcs.Repo{ID: strconv.FormatInt(r.ID, 10), Name: r.FullName, DefaultBranch: "main"}
}

// Grant makes somebody a collaborator.
func (w *World) Grant(t testing.TB, r vcs.Repo, p vcstest.Person, level vcs.Permission) {
	t.Helper()
	word := map[vcs.Permission]string{vcs.PermissionRead: "read", vcs.PermissionWrite: "write", vcs.PermissionAdmin: "admin"}[level]
	w.Owner.AddCollaborator(t, w.Known(t, r), person(t, p), word)
}

// Team makes a team in an organization of its own.
func (w *World) Team(t testing.TB, members ...vcstest.Person) string {
	t.Helper()
	org := w.Server.Unique("org")
	w.Bot.CreateOrg(t, org)
	var people []*Person
	for _, m := range members {
		people = append(people, person(t, m))
	}
	w.Bot.CreateTeam(t, org, "Platform", "write", people...)
	return org + "/platform"
}

// Protect protects a branch.
func (w *World) Protect(t testing.TB, r vcs.Repo, branch string, approvals int, contexts ...string) {
	t.Helper()
	w.Owner.ProtectBranch(t, w.Known(t, r), Protection{Branch: branch, Approvals: int64(approvals), Contexts: contexts})
}

// Account is the bot's.
func (w *World) Account() vcstest.Account {
	return vcstest.Account{Kind: "gitea", URL: w.Server.URL, Token: w.Bot.Token, WebhookSecret: secret, Login: w.Bot.Login}
}

var styles = map[vcstest.Style]Style{
	vcstest.MergeCommit: MergeCommit, vcstest.Squash: Squash, vcstest.Rebase: Rebase, vcstest.FastForward: FastForward,
}

// Styles are all there are.
func (w *World) Styles() []vcstest.Style {
	return []vcstest.Style{vcstest.MergeCommit, vcstest.Squash, vcstest.Rebase, vcstest.FastForward}
}

// Hook adds a webhook with the secret of [World.Account].
func (w *World) Hook(t testing.TB, r vcs.Repo, url string) {
	t.Helper()
	w.Owner.AddWebhook(t, w.Known(t, r), url, secret)
}

// Comments returns the comments of a pull request.
func (w *World) Comments(t testing.TB, r vcs.Repo, number int) []vcs.Comment {
	t.Helper()
	var all []vcs.Comment
	for _, c := range w.Owner.Comments(t, w.Known(t, r), number) {
		all = append(all, vcs.Comment{ID: strconv.FormatInt(c.ID, 10), Author: vcs.User{Login: c.By}, Body: c.Body, Created: c.Created})
	}
	return all
}

// Reactions counts the reactions of the bot.
func (w *World) Reactions(t testing.TB, r vcs.Repo, _ int, comment string, with vcs.Reaction) int {
	t.Helper()
	n := 0
	for _, reaction := range w.Owner.Reactions(t, w.Known(t, r), id(t, comment)) {
		if reaction == w.Bot.Login+":"+string(with) {
			n++
		}
	}
	return n
}

// Statuses returns the latest status of each context.
func (w *World) Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status {
	t.Helper()
	all := map[string]vcs.Status{}
	for context, s := range w.Owner.Statuses(t, w.Known(t, r), sha) {
		all[context] = vcs.Status{Context: context, State: vcs.StatusState(s.State), Description: s.Description, URL: s.URL}
	}
	return all
}

// Known is a repository as the rest of this package knows it.
func (w *World) Known(t testing.TB, r vcs.Repo) Repo {
	t.Helper()
	return w.Server.Repo(t, r.Name)
}

func id(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("comment id %q: %v", s, err)
	}
	return n
}

// person is the account of somebody from this host.
func person(t testing.TB, p vcstest.Person) *Person {
	t.Helper()
	a, ok := p.(*Actor)
	if !ok {
		t.Fatalf("gitea: %s is from another host", p.User().Login)
	}
	return a.Person
}

// Actor is a person as vcstest knows them.
type Actor struct {
	*Person
	world *World
}

// User is the account as the port tells it.
func (p *Actor) User() vcs.User { return vcs.User{ID: strconv.FormatInt(p.ID, 10), Login: p.Login} }

// Email is the address of the commits.
func (p *Actor) Email() string { return p.Person.Email }

// Push commits one file.
func (p *Actor) Push(t testing.TB, r vcs.Repo, branch, path, content string) string {
	t.Helper()
	return p.Person.Push(t, p.world.Known(t, r), Change{Branch: branch, Files: map[string]string{path: content}})
}

// Commit pushes a whole commit.
func (p *Actor) Commit(t testing.TB, r vcs.Repo, c vcstest.Change) string {
	t.Helper()
	return p.Person.Push(t, p.world.Known(t, r), Change{Branch: c.Branch, From: c.From, Files: c.Files, Links: c.Links, Modules: c.Modules, Delete: c.Delete, Message: c.Message, Force: c.Force})
}

// DeleteBranch deletes a branch.
func (p *Actor) DeleteBranch(t testing.TB, r vcs.Repo, branch string) {
	t.Helper()
	p.Person.DeleteBranch(t, p.world.Known(t, r), branch)
}

// Open opens a pull request.
func (p *Actor) Open(t testing.TB, r vcs.Repo, head, base, title string) int {
	t.Helper()
	return p.OpenPull(t, p.world.Known(t, r), head, base, title)
}

// Fork copies a repository to the account.
func (p *Actor) Fork(t testing.TB, r vcs.Repo) vcs.Repo {
	t.Helper()
	return port(p.Person.Fork(t, p.world.Known(t, r)))
}

// OpenFrom opens a pull request from a fork.
func (p *Actor) OpenFrom(t testing.TB, r, fork vcs.Repo, head, base, title string) int {
	t.Helper()
	owner, _, _ := strings.Cut(fork.Name, "/")
	return p.OpenPull(t, p.world.Known(t, r), owner+":"+head, base, title)
}

// Comment writes a comment and returns its id.
func (p *Actor) Comment(t testing.TB, r vcs.Repo, number int, body string) string {
	t.Helper()
	return strconv.FormatInt(p.Person.Comment(t, p.world.Known(t, r), number, body), 10)
}

// EditComment changes a comment.
func (p *Actor) EditComment(t testing.TB, r vcs.Repo, _ int, comment, body string) {
	t.Helper()
	p.Person.EditComment(t, p.world.Known(t, r), id(t, comment), body)
}

// DeleteComment deletes a comment.
func (p *Actor) DeleteComment(t testing.TB, r vcs.Repo, _ int, comment string) {
	t.Helper()
	p.Person.DeleteComment(t, p.world.Known(t, r), id(t, comment))
}

// CommentOnIssue opens an issue and comments on it.
func (p *Actor) CommentOnIssue(t testing.TB, r vcs.Repo, body string) {
	t.Helper()
	repo := p.world.Known(t, r)
	p.Person.Comment(t, repo, p.OpenIssue(t, repo, "An issue"), body)
}

// Review reviews a pull request as it is now.
func (p *Actor) Review(t testing.TB, r vcs.Repo, number int, says vcs.ReviewState, body string) {
	t.Helper()
	word := map[vcs.ReviewState]Verdict{
		vcs.ReviewApproved: Approve, vcs.ReviewChanges: RequestChanges, vcs.ReviewCommented: Remark,
	}[says]
	p.Person.Review(t, p.world.Known(t, r), number, word, body)
}

// Dismiss voids somebody's last review.
func (p *Actor) Dismiss(t testing.TB, r vcs.Repo, number int, of vcstest.Person) {
	t.Helper()
	p.DismissReview(t, p.world.Known(t, r), number, person(t, of))
}

// SetDraft turns a pull request into a draft or makes it ready.
func (p *Actor) SetDraft(t testing.TB, r vcs.Repo, number int, draft bool) {
	t.Helper()
	p.Person.SetDraft(t, p.world.Known(t, r), number, draft)
}

// SetBase points a pull request at another branch.
func (p *Actor) SetBase(t testing.TB, r vcs.Repo, number int, base string) {
	t.Helper()
	p.ChangeBase(t, p.world.Known(t, r), number, base)
}

// SetDescription changes the text of a pull request.
func (p *Actor) SetDescription(t testing.TB, r vcs.Repo, number int, text string) {
	t.Helper()
	p.Person.SetDescription(t, p.world.Known(t, r), number, text)
}

// Close closes a pull request.
func (p *Actor) Close(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	p.Person.Close(t, p.world.Known(t, r), number)
}

// Reopen opens a closed pull request again.
func (p *Actor) Reopen(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	p.Person.Reopen(t, p.world.Known(t, r), number)
}

// Merge merges and returns the commit that the base branch then points to.
func (p *Actor) Merge(t testing.TB, r vcs.Repo, number int, how vcstest.Style) string {
	t.Helper()
	return p.Person.Merge(t, p.world.Known(t, r), number, styles[how])
}

// SetStatus sets a commit status as another tool would.
func (p *Actor) SetStatus(t testing.TB, r vcs.Repo, sha, context string, state vcs.StatusState) {
	t.Helper()
	p.Person.SetStatus(t, p.world.Known(t, r), sha, context, string(state))
}
