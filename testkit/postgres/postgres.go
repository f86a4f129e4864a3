// Package postgres starts a private PostgreSQL cluster for tests: on a loopback address, in a temporary directory, with a password of its own.
//
// It promises one cluster per test binary and kind of durability, started when it is first needed, and one database per call of New. The
// cluster ends with the test binary, also when that is killed: a small shell waits on a pipe that only the binary holds open, then stops
// the server and removes the directory. It works as root, where the server runs as user postgres because it refuses root, and as an
// ordinary user. Without PostgreSQL's server programs New fails the test and says what to install; it never skips.
//
// All of it is safe for parallel tests.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/testkit/loopback"
)

// patience is how long a program of PostgreSQL may take on a starved machine; a second is usual.
const patience = 4 * time.Minute

// Options choose a cluster. The zero value is fast and forgets on a power cut.
type Options struct {
	Fsync bool // true: commits reach the disk, as in production
}

// The clusters of this test binary, by Options. A process has one set, since it has one life to tie them to.
var clusters struct { //nolint:gochecknoglobals // see above
	sync.Mutex
	byOptions map[Options]*cluster
}

type cluster struct {
	bin   string // where the server's programs are
	dir   string
	owner *syscall.Credential // who the server runs as; nil: as we are
	flags string
	url   url.URL // of the maintenance database
	guard *os.File
	next  int
}

// New returns the URL of a fresh, empty database that is dropped when the test ends. Its user owns the whole cluster.
func New(t testing.TB, o Options) string {
	t.Helper()
	clusters.Lock()
	defer clusters.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), patience) // when it is our turn: the first starts the cluster for all
	defer cancel()
	c := clusters.byOptions[o]
	if c == nil {
		var err error
		if c, err = start(ctx, o); err != nil {
			t.Fatalf("start PostgreSQL for tests: %v", err)
		}
		if clusters.byOptions == nil {
			clusters.byOptions = map[Options]*cluster{}
		}
		clusters.byOptions[o] = c
	}
	c.next++
	name := fmt.Sprintf("test_%d", c.next)
	if err := c.exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := c.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	own := c.url
	own.Path = "/" + name
	own.RawQuery += "&connect_timeout=60" // on a loaded machine five seconds, which is the store's own limit, may pass
	return own.String()
}

func (c *cluster) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, c.url.String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// start makes a cluster, and the guard that removes it, in this order: directory, guard, files, server. So nothing is ever left behind.
func start(ctx context.Context, o Options) (*cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	owner, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "planlatch-postgres-")
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: dir, owner: owner}
	if c.guard, err = guard(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.serve(ctx, o); err != nil {
		return nil, errors.Join(err, c.guard.Close())
	}
	return c, nil
}

// runAs runs one of the server's programs.
func (c *cluster) runAs(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + c.dir} //nolint:forbidigo // test support
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setsid: true}                    // out of reach of Ctrl-C: the guard ends it
	log, err := os.OpenFile(filepath.Join(c.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log // a file: the server inherits it, and a pipe would never end
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name()) // best effort: without it there is still the exit code
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(text)))
	}
	return nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// up starts the server at its flags.
func (c *cluster) up(ctx context.Context) error {
	return c.runAs(ctx, "pg_ctl", "start", "-w", "-t", "180", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-o", c.flags)
}

func (c *cluster) serve(ctx context.Context, o Options) error {
	if c.owner != nil {
		if err := os.Chown(c.dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return err
		}
	}
	password := rand.Text()
	secret := filepath.Join(c.dir, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return err
	}
	if c.owner != nil {
		if err := os.Chown(secret, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return err
		}
	}
	if err := c.runAs(ctx, "initdb", "-D", c.data(), "-U", "planlatch", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--locale=C.UTF-8",
		"--no-sync", "--no-instructions"); err != nil {
		return err
	}
	onOff := map[bool]string{true: "on", false: "off"}
	settings := fmt.Sprintf("-k %s -c fsync=%[2]s -c synchronous_commit=%[2]s -c full_page_writes=%[2]s -c max_connections=300", c.dir, onOff[o.Fsync])
	var err error
	for range 3 { // another program may take the port between our look and the server's
		var at netip.AddrPort
		if at, err = loopback.Free(); err != nil {
			return err
		}
		c.flags = fmt.Sprintf("%s -h %s -p %d", settings, at.Addr(), at.Port())
		if err = c.up(ctx); err == nil {
			c.url = url.URL{
				Scheme: "postgres", User: url.UserPassword("planlatch", password), Host: at.String(),
				Path: "/postgres", RawQuery: "sslmode=disable",
			}
			return nil
		}
	}
	text, _ := os.ReadFile(filepath.Join(c.dir, "log")) // best effort, as above
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(text)))
}

// guardScript waits until the test binary is gone, however it went, and leaves nothing behind.
const guardScript = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	kill -CONT "$pid" 2>/dev/null
	i=0
	while [ -e "$1/data/postmaster.pid" ] && [ $i -lt 1200 ]; do i=$((i+1)); sleep 0.05; done
fi
rm -rf "$1"
`

// guard starts the shell and returns the end of its pipe; closing it, or dying, sets it off.
func guard(dir string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("sh", "-c", guardScript, "sh", dir) //nolint:noctx // it outlives every context of ours
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), w.Close())
	}
	return w, cmd.Process.Release()
}

// programs finds the directory with the server programs: in PATH, else the newest version where distributions keep them.
func programs() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil {
			return filepath.Dir(initdb), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("initdb is neither in PATH nor in /usr/lib/postgresql/*/bin: install the PostgreSQL server (Debian: apt-get install postgresql)")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // a name that is no number sorts first
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// serverUser returns who the server runs as: nil for ourselves, user postgres when we are root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil means "as we are" to exec
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("the server refuses to run as root, and there is no user postgres to run it as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
