package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/testkit/gitea"
	"github.com/planlatch/planlatch/testkit/postgres"
)

const (
	asServer = "PLANLATCH_E2E_SERVE" // in the environment of a child: the server.yaml to serve
	killFile = "PLANLATCH_E2E_KILL"  // in the environment of a child: where it keeps at which commits it died already
	patience = 3 * time.Minute       // of a loaded machine; seconds are usual
)

// TestMain lets the test binary be a shim, a server, or the tests.
func TestMain(m *testing.M) {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	env := app.Environment()
	if file := env[asServer]; file != "" {
		os.Exit(serve(file, env))
	}
	os.Exit(m.Run())
}

// serve is the child: a real server whose kill points may kill it.
func serve(file string, env map[string]string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	cfg, err := config.Load(file, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s, err := app.NewServer(ctx, cfg, app.ServerOptions{
		Env: env, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})), Kill: killer(env[killFile]),
		Reconcile: 3 * time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

// killer kills the process once before and once after every commit of a story: at a point it has passed n times it dies once, and then
// lets it pass. What it did is kept in a file, since it does not live to remember.
func killer(file string) func(point string) {
	if file == "" {
		return nil
	}
	var mu sync.Mutex
	return func(point string) {
		mu.Lock()
		defer mu.Unlock()
		died := false // since it was passed last
		if old, err := os.ReadFile(file); err == nil {
			for line := range strings.Lines(string(old)) {
				switch strings.TrimSpace(line) {
				case "passed " + point:
					died = false
				case "died " + point:
					died = true
				}
			}
		}
		word := "passed "
		if !died {
			word = "died "
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, word+point)
		f.Close()
		if !died {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
}

// engine is a database to run a story on.
type engine struct {
	name string
	dsn  func(t *testing.T) string
}

var engines = []engine{
	{"sqlite", func(*testing.T) string { return "" }},
	{"postgres", func(t *testing.T) string { return postgres.New(t, postgres.Options{}) }},
}

// world is one repository on a real Gitea with its people, and one planlatch that serves it.
type world struct {
	t      *testing.T
	host   *gitea.Server
	owner  *gitea.Person // of the repository: administrates it
	alice  *gitea.Person // writes changes
	bob    *gitea.Person // reviews them
	carol  *gitea.Person // owns the policy set
	bot    *gitea.Person // planlatch's account
	repo   gitea.Repo
	dir    string // data, server.yaml, states
	states string
	url    string

	env   []string
	log   *logBuffer
	ended chan error
}

// rules are what a story changes of the server's configuration.
type rules struct {
	apply    string // before_merge when empty
	extra    string // further top-level YAML
	policies string
	dsn      string
	kill     bool
	network  string // YAML below network:
	waits    string // execution.lock_timeout; 1m when empty
	requires string // requirements, as a YAML list
}

const hookSecret = "a webhook secret of the tests"

// begin makes people, a repository with a first commit, and a server that listens to it.
func begin(t *testing.T, files map[string]string, r rules) *world {
	t.Helper()
	w := &world{t: t, host: gitea.Shared(t), dir: t.TempDir()}
	person := func(name string) *gitea.Person { return w.host.CreateUser(t, w.host.Unique(name)) }
	w.owner, w.alice, w.bob, w.carol, w.bot = person("owner"), person("alice"), person("bob"), person("carol"), person("planlatch")
	w.repo = w.owner.CreateRepo(t, w.owner.Login, w.host.Unique("infra"))
	for _, p := range []*gitea.Person{w.alice, w.bob, w.carol} {
		w.owner.AddCollaborator(t, w.repo, p, "write")
	}
	w.owner.AddCollaborator(t, w.repo, w.bot, "admin")
	w.states = filepath.Join(w.dir, "states")
	if err := os.MkdirAll(w.states, 0o755); err != nil {
		t.Fatal(err)
	}
	if files == nil {
		files = map[string]string{"README.md": "infrastructure\n"}
	}
	w.owner.Push(t, w.repo, gitea.Change{Branch: "main", Files: w.with(files), Message: "Start"})
	w.configure(r)
	w.owner.AddWebhook(t, w.repo, w.url+"/webhooks/gitea", hookSecret)
	w.start()
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("server log:\n%s", w.log)
		}
	})
	return w
}

// with puts the directory of states into file contents.
func (w *world) with(files map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = strings.ReplaceAll(text, "STATES", w.states)
	}
	return out
}

