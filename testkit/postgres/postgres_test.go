package postgres_test

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/testkit/postgres"
)

func TestEachCallGetsItsOwnEmptyDatabase(t *testing.T) {
	t.Parallel()
	a, b := postgres.New(t, postgres.Options{}), postgres.New(t, postgres.Options{})
	if a == b {
		t.Fatalf("New() twice = %s both times", a)
	}
	exec1(t, a, "CREATE TABLE things (id int)")
	exec1(t, b, "CREATE TABLE things (id int)")
}

func TestFsyncIsAsAsked(t *testing.T) {
	t.Parallel()
	for o, want := range map[postgres.Options]string{{}: "off", {Fsync: true}: "on"} {
		conn := connect(t, postgres.New(t, o))
		var got string
		if err := conn.QueryRow(t.Context(), "SHOW fsync").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("fsync with %+v = %s, want %s", o, got, want)
		}
	}
}

func TestAnotherPasswordIsRefused(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgres.New(t, postgres.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "guess")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("Connect() with another password succeeded")
	}
}

// The child is this test binary: it starts a cluster, says where, and is killed.
func TestNothingIsLeftWhenTheTestBinaryIsKilled(t *testing.T) {
	t.Parallel()
	if os.Getenv("POSTGRES_TEST_CHILD") != "" {
		os.Stdout.WriteString("url " + postgres.New(t, postgres.Options{}) + "\n")
		select {}
	}
	tmp, err := os.MkdirTemp("", "pgkit") //nolint:usetesting // the server's user must get through each directory above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o777); err != nil { // the server's user must get through
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftWhenTheTestBinaryIsKilled$")
	cmd.Env = append(os.Environ(), "POSTGRES_TEST_CHILD=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var dsn string
	for dsn == "" && lines.Scan() {
		dsn, _ = strings.CutPrefix(lines.Text(), "url ")
	}
	exec1(t, dsn, "SELECT 1")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	deadline := time.Now().Add(2 * time.Minute)
	for {
		left, err := filepath.Glob(filepath.Join(tmp, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", left)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // another process's end, at a deadline
	}
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the server still answers")
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatalf("Connect(%s): %v", dsn, err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func exec1(t *testing.T, dsn, statement string) {
	t.Helper()
	if _, err := connect(t, dsn).Exec(t.Context(), statement); err != nil {
		t.Fatalf("Exec(%s): %v", statement, err)
	}
}
