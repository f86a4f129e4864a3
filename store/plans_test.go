package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/store"
)

// What every run asks must be found by an index, or a run would cost more with each run before it. SQLite has no statistics to choose by, so
// it is the text of a query that decides. These are the shapes that once were chosen badly, as the store writes them.
func TestWhatEveryRunAsksIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "planlatch.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	newest := func(where string) string {
		return "SELECT r.id FROM runs AS r WHERE r.id IN (SELECT (SELECT x.id FROM runs AS x WHERE x.project = p.id AND " + where +
			" ORDER BY x.id DESC LIMIT 1) FROM projects AS p WHERE p.id IN (1, 2))"
	}
	for query, index := range map[string]string{
		newest("x.kind = 'merge' AND x.state IN ('queued', 'applied')"):                                                                                                           "runs_merges",
		newest("x.state = 'applied'"):                                                                                                                                             "runs_applied",
		"SELECT * FROM runs AS r WHERE r.repo = 1 AND r.unsaved ORDER BY r.created DESC, r.id DESC LIMIT 9":                                                                       "runs_unsaved",
		"SELECT * FROM runs AS r WHERE r.revision = 1 AND r.project = 2 AND r.state IN ('a', 'b') ORDER BY +r.created DESC, r.id DESC LIMIT 9":                                    "revision=? AND project=?",
		"SELECT r.place FROM runs AS r WHERE r.waiting > 0 AND r.waiting = 2 AND r.place >= 0 AND r.place < 9 ORDER BY r.place LIMIT 1":                                           "runs_waiting",
		"SELECT r.place FROM runs AS r WHERE r.waiting > 0 AND r.waiting = 2 AND r.place >= 0 AND r.place < 9 AND r.repo = 1 AND r.revision <> 3 ORDER BY r.created DESC LIMIT 1": "runs_crowd",
		"SELECT * FROM pulls WHERE repo = 1 AND head_sha = 'x' AND state = 'open' ORDER BY +number":                                                                               "pulls_open",
		"SELECT h.pull FROM projects AS q JOIN projects AS p ON p.identity = q.identity AND p.id <> q.id JOIN holds AS h ON h.project = p.id" +
			" WHERE q.identity <> '' AND p.identity <> '' AND q.id IN (1)": "projects_identity",
	} {
		plan := explain(t, db, query)
		if strings.Contains(plan, "SCAN") || !strings.Contains(plan, index) {
			t.Errorf("SQLite does not go by %s in\n%s\nbut\n%s", index, query, plan)
		}
	}
}

func explain(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
