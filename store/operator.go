package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"github.com/planlatch/planlatch/run"
)

type pauseRow struct {
	bun.BaseModel `bun:"table:pauses,alias:t"`
	Selector      string `bun:",pk"`
	Actor         string
	Reason        string
	At            int64
}

// Pause stops applies of the projects that Match selects; pausing them again replaces actor, reason and time.
func (s *Store) Pause(ctx context.Context, p run.Pause) error {
	return s.write(ctx, "pause", "", func(ctx context.Context, t *tx) error {
		row := cleaned(&pauseRow{Selector: p.Match, Actor: p.Actor, Reason: p.Reason, At: micros(p.At)})
		if row.At == 0 {
			now, err := t.stamp(ctx)
			if err != nil {
				return err
			}
			row.At = now
		}
		_, err := t.NewInsert().Model(row).On("CONFLICT (selector) DO UPDATE").Set("actor = excluded.actor").Set("reason = excluded.reason").
			Set("at = excluded.at").Exec(ctx)
		return err
	})
}

// Resume ends the pause with exactly this selector. Error: run.ErrNotFound.
func (s *Store) Resume(ctx context.Context, match string) error {
	return s.write(ctx, "resume", "", func(ctx context.Context, t *tx) error {
		res, err := t.NewDelete().Model((*pauseRow)(nil)).Where("selector = ?", match).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("pause %q: %w", match, run.ErrNotFound)
		}
		t.kick = true
		return nil
	})
}

// Pauses lists the pauses, oldest first.
func (s *Store) Pauses(ctx context.Context) ([]run.Pause, error) { return loadPauses(ctx, s.read) }

func loadPauses(ctx context.Context, db bun.IDB) ([]run.Pause, error) {
	var rows []pauseRow
	if err := db.NewSelect().Model(&rows).Order("at", "selector").Scan(ctx); err != nil {
		return nil, domain("list pauses", err)
	}
	var all []run.Pause
	for _, r := range rows {
		all = append(all, run.Pause{Match: r.Selector, Actor: r.Actor, Reason: r.Reason, At: moment(r.At)})
	}
	return all, nil
}

type markRow struct {
	bun.BaseModel `bun:"table:marks,alias:t"`
	Name          string `bun:",pk"`
	Value         string
}

// Mark keeps a small value under a name.
func (s *Store) Mark(ctx context.Context, name, value string) error {
	return s.write(ctx, "mark "+name, "", func(ctx context.Context, t *tx) error {
		_, err := t.NewInsert().Model(&markRow{Name: name, Value: value}).On("CONFLICT (name) DO UPDATE").Set("value = excluded.value").Exec(ctx)
		return err
	})
}

// Marked returns the value kept under a name, "" if none was.
func (s *Store) Marked(ctx context.Context, name string) (string, error) {
	var row markRow
	err := domain("mark "+name, s.read.NewSelect().Model(&row).Where("name = ?", name).Scan(ctx))
	if errors.Is(err, run.ErrNotFound) {
		return "", nil
	}
	return row.Value, err
}

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.NewRaw("SELECT 1").Scan(ctx, &one); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Stats counts runs by state, as "run_queued" and so on, and postings as "postings_due" and "postings_dead".
func (s *Store) Stats(ctx context.Context) (map[string]int, error) {
	var byState []struct {
		State string
		N     int
	}
	if err := s.read.NewSelect().Model((*runRow)(nil)).Column("state").ColumnExpr("count(*) AS n").Group("state").Scan(ctx, &byState); err != nil {
		return nil, domain("count runs", err)
	}
	stats := map[string]int{}
	for _, s := range []run.State{run.Queued, run.Planning, run.Planned, run.Unchanged, run.Confirmed, run.Applying, run.Applied, run.Failed,
		run.Interrupted, run.Canceled, run.Superseded} {
		stats["run_"+string(s)] = 0 // a gauge that vanishes at zero is hard to alert on
	}
	for _, c := range byState {
		stats["run_"+c.State] = c.N
	}
	for name, dead := range map[string]bool{"postings_due": false, "postings_dead": true} {
		n, err := s.read.NewSelect().Model((*postingRow)(nil)).Where("wanted > posted AND dead = ?", dead).Count(ctx)
		if err != nil {
			return nil, domain("count postings", err)
		}
		stats[name] = int(n)
	}
	return stats, nil
}

// clock reads the database's clock outside a transaction.
func (s *Store) clock(ctx context.Context) (int64, error) {
	if s.read.Dialect().Name() == dialect.SQLite {
		return time.Now().UnixMicro(), nil
	}
	var now int64
	if err := s.read.NewRaw("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(ctx, &now); err != nil {
		return 0, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}
