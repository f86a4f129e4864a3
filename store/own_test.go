package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// TestANodeIsOneProcess opens a database twice, as two replicas do, one of which has a copy of the other's data directory.
func TestANodeIsOneProcess(t *testing.T) {
	t.Parallel()
	o := store.Options{DSN: postgres.New(t, postgres.Options{})}
	one, other := open(t, o), open(t, o)
	if err := one.Own(t.Context(), "node-a"); err != nil {
		t.Fatalf("Own() = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // for one look at least, on a starved machine
	defer cancel()
	if err := other.Own(ctx, "node-a"); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Own() of a node that another process is = %v, want ErrInUse", err)
	}
	if err := other.Own(t.Context(), "node-b"); err != nil {
		t.Errorf("Own() of another node = %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, o)
	if err := again.Own(t.Context(), "node-a"); err != nil {
		t.Errorf("Own() after its process ended = %v", err)
	}
}
