package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// kept is why a run that ended long ago keeps its parts.
const kept = `r.unsaved
	OR EXISTS (SELECT 1 FROM runs AS l WHERE l.live AND l.reviewed <> '' AND l.reviewed = r.id)
	OR NOT EXISTS (SELECT 1 FROM runs AS n WHERE n.project = r.project AND n.created > r.created)
	OR r.state IN ('applied', 'unchanged') AND NOT EXISTS (SELECT 1 FROM runs AS n WHERE n.project = r.project AND n.created > r.created
		AND n.state IN ('applied', 'unchanged'))
	OR r.pull <> 0 AND EXISTS (SELECT 1 FROM pulls AS p WHERE p.id = r.pull AND p.state = 'open')
		AND NOT EXISTS (SELECT 1 FROM runs AS n WHERE n.project = r.project AND n.created > r.created AND n.pull = r.pull)`

// column is where it stands when a part was removed.
func column(part run.Part) (string, error) {
	switch part {
	case run.PartLog:
		return "log_gone", nil
	case run.PartPlan:
		return "plan_gone", nil
	}
	return "", fmt.Errorf("a run has no part %q", part)
}

// Expired lists runs that ended before a time and need a part no more, oldest first.
func (s *Store) Expired(ctx context.Context, part run.Part, before time.Time, limit int) ([]run.Run, error) {
	gone, err := column(part)
	if err != nil {
		return nil, err
	}
	var rows []runRow
	err = s.read.NewSelect().Model(&rows).Where("NOT r.live").Where("r.? = 0", bun.Ident(gone)).Where("r.finished > 0 AND r.finished < ?", micros(before)).
		Where("NOT ("+kept+")").Order("r.finished", "r.id").Limit(limitOf(limit)).Scan(ctx)
	return domainRuns(rows), domain("list expired runs", err)
}

// chunksAtOnce is how many pieces of a log one transaction removes: SQLite's other writers wait meanwhile.
const chunksAtOnce = 500

// Forget takes a part off a run. The text of a log goes first, piece by piece; only then the row says that it is gone.
func (s *Store) Forget(ctx context.Context, id run.ID, part run.Part, blobs ...string) (keys []string, err error) {
	gone, err := column(part)
	if err != nil {
		return nil, err
	}
	if part == run.PartLog {
		if err := s.forgetChunks(ctx, id); err != nil {
			return nil, err
		}
	}
	err = s.write(ctx, "forget the "+string(part)+" of run "+string(id), "", func(ctx context.Context, t *tx) error {
		keys = nil
		var row runRow
		if err := t.lockRows(t.NewSelect().Model(&row).Where("id = ?", string(id))).Scan(ctx); err != nil {
			return err
		}
		if row.Live || row.Unsaved {
			return nil
		}
		left := maps.Clone(row.Blobs.V)
		for _, name := range blobs {
			if key := left[name]; key != "" {
				keys = append(keys, key)
			}
			delete(left, name)
		}
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		if part == run.PartLog {
			if _, err := t.NewDelete().Model((*logRow)(nil)).Where("run = ?", string(id)).Exec(ctx); err != nil {
				return err
			}
		}
		row.Blobs, row.LogGone, row.PlanGone = doc[map[string]string]{left}, now, now
		_, err = t.NewUpdate().Model(&row).Column("blobs", gone).Where("id = ?", row.ID).Exec(ctx)
		return err
	})
	return keys, err
}

// forgetChunks removes the text of a run's log, a transaction for each batch of pieces.
func (s *Store) forgetChunks(ctx context.Context, id run.ID) error {
	for {
		var n int64
		err := s.write(ctx, "forget the log of run "+string(id), "", func(ctx context.Context, t *tx) error {
			done, err := t.NewSelect().Model((*runRow)(nil)).Where("id = ? AND NOT live AND NOT unsaved", string(id)).Exists(ctx)
			if n = 0; err != nil || !done {
				return err
			}
			some := t.NewSelect().Model((*chunkRow)(nil)).Column("run", "phase", "upto").Where("run = ?", string(id)).Limit(chunksAtOnce)
			res, err := t.NewDelete().Model((*chunkRow)(nil)).Where("(run, phase, upto) IN (?)", some).Exec(ctx)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n < chunksAtOnce {
			return err
		}
	}
}

// pruned says which rows of a kind are done and old: the table, its key, and the condition, in which ? is the time.
func pruned(kind run.Pruned) (table, key, where string, err error) {
	switch kind {
	case run.PruneDeliveries:
		return "deliveries", "host, id", "received < ?", nil
	case run.PruneMessages:
		return "postings", "id", `kind <> 'summary' AND next_at < ? AND (posted >= wanted OR dead)
			AND NOT EXISTS (SELECT 1 FROM pulls AS p WHERE p.id = t.pull AND p.state = 'open')`, nil
	case run.PruneNodes:
		return "nodes", "id", "seen < ? AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.node = t.id AND r.state IN ('planning', 'applying'))", nil
	case run.PruneWakes: // they have no time: one of a job that exists is left alone
		return "wakes", "job", "NOT EXISTS (SELECT 1 FROM river_job AS j WHERE j.id = t.job) AND ? > 0", nil
	}
	return "", "", "", fmt.Errorf("nothing is pruned that is called %q", kind)
}

// Prune removes at most limit rows of a kind that were done before a time.
func (s *Store) Prune(ctx context.Context, kind run.Pruned, before time.Time, limit int) (int, error) {
	table, key, where, err := pruned(kind)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.write(ctx, "prune "+string(kind), "", func(ctx context.Context, t *tx) error {
		query := fmt.Sprintf("DELETE FROM %[1]s WHERE (%[2]s) IN (SELECT %[2]s FROM %[1]s AS t WHERE %[3]s LIMIT ?)", table, key, where)
		res, err := t.NewRaw(query, micros(before), limitOf(limit)).Exec(ctx)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return int(n), err
}

// Trees lists the trees of runs that have not ended.
func (s *Store) Trees(ctx context.Context) ([]run.Tree, error) {
	var rows []struct {
		Repo  int64
		Tree  string
		State string
	}
	err := s.read.NewSelect().Model((*runRow)(nil)).Distinct().ColumnExpr("r.repo, v.tree, r.state").
		Join("JOIN revisions AS v ON v.id = r.revision").Where("r.live").Scan(ctx, &rows)
	if err != nil {
		return nil, domain("list trees", err)
	}
	all := make([]run.Tree, len(rows))
	for i, r := range rows {
		all[i] = run.Tree{Repo: run.RepoID(r.Repo), Tree: r.Tree, State: run.State(r.State)}
	}
	return all, nil
}
