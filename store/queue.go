package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// keptBack says of a waiting run r that it is not its turn although its own project is free: another project has the slot of the state that its
// project has now, or that it was planned for; or it is held by another pull request; or a run of its revision goes first because this one depends on
// that one's project; or an earlier merge of the project into the branch does. The offsets change nothing but PostgreSQL's mind: without them it reads
// whole tables into hashes to look up a few rows.
const keptBack = `EXISTS (SELECT 1 FROM projects AS p JOIN slots AS o ON o.identity = p.identity WHERE p.id = r.project AND p.identity <> '' AND o.identity <> '' LIMIT 1 OFFSET 0)
	OR r.identity <> '' AND EXISTS (SELECT 1 FROM slots AS o WHERE o.identity = r.identity AND o.identity <> '' LIMIT 1 OFFSET 0)
	OR r.waiting = 1 AND EXISTS (SELECT 1 FROM projects AS p JOIN projects AS q ON q.identity = p.identity JOIN holds AS h ON h.project = q.id
		WHERE p.id = r.project AND p.identity <> '' AND q.identity <> '' AND h.pull <> r.pull LIMIT 1 OFFSET 0)
	OR EXISTS (SELECT 1 FROM run_after AS a WHERE a.run = r.id AND EXISTS (SELECT 1 FROM runs AS d
		WHERE d.revision = r.revision AND d.project = a.project AND d.live AND d.state IN ('queued', 'planning', 'confirmed', 'applying') LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0)
	OR r.turn > 0 AND EXISTS (SELECT 1 FROM runs AS e JOIN revisions AS ev ON ev.id = e.revision JOIN revisions AS rv ON rv.id = r.revision
		WHERE e.project = r.project AND e.live AND e.turn > 0 AND e.turn < r.turn AND ev.branch = rv.branch
		AND e.state IN ('queued', 'planning', 'confirmed', 'applying') LIMIT 1 OFFSET 0)`

// Next lists runs that could be claimed now, best first. It looks at the head of the queue, and further only while too many there are kept
// back, so its cost grows with limit and with the runs that are skipped, not with the queue: asked in one query, an engine would join every
// waiting run with what may keep it back.
func (s *Store) Next(ctx context.Context, limit int) ([]run.Run, error) {
	limit = int(limitOf(limit))
	atWork, err := s.atWork(ctx)
	if err != nil {
		return nil, err
	}
	for window := 2 * limit; ; window *= 4 {
		head, err := s.free(ctx, window, atWork)
		if err != nil || len(head) == 0 {
			return nil, err
		}
		back, err := s.back(ctx, head)
		if err != nil {
			return nil, err
		}
		next := slices.DeleteFunc(slices.Clone(head), func(r run.Run) bool { return slices.Contains(back, string(r.ID)) })
		next = bounded(next, maps.Clone(atWork))
		if len(next) >= limit || len(head) < window {
			return next[:min(len(next), limit)], nil
		}
	}
}

// bounded leaves out the runs that would be more of their pull request than may be at work at once.
func bounded(runs []run.Run, atWork map[run.PullID]int) []run.Run {
	return slices.DeleteFunc(runs, func(r run.Run) bool {
		if r.Pull == 0 {
			return false
		}
		if most := r.Settings.Parallel; most > 0 && atWork[r.Pull] >= most {
			return true
		}
		atWork[r.Pull]++
		return false
	})
}

// free lists waiting runs whose project's slot and, for applies, hold are free, and whose pull request has not as many at work as it may. The
// conditions and the order follow the index runs_waiting.
func (s *Store) free(ctx context.Context, limit int, atWork map[run.PullID]int) ([]run.Run, error) {
	var rows []runRow
	q := s.read.NewSelect().Model(&rows)
	for _, pull := range slices.Sorted(maps.Keys(atWork)) {
		q = q.Where("NOT (r.pull = ? AND r.parallel BETWEEN 1 AND ?)", int64(pull), atWork[pull])
	}
	err := q.Where("r.waiting > 0").
		Where("NOT EXISTS (SELECT 1 FROM slots AS s WHERE s.project = r.project)").
		Where("(r.waiting <> ? OR NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.project = r.project AND h.pull <> r.pull))", waitsApply).
		Order("r.waiting", "r.place", "r.created", "r.id").Limit(limitOf(limit)).Scan(ctx)
	return domainRuns(rows), domain("find next runs", err)
}

