package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type pauseRow struct {
	bun.BaseModel `bun:"table:pauses,alias:t"`
	Selector      string `bun:",pk"`
	Actor         string
	Reason        string
	At            int64
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

// freeze keeps out every Advance that has not read the pauses yet, and waits for those that have: each has a lock on the table from its
// read until it commits. SQLite has one writer, so there is nobody to wait for.
func (t *tx) freeze(ctx context.Context) error {
	if !t.locks {
		return nil
	}
	_, err := t.ExecContext(ctx, "LOCK TABLE pauses IN ACCESS EXCLUSIVE MODE")
	return err
}

// pauses sets and ends pauses.
func (w *changeWriter) pauses(ctx context.Context) error {
	for _, p := range w.change.Pause {
		row := cleaned(&pauseRow{Selector: p.Match, Actor: p.Actor, Reason: p.Reason, At: micros(p.At)})
		if row.At == 0 {
			row.At = w.now
		}
		if _, err := w.t.NewInsert().Model(row).On("CONFLICT (selector) DO UPDATE").Set("actor = excluded.actor").
			Set("reason = excluded.reason").Set("at = excluded.at").Exec(ctx); err != nil {
			return domain("pause", err)
		}
	}
	if len(w.change.Resume) > 0 {
		if _, err := w.t.NewDelete().Model((*pauseRow)(nil)).Where("selector IN (?)", bun.List(w.change.Resume)).Exec(ctx); err != nil {
			return domain("resume", err)
		}
	}
	return nil
}

// Locks lists slots and holds: first every slot, then every hold, each in the order of their projects.
func (s *Store) Locks(ctx context.Context) ([]run.Lock, error) {
	var slots []slotRow
	if err := s.read.NewSelect().Model(&slots).Order("project").Scan(ctx); err != nil {
		return nil, domain("list slots", err)
	}
	var holds []holdRow
	if err := s.read.NewSelect().Model(&holds).Order("project").Scan(ctx); err != nil {
		return nil, domain("list holds", err)
	}
	var projects []projectRow
	if err := s.read.NewSelect().Model(&projects).Where("id IN (SELECT project FROM slots UNION SELECT project FROM holds)").Scan(ctx); err != nil {
		return nil, domain("list locked projects", err)
	}
	byID := make(map[int64]run.Project, len(projects))
	for i := range projects {
		byID[projects[i].ID] = projects[i].domain()
	}
	var all []run.Lock
	for _, l := range slots {
		if p, ok := byID[l.Project]; ok { // else freed between the two looks
			all = append(all, run.Lock{Project: p, Run: run.ID(l.Run)})
		}
	}
	for _, l := range holds {
		if p, ok := byID[l.Project]; ok {
			all = append(all, run.Lock{Project: p, Pull: run.PullID(l.Pull), Since: moment(l.Since)})
		}
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

// MarkFirst keeps a value under a name that has none yet, and returns the one that is kept: of handles that do so at once all get the same.
func (s *Store) MarkFirst(ctx context.Context, name, value string) (kept string, err error) {
	err = s.write(ctx, "mark "+name, "", func(ctx context.Context, t *tx) error {
		_, err := t.NewInsert().Model(&markRow{Name: name, Value: value}).On("CONFLICT (name) DO NOTHING").Exec(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return s.Marked(ctx, name)
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
