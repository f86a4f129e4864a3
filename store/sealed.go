package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Sealed is the sealed values of a database, for whoever encrypts them anew. It may be open beside the servers that use the database: it takes
// no lock, migrates nothing, and replaces a value only if it is still the one that was read.
type Sealed struct {
	db   *bun.DB
	pool *pgxpool.Pool // nil: SQLite
}

// SealedValue is one of them. Where tells people which.
type SealedValue struct {
	Where string
	Body  []byte

	column int
	key    []any
}

// sealedColumn is a column that holds what the Sealer made. The root key, by which a server tells that it has the right key, comes last: until
// everything before it can be read with a key, a server that has this key alone does not start.
type sealedColumn struct {
	table, name string
	key         []string
	where       string // which rows of the table have one
	text        bool   // kept in base64
	mark        string // in front of it
}

func sealedColumns() []sealedColumn {
	return []sealedColumn{
		{table: "deliveries", name: "event", key: []string{"host", "id"}, where: "length(event) > 0"},
		{table: "pulls", name: "frozen", key: []string{"id"}, where: "length(frozen) > 0"},
		{table: "log_chunks", name: "body", key: []string{"run", "phase", "upto"}, where: "length(body) > 0"},
		{table: "findings", name: "detail", key: []string{"id"}, where: "detail LIKE 'sealed:%'", text: true, mark: sealedMark},
		{table: "overrides", name: "value", key: []string{"id"}, where: "value LIKE 'sealed:%'", text: true, mark: sealedMark},
		{table: "postings", name: "body", key: []string{"id"}, where: "body LIKE 'sealed:%'", text: true, mark: sealedMark},
		{table: "marks", name: "value", key: []string{"name"}, where: "name = 'root_key'", text: true},
	}
}

// OpenSealed opens the sealed values of a database that exists. Where the disk is full, it, Each and Replace return an error that is ENOSPC.
func OpenSealed(ctx context.Context, o Options) (*Sealed, error) {
	s := &Sealed{}
	if o.DSN != "" {
		config, err := poolConfig(o.DSN)
		if err != nil {
			return nil, err
		}
		if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
			return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
		}
		s.db = bun.NewDB(stdlib.OpenDBFromPool(s.pool), pgdialect.New(), bun.WithDiscardUnknownColumns())
	} else {
		file := filepath.Join(o.Dir, "planlatch.db")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no database in %s: no server has started there yet", o.Dir)
		}
		var err error
		if s.db, err = openPool(file, 1, "synchronous(FULL)", "foreign_keys(ON)"); err != nil {
			return nil, err
		}
	}
	_, err := s.db.ExecContext(ctx, "SELECT name FROM marks WHERE name = ''")
	if err = room(err); errors.Is(err, syscall.ENOSPC) {
		return nil, errors.Join(fmt.Errorf("open the database: %w", err), s.Close())
	} else if err != nil {
		return nil, errors.Join(fmt.Errorf("read the database: %w; if no server has started with it yet, there is nothing to do", err), s.Close())
	}
	return s, nil
}

// Forget empties SQLite's journal, where what was replaced would lie until it is written over. It does nothing while somebody reads for long: then
// the server's next stop does it.
func (s *Sealed) Forget(ctx context.Context) error {
	if s.pool != nil {
		return nil
	}
	_, err := s.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") // its answer, which says whether it was whole, changes nothing
	return err
}

// Close closes what OpenSealed opened.
func (s *Sealed) Close() error {
	err := s.db.Close()
	if s.pool != nil {
		s.pool.Close()
	}
	return err
}

// sealedAtOnce is how many values are read, and replaced in one transaction: SQLite's other writers wait meanwhile.
const sealedAtOnce = 50

// Each calls f for all sealed values, some at a time, the root key last.
func (s *Sealed) Each(ctx context.Context, f func([]SealedValue) error) error {
	for n, c := range sealedColumns() {
		var after []any
		for {
			page, err := s.page(ctx, n, c, after)
			if err != nil {
				return fmt.Errorf("read %s.%s: %w", c.table, c.name, room(err))
			}
			if len(page) == 0 {
				break
			}
			if err := f(page); err != nil {
				return err
			}
			after = page[len(page)-1].key
		}
	}
	return nil
}

// page reads the next values of a column in the order of its key.
func (s *Sealed) page(ctx context.Context, n int, c sealedColumn, after []any) (page []SealedValue, err error) {
	key := strings.Join(c.key, ", ")
	query := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s", key, c.name, c.table, c.where)
	args := []any{}
	if after != nil {
		query += fmt.Sprintf(" AND (%s) > (%s)", key, strings.TrimSuffix(strings.Repeat("?, ", len(after)), ", "))
		args = append(args, after...)
	}
	rows, err := s.db.QueryContext(ctx, query+fmt.Sprintf(" ORDER BY %s LIMIT %d", key, sealedAtOnce), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v := SealedValue{column: n, key: make([]any, len(c.key)), Where: c.table}
		var body []byte
		into := make([]any, 0, len(c.key)+1)
		for i := range v.key {
			into = append(into, &v.key[i])
		}
		if err := rows.Scan(append(into, &body)...); err != nil {
			return nil, err
		}
		for _, k := range v.key {
			v.Where += fmt.Sprintf(" %v", k)
		}
		if v.Body = body; c.text {
			if v.Body, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(string(body), c.mark)); err != nil {
				return nil, fmt.Errorf("%s is not base64: %w", v.Where, err)
			}
		}
		page = append(page, v)
	}
	return page, rows.Err()
}

// Replace writes new bodies in the place of values, in one transaction. A value that somebody else changed or removed meanwhile is left alone
// and not counted.
func (s *Sealed) Replace(ctx context.Context, values []SealedValue, bodies [][]byte) (done int, err error) {
	columns := sealedColumns()
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, t bun.Tx) error {
		done = 0
		for i, v := range values {
			c := columns[v.column]
			var was, is any = v.Body, bodies[i]
			if c.text {
				was, is = c.mark+base64.StdEncoding.EncodeToString(v.Body), c.mark+base64.StdEncoding.EncodeToString(bodies[i])
			}
			query := fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s = ?", c.table, c.name, strings.Join(c.key, " = ? AND "))
			args := append(append([]any{is}, v.key...), was)
			res, err := t.ExecContext(ctx, query+" AND "+c.name+" = ?", args...)
			if err != nil {
				return fmt.Errorf("replace %s: %w", v.Where, err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			done += int(n)
		}
		return nil
	})
	if err != nil {
		return done, fmt.Errorf("write to the database: %w", room(err))
	}
	return done, nil
}