// back names those of the runs that are kept back.
func (s *Store) back(ctx context.Context, runs []run.Run) ([]string, error) {
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = string(r.ID)
	}
	var back []string
	for some := range slices.Chunk(ids, 500) {
		var found []string
		if err := s.read.NewSelect().Model((*runRow)(nil)).Column("r.id").Where("r.id IN (?)", bun.List(some)).Where("("+keptBack+")").Scan(ctx, &found); err != nil {
			return nil, domain("find runs that are kept back", err)
		}
		back = append(back, found...)
	}
	return back, nil
}

// Position says how many waiting runs are ahead of one in the order of Next, whether or not they could be claimed now. One that does not
// wait is at 0.
func (s *Store) Position(ctx context.Context, id run.ID) (int, error) {
	var row runRow
	if err := s.read.NewSelect().Model(&row).Where("id = ?", string(id)).Scan(ctx); err != nil {
		return 0, domain("run "+string(id), err)
	}
	if row.Waiting == waitsNot {
		return 0, nil
	}
	n, err := s.read.NewSelect().Model((*runRow)(nil)).Where("r.waiting > 0").
		Where("(r.waiting, r.place, r.created, r.id) < (?, ?, ?, ?)", row.Waiting, row.Place, row.Created, row.ID).Count(ctx)
	return int(n), domain("count runs", err)
}

type nodeRow struct {
	bun.BaseModel `bun:"table:nodes,alias:t"`
	ID            string `bun:",pk"`
	Name          string
	Seen          int64
	Note          string
}

// Beat renews a node's lease.
func (s *Store) Beat(ctx context.Context, n run.Node) error {
	return s.write(ctx, "renew lease", "", func(ctx context.Context, t *tx) error {
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		_, err = t.NewInsert().Model(cleaned(&nodeRow{ID: n.ID, Name: n.Name, Seen: now, Note: n.Note})).On("CONFLICT (id) DO UPDATE").
			Set("name = excluded.name").Set("seen = excluded.seen").Set("note = excluded.note").Exec(ctx)
		return err
	})
}

// Nodes lists the nodes that have beaten within the time given, by name.
func (s *Store) Nodes(ctx context.Context, within time.Duration) ([]run.Node, error) {
	now, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	var rows []nodeRow
	if err := s.read.NewSelect().Model(&rows).Where("seen > ?", now-within.Microseconds()).Order("name", "id").Scan(ctx); err != nil {
		return nil, domain("list nodes", err)
	}
	all := make([]run.Node, len(rows))
	for i, r := range rows {
		all[i] = run.Node{ID: r.ID, Name: r.Name, Seen: moment(r.Seen), Note: r.Note}
	}
	return all, nil
}

func (s *Store) running(rows *[]runRow) *bun.SelectQuery {
	return s.read.NewSelect().Model(rows).Where("r.state IN ('planning', 'applying')").Order("r.created", "r.id")
}

// Owned lists the running runs of a node, oldest first.
func (s *Store) Owned(ctx context.Context, node string) ([]run.Run, error) {
	var rows []runRow
	err := s.running(&rows).Where("r.node = ?", node).Scan(ctx)
	return domainRuns(rows), domain("list running runs", err)
}

// Orphans lists running runs whose node has not beaten for at least timeout. A node that never did counts from when the run last moved.
func (s *Store) Orphans(ctx context.Context, timeout time.Duration) ([]run.Run, error) {
	now, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	var rows []runRow
	err = s.running(&rows).Join("LEFT JOIN nodes AS n ON n.id = r.node").Where("coalesce(n.seen, r.moved) <= ?", now-timeout.Microseconds()).Scan(ctx)
	return domainRuns(rows), domain("list orphans", err)
}

