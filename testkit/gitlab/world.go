// Package gitlab is a GitLab for tests: [fakehost] speaking GitLab's API, webhooks and git behind the interfaces of [vcstest]. Projects
// live in a sub-group. Each [World] is a host of its own and ends with its test.
package gitlab

import (
	"testing"

	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// What webhooks come with: a secret token, or what signs them.
const (
	secret  = "between GitLab and us"
	signing = "whsec_YmV0d2VlbiBHaXRMYWIgYW5kIHVzLCAzMiBieXRlcyE="
)

// World is one host with the account of planlatch. People act on it as on the other hosts; nobody can dismiss the review of another.
type World struct {
	*github.World
	secret string
}

// NewWorld starts a host whose webhooks carry a secret token.
func NewWorld(t testing.TB) *World {
	t.Helper()
	return &World{World: github.Start(t, fakehost.Options{GitLab: true}), secret: secret}
}

// Signing starts a host whose webhooks are signed.
func Signing(t testing.TB) *World {
	t.Helper()
	w := NewWorld(t)
	w.secret = signing
	return w
}

// Person makes an account that may read what is public.
func (w *World) Person(t testing.TB, name string) vcstest.Person {
	t.Helper()
	return actor{w.World.Person(t, name)}
}

// actor is a person without what GitLab's people cannot do.
type actor struct{ vcstest.Person }

// Repo makes a project in a sub-group.
func (w *World) Repo(t testing.TB, private bool) vcs.Repo {
	t.Helper()
	return w.RepoAt(t, "acme/platform/"+w.Unique("infra"), private)
}

// Team makes a sub-group.
func (w *World) Team(t testing.TB, members ...vcstest.Person) string {
	t.Helper()
	return w.World.Team(t, members...)
}

// Account is the bot's.
func (w *World) Account() vcstest.Account {
	return vcstest.Account{Kind: "gitlab", URL: w.Host.URL, Token: w.Bot.Token, WebhookSecret: w.secret, Login: w.Bot.Login}
}

// Styles are the merge methods of a project, and squash.
func (w *World) Styles() []vcstest.Style {
	return []vcstest.Style{vcstest.MergeCommit, vcstest.Squash, vcstest.Rebase, vcstest.FastForward}
}

// Hook adds a webhook with the secret of [World.Account].
func (w *World) Hook(t testing.TB, r vcs.Repo, url string) {
	t.Helper()
	if _, err := w.Host.AddWebhook(url, w.secret, r.Name); err != nil {
		t.Fatal(err)
	}
}

// Statuses returns the latest status of each context; of one that is running GitHub's word is pending.
func (w *World) Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status {
	t.Helper()
	all := w.World.Statuses(t, r, sha)
	for name, s := range all {
		if s.State == "running" {
			s.State = vcs.StatusPending
			all[name] = s
		}
	}
	return all
}
