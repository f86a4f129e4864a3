package app_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
)

func TestServeRefusesADatabaseOfANewerReleaseAndWritesNothing(t *testing.T) {
	t.Parallel()
	file, data := write(t, good)
	cfg, err := config.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	server, err := app.NewServer(t.Context(), cfg, app.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(data, "planlatch.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9001, true)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	code, _, said := run(t, nil, "serve", "--config", file)
	if code != 2 {
		t.Errorf("exit code = %d, want 2", code)
	}
	for _, want := range []string{path, "schema 9001", "start a newer planlatch, or restore the backup"} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want it to name %q", said, want)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database was written to (%v)", err)
	}
}
