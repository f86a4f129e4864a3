package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/store/storetest"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// opener is a child that only opens the database, or dies in the middle of that: kill names a point.
func opener(o store.Options, kill string) {
	o.Kill = func(point string) {
		if point == kill {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
	s, err := store.Open(context.Background(), o)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func openElsewhere(t *testing.T, o store.Options, kill string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_DIR="+o.Dir, "STORE_TEST_DSN="+o.DSN, "STORE_TEST_OPEN="+kill)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func eachEngine(t *testing.T, test func(t *testing.T, o store.Options)) {
	t.Helper()
	for name, options := range map[string]func(t *testing.T) store.Options{
		"SQLite":     func(t *testing.T) store.Options { return store.Options{Dir: t.TempDir()} },
		"PostgreSQL": func(t *testing.T) store.Options { return store.Options{DSN: postgres.New(t, postgres.Options{})} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, options(t))
		})
	}
}

func TestAProcessThatDiesWhileItMigratesLeavesTheRestToTheNext(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, o store.Options) {
		numbers := slices.Compact(slices.Sorted(func(yield func(string) bool) {
			for name := range migrations(t) {
				if number, _, _ := strings.Cut(name, "_"); !yield(number) {
					return
				}
			}
		}))
		for _, number := range numbers {
			err := openElsewhere(t, o, "before:migrate "+number).Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the process ended with %v, want it to be killed in migration %s", err, number)
			}
		}
		s := open(t, o)
		seed(t, s, 1)
	})
}

func TestProcessesThatStartAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	dsn := postgres.New(t, postgres.Options{})
	var all []*exec.Cmd
	for range 4 {
		all = append(all, openElsewhere(t, store.Options{DSN: dsn}, "never"))
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("one of four processes ended with %v, want all to come up", err)
		}
	}
	if n := count(t, dsn, "SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version"); n != 0 {
		t.Errorf("%d migrations were done twice", n)
	}
}

func TestJobsOfANewerPlanlatchAreRefused(t *testing.T) {
	t.Parallel()
	dsn := postgres.New(t, postgres.Options{})
	if err := open(t, store.Options{DSN: dsn}).Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, dsn, "INSERT INTO river_migration (line, version) VALUES ('main', 99)")
	s, err := store.Open(t.Context(), store.Options{DSN: dsn})
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "schema 99") {
		t.Errorf("Open() error = %v, want ErrNewer that names schema 99", err)
	}
}

// migrations are the statements of each file, without comments.
func migrations(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) < 5 {
		t.Fatalf("Glob() = %q, %v", files, err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(string(text), "")
	}
	return all
}

// breaking finds in the statements of a migration what the binary before it would trip over.
func breaking(text string) (found []string) {
	for statement := range strings.SplitSeq(text, ";") {
		s := strings.ToUpper(strings.Join(strings.Fields(statement), " "))
		for _, word := range []string{"DROP TABLE ", "DROP COLUMN ", "DROP CONSTRAINT ", "DROP TRIGGER ", "DROP DEFAULT ", "RENAME ", "TRUNCATE TABLE", "DELETE FROM", "ALTER COLUMN", "SET NOT NULL", "ADD CONSTRAINT"} {
			if strings.Contains(s, word) {
				found = append(found, word+"in "+s)
			}
		}
		for column := range strings.SplitSeq(s, "ADD COLUMN") {
			if column != s && strings.HasPrefix(s, "ALTER TABLE") && !strings.HasPrefix(column, "ALTER TABLE") &&
				strings.Contains(column, "NOT NULL") && !strings.Contains(column, "DEFAULT") {
				found = append(found, "NOT NULL without DEFAULT in "+s)
			}
		}
	}
	return found
}

// A replica of the release before works on while others are replaced: it inserts rows without the new columns and expects the old ones.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	for name, text := range migrations(t) {
		for _, what := range breaking(text) {
			t.Errorf("%s has %s; a migration only adds, and a new column is nullable or has a default", name, what)
		}
	}
	for _, bad := range []string{
		"ALTER TABLE runs DROP COLUMN state", "alter table runs rename to r", "ALTER TABLE runs ADD COLUMN a BIGINT NOT NULL",
		"ALTER TABLE runs ALTER COLUMN state SET NOT NULL", "DELETE FROM runs", "CREATE TABLE a (b TEXT); DROP TABLE c",
	} {
		if len(breaking(bad)) == 0 {
			t.Errorf("%q is taken for an addition", bad)
		}
	}
	if found := breaking("ALTER TABLE runs ADD COLUMN a BIGINT NOT NULL DEFAULT 0; CREATE TABLE b (c TEXT NOT NULL); DROP INDEX d"); len(found) > 0 {
		t.Errorf("additions are taken for %q", found)
	}
}

// future is what a later release may do to a schema while this one still works on it.
type future struct {
	database
	done bool
}

func (f *future) Open(t *testing.T, o storetest.Options) storetest.Store {
	t.Helper()
	if !f.done {
		f.done = true
		f.migrate(t)
	}
	return f.database.Open(t, o)
}

func (f *future) migrate(t *testing.T) {
	t.Helper()
	s, err := store.Open(t.Context(), f.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	driver, at := "sqlite", filepath.Join(f.options.Dir, "planlatch.db")
	if f.options.DSN != "" {
		driver, at = "pgx", f.options.DSN
	}
	db, err := sql.Open(driver, at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // what was written is looked at by the tests
	statements := []string{"CREATE TABLE later (id BIGINT NOT NULL PRIMARY KEY)", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (2001, true)"}
	for _, table := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(strings.Join(slices.Collect(maps.Values(migrations(t))), "\n"), -1) {
		statements = append(statements, "ALTER TABLE "+table[1]+" ADD COLUMN later TEXT", "ALTER TABLE "+table[1]+" ADD COLUMN later_still BIGINT NOT NULL DEFAULT 7")
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// TestOnASchemaOfTheNextRelease runs the whole suite on tables that have columns which this release does not know.
func TestOnASchemaOfTheNextRelease(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Database {
		return &future{database: database{options: store.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}}}
	})
}
