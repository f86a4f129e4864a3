package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/testkit/httpstate"
	"github.com/planlatch/planlatch/testkit/pinned"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/testkit/s3"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// backend is a place that keeps a state, as the code, the server's configuration and its owner see it.
type backend struct {
	block   string              // of the code, with STATES for the directory that runs may write
	env     map[string]string   // with which somebody at a terminal works on the same state
	grants  string              // YAML of a provider configuration: what runs get
	allow   string              // host:port that runs must reach
	secrets []string            // which nobody may ever read in a pull request
	state   func(*world) string // as the backend keeps it; empty if there is none
	locked  func(*world) bool
	served  func(*testing.T)                 // what the backend must have seen after an apply; may be nil
	hold    func(w *world, at terminal) held // somebody else takes the lock
}

// held is a lock of somebody else.
type held struct {
	told    []string // what the report must say of it
	release func()
}

var backends = []struct {
	name string
	open func(t *testing.T) backend
}{{"local", openLocal}, {"pg", openPG}, {"s3", openS3}, {"http", openHTTP}}

func openLocal(*testing.T) backend {
	return backend{
		block: `backend "local" {
    path = "STATES/network.tfstate"
  }`,
		state: func(w *world) string { return w.state("network") },
		locked: func(w *world) bool {
			_, err := os.Stat(filepath.Join(w.states, ".network.tfstate.lock.info"))
			return err == nil
		},
		hold: atThePrompt,
	}
}

func openPG(t *testing.T) backend {
	dsn := postgres.New(t, postgres.Options{})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	query := func(t *testing.T, sql string) (text string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
			t.Logf("%s: %v", sql, err) // before the first run there is no schema
		}
		return text
	}
	return backend{
		block: `backend "pg" {
    schema_name = "team_network"
  }`,
		env:     map[string]string{"PG_CONN_STR": dsn},
		grants:  fmt.Sprintf("plan: {env: {PG_CONN_STR: %[1]q}}, apply: {env: {PG_CONN_STR: %[1]q}}", dsn),
		allow:   u.Host,
		secrets: []string{password},
		state: func(w *world) string {
			return query(w.t, "SELECT data FROM team_network.states WHERE name = 'default'")
		},
		locked: func(w *world) bool {
			return query(w.t, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") != "0"
		},
		hold: func(w *world, at terminal) held {
			h := atThePrompt(w, at)
			h.told = []string{"locked by another PostgreSQL session", "`planlatch plan -p network`", "`pg_locks`"} // it knows no names
			return h
		},
	}
}

func openS3(t *testing.T) backend {
	b := s3.New(t)
	const key = "states/network.tfstate"
	planner := b.User(t, append(s3.Reading(), s3.Writing("*.tflock"))...)
	applier := b.User(t, append(s3.Reading(), s3.Writing("*"))...)
	identity := func(i s3.Identity) string {
		return fmt.Sprintf("{env: {AWS_ACCESS_KEY_ID: %q, AWS_SECRET_ACCESS_KEY: %q}, values: {AWS_REGION: %q}}", i.AccessKey, i.SecretKey, b.Region)
	}
	return backend{
		block: fmt.Sprintf(`backend "s3" {
    bucket                      = %q
    key                         = %q
    endpoints                   = { s3 = %q }
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }`, b.Name, key, b.Endpoint),
		env:     map[string]string{"AWS_ACCESS_KEY_ID": b.Owner.AccessKey, "AWS_SECRET_ACCESS_KEY": b.Owner.SecretKey, "AWS_REGION": b.Region},
		grants:  fmt.Sprintf("plan: %s, apply: %s", identity(planner), identity(applier)),
		allow:   b.Address,
		secrets: []string{planner.SecretKey, applier.SecretKey, b.Owner.SecretKey},
		state: func(w *world) string {
			text, _ := b.Object(w.t, key)
			return text
		},
		locked: func(w *world) bool {
			_, ok := b.Object(w.t, key+".tflock")
			return ok
		},
		served: func(t *testing.T) {
			t.Helper()
			var locks, saves []string
			for _, r := range b.Requests(t) {
				switch {
				case r.Action == "PutObject" && r.Key == key+".tflock":
					locks = append(locks, r.By)
				case r.Action == "PutObject" && r.Key == key:
					saves = append(saves, r.By)
				}
			}
			if want := []string{planner.AccessKey, applier.AccessKey}; !slices.Equal(locks, want) || !slices.Equal(saves, want[1:]) {
				t.Errorf("locked by %v and saved by %v, want a lock of the planner, then lock and save of the applier: %v", locks, saves, want)
			}
		},
		hold: atThePrompt,
	}
}

