package gitea_test

import (
	"strconv"
	"testing"

	"github.com/planlatch/planlatch/testkit/gitea"
	"github.com/planlatch/planlatch/vcs"
	adapter "github.com/planlatch/planlatch/vcs/gitea"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

const secret = "between gitea and us"

func TestConformance(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		w := newWorld(t)
		return vcstest.Harness{
			Host: w.host(t, w.bot.Token), World: w, SignatureHeaders: []string{"X-Gitea-Signature", "X-Hub-Signature-256"}, PushDeletes: true,
		}
	})
}

// world acts on the real Gitea that all tests of this package share. The adapter's account is the bot; an owner makes the repositories.
type world struct {
	server     *gitea.Server
	bot, owner *gitea.Person
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := gitea.Shared(t)
	return &world{server: s, bot: s.CreateUser(t, s.Unique("bot")), owner: s.CreateUser(t, s.Unique("owner"))}
}

func (w *world) host(t *testing.T, token string) *adapter.Host {
	t.Helper()
	h, err := adapter.New(adapter.Options{URL: w.server.URL, Token: token, WebhookSecret: secret})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}

func (w *world) Person(t testing.TB, name string) vcstest.Person {
	t.Helper()
	return w.person(t, name)
}

func (w *world) person(t testing.TB, name string) *person {
	t.Helper()
	return &person{Person: w.server.CreateUser(t, w.server.Unique(name)), world: w}
}

func (w *world) Repo(t testing.TB, private bool) vcs.Repo {
	t.Helper()
	made := w.owner.CreateRepoWithReadme(t, w.owner.Login, w.server.Unique("infra"), private)
	w.owner.AddCollaborator(t, made, w.bot, "admin")
	return vcs.Repo{ID: strconv.FormatInt(made.ID, 10), Name: made.FullName, DefaultBranch: "main", Private: private}
}

func (w *world) Grant(t testing.TB, r vcs.Repo, p vcstest.Person, level vcs.Permission) {
	t.Helper()
	word := map[vcs.Permission]string{vcs.PermissionRead: "read", vcs.PermissionWrite: "write", vcs.PermissionAdmin: "admin"}[level]
	w.owner.AddCollaborator(t, w.repo(t, r), p.(*person).Person, word)
}

func (w *world) Team(t testing.TB, members ...vcstest.Person) string {
	t.Helper()
	org := w.server.Unique("org")
	w.bot.CreateOrg(t, org)
	var people []*gitea.Person
	for _, m := range members {
		people = append(people, m.(*person).Person)
	}
	w.bot.CreateTeam(t, org, "Platform", "write", people...)
	return org + "/platform"
}

func (w *world) Protect(t testing.TB, r vcs.Repo, branch string, approvals int, contexts ...string) {
	t.Helper()
	w.owner.ProtectBranch(t, w.repo(t, r), gitea.Protection{Branch: branch, Approvals: int64(approvals), Contexts: contexts})
}

func (w *world) Hook(t testing.TB, r vcs.Repo, url string) {
	t.Helper()
	w.owner.AddWebhook(t, w.repo(t, r), url, secret)
}

func (w *world) Comments(t testing.TB, r vcs.Repo, number int) []vcs.Comment {
	t.Helper()
	var all []vcs.Comment
	for _, c := range w.owner.Comments(t, w.repo(t, r), number) {
		all = append(all, vcs.Comment{ID: strconv.FormatInt(c.ID, 10), Author: vcs.User{Login: c.By}, Body: c.Body, Created: c.Created})
	}
	return all
}

func (w *world) Reactions(t testing.TB, r vcs.Repo, _ int, comment string, with vcs.Reaction) int {
	t.Helper()
	n := 0
	for _, reaction := range w.owner.Reactions(t, w.repo(t, r), id(t, comment)) {
		if reaction == w.bot.Login+":"+string(with) {
			n++
		}
	}
	return n
}

func (w *world) Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status {
	t.Helper()
	all := map[string]vcs.Status{}
	for context, s := range w.owner.Statuses(t, w.repo(t, r), sha) {
		all[context] = vcs.Status{Context: context, State: vcs.StatusState(s.State), Description: s.Description, URL: s.URL}
	}
	return all
}