type logRow struct {
	bun.BaseModel `bun:"table:logs,alias:t"`
	Run           string `bun:",pk"`
	Phase         string `bun:",pk"`
	Upto          int64
}

type chunkRow struct {
	bun.BaseModel `bun:"table:log_chunks,alias:t"`
	Run           string `bun:",pk"`
	Phase         string `bun:",pk"`
	Upto          int64  `bun:",pk"`
	Body          []byte
}

// AppendLog adds redacted log text. The row in logs is the lock and the memory of how far the phase got, so that of two writers at one
// place the second is dropped.
func (s *Store) AppendLog(ctx context.Context, id run.ID, phase string, to int64, text []byte) error {
	if to <= 0 {
		return nil
	}
	sealed, err := s.seal(ctx, text)
	if err != nil {
		return err
	}
	return s.write(ctx, "append log of run "+string(id), "log", func(ctx context.Context, t *tx) error {
		res, err := t.NewInsert().Model(&logRow{Run: string(id), Phase: phase, Upto: to}).On("CONFLICT (run, phase) DO UPDATE").
			Set("upto = excluded.upto").Where("t.upto < excluded.upto").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 || len(sealed) == 0 {
			return err
		}
		_, err = t.NewInsert().Model(&chunkRow{Run: string(id), Phase: phase, Upto: to, Body: sealed}).Exec(ctx)
		return err
	})
}

// RewriteLog replaces the text of a phase's chunks one for one, so that those who follow the log go on where they are.
func (s *Store) RewriteLog(ctx context.Context, id run.ID, phase string, rewrite func(chunks [][]byte) ([][]byte, error)) error {
	return s.write(ctx, "rewrite log of run "+string(id), "log", func(ctx context.Context, t *tx) error {
		var rows []chunkRow
		if err := t.lockRows(t.NewSelect().Model(&rows).Where("run = ? AND phase = ?", string(id), phase).Order("upto")).Scan(ctx); err != nil {
			return err
		}
		chunks := make([][]byte, len(rows))
		for i, r := range rows {
			plain, err := s.unseal(ctx, r.Body)
			if err != nil {
				return err
			}
			chunks[i] = plain
		}
		chunks, err := rewrite(chunks)
		if err != nil {
			return err
		}
		if len(chunks) != len(rows) {
			return fmt.Errorf("a log of %d chunks was rewritten to %d", len(rows), len(chunks))
		}
		for i, r := range rows {
			if r.Body, err = s.seal(ctx, chunks[i]); err != nil {
				return err
			}
			if r.Body == nil {
				r.Body = []byte{}
			}
			if _, err := t.NewUpdate().Model(&r).Column("body").WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// LogOffset returns the raw offset up to which a phase's log is stored; 0 when nothing is.
func (s *Store) LogOffset(ctx context.Context, id run.ID, phase string) (int64, error) {
	var upto int64
	err := s.read.NewSelect().Model((*logRow)(nil)).ColumnExpr("coalesce(max(upto), 0)").Where("run = ? AND phase = ?", string(id), phase).Scan(ctx, &upto)
	return upto, domain("read log offset", err)
}

// Log returns the text of the chunks after the cursor. The cursor is the raw offset of the last chunk returned.
func (s *Store) Log(ctx context.Context, id run.ID, phase string, cursor int64) (text []byte, next int64, err error) {
	var rows []chunkRow
	if err := s.read.NewSelect().Model(&rows).Where("run = ? AND phase = ? AND upto > ?", string(id), phase, cursor).Order("upto").Scan(ctx); err != nil {
		return nil, cursor, domain("read log", err)
	}
	next = cursor
	for _, r := range rows {
		plain, err := s.unseal(ctx, r.Body)
		if err != nil {
			return nil, cursor, err
		}
		text, next = append(text, plain...), r.Upto
	}
	return text, next, nil
}
