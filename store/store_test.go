package store_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"flag"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/store/storetest"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// TestMain lets the test binary be the process that a test kills.
func TestMain(m *testing.M) {
	if o := (store.Options{Dir: os.Getenv("STORE_TEST_DIR"), DSN: os.Getenv("STORE_TEST_DSN")}); o.Dir+o.DSN != "" {
		if kill := os.Getenv("STORE_TEST_OPEN"); kill != "" {
			opener(o, kill)
		}
		child(o)
	}
	flag.Parse()
	// The tests wait for the disk, the server and each other's jobs, hardly for the processor.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Database { return &database{options: store.Options{Dir: t.TempDir()}} })
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Database {
		return &database{options: store.Options{DSN: postgres.New(t, postgres.Options{})}, shared: true}
	})
}

type database struct {
	options store.Options
	shared  bool
}

func (d *database) Shared() bool { return d.shared }

func (d *database) Open(t *testing.T, o storetest.Options) storetest.Store {
	t.Helper()
	options := d.options
	options.Kill, options.Sealer = o.Kill, newSealer()
	options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	return open(t, options)
}

func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open() error = %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() error = %v", err)
		}
	})
	return s
}

// sealer is AES-GCM with a fixed key, so that a second handle opens what the first sealed.
type sealer struct{ aead cipher.AEAD }

func newSealer() sealer {
	block, err := aes.NewCipher([]byte("a key for tests of thirty-two b."))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer{aead}
}

func (s sealer) Seal(_ context.Context, plain []byte) ([]byte, error) {
	return s.aead.Seal(nil, nil, plain, nil), nil
}

func (s sealer) Open(_ context.Context, sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, errors.New("sealed with another key, or damaged")
	}
	return plain, nil
}
