package upgrade_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/client"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// kept is a data directory of an earlier version, unpacked and restored for one test.
type kept struct {
	dir string
	dsn string // empty for SQLite
	old facts
	raw []byte // the facts as they were written
}

// onEachKept runs a test on a copy of every data directory that is kept.
func onEachKept(t *testing.T, test func(t *testing.T, k kept)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.tar.gz")
	must(t, err)
	if len(files) < 2 {
		t.Fatalf("only %q is kept, want a data directory of each engine", files)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			k := kept{dir: filepath.Join(t.TempDir(), "data")}
			unpack(t, file, k.dir)
			var err error
			k.raw, err = os.ReadFile(filepath.Join(k.dir, "facts.json"))
			must(t, err)
			must(t, json.Unmarshal(k.raw, &k.old))
			if dump, err := os.ReadFile(filepath.Join(k.dir, "dump.sql")); err == nil {
				k.dsn = postgres.New(t, postgres.Options{})
				restore(t, k.dsn, string(dump))
			}
			test(t, k)
		})
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	in, err := os.Open(file)
	must(t, err)
	defer in.Close()
	zip, err := gzip.NewReader(in)
	must(t, err)
	for from := tar.NewReader(zip); ; {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			must(t, os.Mkdir(path, 0o700))
			continue
		}
		text, err := io.ReadAll(from)
		must(t, err)
		must(t, os.WriteFile(path, text, h.FileInfo().Mode().Perm()))
	}
}

func restore(t *testing.T, dsn, dump string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	_, err = conn.PgConn().Exec(t.Context(), dump).ReadAll()
	must(t, errors.Join(err, conn.Close(t.Context())))
}

func TestWhatAnEarlierVersionWroteKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	onEachKept(t, func(t *testing.T, k kept) {
		var ids []string
		for _, d := range k.old.Deliveries {
			ids = append(ids, d.ID)
		}
		now, err := json.Marshal(openParts(t, k.dir, k.dsn).tell(t, ids))
		must(t, err)
		var was, is any
		must(t, errors.Join(json.Unmarshal(k.raw, &was), json.Unmarshal(now, &is)))
		for _, what := range lost("", was, is) {
			t.Error(what)
		}

		// What is compared is worth comparing: a row of every kind, and every state that a stopped server leaves.
		states := map[run.State]run.Run{}
		for _, r := range k.old.Runs {
			states[r.State] = r
		}
		for _, s := range []run.State{run.Queued, run.Planned, run.Confirmed, run.Applying, run.Applied, run.Failed, run.Interrupted} {
			if states[s].ID == "" {
				t.Errorf("no run is %s", s)
			}
		}
		if log := k.old.Logs[states[run.Applied].ID]["apply"]; !strings.Contains(log, "Apply complete!") {
			t.Errorf("the log of an apply is %q", log)
		}
		kinds := reflect.ValueOf(k.old)
		for i := range kinds.NumField() {
			if kinds.Field(i).Len() == 0 {
				t.Errorf("nothing is kept of %s", kinds.Type().Field(i).Name)
			}
		}
	})
}

// lost lists what is not in now as it was. What is only in now came with a later version.
func lost(at string, was, now any) []string {
	var out []string
	switch old := was.(type) {
	case map[string]any:
		is, _ := now.(map[string]any) // nil has nothing
		for _, key := range slices.Sorted(maps.Keys(old)) {
			out = append(out, lost(at+"."+key, old[key], is[key])...)
		}
	case []any:
		is, _ := now.([]any) // as above
		if len(is) != len(old) {
			return []string{fmt.Sprintf("%s has %d rows, had %d", at, len(is), len(old))}
		}
		for i := range old {
			out = append(out, lost(fmt.Sprintf("%s[%d]", at, i), old[i], is[i])...)
		}
	default:
		if !reflect.DeepEqual(was, now) {
			out = append(out, fmt.Sprintf("%s is %v, was %v", at, now, was))
		}
	}
	return out
}

func TestAnUpgradeIsWholeAndHappensOnce(t *testing.T) {
	t.Parallel()
	onEachKept(t, func(t *testing.T, k kept) {
		before := schema(t, k)
		open := func() { t.Run("open", func(t *testing.T) { openParts(t, k.dir, k.dsn) }) }
		open()
		first := schema(t, k)
		for _, done := range before {
			if !slices.Contains(first, done) {
				t.Errorf("migration %s is not among %q any more: what was done must stay done", done, first)
			}
		}
		open()
		if second := schema(t, k); !slices.Equal(first, second) {
			t.Errorf("the second start migrated from %q to %q", first, second)
		}
		if k.dsn != "" {
			return // PostgreSQL keeps its own integrity
		}
		if got := query(t, k, "SELECT integrity_check FROM pragma_integrity_check"); !slices.Equal(got, []string{"ok"}) {
			t.Errorf("integrity_check = %q", got)
		}
		if got := query(t, k, `SELECT "table" FROM pragma_foreign_key_check`); len(got) > 0 {
			t.Errorf("rows of %q refer to rows that are not there", got)
		}
	})
}