func openHTTP(t *testing.T) backend {
	s := httpstate.New(t)
	return backend{
		block:   httpBlock(s),
		env:     map[string]string{"TF_HTTP_PASSWORD": s.Password},
		grants:  httpGrants(s),
		allow:   s.Address,
		secrets: []string{s.Password},
		state: func(*world) string {
			text, _ := s.State()
			return text
		},
		locked: func(*world) bool {
			_, ok := s.Held()
			return ok
		},
		hold: func(w *world, _ terminal) held {
			id := s.Hold(w.t, "carol@laptop", time.Now().Add(-23*time.Minute))
			return held{
				told:    []string{"locked by `carol@laptop`", "23 min ", "before this run gave up", "`tofu force-unlock " + id + "`"},
				release: s.Release,
			}
		},
	}
}

// httpBlock does not retry: a refused save is to fail at once.
func httpBlock(s *httpstate.Server) string {
	return fmt.Sprintf(`backend "http" {
    address        = %[1]q
    lock_address   = %[1]q
    unlock_address = %[1]q
    username       = %[2]q
    retry_max      = 0
  }`, s.URL, s.User)
}

func httpGrants(s *httpstate.Server) string {
	return fmt.Sprintf("plan: {env: {TF_HTTP_PASSWORD: %[1]q}}, apply: {env: {TF_HTTP_PASSWORD: %[1]q}}", s.Password)
}

// rules are those of a server whose runs get what the backend needs, and no network but its port.
func (b backend) rules() rules {
	r := rules{waits: "1s"}
	if b.allow != "" {
		r.network = fmt.Sprintf("{mode: none, allow: [%q]}", b.allow)
	}
	if b.grants != "" {
		r.extra = fmt.Sprintf("provider_configs:\n  - {name: states, projects: [\"//**\"], %s}", b.grants)
	}
	return r
}

// code is a root module that keeps one value in a backend.
func code(block, value string) string {
	return fmt.Sprintf(`terraform {
  %s
}

resource "terraform_data" "vpc" {
  input = %q
}
`, block, value)
}

// terminal is somebody at a terminal: the tool on the same state, without us.
type terminal struct {
	w   *world
	dir string
	env []string
}

func (w *world) terminal(text string, env map[string]string) terminal {
	w.t.Helper()
	dir := w.t.TempDir()
	for name, content := range w.with(map[string]string{"main.tf": text}) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	at := terminal{w: w, dir: dir, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CHECKPOINT_DISABLE=1"}}
	for name, value := range env {
		at.env = append(at.env, name+"="+value)
	}
	at.tofu("init", "-input=false", "-no-color")
	return at
}

func (at terminal) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(at.w.t.Context(), pinned.Path(at.w.t, "tofu"), args...)
	cmd.Dir, cmd.Env = at.dir, at.env
	return cmd
}

