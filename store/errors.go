package store

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/planlatch/planlatch/run"
)

// fault is what a driver's error means to us.
type fault int

const (
	faultOther    fault = iota
	faultMissing        // no such row
	faultUnique         // a unique row exists
	faultDangling       // a row refers to one that does not exist
	faultRetry          // the database asks to run the transaction again
)

// classify is the one place that knows the codes of the drivers.
func classify(err error) fault {
	if errors.Is(err, sql.ErrNoRows) {
		return faultMissing
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "23505":
			return faultUnique
		case "23503":
			return faultDangling
		case "40001", "40P01": // serialization failure, deadlock
			return faultRetry
		}
		return faultOther
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return faultUnique
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return faultDangling
		}
		switch lite.Code() & 0xff { // the low byte is the kind, the rest a detail: busy while recovering, busy snapshot
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return faultRetry
		}
	}
	return faultOther
}

// domain turns a driver's error into one that callers compare with; what was being done is told in a few words.
func domain(doing string, err error) error {
	if err == nil {
		return nil
	}
	switch classify(err) {
	case faultMissing:
		return fmt.Errorf("%s: %w", doing, run.ErrNotFound)
	case faultUnique:
		return fmt.Errorf("%s: %w", doing, run.ErrExists)
	case faultDangling:
		return fmt.Errorf("%s: what it refers to: %w", doing, run.ErrNotFound)
	case faultOther, faultRetry:
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// room makes the error of a database whose disk is full one that says so, also to programs. SQLite alone tells it by a number, and of a
// file that it cannot even begin to use as if the disk were broken.
func room(err error) error {
	full := false
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		full = pg.Code == "53100" // disk full
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		full = lite.Code()&0xff == sqlite3.SQLITE_FULL || lite.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
	}
	if full {
		return fmt.Errorf("%w: %w", err, syscall.ENOSPC)
	}
	return err
}