// schema lists the migrations that were done, ours and those of the jobs, with the time of each.
func schema(t *testing.T, k kept) []string {
	t.Helper()
	return append(query(t, k, "SELECT version_id || ' ' || tstamp FROM goose_db_version ORDER BY id"),
		query(t, k, "SELECT line || ' ' || version || ' ' || created_at FROM river_migration ORDER BY line, version")...)
}

func query(t *testing.T, k kept, text string) []string {
	t.Helper()
	driver, at := "sqlite", filepath.Join(k.dir, "planlatch.db")
	if k.dsn != "" {
		driver, at = "pgx", k.dsn
	}
	db, err := sql.Open(driver, at)
	must(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), text)
	must(t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		all = append(all, s)
	}
	must(t, rows.Err())
	return all
}

// The kept server was stopped in the middle of an apply, which ended without it. Its host is gone for good.
func TestThisVersionGoesOnWhereAnEarlierOneWasStopped(t *testing.T) {
	t.Parallel()
	onEachKept(t, func(t *testing.T, k kept) {
		cfg := settings(k.dir, k.dsn, "http://127.0.0.1:1", "a token of nobody's")
		cfg.AdminToken = config.NewSecret("the admin's token of the tests")
		server, err := app.NewServer(t.Context(), cfg, app.ServerOptions{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx) }()
		t.Cleanup(func() { stop(); must(t, <-ended) })
		c, err := client.New(server.URL(), cfg.AdminToken.Reveal())
		must(t, err)

		mail := newest(t, c, "mail")
		for deadline := time.Now().Add(patience); mail.State != string(run.Applied); mail = newest(t, c, "mail") {
			if time.Now().After(deadline) {
				t.Fatalf("the apply that ran during the upgrade is %s (%s), want it settled as applied", mail.State, mail.Reason)
			}
			<-time.After(50 * time.Millisecond)
		}
		for name, want := range map[string]run.State{
			"network": run.Applied, "storage": run.Planned, "dns": run.Failed, "queue": run.Interrupted,
		} {
			if got := newest(t, c, name); got.State != string(want) {
				t.Errorf("%s is %s (%s), want it to stay %s", name, got.State, got.Reason, want)
			}
		}
		if web := newest(t, c, "web"); web.State == string(run.Applying) || web.State == string(run.Applied) {
			t.Errorf("web is %s although its host cannot be asked", web.State)
		}
		pauses, _, err := c.Pauses(t.Context())
		if err != nil || len(pauses) != 1 || pauses[0].Reason != "audit of the buckets" {
			t.Errorf("pauses = %+v, %v, want the one that was begun", pauses, err)
		}
		for _, page := range []string{"/readyz", "/healthz"} {
			res, err := http.Get(server.URL() + page) //nolint:noctx // of a server in this process
			must(t, err)
			must(t, res.Body.Close())
			if res.StatusCode != http.StatusOK {
				t.Errorf("GET %s = %d", page, res.StatusCode)
			}
		}
	})
}

func newest(t *testing.T, c *client.Client, project string) client.Run {
	t.Helper()
	runs, _, _, err := c.Runs(t.Context(), client.Filter{Project: project})
	must(t, err)
	if len(runs) == 0 {
		t.Fatalf("there is no run of %s any more", project)
	}
	return runs[0]
}

// What is kept lies in a public tree.
func TestWhatIsKeptTellsNothingOfTheMachineItWasMadeOn(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.tar.gz")
	must(t, err)
	for _, file := range files {
		info, err := os.Stat(file)
		must(t, err)
		if info.Size() > 300<<10 {
			t.Errorf("%s has %d bytes, want at most 300 KiB", file, info.Size())
		}
	}
	onEachKept(t, func(t *testing.T, k kept) {
		must(t, filepath.WalkDir(k.dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			for _, word := range []string{"/root/", "/home/", "/sys/fs", "/go-build", "GOPROXY", "_PROXY"} {
				if strings.Contains(string(text), word) {
					t.Errorf("%s says %s", path, word)
				}
			}
			return err
		}))
	})
}
