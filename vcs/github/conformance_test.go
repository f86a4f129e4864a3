package github_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		s := must(fakehost.Start(fakehost.Options{Dir: t.TempDir()}))(t)
		t.Cleanup(func() { ok(t, s.Close()) })
		bot := must(s.CreateUser("planlatch", fakehost.Admin))(t)
		return vcstest.Harness{
			Host: adapter(t, s.URL, bot.Token), World: &fake{Server: s}, SignatureHeaders: []string{"X-Hub-Signature-256"}, PushDeletes: true,
		}
	})
}

// fake is the world of one fake host.
type fake struct {
	*fakehost.Server
	made atomic.Int64
}

func (f *fake) unique(name string) string { return fmt.Sprintf("%s-%d", name, f.made.Add(1)) }

func (f *fake) Person(t testing.TB, name string) vcstest.Person {
	t.Helper()
	u, err := f.CreateUser(f.unique(name), fakehost.None)
	check(t, err)
	return &person{fake: f, user: u}
}

func (f *fake) Repo(t testing.TB, private bool) vcs.Repo {
	t.Helper()
	name := "acme/" + f.unique("infra")
	check(t, f.CreateRepo(name, fakehost.NewRepo{Private: private, By: "planlatch", Files: map[string]string{"README.md": "hello\n"}}))
	id, err := f.RepoID(name)
	check(t, err)
	return vcs.Repo{ID: strconv.FormatInt(id, 10), Name: name, DefaultBranch: "main", Private: private}
}

func (f *fake) Grant(t testing.TB, r vcs.Repo, p vcstest.Person, level vcs.Permission) {
	t.Helper()
	word := map[vcs.Permission]fakehost.Permission{
		vcs.PermissionNone: fakehost.None, vcs.PermissionRead: fakehost.Read, vcs.PermissionWrite: fakehost.Write, vcs.PermissionAdmin: fakehost.Admin,
	}[level]
	check(t, f.SetPermission(r.Name, p.User().Login, word))
}

func (f *fake) Team(t testing.TB, members ...vcstest.Person) string {
	t.Helper()
	team := "acme/" + f.unique("team")
	for _, m := range members {
		check(t, f.CreateTeam(team, m.User().Login))
	}
	return team
}

func (f *fake) Protect(t testing.TB, r vcs.Repo, branch string, approvals int, contexts ...string) {
	t.Helper()
	check(t, f.Server.Protect(r.Name, branch, fakehost.Protection{Checks: contexts, Approvals: approvals}))
}

func (f *fake) Hook(t testing.TB, r vcs.Repo, url string) {
	t.Helper()
	_, err := f.AddWebhook(url, secret, r.Name)
	check(t, err)
}

// comments are those on the page, by the timeline.
func (f *fake) comments(t testing.TB, r vcs.Repo, number int) []fakehost.Entry {
	t.Helper()
	all, err := f.Timeline(r.Name, number)
	check(t, err)
	var out []fakehost.Entry
	for _, e := range all {
		if e.Kind == fakehost.EntryComment && !e.Deleted {
			out = append(out, e)
		}
	}
	return out
}

func (f *fake) Comments(t testing.TB, r vcs.Repo, number int) []vcs.Comment {
	t.Helper()
	var out []vcs.Comment
	for _, e := range f.comments(t, r, number) {
		out = append(out, vcs.Comment{ID: text(e.ID), Author: vcs.User{Login: e.Actor}, Body: e.Body, Created: e.At})
	}
	return out
}

func (f *fake) Reactions(t testing.TB, r vcs.Repo, number int, comment string, with vcs.Reaction) int {
	t.Helper()
	n := 0
	for _, e := range f.comments(t, r, number) {
		for _, have := range e.Reactions {
			if text(e.ID) == comment && have.Content == string(with) {
				n++
			}
		}
	}
	return n
}

func (f *fake) Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status {
	t.Helper()
	all, err := f.Server.Statuses(r.Name, sha)
	check(t, err)
	out := map[string]vcs.Status{}
	for _, s := range all {
		out[s.Context] = vcs.Status{Context: s.Context, State: vcs.StatusState(s.State), Description: s.Description, URL: s.URL}
	}
	return out
}

// person acts as one account of the fake host.
type person struct {
	fake *fake
	user fakehost.User
}

func (p *person) User() vcs.User { return vcs.User{ID: text(p.user.ID), Login: p.user.Login} }
func (p *person) Email() string  { return p.user.Email }

