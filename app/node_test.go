package app

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

func TestANodeKeepsItsID(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	id := func() string {
		t.Helper()
		node, err := nodeID(t.Context(), data)
		if err != nil || !strings.HasPrefix(node.ID, "node-") {
			t.Fatalf("nodeID() = %+v, %v", node, err)
		}
		return node.ID
	}
	var beginners sync.WaitGroup
	var ids [8]string
	for i := range ids { // at the same moment, in a directory that nobody has used
		beginners.Go(func() {
			node, err := nodeID(t.Context(), data)
			if err != nil {
				t.Error(err)
			}
			ids[i] = node.ID
		})
	}
	beginners.Wait()
	for _, each := range ids {
		if each != id() {
			t.Errorf("ids = %q, want %s for all", ids, id())
		}
	}
	if files, err := os.ReadDir(data); err != nil || len(files) != 1 {
		t.Errorf("%v, %v lie there, want the id alone", files, err)
	}

	// The power failed before the id was on the disk: nobody knows it, so it is another one, and that stays.
	if err := os.Truncate(nodeFile(data), 0); err != nil {
		t.Fatal(err)
	}
	if fresh := id(); fresh == ids[0] || fresh != id() {
		t.Errorf("id = %s, then %s, after %s was lost", fresh, id(), ids[0])
	}
}

// An id that cannot be read is not replaced: the executions that lie there are its own.
func TestANodeWhoseIDCannotBeReadDoesNotStart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.Mkdir(nodeFile(data), 0o700); err != nil {
		t.Fatal(err)
	}
	if node, err := nodeID(t.Context(), data); err == nil || !strings.Contains(err.Error(), nodeFile(data)) {
		t.Errorf("nodeID() = %+v, %v, want an error that names the file", node, err)
	}
}

func TestASecondServerOnTheSameDataIsRefusedAndToldWhatToDo(t *testing.T) {
	t.Parallel()
	cfg, dsn := config.Default(t.TempDir()), postgres.New(t, postgres.Options{})
	opened := func() *store.Store {
		s, err := store.Open(t.Context(), store.Options{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	if _, err := ownNode(t.Context(), cfg, opened()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // for one look at least, on a starved machine
	defer cancel()
	_, err := ownNode(ctx, cfg, opened())
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "remove "+nodeFile(cfg.Data)) {
		t.Errorf("ownNode() = %v, want that the directory is in use, and what to do", err)
	}
}
