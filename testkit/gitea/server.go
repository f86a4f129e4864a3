// Package gitea starts a real Gitea for tests and drives it as people would: through its API with their own tokens, and through git over
// HTTP with their own passwords.
//
// It promises a server on a loopback port it chose, in a directory of its own, with an empty SQLite database, that dies with the test (or
// with the test binary, however that ends) and leaves nothing behind. It needs no network and runs as root or not: Gitea refuses root, so
// as root the server runs as nobody. Every helper ends the test with one clear message when the host does not do what was asked.
// All of it is safe for concurrent use. Only tests import it.
package gitea

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/loopback"
	"github.com/planlatch/planlatch/testkit/pinned"

	sdk "code.gitea.io/sdk/gitea"
)

const (
	readyWithin = 4 * time.Minute // normally one second
	callWithin  = 2 * time.Minute
)

// Server is one running Gitea.
type Server struct {
	URL   string  // without a slash at the end
	Admin *Person // the administrator of the whole host

	dir  string
	http *http.Client
	seq  atomic.Int64
	pipe io.Closer // closing it ends the server and removes its directory
	cmd  *exec.Cmd
}

// Start starts a server for this test alone and ends it with the test. It takes about a second; prefer [Shared] where tests can keep out
// of each other's way by using their own people and repositories.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := launch(t.Context())
	if err != nil {
		t.Fatalf("start gitea: %v", err)
	}
	t.Cleanup(s.stop)
	return s
}

// shared is the one server of a test binary: tests of one package reach it without a TestMain.
var shared = sync.OnceValues(func() (*Server, error) {
	// The first test that asks must not end the server for the others, so no test's context bounds it.
	return launch(context.Background())
})

// Shared returns the one server of this test binary, and starts it when it is asked for first. It ends when the test binary does.
// Take names from [Server.Unique], since other tests use the same host.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("start gitea: %v", err)
	}
	return s
}

// Unique returns a name that nobody on this server has yet.
func (s *Server) Unique(prefix string) string { return fmt.Sprintf("%s-%d", prefix, s.seq.Add(1)) }

// Log returns what the server has logged so far.
func (s *Server) Log() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "gitea.log")) // best effort: for the eyes of whoever reads a failure
	return string(log)
}

// supervise runs Gitea and waits. When stdin ends, because somebody closed it or because the test binary is gone, it kills Gitea and
// removes the directory. When Gitea ends by itself it says so in the file "ended" and keeps the log until stdin ends.
const supervise = `dir=$1; shift
"$@" </dev/null >"$dir/gitea.log" 2>&1 & child=$!
exec 3<&0
(read -r _ <&3; kill -KILL $child) & reader=$!
wait $child
if kill $reader 2>/dev/null; then : >"$dir/ended"; read -r _ <&3; fi
rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }`

// launch builds, configures and starts a server, and makes its administrator.
func launch(ctx context.Context) (*Server, error) {
	binary, err := pinned.Find("gitea")
	if err != nil {
		return nil, err
	}
	who, err := account()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s, err := run(ctx, binary, who)
		// Between choosing a port and listening on it somebody else may have taken it.
		if err == nil || attempt == 3 || !errors.Is(err, errPort) {
			return s, err
		}
	}
}

var errPort = errors.New("port taken")

