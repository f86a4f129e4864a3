package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// TestAuditRowsAreNeverChanged speaks to the databases past the store: they refuse by themselves.
func TestAuditRowsAreNeverChanged(t *testing.T) {
	t.Parallel()
	statements := []string{"UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := open(t, store.Options{Dir: dir})
		writeDown(t, s)
		db, err := sql.Open("sqlite", filepath.Join(dir, "planlatch.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err == nil {
				t.Errorf("%s succeeded", statement)
			}
		}
		stays(t, s)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		dsn := postgres.New(t, postgres.Options{})
		s := open(t, store.Options{DSN: dsn})
		writeDown(t, s)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, statement := range append(statements, "TRUNCATE audit") {
			if _, err := conn.Exec(t.Context(), statement); err == nil {
				t.Errorf("%s succeeded", statement)
			}
		}
		stays(t, s)
	})
}

func writeDown(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.Advance(t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActUnlock, Audit: []run.Audit{{Actor: "ann", Action: "unlock", Outcome: "done"}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stays(t *testing.T, s *store.Store) {
	t.Helper()
	rows, err := s.AuditRows(t.Context(), run.AuditFilter{})
	if err != nil || len(rows) != 1 || rows[0].Actor != "ann" {
		t.Errorf("AuditRows() = %+v, %v, want the row as it was written", rows, err)
	}
}
