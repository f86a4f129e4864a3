package store_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

func TestASecondProcessIsRefusedTheDataDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	s := open(t, store.Options{Dir: dir})
	second, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err == nil {
		_ = second.Close()
		t.Fatal("Open() of a directory in use succeeded")
	}
	if want := fmt.Sprintf("in use by another planlatch (process %d)", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("Open() error = %q, want it to say %q", err, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, store.Options{Dir: dir})
}

func TestOpenRefusesWithAMessage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options store.Options
		want    string
	}{
		"nothing":               {store.Options{}, "neither"},
		"both":                  {store.Options{Dir: t.TempDir(), DSN: "postgres://localhost/x"}, "not both"},
		"a file as directory":   {store.Options{Dir: file}, "data directory " + file},
		"no server there":       {store.Options{DSN: "postgres://127.0.0.1:1/x?connect_timeout=2"}, "connect to PostgreSQL"},
		"a URL that is none":    {store.Options{DSN: "postgres://[/"}, "PostgreSQL URL"},
		"a directory below one": {store.Options{Dir: filepath.Join(file, "data")}, "data directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), test.options)
			if err == nil {
				_ = s.Close()
				t.Fatal("Open() succeeded")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open() error = %q, want it to say %q", err, test.want)
			}
		})
	}
}

func TestADataDirectoryMayHaveAnyName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b?c#d%20&e")
	s := open(t, store.Options{Dir: dir})
	if err := s.Mark(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"planlatch.db", "planlatch.db-wal", "planlatch.lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("Stat() error = %v", err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
		}
	}
}

// A newer release's schema is accepted for one release, so that replicas can be replaced one by one, and refused beyond.
func TestNewerSchemas(t *testing.T) {
	t.Parallel()
	engines := map[string]func(t *testing.T) (store.Options, func(statement string)){
		"SQLite": func(t *testing.T) (store.Options, func(string)) {
			dir := t.TempDir()
			return store.Options{Dir: dir}, func(statement string) {
				db, err := sql.Open("sqlite", filepath.Join(dir, "planlatch.db"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		},
		"PostgreSQL": func(t *testing.T) (store.Options, func(string)) {
			dsn := postgres.New(t, postgres.Options{})
			return store.Options{DSN: dsn}, func(statement string) { execute(t, dsn, statement) }
		},
	}
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, change := engine(t)
			if err := open(t, options).Close(); err != nil {
				t.Fatal(err)
			}
			change("INSERT INTO goose_db_version (version_id, is_applied) VALUES (2001, true)")
			if err := open(t, options).Close(); err != nil {
				t.Fatal(err)
			}
			change("INSERT INTO goose_db_version (version_id, is_applied) VALUES (3001, true)")
			s, err := store.Open(t.Context(), options)
			if err == nil {
				_ = s.Close()
				t.Fatal("Open() of schema 3001 succeeded")
			}
			if want := "the database has schema 3001, and this planlatch works up to 2999"; !strings.Contains(err.Error(), want) {
				t.Errorf("Open() error = %q, want it to say %q", err, want)
			}
		})
	}
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreSealedAtRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir, Sealer: newSealer()})
	ctx := t.Context()
	const secret = "correct-horse-battery"
	f := seed(t, s, 1)
	if _, err := s.Deliver(ctx, run.Delivery{Host: "gitea", ID: "1", Event: []byte(secret)}); err != nil {
		t.Fatal(err)
	}
	f.pull.Frozen = []byte(secret)
	if _, err := s.SavePull(ctx, f.pull); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendLog(ctx, f.runs[0].ID, "plan", 1, []byte(secret)); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(ctx, "plain", "visible-in-the-file"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "planlatch.db"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(secret)) {
		t.Error("the secret is in the database file")
	}
	if !bytes.Contains(content, []byte("visible-in-the-file")) {
		t.Error("the test looks at the wrong file: what is plain is not in it")
	}
}

// The child of TestAKilledProcessLosesNoJob starts a job, says so and never ends it.
func child(options store.Options) {
	ctx := context.Background()
	s, err := store.Open(ctx, options)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	s.Handle("look", func(context.Context, string) error {
		fmt.Println("running")
		select {}
	})
	if err := s.Enqueue(ctx, run.Job{Kind: "look", Key: "a"}); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	if err := s.Start(ctx); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	select {}
}

func TestAKilledProcessLosesNoJob(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(t *testing.T) store.Options{
		"SQLite":     func(t *testing.T) store.Options { return store.Options{Dir: t.TempDir()} },
		"PostgreSQL": func(t *testing.T) store.Options { return store.Options{DSN: postgres.New(t, postgres.Options{})} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			for range 3 { // a job whose processes keep dying is still taken back
				killChild(t, o)
			}
			s := open(t, o)
			keys := make(chan string, 10)
			s.Handle("look", func(_ context.Context, key string) error {
				keys <- key
				return nil
			})
			later := time.Now().Add(time.Second)
			if err := s.Enqueue(t.Context(), run.Job{Kind: "look", Key: "alarm", At: later}); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			// The children asked for "a" while the one before seemed to run it, so it may come twice.
			left := map[string]bool{"a": true, "alarm": true}
			for deadline := time.After(2 * time.Minute); len(left) > 0; { // a loaded machine; a second is usual
				select {
				case key := <-keys:
					delete(left, key)
				case <-deadline:
					t.Fatalf("jobs %v did not run within %s of the restart", left, time.Since(begun))
				}
			}
		})
	}
}

// killChild runs this test binary as a process that works on the database, and kills it in the middle of a job.
func killChild(t *testing.T, o store.Options) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_DIR="+o.Dir, "STORE_TEST_DSN="+o.DSN)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "running" {
		t.Errorf("the child said %q", lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestAJobOfADeadReplicaIsTakenBackByALivingOne(t *testing.T) {
	t.Parallel()
	o := store.Options{DSN: postgres.New(t, postgres.Options{})}
	s := open(t, o)
	keys := make(chan string, 1)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Handle("intake", func(_ context.Context, key string) error { keys <- key; return nil })
	// A job as the dead leave it: running, by somebody whose session is gone.
	execute(t, o.DSN, `INSERT INTO river_job (args, attempt, attempted_at, attempted_by, kind, max_attempts, queue, state)
		VALUES ('{"job":"intake","key":"gitea/1"}', 1, now(), ARRAY['planlatch-dead'], 'planlatch', 20, 'default', 'running')`)
	select {
	case <-keys:
	case <-time.After(2 * time.Minute): // two looks, five seconds apart
		t.Fatal("nobody took the job back")
	}
}

func TestALostListenerComesBack(t *testing.T) {
	t.Parallel()
	o := store.Options{DSN: postgres.New(t, postgres.Options{})}
	one, two := open(t, o), open(t, o)
	f := seed(t, one, 0)
	kicks := two.Kicks()
	execute(t, o.DSN, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
	deadline := time.After(time.Minute)
	for heard := 0; heard < 3; { // the first may be of the new connection itself
		if err := one.Want(t.Context(), run.Posting{Kind: run.PostReply, Repo: f.repo.ID, Key: "c", Body: "b"}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-kicks:
			heard++
		case <-time.After(100 * time.Millisecond): // not listening again yet
		case <-deadline:
			t.Fatal("the other handle hears nothing any more")
		}
	}
}