// run starts Gitea in a directory of its own and waits until it answers.
func run(ctx context.Context, binary string, who *credential) (*Server, error) {
	dir, err := os.MkdirTemp("", "planlatch-gitea-")
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, binary, dir, who)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func start(ctx context.Context, binary, dir string, who *credential) (*Server, error) {
	at, err := loopback.Free()
	if err != nil {
		return nil, err
	}
	static := filepath.Dir(binary)
	if who != nil { // the cache may lie where the other account cannot look
		static = filepath.Join(dir, "static")
		if err := mirror(filepath.Dir(binary), static, who); err != nil {
			return nil, err
		}
		binary = filepath.Join(static, filepath.Base(binary))
	}
	s := &Server{
		URL: "http://" + at.String(),
		dir: dir,
		// No kept-alive connections: they would count as leaked goroutines in packages that look for those.
		http: &http.Client{Timeout: callWithin, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	config := filepath.Join(dir, "app.ini")
	if err := os.WriteFile(config, []byte(appIni(dir, static, s.URL, at)), 0o600); err != nil {
		return nil, err
	}
	if err := errors.Join(who.own(config), who.own(dir)); err != nil {
		return nil, err
	}
	s.cmd = exec.Command("sh", "-c", supervise, "sh", dir, binary, "--config", config, "web") //nolint:noctx // it outlives the call
	s.cmd.Dir, s.cmd.Env, s.cmd.SysProcAttr = dir, environment(dir), who.attr()
	if s.pipe, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	if err := s.ready(ctx); err != nil {
		log := s.Log()
		s.stop()
		if strings.Contains(log, "address already in use") {
			return nil, errPort
		}
		return nil, fmt.Errorf("%w; its log ends with:\n%s", err, tail(log, 30))
	}
	if err := s.administrator(ctx, binary, config, who); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// ready waits until the server is healthy, or ended, or too slow.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/healthz", nil)
		if err != nil {
			return err
		}
		if resp, err := s.http.Do(req); err == nil {
			_ = resp.Body.Close() // only the status matters
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if _, err := os.Stat(filepath.Join(s.dir, "ended")); err == nil {
			return errors.New("gitea ended at once")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gitea is not ready after %s", readyWithin)
		case <-tick.C:
		}
	}
}

// administrator makes the first account, the only way there is: through the program itself.
func (s *Server) administrator(ctx context.Context, binary, config string, who *credential) error {
	admin := &Person{Login: "operator", Email: "operator@example.test", Password: password, server: s}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--config", config, "admin", "user", "create", "--admin", "--username", admin.Login,
		"--email", admin.Email, "--password", admin.Password, "--must-change-password=false")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.dir, environment(s.dir), who.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("create the administrator: %w\n%s", err, tail(string(out), 10))
	}
	if err := admin.authenticate(); err != nil {
		return fmt.Errorf("create the administrator: %w", err)
	}
	s.Admin = admin
	return nil
}

// stop ends the server and waits until its directory is gone.
func (s *Server) stop() {
	_ = s.pipe.Close() // closing twice is harmless
	_ = s.cmd.Wait()   // it was killed on purpose: its exit says nothing
	s.http.CloseIdleConnections()
}

// client speaks to the API as whoever the options say.
func (s *Server) client(options ...sdk.ClientOption) *sdk.Client {
	// An empty version keeps the client from asking for one: a Gitea built from its module calls itself "development".
	c, err := sdk.NewClient(s.URL, append(options, sdk.SetHTTPClient(s.http), sdk.SetGiteaVersion(""))...)
	if err != nil {
		panic(err) // only options can fail, and ours are constant
	}
	return c
}

func appIni(dir, static, url string, at netip.AddrPort) string {
	return fmt.Sprintf(`APP_NAME = planlatch test
RUN_MODE = prod
WORK_PATH = %[1]s
[server]
HTTP_ADDR = %[4]s
HTTP_PORT = %[5]d
ROOT_URL = %[3]s/
STATIC_ROOT_PATH = %[2]s
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = %[1]s/data/gitea.db
SQLITE_JOURNAL_MODE = WAL
[repository]
ROOT = %[1]s/repositories
DEFAULT_BRANCH = main
[repository.pull-request]
DEFAULT_MERGE_STYLE = merge
[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-tests-only-for-tests
INTERNAL_TOKEN = only-for-tests-only-for-tests-only-for-tests
PASSWORD_HASH_ALGO = pbkdf2_v1
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[log]
MODE = console
LEVEL = Info
[session]
PROVIDER = memory
[oauth2]
ENABLED = false
[mailer]
ENABLED = false
[packages]
ENABLED = false
[actions]
ENABLED = false
[cron]
ENABLED = false
`, dir, static, url, at.Addr(), at.Port())
}

// environment is all that the server sees of ours.
func environment(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GITEA_WORK_DIR=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8"}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
