package redteam_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/gitea"
	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// estate is one host with its people, and a server for every wall that some attack goes without: started when the first one asks.
type estate struct {
	t    *testing.T
	host vcstest.World

	mallory  vcstest.Person // may write: the author of what is hostile
	stranger vcstest.Person // may read and comment
	bob      vcstest.Person // reviews and merges
	carol    vcstest.Person // owns policy sets

	made    atomic.Int64 // worlds
	mu      sync.Mutex
	servers map[wall]func() *server
}

// newEstate takes the quick fake of a host, or for the whole suite the real one.
func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{t: t, servers: map[wall]func() *server{}}
	if whole() {
		e.host = gitea.NewWorld(t)
	} else {
		e.host = github.NewWorld(t)
	}
	e.mallory, e.stranger = e.host.Person(t, "mallory"), e.host.Person(t, "stranger")
	e.bob, e.carol = e.host.Person(t, "bob"), e.host.Person(t, "carol")
	return e
}

// server is the one without a wall.
func (e *estate) server(without wall) *server {
	e.mu.Lock()
	start, ok := e.servers[without]
	if !ok {
		start = sync.OnceValue(func() *server { return e.open(without) })
		e.servers[without] = start
	}
	e.mu.Unlock()
	return start()
}

// open starts a server, plants the canaries, and lets a victim's plan run beside whatever comes.
func (e *estate) open(without wall) *server {
	t := e.t
	dir, err := os.MkdirTemp("", "planlatch-redteam-")
	check(t, err)
	s := &server{
		without: without, dir: dir, trap: newTrap(t),
		env: hatch("the server's environment"), files: hatch("a file of the server"), yaml: hatch("server.yaml"),
		otherFiles: hatch("another run's files"), otherEnv: hatch("another run's environment"),
		project: hatch("the project's own secret"), identity: hatch("the apply identity"),
	}
	s.project.Value += `"<&%/+` + "é" // so that every way of escaping changes it
	vault := e.repo(true)
	s.shared = e.repo(false)
	for _, a := range attacks() {
		if a.Own && (a.On == without || a.Without == without) {
			s.own = append(s.own, e.repo(false))
		}
	}
	s.settings = e.settings(s, vault)
	hookBeside := func() {}
	if without == upright || without == ownNames || without == patienceWithHosts {
		hookBeside = s.withBeside(t)
	}
	without.configure(&s.settings)
	if s.OnlyVault == "" {
		s.OnlyVault = s.HostKind + "/" + vault.Name + "//**"
	}
	for _, place := range []string{s.Data, s.States} {
		check(t, os.MkdirAll(place, 0o700))
	}
	check(t, os.WriteFile(filepath.Join(s.Data, "canary"), []byte(s.files.Value+"\n"), 0o600))
	s.start(t)
	hookBeside()
	t.Cleanup(func() {
		s.stop(t)
		check(t, git.RemoveExport(s.Data)) // an ordinary user cannot remove what is read-only
		check(t, os.RemoveAll(dir))
	})
	for _, r := range append([]vcs.Repo{vault, s.shared}, s.own...) {
		e.host.Hook(t, r, s.URL+"/webhooks/"+s.HostKind)
	}
	e.bob.Commit(t, vault, vcstest.Change{Branch: "secret", Files: map[string]string{"main.tf": "# " + s.otherFiles.Value + "\n"}})
	e.bob.Open(t, vault, "secret", "main", "A secret change")
	until(t, "the victim's plan to run", func() (string, bool) {
		for _, r := range s.runs(t.Context(), vault.Name) {
			if r.State == "planning" {
				return "", true
			}
		}
		return s.said(), false
	})
	return s
}

// repo makes a repository and lets the people in.
func (e *estate) repo(private bool) vcs.Repo {
	r := e.host.Repo(e.t, private)
	for _, p := range []vcstest.Person{e.mallory, e.bob, e.carol} {
		if !private || p == e.bob {
			e.host.Grant(e.t, r, p, vcs.PermissionWrite)
		}
	}
	return r
}

func (e *estate) settings(s *server, vault vcs.Repo) settings {
	address := child.Address(e.t)
	chat := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what did not come whole says enough
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintf(&s.chat, "%s\n%s\n", r.URL, body)
	}))
	e.t.Cleanup(chat.Close)
	repos := []string{vault.Name, s.shared.Name}
	for _, r := range s.own {
		repos = append(repos, r.Name)
	}
	account := e.host.Account()
	return settings{
		Listen: address, URL: "http://" + address, Data: filepath.Join(s.dir, "data"), States: filepath.Join(s.dir, "states"),
		AdminToken: hatch("").Value, WebhookSecret: account.WebhookSecret, EncryptionKey: "base64key://" + encryptionKey(),
		HostKind: account.Kind, HostURL: account.URL, HostToken: account.Token, Repos: repos, Vault: vault.Name,
		Sandbox: "required", Network: "open", Traps: append([]string{address}, s.trap.Addresses...), Environment: []string{"NOT_THERE"},
		Limits: "{memory: 1GiB, processes: 200, disk: 64MiB, log: 2MiB}", PlanTimeout: "30m",
		PlanIdentity: "may only read", ApplyIdentity: s.identity.Value, VaultSecret: s.otherEnv.Value,
		Secret: "env", ProjectSecret: strings.ReplaceAll(s.project.Value, `"`, `\"`), Chat: chat.URL, Note: s.yaml.Value,
		Owner: e.carol.User().Login, Other: e.bob.User().Login, Stranger: e.stranger.User().Login,
	}
}

// world is the place of one attack on a server without a wall: a directory of its own in the repository that many share, or a repository.
func (e *estate) world(t *testing.T, a attack, without wall) *world {
	t.Helper()
	s := e.server(without)
	w := &world{T: t, estate: e, server: s, name: fmt.Sprintf("attack-%d", e.made.Add(1)), states: s.States}
	w.repo, w.dir = s.shared, w.name
	if a.Own {
		w.repo, w.dir = s.take(t), "."
	}
	return w
}

// sweep looks for every canary in all that the server with all its walls ever said, wrote or kept.
func (e *estate) sweep(t *testing.T) {
	s := e.server(upright)
	places := s.kept(t)
	places["the server's log"], places["the chat"] = s.said(), s.chatted()
	_, places["the metrics"] = s.get(t.Context(), "/metrics")
	for _, path := range []string{"/api/v1/runs", "/api/v1/queue", "/api/v1/locks", "/api/v1/audit", "/api/v1/deliveries/ignored"} {
		_, places["GET "+path] = s.get(t.Context(), path)
	}
	maps.Copy(places, s.pages(t.Context(), "", ""))
	for _, c := range append(s.secrets(), s.trap.secret) {
		for _, found := range c.find(places) {
			t.Error(found)
		}
	}
	for _, call := range s.trap.caught("") {
		t.Errorf("a run reached %s", call)
	}
	if strings.Contains(s.said(), "panic") {
		t.Error("the server panicked; see its log")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