func (w *world) repo(t testing.TB, r vcs.Repo) gitea.Repo {
	t.Helper()
	return w.server.Repo(t, r.Name)
}

func id(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("comment id %q: %v", s, err)
	}
	return n
}

// person acts as one account of the world.
type person struct {
	*gitea.Person
	world *world
}

func (p *person) User() vcs.User { return vcs.User{ID: strconv.FormatInt(p.ID, 10), Login: p.Login} }
func (p *person) Email() string  { return p.Person.Email }

func (p *person) Push(t testing.TB, r vcs.Repo, branch, path, content string) string {
	t.Helper()
	return p.Person.Push(t, p.world.repo(t, r), gitea.Change{Branch: branch, Files: map[string]string{path: content}})
}

func (p *person) DeleteBranch(t testing.TB, r vcs.Repo, branch string) {
	t.Helper()
	p.Person.DeleteBranch(t, p.world.repo(t, r), branch)
}

func (p *person) Open(t testing.TB, r vcs.Repo, head, base, title string) int {
	t.Helper()
	return p.OpenPull(t, p.world.repo(t, r), head, base, title)
}

func (p *person) OpenFork(t testing.TB, r vcs.Repo, path, content string) int {
	t.Helper()
	fork := p.Fork(t, p.world.repo(t, r))
	p.Person.Push(t, fork, gitea.Change{Branch: "from-fork", Files: map[string]string{path: content}})
	return p.OpenPull(t, p.world.repo(t, r), p.Login+":from-fork", "main", "From a fork")
}

func (p *person) Comment(t testing.TB, r vcs.Repo, number int, body string) string {
	t.Helper()
	return strconv.FormatInt(p.Person.Comment(t, p.world.repo(t, r), number, body), 10)
}

func (p *person) EditComment(t testing.TB, r vcs.Repo, _ int, comment, body string) {
	t.Helper()
	p.Person.EditComment(t, p.world.repo(t, r), id(t, comment), body)
}

func (p *person) DeleteComment(t testing.TB, r vcs.Repo, _ int, comment string) {
	t.Helper()
	p.Person.DeleteComment(t, p.world.repo(t, r), id(t, comment))
}

func (p *person) CommentOnIssue(t testing.TB, r vcs.Repo, body string) {
	t.Helper()
	repo := p.world.repo(t, r)
	p.Person.Comment(t, repo, p.OpenIssue(t, repo, "An issue"), body)
}

func (p *person) Review(t testing.TB, r vcs.Repo, number int, says vcs.ReviewState, body string) {
	t.Helper()
	word := map[vcs.ReviewState]gitea.Verdict{
		vcs.ReviewApproved: gitea.Approve, vcs.ReviewChanges: gitea.RequestChanges, vcs.ReviewCommented: gitea.Remark,
	}[says]
	p.Person.Review(t, p.world.repo(t, r), number, word, body)
}

func (p *person) Dismiss(t testing.TB, r vcs.Repo, number int, of vcstest.Person) {
	t.Helper()
	p.DismissReview(t, p.world.repo(t, r), number, of.(*person).Person)
}

func (p *person) SetDraft(t testing.TB, r vcs.Repo, number int, draft bool) {
	t.Helper()
	p.Person.SetDraft(t, p.world.repo(t, r), number, draft)
}

func (p *person) SetBase(t testing.TB, r vcs.Repo, number int, base string) {
	t.Helper()
	p.ChangeBase(t, p.world.repo(t, r), number, base)
}

func (p *person) SetDescription(t testing.TB, r vcs.Repo, number int, text string) {
	t.Helper()
	p.Person.SetDescription(t, p.world.repo(t, r), number, text)
}

func (p *person) Close(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	p.Person.Close(t, p.world.repo(t, r), number)
}

func (p *person) Reopen(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	p.Person.Reopen(t, p.world.repo(t, r), number)
}

func (p *person) Merge(t testing.TB, r vcs.Repo, number int) string {
	t.Helper()
	return p.Person.Merge(t, p.world.repo(t, r), number, gitea.MergeCommit)
}

func (p *person) SetStatus(t testing.TB, r vcs.Repo, sha, context string, state vcs.StatusState) {
	t.Helper()
	p.Person.SetStatus(t, p.world.repo(t, r), sha, context, string(state))
}