// tofu runs the tool and returns what it prints; anything but success fails the test.
func (at terminal) tofu(args ...string) string {
	at.w.t.Helper()
	out, err := at.command(args...).CombinedOutput()
	if err != nil {
		at.w.t.Fatalf("tofu %s = %v, want success:\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// settled checks that the tool finds nothing to change: with -detailed-exitcode only that is success.
func (at terminal) settled() {
	at.w.t.Helper()
	at.tofu("plan", "-input=false", "-no-color", "-detailed-exitcode")
}

// atThePrompt is how locks are held in life: somebody's apply waits for its "yes" while they are at lunch.
func atThePrompt(w *world, at terminal) held {
	w.t.Helper()
	cmd := at.command("apply", "-no-color")
	answer, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var said bytes.Buffer
	for piece := make([]byte, 4096); !strings.Contains(said.String(), "Enter a value:"); {
		n, err := out.Read(piece)
		said.Write(piece[:n])
		if err != nil {
			w.t.Fatalf("the apply at the terminal did not ask: %v\n%s", err, said.String())
		}
	}
	me, err := user.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		w.t.Fatal(err)
	}
	return held{
		told: []string{fmt.Sprintf("locked by `%s@%s`", me.Username, host), "before this run gave up", "`tofu force-unlock "},
		release: func() {
			if _, err := io.WriteString(answer, "no\n"); err != nil {
				w.t.Fatal(err)
			}
			rest, _ := io.ReadAll(out) // until it ends; what it says then decides nothing
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(rest), "cancelled") {
				w.t.Fatalf("the apply at the terminal ended with %v, want it cancelled:\n%s", err, rest)
			}
		},
	}
}

// keeps reads a state in its native form.
func keeps(t *testing.T, state, value string) {
	t.Helper()
	var got struct {
		Version   int
		Lineage   string
		Resources []struct {
			Type, Name string
			Instances  []struct {
				Attributes struct{ Input struct{ Value string } }
			}
		}
	}
	if err := json.Unmarshal([]byte(state), &got); err != nil {
		t.Fatalf("the backend keeps %q: %v", state, err)
	}
	if got.Version != 4 || got.Lineage == "" || len(got.Resources) != 1 || got.Resources[0].Type+"."+got.Resources[0].Name != "terraform_data.vpc" {
		t.Fatalf("the backend keeps %s, want terraform_data.vpc alone", state)
	}
	if is := got.Resources[0].Instances; len(is) != 1 || is[0].Attributes.Input.Value != value {
		t.Errorf("the backend keeps %s, want %s", state, value)
	}
}

// hides checks that a pull request shows no secret.
func (w *world) hides(pull int, secrets []string) {
	w.t.Helper()
	text := w.summary(pull) + w.said(pull)
	for _, s := range secrets {
		if strings.Contains(text, s) {
			w.t.Errorf("pull request #%d shows a secret:\n%s", pull, text)
		}
	}
}

func onEachBackend(t *testing.T, story func(t *testing.T, b backend)) {
	for _, kind := range backends {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			story(t, kind.open(t))
		})
	}
}

func TestEachBackendKeepsWhatIsAppliedInItsOwnForm(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, b backend) {
		w := begin(t, nil, b.rules())
		text := code(b.block, "v1")
		pull, head := w.propose("vpc", map[string]string{"network/main.tf": text})
		w.status(head, "planlatch/plan", "success")
		if s := b.state(w); strings.Contains(s, "v1") || b.locked(w) {
			t.Fatalf("after the plan the backend keeps %q, locked %t", s, b.locked(w))
		}
		w.approves(w.bob, pull)
		w.tells(w.alice, pull, "planlatch apply")
		w.status(head, "planlatch/apply", "success")
		keeps(t, b.state(w), "v1")
		if b.locked(w) {
			t.Error("the apply left its lock in the backend")
		}
		if b.served != nil {
			b.served(t)
		}

		at := w.terminal(text, b.env)
		if got := strings.TrimSpace(at.tofu("state", "list")); got != "terraform_data.vpc" {
			t.Errorf("tofu state list = %q, want terraform_data.vpc", got)
		}
		if got := at.tofu("show", "-no-color"); !strings.Contains(got, `"v1"`) {
			t.Errorf("tofu show = %s, want v1", got)
		}
		at.settled()

		w.merge(w.bob, pull, vcstest.MergeCommit)
		w.shows(pull, "applied")
		w.hides(pull, b.secrets)
	})
}

func TestALockOfSomebodyElseIsExplained(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, b backend) {
		w := begin(t, nil, b.rules())
		text := code(b.block, "v1")
		lock := b.hold(w, w.terminal(text, b.env))
		pull, head := w.propose("vpc", map[string]string{"network/main.tf": text})
		w.status(head, "planlatch/plan", "failure")
		w.shows(pull, append(lock.told, "its state is locked")...)
		w.hides(pull, b.secrets)

		lock.release()
		w.tells(w.alice, pull, "planlatch plan")
		w.status(head, "planlatch/plan", "success")
		w.shows(pull, "v1", "terraform_data.vpc")
		if s := w.summary(pull); strings.Contains(s, "its state is locked") {
			t.Errorf("the lock is still told of:\n%s", s)
		}
	})
}
