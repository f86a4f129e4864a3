package redteam_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 11: what belongs to one repository is taken for another's, whose name begins alike or who is called the same on another host.

const (
	likeName  = "acme/infra"
	likeName2 = likeName + "-prod"
)

func neighbourAttacks() []attack {
	return []attack{
		{
			Row: 11, Name: "#1 of acme/infra closes while #1 of acme/infra-prod holds a lock", Wall: "keys of hosts and repositories", Without: ownNames,
			Try: func(w *world) []string { return w.closesBeside(w.beside(likeName), w.beside(likeName2)) },
		},
		{
			Row: 11, Name: "#1 of a repository closes while #1 of its namesake on another host holds a lock", Wall: "keys of hosts and repositories",
			Without: ownNames, Own: true,
			Try: func(w *world) []string { return w.closesBeside(w, w.beside(w.repo.Name)) },
		},
	}
}

// closesBeside has the first pull request of two worlds hold a lock, closes the one, lets something happen in the other, and tells what that lost.
func (w *world) closesBeside(one, other *world) (loot []string) {
	w.Helper()
	numbers := map[*world]int{}
	for _, in := range []*world{one, other} {
		pull, head := in.propose(in.writes("x"))
		in.planned(pull, head)
		in.tells(in.bob, pull, "planlatch apply")
		until(w.T, "the lock of "+in.repo.Name, func() (string, bool) { return in.answers(pull) + in.summary(pull), in.holds(pull) })
		numbers[in] = pull
	}
	if numbers[one] != numbers[other] {
		w.Fatalf("the pull requests are #%d and #%d: nobody can mistake them", numbers[one], numbers[other])
	}
	pull := numbers[one]
	one.mallory.Close(w, one.repo, pull)
	until(w.T, "the lock to be freed", func() (string, bool) { return w.server.said(), !one.holds(pull) })
	head := other.mallory.Commit(w, other.repo, vcstest.Change{Branch: other.name, Files: other.with(other.writes("y")), Message: "Go on"})
	until(w.T, "the push to be noticed", func() (string, bool) {
		status := other.host.Statuses(w, other.repo, head)["planlatch/plan"]
		return fmt.Sprint(status), !other.holds(pull) || status.State == vcs.StatusSuccess
	})
	if !other.holds(pull) {
		loot = append(loot, fmt.Sprintf("#%d of %s was closed, and that of %s has lost its lock", pull, one.repo.Name, other.repo.Name))
	}
	return loot
}

// holds says whether a pull request of the world has a lock.
func (w *world) holds(pull int) bool {
	var list struct {
		Locks []struct {
			Host, Repo string
			Pull       struct{ Number int }
		}
	}
	if _, body := w.server.get(w.Context(), "/api/v1/locks"); json.Unmarshal([]byte(body), &list) != nil {
		w.Errorf("GET /api/v1/locks = %s", body)
	}
	for _, l := range list.Locks {
		if l.Host == w.hostName() && l.Repo == w.repo.Name && l.Pull.Number == pull {
			return true
		}
	}
	return false
}

// hostName is the host of a world by its name in server.yaml.
func (w *world) hostName() string {
	if w.server.beside != nil && w.host == vcstest.World(w.server.beside) {
		return besideName
	}
	return w.server.HostKind
}

const besideName = "beside"

// beside is a world on the second host of the server.
func (w *world) beside(repo string) *world {
	w.Helper()
	host := w.server.beside
	id, err := host.Host.RepoID(repo)
	check(w.T, err)
	e := &estate{t: w.T, host: host, mallory: host.Person(w, "mallory"), bob: host.Person(w, "bob")}
	r := vcs.Repo{ID: fmt.Sprint(id), Name: repo, DefaultBranch: "main"}
	for _, p := range []vcstest.Person{e.mallory, e.bob} {
		host.Grant(w, r, p, vcs.PermissionWrite)
	}
	name := fmt.Sprintf("%s-%s", w.name, strings.ReplaceAll(repo, "/", "-"))
	return &world{T: w.T, estate: e, server: w.server, name: name, repo: r, dir: ".", states: w.states}
}

// withBeside gives a server a second host, with namesakes of its own repositories and names that begin alike.
func (s *server) withBeside(t *testing.T) (hook func()) {
	t.Helper()
	s.odd = &oddities{that: map[string]*oddity{}}
	s.beside = github.Start(t, fakehost.Options{Fault: s.odd.fault})
	names := []string{likeName, likeName2}
	for _, r := range s.own {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var repos []vcs.Repo
	for _, name := range names {
		repos = append(repos, s.beside.RepoAt(t, name, false))
	}
	account := s.beside.Account()
	s.Beside = fmt.Sprintf("  - {name: %s, kind: github, url: %q, token: %q, webhook_secret: %q, repos: [%q]}", besideName, account.URL, account.Token,
		account.WebhookSecret, strings.Join(names, `", "`))
	s.Beside = strings.ReplaceAll(s.Beside, `\"`, `"`)
	return func() {
		for _, r := range repos {
			s.beside.Hook(t, r, s.URL+"/webhooks/"+besideName)
		}
	}
}

// mixed takes repositories whose names begin alike, and namesakes on other hosts, for one.
type mixed struct {
	vcs.Host
	all map[string]vcs.Host
}

func (m mixed) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := m.Host.Pull(ctx, r, number)
	for _, h := range m.all {
		for _, name := range []string{r.Name, strings.TrimSuffix(r.Name, "-prod")} {
			alike, missing := h.Repo(ctx, name)
			if missing != nil {
				continue
			}
			if q, missing := h.Pull(ctx, alike, number); missing == nil && q.State == vcs.PullClosed {
				p.State = q.State
			}
		}
	}
	return p, err
}
