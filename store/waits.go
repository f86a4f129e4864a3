package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// Waits says what keeps a waiting run from being claimed, and how many are ahead of it. It asks what Next asks, of one run.
func (s *Store) Waits(ctx context.Context, id run.ID) (run.Wait, error) {
	var row runRow
	if err := s.read.NewSelect().Model(&row).Where("id = ?", string(id)).Scan(ctx); err != nil {
		return run.Wait{}, domain("run "+string(id), err)
	}
	var w run.Wait
	if row.Waiting == waitsNot {
		return w, nil
	}
	for _, look := range []func(context.Context, runRow, *run.Wait) (bool, error){s.waitsForSlot, s.waitsForHold, s.waitsForTurn, s.waitsForRoom} {
		found, err := look(ctx, row, &w)
		if err != nil {
			return run.Wait{}, err
		}
		if found {
			break
		}
	}
	var err error
	w.Ahead, err = s.Position(ctx, id)
	return w, err
}

// state are the projects that have the state of a run's project: itself, and those of its identity.
func (s *Store) state(row runRow) *bun.SelectQuery {
	return s.read.NewSelect().Model((*projectRow)(nil)).Column("id").
		Where("id = ? OR identity <> '' AND identity = (SELECT identity FROM projects WHERE id = ?)", row.Project, row.Project)
}

// one finds the id of a run; empty if there is none.
func one(ctx context.Context, q *bun.SelectQuery) (run.ID, error) {
	var id string
	err := q.Limit(1).Scan(ctx, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return run.ID(id), domain("find what a run waits for", err)
}

func (s *Store) waitsForSlot(ctx context.Context, row runRow, w *run.Wait) (found bool, err error) {
	w.Run, err = one(ctx, s.read.NewSelect().Model((*slotRow)(nil)).Column("run").Where("project IN (?)", s.state(row)))
	return w.Run != "", err
}

func (s *Store) waitsForHold(ctx context.Context, row runRow, w *run.Wait) (bool, error) {
	if row.Waiting != waitsApply {
		return false, nil
	}
	var pull int64
	err := s.read.NewSelect().Model((*holdRow)(nil)).Column("pull").Where("project IN (?) AND pull <> ?", s.state(row), row.Pull).Limit(1).Scan(ctx, &pull)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	w.Pull = run.PullID(pull)
	return err == nil, domain("find who holds a project", err)
}

// waitsForTurn looks for a dependency that goes first, and for an earlier merge.
func (s *Store) waitsForTurn(ctx context.Context, row runRow, w *run.Wait) (found bool, err error) {
	goes := s.read.NewSelect().Model((*runRow)(nil)).Column("r.id").Where("r.live AND r.state IN ('queued', 'planning', 'confirmed', 'applying')").Order("r.created")
	after := s.read.NewSelect().Model((*afterRow)(nil)).Column("project").Where("run = ?", row.ID)
	if w.Run, err = one(ctx, goes.Clone().Where("r.revision = ? AND r.project IN (?)", row.Revision, after)); err != nil || w.Run != "" {
		return w.Run != "", err
	}
	if row.Turn == 0 {
		return false, nil
	}
	branch := s.read.NewSelect().Model((*revisionRow)(nil)).Column("branch").Where("id = ?", row.Revision)
	w.Run, err = one(ctx, goes.Join("JOIN revisions AS v ON v.id = r.revision").Where("r.project = ? AND r.turn > 0 AND r.turn < ?", row.Project, row.Turn).
		Where("v.branch = (?)", branch))
	return w.Run != "", err
}

func (s *Store) waitsForRoom(ctx context.Context, row runRow, w *run.Wait) (bool, error) {
	if row.Parallel == 0 || row.Pull == 0 {
		return false, nil
	}
	atWork, err := s.atWork(ctx)
	if err == nil && atWork[run.PullID(row.Pull)] >= row.Parallel {
		w.Full = row.Parallel
	}
	return w.Full > 0, err
}

// Waiting lists the waiting runs in the order of Next, whether or not they could be claimed now, and says how many more there are.
func (s *Store) Waiting(ctx context.Context, limit int) (runs []run.Run, more int, err error) {
	var rows []runRow
	err = s.read.NewSelect().Model(&rows).Where("r.waiting > 0").Order("r.waiting", "r.place", "r.created", "r.id").Limit(limitOf(limit)).Scan(ctx)
	if err != nil {
		return nil, 0, domain("list the queue", err)
	}
	all, err := s.read.NewSelect().Model((*runRow)(nil)).Where("r.waiting > 0").Count(ctx)
	return domainRuns(rows), max(0, int(all)-len(rows)), domain("count the queue", err)
}
