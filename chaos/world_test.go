package chaos_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/testkit/pinned"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/testkit/s3"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

const patience = 8 * time.Minute // of a loaded machine; seconds are usual

// scenario says what is killed how often.
type scenario struct {
	replicas int // several need PostgreSQL, and share a bucket and nothing else
	postgres bool
	kills    int
	authors  int // people who work at the same time
	sent     int // webhooks, with their copies, that are sent at least
	copies   int // of a webhook, at most
	broken   string
	machines bool // whole machines are lost, with their disks
}

// world is one host, its people and the servers.
type world struct {
	t       *testing.T
	s       scenario
	dir     string
	host    *fakehost.Server
	bot     fakehost.User
	servers []*server
	monkey  *monkey
	door    *door
	dsn     string
	blobs   string
	repos   []*repo
	journal string        // what the tool and its provisioners wrote down
	history string        // of every run, once all have stopped
	over    atomic.Bool   // nobody needs to go on
	started time.Duration // how long the first life of a server takes here, at most
}

// repo is a repository and when it applies.
type repo struct {
	name     string
	mode     string
	prefix   string // of its projects
	projects []string
}

const key = "base64key://MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

func begin(t *testing.T, s scenario) *world {
	t.Helper()
	w := &world{t: t, s: s, dir: t.TempDir()}
	w.journal = filepath.Join(w.make("states"), "journal")
	w.make("states/locks")
	gh := github.NewWorld(t)
	w.host, w.bot = gh.Host, gh.Bot
	for _, login := range []string{"alice", "bob"} {
		_, err := w.host.CreateUser(login, fakehost.Write)
		w.check(err)
	}
	// The name of one is a prefix of the other's: nothing of one may touch the other.
	w.repos = []*repo{{name: "acme/live", mode: "before_merge", prefix: "a"}, {name: "acme/live-next", mode: "after_merge", prefix: "b"}}
	for _, r := range w.repos {
		w.check(w.host.CreateRepo(r.name, fakehost.NewRepo{Private: true, By: "alice", Files: w.code(r)}))
	}
	if s.postgres {
		w.dsn = postgres.New(t, postgres.Options{})
	}
	w.storage(s)
	w.monkey = &monkey{wanted: s.kills, machines: s.machines}
	hand := w.monkey.listen(t)
	for n := range s.replicas {
		w.servers = append(w.servers, w.server(fmt.Sprintf("replica-%d", n+1), hand))
	}
	w.monkey.servers = w.servers
	w.door = newDoor(w.servers, s.copies)
	door := httptest.NewServer(w.door)
	t.Cleanup(door.Close)
	for _, r := range w.repos {
		_, err := w.host.AddWebhook(door.URL, gh.Account().WebhookSecret, r.name)
		w.check(err)
	}
	t.Cleanup(w.tells)
	for _, server := range w.servers {
		began := time.Now()
		server.Start(t)
		w.started = max(w.started, time.Since(began))
	}
	w.known()
	return w
}

// known waits until the servers have looked at the repositories: a command from before, whose webhook is lost, is none by design.
func (w *world) known() {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		seen := 0
		for _, s := range w.servers {
			seen += strings.Count(s.Log(), "first look at a repository")
		}
		if seen >= len(w.repos) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %s the servers have looked at %d of %d repositories", patience, seen, len(w.repos))
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // polling other processes
	}
}

// storage is where blobs are: a bucket for several replicas, as they share no disk.
func (w *world) storage(s scenario) {
	if s.replicas == 1 {
		w.blobs = "file://" + w.make("blobs")
		return
	}
	b := s3.New(w.t)
	// Opening the bucket ourselves reads the same variables; every bucket of this process has the same owner.
	w.check(os.Setenv("AWS_ACCESS_KEY_ID", b.Owner.AccessKey))     //nolint:usetesting // tests run side by side
	w.check(os.Setenv("AWS_SECRET_ACCESS_KEY", b.Owner.SecretKey)) //nolint:usetesting // as above
	w.blobs = fmt.Sprintf("s3://%s?region=%s&use_path_style=true&endpoint=%s", b.Name, b.Region, b.Endpoint)
}