func (p *person) Push(t testing.TB, r vcs.Repo, branch, path, content string) string {
	t.Helper()
	sha, err := p.fake.Server.Push(r.Name, p.user.Login, branch, fakehost.Commit{Message: "Change " + path, Files: map[string]string{path: content}})
	check(t, err)
	return sha
}

func (p *person) DeleteBranch(t testing.TB, r vcs.Repo, branch string) {
	t.Helper()
	check(t, p.fake.Server.DeleteBranch(r.Name, p.user.Login, branch))
}

func (p *person) Open(t testing.TB, r vcs.Repo, head, base, title string) int {
	t.Helper()
	n, err := p.fake.OpenPull(r.Name, p.user.Login, fakehost.NewPull{Title: title, Head: head, Base: base})
	check(t, err)
	return n
}

func (p *person) OpenFork(t testing.TB, r vcs.Repo, path, content string) int {
	t.Helper()
	fork, err := p.fake.Fork(r.Name, p.user.Login)
	check(t, err)
	p.Push(t, vcs.Repo{Name: fork}, "from-fork", path, content)
	return p.Open(t, r, p.user.Login+":from-fork", "main", "From a fork")
}

func (p *person) Comment(t testing.TB, r vcs.Repo, number int, body string) string {
	t.Helper()
	id, err := p.fake.Server.Comment(r.Name, number, p.user.Login, body)
	check(t, err)
	return text(id)
}

func (p *person) EditComment(t testing.TB, r vcs.Repo, _ int, comment, body string) {
	t.Helper()
	check(t, p.fake.Server.EditComment(r.Name, number(t, comment), p.user.Login, body))
}

func (p *person) DeleteComment(t testing.TB, r vcs.Repo, _ int, comment string) {
	t.Helper()
	check(t, p.fake.Server.DeleteComment(r.Name, number(t, comment), p.user.Login))
}

func (p *person) CommentOnIssue(t testing.TB, r vcs.Repo, body string) {
	t.Helper()
	check(t, p.fake.Server.CommentOnIssue(r.Name, p.user.Login, body))
}

func (p *person) Review(t testing.TB, r vcs.Repo, number int, says vcs.ReviewState, body string) {
	t.Helper()
	word := map[vcs.ReviewState]fakehost.ReviewState{
		vcs.ReviewApproved: fakehost.Approved, vcs.ReviewChanges: fakehost.ChangesRequested, vcs.ReviewCommented: fakehost.Commented,
	}[says]
	_, err := p.fake.Server.Review(r.Name, number, p.user.Login, word, body)
	check(t, err)
}

func (p *person) Dismiss(t testing.TB, r vcs.Repo, number int, of vcstest.Person) {
	t.Helper()
	all, err := p.fake.Timeline(r.Name, number)
	check(t, err)
	var last int64
	for _, e := range all {
		if e.Kind == fakehost.EntryReview && e.Actor == of.User().Login {
			last = e.ID
		}
	}
	check(t, p.fake.DismissReview(r.Name, number, last, p.user.Login, "not any more"))
}

func (p *person) SetDraft(t testing.TB, r vcs.Repo, number int, draft bool) {
	t.Helper()
	check(t, p.fake.Server.SetDraft(r.Name, number, p.user.Login, draft))
}

func (p *person) SetBase(t testing.TB, r vcs.Repo, number int, base string) {
	t.Helper()
	check(t, p.fake.Server.SetBase(r.Name, number, p.user.Login, base))
}

func (p *person) SetDescription(t testing.TB, r vcs.Repo, number int, body string) {
	t.Helper()
	check(t, p.fake.SetBody(r.Name, number, p.user.Login, body))
}

func (p *person) Close(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	check(t, p.fake.ClosePull(r.Name, number, p.user.Login))
}

func (p *person) Reopen(t testing.TB, r vcs.Repo, number int) {
	t.Helper()
	check(t, p.fake.Server.Reopen(r.Name, number, p.user.Login))
}

func (p *person) Merge(t testing.TB, r vcs.Repo, number int) string {
	t.Helper()
	sha, err := p.fake.Server.Merge(r.Name, number, p.user.Login, fakehost.MergeCommit)
	check(t, err)
	return sha
}

func (p *person) SetStatus(t testing.TB, r vcs.Repo, sha, context string, state vcs.StatusState) {
	t.Helper()
	check(t, p.fake.Server.SetStatus(r.Name, p.user.Login, sha, fakehost.Status{Context: context, State: string(state)}))
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