func (w *world) configure(r rules) {
	t := w.t
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
	w.url = "http://" + freePort(t)
	server := fmt.Sprintf(`listen: %s
url: %s
data: %s
database: %q
encryption_key: base64key://MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
blobs: file://%s
admin_token: the-admin-token-of-the-tests
vcs:
  - name: gitea
    kind: gitea
    url: %s
    token: %s
    webhook_secret: %s
    repos: [%q]
execution:
  workers: 2
  network: %s
  lock_timeout: %s
  binds: [{path: %s, write: true}]
  cancel_grace: {plan: 5s, apply: 10s}
defaults:
  apply: %s
  requirements: {apply: %s}
%s
%s
`, strings.TrimPrefix(w.url, "http://"), w.url, filepath.Join(w.dir, "data"), r.dsn, w.mkdir("blobs"), w.host.URL, w.bot.Token, hookSecret,
		w.repo.FullName, r.network, r.waits, w.states, r.apply, r.requires, strings.ReplaceAll(r.policies, "%s", w.carol.Login), r.extra)
	if err := os.WriteFile(filepath.Join(w.dir, "server.yaml"), []byte(server), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), asServer+"="+filepath.Join(w.dir, "server.yaml"), "PLANLATCH_TOFU="+tofu(t), "CANARY=a canary in the server's environment")
	if r.kill {
		w.env = append(w.env, killFile+"="+filepath.Join(w.dir, "killed"))
	}
	w.log = &logBuffer{}
}

func (w *world) mkdir(name string) string {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// start starts the server as a child process and waits until it answers. A child that a kill point kills is started again, for ever.
func (w *world) start() {
	w.ended = make(chan error, 1)
	ready := make(chan struct{})
	go w.keep(ready)
	select {
	case <-ready:
	case <-time.After(patience):
		w.t.Fatalf("the server was not ready:\n%s", w.log)
	}
}

func (w *world) keep(ready chan struct{}) {
	for {
		cmd := exec.Command(os.Args[0]) //nolint:noctx // ended by stop
		cmd.Env, cmd.Stderr, cmd.Stdout = w.env, w.log, w.log
		if err := cmd.Start(); err != nil {
			w.ended <- err
			return
		}
		w.log.setProcess(cmd.Process)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		alive := make(chan struct{})
		go func() {
			for {
				if answers(w.url + "/readyz") {
					close(alive)
					return
				}
				select {
				case <-w.log.stopped():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		var err error
		select {
		case <-alive:
			if ready != nil {
				close(ready)
				ready = nil
			}
			err = <-done
		case err = <-done:
		}
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if !killed || w.log.isStopped() {
			w.ended <- err
			return
		}
	}
}

func answers(url string) bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get(url) //nolint:noctx // bounded by the client
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stop ends the server as an operator does.
func (w *world) stop() {
	w.log.stop()
	select {
	case <-w.ended: //nolint:errcheck // how it ended is not what these tests are about
	case <-time.After(30 * time.Second):
		w.t.Error("the server did not stop within 30 s of SIGTERM")
		w.log.kill()
	}
}

// restart starts a stopped server again.
func (w *world) restart() {
	w.t.Helper()
	w.log = &logBuffer{}
	w.start()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// tofu returns the real OpenTofu that the tests run.
var tofuPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("sh", "../tools/build.sh", "tofu").Output()
	if err != nil {
		return "", fmt.Errorf("build tofu: %w", err)
	}
	_, path, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return path, nil
})

func tofu(t testing.TB) string {
	t.Helper()
	path, err := tofuPath()
	if err != nil {
		t.Fatal(err)
	}
	return path
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

// logBuffer collects what the children log and knows the current one.
type logBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	process *os.Process
	end     chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	if len(text) > 60000 {
		text = text[len(text)-60000:]
	}
	return text
}

func (l *logBuffer) setProcess(p *os.Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.process = p
}

func (l *logBuffer) stopped() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil {
		l.end = make(chan struct{})
	}
	return l.end
}

func (l *logBuffer) isStopped() bool {
	select {
	case <-l.stopped():
		return true
	default:
		return false
	}
}

func (l *logBuffer) stop() {
	end := l.stopped()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-end:
		return
	default:
		close(end)
	}
	if l.process != nil {
		_ = l.process.Signal(syscall.SIGTERM)
	}
}

func (l *logBuffer) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process != nil {
		_ = l.process.Kill()
	}
}