func (w *world) make(name string) string {
	dir := filepath.Join(w.dir, name)
	w.check(os.MkdirAll(dir, 0o755))
	return dir
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// stop ends a server as an operator does.
func (w *world) stop(s *server) {
	w.t.Helper()
	if err := s.Stop(); err != nil {
		w.t.Errorf("%s ended with %v:\n%s", s.name, err, s.Tail())
	}
}

// tells what the servers logged, if the test failed.
func (w *world) tells() {
	for _, s := range w.servers {
		if w.t.Failed() {
			w.t.Logf("%s, %d lives:\n%s", s.name, s.Lives(), s.Tail())
		}
	}
}

// code is a repository of four projects that keep their state on this machine.
func (w *world) code(r *repo) map[string]string {
	files := map[string]string{}
	for n := range 4 {
		name := fmt.Sprintf("%s%d", r.prefix, n)
		r.projects = append(r.projects, name)
		files[name+"/main.tf"] = fmt.Sprintf("terraform {\n  backend \"local\" {\n    path = %q\n  }\n}\n", w.state(name))
	}
	return files
}

func (w *world) state(project string) string {
	return filepath.Join(w.dir, "states", project+".tfstate")
}

// change is what a branch adds to a project: one resource, whose creation is written down.
func (w *world) change(branch, value string) string {
	return fmt.Sprintf(`resource "terraform_data" %q {
  input            = %q
  triggers_replace = %[2]q
  provisioner "local-exec" {
    command = "echo made %[2]s >> %[3]s; sleep 0.3"
  }
}
`, branch, value, w.journal)
}

// tool writes a program that is tofu, and that tells of what it is asked: that two of it work on one project, and which plan it applies.
func (w *world) tool(tofu string) string {
	slow := ":"
	if w.s.broken != "" {
		slow = "sleep 3" // so that two that should not meet do, on a loaded machine as well
	}
	script := fmt.Sprintf(`#!/bin/sh
case "$1" in
init|plan|show|apply)
	project=${PWD##*/}
	exec 9>>%[2]s/locks/$project
	flock -n 9 || echo "overlap $project $1" >>%[3]s
	%[4]s
	;;
esac
if [ "$1" = apply ]; then
	for plan; do :; done
	echo "apply $project $(sha256sum <"$plan" | cut -d' ' -f1)" >>%[3]s
fi
exec %[1]s "$@"
`, tofu, filepath.Dir(w.journal), w.journal, slow)
	path := filepath.Join(w.make("bin"), "tofu")
	w.check(os.WriteFile(path, []byte(script), 0o755)) //nolint:gosec // it is executed in sandboxes
	return path
}

func (w *world) server(name, hand string) *server {
	address := child.Address(w.t)
	s := &server{name: name}
	s.Server = child.Server{URL: "http://" + address, Dir: w.make(name), Reborn: true, Pause: 200 * time.Millisecond, Before: s.afresh}
	tofu, err := pinned.Find("tofu")
	w.check(err)
	yaml := fmt.Sprintf(`listen: %s
url: %s
data: %s
database: %q
encryption_key: %s
blobs: %q
admin_token: the-admin-token-of-the-tests
vcs:
  - {name: github, kind: github, url: %s, token: %q, webhook_secret: "between GitHub and us", repos: ["acme/*"]}
execution:
  workers: 2
  network: {mode: none}
  node_timeout: 45s
  binds: [{path: %s, write: true}, {path: %s}]
  cancel_grace: {plan: 3s, apply: 10s}
defaults: {requirements: {apply: [mergeable, up_to_date]}}
repos:
`, address, s.URL, filepath.Join(s.Dir, "data"), w.dsn, key, w.blobs, w.host.URL, w.bot.Token, filepath.Dir(w.journal), tofu)
	for _, r := range w.repos {
		yaml += fmt.Sprintf("  - {match: github/%s, apply: %s}\n", r.name, r.mode)
	}
	file := filepath.Join(s.Dir, "server.yaml")
	w.check(os.WriteFile(file, []byte(yaml), 0o600))
	s.Env = append(os.Environ(), asServer+"="+file, asPoints+"="+hand+"/"+name, asBroken+"="+w.s.broken, "PLANLATCH_TOFU="+w.tool(tofu))
	return s
}
