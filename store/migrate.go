package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A migration is numbered release*1000+n. A binary works on schemas up to the end of the next release, because migrations only add, and so
// replicas can be replaced one by one; it refuses what is newer.
const release = 1

// columnTypes are the two types whose spelling the engines do not share. A migration that one engine spells wholly differently has a file for
// each: 1003_name.sqlite.sql and 1003_name.postgres.sql.
type columnTypes struct{ engine, id, bytes string }

// ErrNewer says that a newer planlatch than this one works with the database. Nothing was written.
var ErrNewer = errors.New("start a newer planlatch, or restore the backup made before the upgrade")

// migrate brings the schema and River's own up to date. The caller holds a lock that keeps other processes out. Each migration is a
// transaction, so a process that dies in the middle leaves the rest to the next; kill is called before each commit of ours.
func migrate[T any](ctx context.Context, db *sql.DB, dialect goose.Dialect, types columnTypes, driver riverdriver.Driver[T], kill func(string)) error {
	migrations, err := readMigrations(types, kill)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, nil, goose.WithGoMigrations(migrations...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	known := migrations[len(migrations)-1].Version
	if limit := int64(release+2)*1000 - 1; have > limit {
		return fmt.Errorf("the database has schema %d, and this planlatch works up to %d: %w", have, limit, ErrNewer)
	}
	m, err := jobMigrations(ctx, db, driver)
	if err != nil {
		return err
	}
	if have < known {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate from schema %d to %d: %w", have, known, err)
		}
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate jobs: %w", err)
	}
	return nil
}

// jobMigrations are River's. Unlike ours they make no promise to older binaries, so a schema that this River does not know is refused.
func jobMigrations[T any](ctx context.Context, db *sql.DB, driver riverdriver.Driver[T]) (*rivermigrate.Migrator[T], error) {
	m, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, fmt.Errorf("read job migrations: %w", err)
	}
	known := 0
	for _, v := range m.AllVersions() {
		known = max(known, v.Version)
	}
	var have int
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM river_migration").Scan(&have); err != nil {
		have = 0 // there is no such table yet; when there is one and it cannot be read, migrating says so
	}
	if have > known {
		return nil, fmt.Errorf("the jobs in the database have schema %d, and this planlatch works up to %d: %w", have, known, ErrNewer)
	}
	return m, nil
}

// readMigrations returns the embedded migrations in order, each run in a transaction of its own.
func readMigrations(types columnTypes, kill func(string)) ([]*goose.Migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	spell := strings.NewReplacer("{{id}}", types.id, "{{bytes}}", types.bytes)
	var all []*goose.Migration
	for _, name := range names {
		number, rest, _ := strings.Cut(path.Base(name), "_")
		if parts := strings.Split(rest, "."); len(parts) == 3 && parts[1] != types.engine {
			continue
		}
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", name, err)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		statements := spell.Replace(string(text))
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, statements); err != nil {
				return err
			}
			kill("before:migrate " + number)
			return nil
		}}, nil))
	}
	return all, nil
}
