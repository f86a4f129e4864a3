package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/pinned"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// world is one repository on a host with its people, and one planlatch that serves it.
type world struct {
	t      *testing.T
	host   vcstest.World
	alice  vcstest.Person // writes changes
	bob    vcstest.Person // reviews them
	carol  vcstest.Person // owns the policy set
	repo   vcs.Repo
	dir    string // data, server.yaml, states
	states string
	url    string
	server child.Server
}

// rules are what a story changes of the server's configuration.
type rules struct {
	at       place
	apply    string // before_merge when empty
	extra    string // further top-level YAML
	policies string
	kill     bool
	network  string // YAML below network:
	waits    string // execution.lock_timeout; 1m when empty
	requires string // requirements, as a YAML list
	alone    bool   // the server is process 1 of a PID namespace of its own
	executes string // further lines of YAML below execution:
}

// begin makes people, a repository with a first commit, and a server that listens to it.
func begin(t *testing.T, files map[string]string, r rules) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	var dsn string
	w.host, dsn = r.at.start(t)
	w.repo = w.host.Repo(t, true)
	w.alice, w.bob, w.carol = w.person("alice", vcs.PermissionWrite), w.person("bob", vcs.PermissionWrite), w.person("carol", vcs.PermissionWrite)
	w.states = filepath.Join(w.dir, "states")
	if err := os.MkdirAll(w.states, 0o755); err != nil {
		t.Fatal(err)
	}
	if files != nil {
		w.push(w.bob, "main", files)
	}
	w.configure(r, dsn)
	w.host.Hook(t, w.repo, w.url+"/webhooks/"+w.host.Account().Kind)
	w.server.Start(t)
	t.Cleanup(func() {
		w.stop()
		if err := git.RemoveExport(filepath.Join(w.dir, "data", "work")); err != nil { // an ordinary user cannot remove what is read-only
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server log:\n%s", w.server.Tail())
			if killed, err := os.ReadFile(filepath.Join(w.dir, "killed")); err == nil {
				t.Logf("kill points, in order:\n%s", killed)
			}
		}
	})
	return w
}

// person makes somebody who may do this much in the repository.
func (w *world) person(name string, may vcs.Permission) vcstest.Person {
	w.t.Helper()
	p := w.host.Person(w.t, name)
	w.host.Grant(w.t, w.repo, p, may)
	return p
}

func login(p vcstest.Person) string { return p.User().Login }

// with puts the directory of states into file contents.
func (w *world) with(files map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = strings.ReplaceAll(text, "STATES", w.states)
	}
	return out
}

func (w *world) configure(r rules, dsn string) {
	t, account := w.t, w.host.Account()
	t.Helper()
	if r.apply == "" {
		r.apply = "before_merge"
	}
	if r.network == "" {
		r.network = "{mode: none}"
	}
	if r.waits == "" {
		r.waits = "1m"
	}
	if r.requires == "" {
		r.requires = "[approved, mergeable, up_to_date]"
	}
	w.url = "http://" + child.Address(t)
	server := fmt.Sprintf(`listen: %s
url: %s
data: %s
database: %q
encryption_key: base64key://MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
blobs: file://%s
admin_token: the-admin-token-of-the-tests
`, strings.TrimPrefix(w.url, "http://"), w.url, filepath.Join(w.dir, "data"), dsn, w.mkdir("blobs")) + fmt.Sprintf(`vcs:
  - {name: %[1]s, kind: %[1]s, url: %[2]s, token: %[3]q, webhook_secret: %[4]q, repos: [%[5]q]}
`, account.Kind, account.URL, account.Token, account.WebhookSecret, w.repo.Name) + fmt.Sprintf(`execution:
  workers: 2
  network: %s
  lock_timeout: %s
  binds: [{path: %s, write: true}]
  cancel_grace: {plan: 20s, apply: 1m}
  %s
defaults:
  apply: %s
  requirements: {apply: %s}
%s
%s
`, r.network, r.waits, w.states, r.executes, r.apply, r.requires, strings.ReplaceAll(r.policies, "%s", login(w.carol)), r.extra)
	if err := os.WriteFile(filepath.Join(w.dir, "server.yaml"), []byte(server), 0o600); err != nil {
		t.Fatal(err)
	}
	w.server = child.Server{URL: w.url, Dir: filepath.Join(w.dir, "data"), Reborn: true}
	w.server.Env = append(os.Environ(), asServer+"="+filepath.Join(w.dir, "server.yaml"), "PLANLATCH_TOFU="+pinned.Path(t, "tofu"), "CANARY=a canary in the server's environment")
	if r.alone {
		w.server.Env, w.server.Attr = append(w.server.Env, asFirst+"=yes"), first()
	}
	if r.kill {
		w.server.Env = append(w.server.Env, killFile+"="+filepath.Join(w.dir, "killed"))
	}
}

func (w *world) mkdir(name string) string {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// eventually waits until ok, and fails with what was seen last.
func (w *world) eventually(what string, ok func() (seen string, done bool)) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		seen, done := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s for %s; last seen:\n%s", patience, what, seen)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // polling another process
	}
}
