// Package store keeps planlatch's rows in SQLite or PostgreSQL and carries its short jobs. It implements run.Store.
//
// It promises that each exported method is one transaction, that what a transaction asks for (postings, jobs) commits with it or not at
// all, and that both engines behave alike: storetest proves it. One set of models and migrations serves both. River, bun and goose stay
// inside. What is decided stays with callers: the store checks epochs, uniqueness and ownership, never whether a transition makes sense.
//
// Times are kept as microseconds since 1970 and come back in UTC. A transaction has one time stamp: the database's clock on PostgreSQL,
// this machine's on SQLite, where they are the same.
//
// A Store is safe for concurrent use. SQLite has one writing connection and a pool of readers; nothing inside a transaction, and so no
// decide function and no Sealer, may call the Store again: it would wait for itself.
package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// Options say where the database is and how to keep it. Exactly one of DSN and Dir is required.
type Options struct {
	DSN    string             // of a PostgreSQL database: postgres://user@host/name
	Dir    string             // of the embedded SQLite database; created when missing, used by one process at a time
	Log    *slog.Logger       // nil: discards
	Kill   func(point string) // called with "before:<action>" and "after:<action>" around the commits of Advance and Deliver, and before those of migrations; nil: never
	Clock  func() time.Time   // this machine's, for tests of a wrong one; nil: time.Now
	Sealer Sealer             // encrypts log text, delivery events, frozen reviews, answers and what policy says at rest; nil: they are kept plain
	// Hide takes secrets out of answers to commands, reasons of runs, details of the audit log, and the errors that are kept with postings and
	// jobs. Nil: they are kept as they are.
	Hide func(text string) string
}

// Sealer encrypts and authenticates small values. It is called inside transactions, so it must not use the Store.
type Sealer interface {
	Seal(ctx context.Context, plain []byte) ([]byte, error)
	Open(ctx context.Context, sealed []byte) ([]byte, error)
}

// Store implements run.Store. Open makes one.
type Store struct {
	log     *slog.Logger
	kill    func(point string)
	machine func() time.Time // this machine's clock
	sealer  Sealer
	hide    func(text string) string
	id      string // of this handle, among all that use the database

	engine engine
	read   *bun.DB
	jobs   *jobs
	kicks  kicks

	skew atomic.Int64 // microseconds by which the database's clock is ahead of this machine's

	idMu sync.Mutex
	ids  io.Reader // monotonic, so that runs made in one millisecond keep their order

	closeOnce sync.Once
	closeErr  error
}

var _ run.Store = (*Store)(nil)

// engine is what SQLite and PostgreSQL do differently.
type engine interface {
	// write runs f in one transaction. When the database asks for it, all of f is run again.
	write(ctx context.Context, f func(ctx context.Context, t *tx) error) error
	// alive says whether the handle with this id still runs somewhere.
	alive(ctx context.Context, id string) (bool, error)
	// own keeps the id of a node for this process.
	own(ctx context.Context, node string) error
	// leads says whether this process sends postings.
	leads(ctx context.Context) (bool, error)
	// clock is the one that all who use the database share, in microseconds since 1970.
	clock(ctx context.Context) (int64, error)
	// announce tells other processes that there is something to look at; lost announcements are covered by everyone's tick.
	announce(ctx context.Context) error
	close() error
}

// tx is one transaction.
type tx struct {
	bun.IDB
	raw   any // *sql.Tx or pgx.Tx, for River
	locks bool
	stamp func(ctx context.Context) (int64, error)

	jobs bool // a job was asked for
	kick bool // a run or posting may be waiting
}

// lockRows adds the row lock that SQLite does not need.
func (t *tx) lockRows(q *bun.SelectQuery) *bun.SelectQuery {
	if t.locks {
		return q.For("NO KEY UPDATE")
	}
	return q
}

// Open opens the database, migrates it and returns the Store; Start begins to do jobs. It fails when the database is newer than this
// program, or when another process uses the embedded one.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{log: o.Log, kill: o.Kill, sealer: o.Sealer, hide: o.Hide, id: "planlatch-" + ulid.Make().String(), ids: ulid.Monotonic(rand.Reader, 0)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.hide == nil {
		s.hide = func(text string) string { return text }
	}
	if s.kill == nil {
		s.kill = func(string) {}
	}
	if s.machine = o.Clock; s.machine == nil {
		s.machine = time.Now
	}
	s.kicks.wake = newListener()
	var err error
	switch {
	case o.DSN != "" && o.Dir != "":
		return nil, errors.New("store: give either a PostgreSQL URL or a data directory, not both")
	case o.DSN != "":
		err = s.openPostgres(ctx, o.DSN)
	case o.Dir != "":
		err = s.openSQLite(ctx, o.Dir)
	default:
		return nil, errors.New("store: neither a PostgreSQL URL nor a data directory is given")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the work that is still running and releases the database. Calling it again does nothing.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // Close has no caller to wait for beyond this
		defer cancel()
		s.closeErr = errors.Join(s.Stop(ctx), s.engine.close())
	})
	return s.closeErr
}

// write runs f in one transaction, says afterwards who should look, and makes errors those of the domain. name is that of the kill points;
// empty for none.
func (s *Store) write(ctx context.Context, doing, name string, f func(ctx context.Context, t *tx) error) error {
	var jobs, kick bool
	err := s.engine.write(ctx, func(ctx context.Context, t *tx) error {
		if err := f(ctx, t); err != nil {
			return err
		}
		jobs, kick = t.jobs, t.kick
		if name != "" {
			s.kill("before:" + name)
		}
		return nil
	})
	if err != nil {
		return domain(doing, err)
	}
	if name != "" {
		s.kill("after:" + name)
	}
	if jobs {
		s.kicks.wake.wake()
	}
	if kick {
		s.kicks.tell()
	}
	if jobs || kick {
		s.kicks.announce()
	}
	return nil
}

// newID makes a run id that sorts by the time given, and behind all made before it in the same millisecond.
func (s *Store) newID(now time.Time) (run.ID, error) {
	s.idMu.Lock()
	defer s.idMu.Unlock()
	id, err := ulid.New(ulid.Timestamp(now), s.ids)
	if err != nil {
		return "", fmt.Errorf("make run id: %w", err)
	}
	return run.ID(id.String()), nil
}

func (s *Store) seal(ctx context.Context, plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, nil
	}
	if s.sealer == nil {
		return plain, nil
	}
	sealed, err := s.sealer.Seal(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

func (s *Store) unseal(ctx context.Context, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	if s.sealer == nil {
		return sealed, nil
	}
	plain, err := s.sealer.Open(ctx, sealed)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	return plain, nil
}

// sealedMark begins a sealed value in a column of text. What has it not was written before the column was sealed.
const sealedMark = "sealed:"

func (s *Store) sealText(ctx context.Context, plain string) (string, error) {
	if plain == "" || s.sealer == nil {
		return plain, nil
	}
	sealed, err := s.seal(ctx, []byte(plain))
	return sealedMark + base64.StdEncoding.EncodeToString(sealed), err
}

func (s *Store) unsealText(ctx context.Context, text string) (string, error) {
	coded, ok := strings.CutPrefix(text, sealedMark)
	if !ok || s.sealer == nil {
		return text, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", fmt.Errorf("unseal: %w", err)
	}
	plain, err := s.unseal(ctx, sealed)
	return string(plain), err
}
