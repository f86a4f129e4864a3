package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/planlatch/planlatch/flock"
)

type sqliteEngine struct {
	now    func() int64
	id     string
	lock   *os.File
	writer *bun.DB // one connection: SQLite has one writer anyway, and this way the others wait in order
	reader *bun.DB
}

func (s *Store) openSQLite(ctx context.Context, dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return err
	}
	e := &sqliteEngine{now: s.local, id: s.id, lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	file := filepath.Join(dir, "planlatch.db")
	// SQLite gives its journal files the mode of the database, so the first one to make it decides.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if e.writer, err = openPool(file, 1, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"); err != nil {
		return err
	}
	if e.reader, err = openPool(file, 4, "query_only(ON)"); err != nil {
		return err
	}
	types := columnTypes{engine: "sqlite", id: "INTEGER PRIMARY KEY AUTOINCREMENT", bytes: "BLOB"}
	d := localDriver[*sql.Tx]{Driver: riversqlite.New(e.writer.DB), listener: s.kicks.wake}
	if err := migrate(ctx, e.writer.DB, goose.DialectSQLite3, types, d, s.kill); err != nil {
		return fmt.Errorf("database %s: %w", file, room(err))
	}
	s.engine, s.read = e, e.reader
	return newJobs(s, d)
}

// openPool opens a pool whose every connection has the pragmas.
func openPool(file string, size int, pragmas ...string) (*bun.DB, error) {
	// What is removed or replaced is overwritten: ciphertext of a key that was changed stays nowhere in the file.
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)", "secure_delete(ON)"}, pragmas...)}
	dsn := url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	// Unknown columns are those of a later release whose schema this one works on.
	return bun.NewDB(db, sqlitedialect.New(), bun.WithDiscardUnknownColumns()), nil
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("is in use by another planlatch")

// releasing is how long a process that has ended may seem to hold the lock: a program that it was about to start has a copy of the lock's
// descriptor until it runs, which on a busy machine may take a while.
const releasing = 5 * time.Second

// lockDir makes the directory and takes it for this process. The lock goes with the process, however it ends.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w", dir, err)
	}
	file := filepath.Join(dir, "planlatch.lock")
	wait, cancel := context.WithTimeout(ctx, releasing)
	defer cancel()
	f, err := flock.Open(wait, file)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("data directory %s is not writable: %w", dir, err)
	}
	if err != nil && wait.Err() == nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err != nil {
		by := ""
		owner, _ := os.ReadFile(file) // best effort: the message is useful without it
		if pid := strings.TrimSpace(string(owner)); pid != "" {
			by = " (process " + pid + ")"
		}
		return nil, fmt.Errorf("data directory %s %w%s: stop that one, choose another directory, or use PostgreSQL to run several", dir, ErrInUse, by)
	}
	// Best effort: who holds the lock is only told to people.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	return f, nil
}

func (e *sqliteEngine) write(ctx context.Context, f func(ctx context.Context, t *tx) error) error {
	return e.writer.RunInTx(ctx, nil, func(ctx context.Context, btx bun.Tx) error {
		return f(ctx, &tx{IDB: btx, raw: btx.Tx, stamp: e.clock})
	})
}

func (e *sqliteEngine) clock(context.Context) (int64, error) { return e.now(), nil }

// alive is true for nobody but us: the lock on the directory says so.
func (e *sqliteEngine) alive(_ context.Context, id string) (bool, error) { return id == e.id, nil }

func (*sqliteEngine) announce(context.Context) error { return nil }

func (e *sqliteEngine) close() error {
	var errs []error
	for _, db := range []*bun.DB{e.reader, e.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, e.lock.Close())...)
}
