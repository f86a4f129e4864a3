package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// The fair order is fair queueing with tags that never change, so that the head of the queue is the head of an index and a position can be
// counted. A run that begins to wait gets as its place
//
//	the place of the head of the queue (who comes later does not pass those who have waited for a round),
//	but at least one more than the runs of its repository that began to wait last and still do (a repository with a hundred pull
//	requests takes turns with the others), plus its own place among those of its revision (a pull request with five hundred projects
//	takes turns with the others).
//
// Applies and plans are counted apart, and what nobody asked for goes behind everything else.

// idlePlace is where the places of runs begin that nobody asked for.
const idlePlace = 1 << 40

// places gives a place to each of the rows, which all begin to wait now.
func (w *changeWriter) places(ctx context.Context, rows []*runRow) error {
	type flow struct {
		repo, revision int64
		waiting        int
		idle           bool
	}
	flows := map[flow][]*runRow{}
	var order []flow
	for _, r := range rows {
		f := flow{r.Repo, r.Revision, r.Waiting, r.Place >= idlePlace}
		if len(flows[f]) == 0 {
			order = append(order, f)
		}
		flows[f] = append(flows[f], r)
	}
	for _, f := range order {
		floor := int64(0)
		if f.idle {
			floor = idlePlace
		}
		start, err := w.start(ctx, f.repo, f.revision, f.waiting, floor)
		if err != nil {
			return err
		}
		first := flows[f][0].Ordinal
		for _, r := range flows[f] {
			first = min(first, r.Ordinal)
		}
		for _, r := range flows[f] {
			r.Place = start + int64(r.Ordinal-first)
		}
	}
	return nil
}

// start is the first place of those of a revision that begin to wait now.
func (w *changeWriter) start(ctx context.Context, repo, revision int64, waiting int, floor int64) (int64, error) {
	in := func(q *bun.SelectQuery) *bun.SelectQuery {
		q = q.Where("r.waiting > 0 AND r.waiting = ?", waiting).Where("r.place >= ?", floor) // the first half is that of an index
		if floor < idlePlace {
			q = q.Where("r.place < ?", int64(idlePlace))
		}
		return q.Limit(1)
	}
	start := floor
	var head, last runRow
	err := in(w.t.NewSelect().Model(&head).Column("place").Order("r.place")).Scan(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows): // nobody waits
		return start, nil
	case err != nil:
		return 0, domain("find the head of the queue", err)
	}
	start = max(start, head.Place)
	err = in(w.t.NewSelect().Model(&last).Column("place", "ordinal").Where("r.repo = ? AND r.revision <> ?", repo, revision).
		Order("r.created DESC")).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return start, nil
	}
	if err != nil {
		return 0, domain("find who waits", err)
	}
	return max(start, last.Place-int64(last.Ordinal)+1), nil
}

// atWork counts the runs of each pull request that are at work.
func (s *Store) atWork(ctx context.Context) (map[run.PullID]int, error) {
	var rows []struct {
		Pull int64
		N    int
	}
	err := s.read.NewSelect().Model((*runRow)(nil)).Column("r.pull").ColumnExpr("count(*) AS n").Where("r.state IN ('planning', 'applying')").
		Where("r.pull <> 0").Group("r.pull").Scan(ctx, &rows)
	if err != nil {
		return nil, domain("count what is at work", err)
	}
	found := make(map[run.PullID]int, len(rows))
	for _, r := range rows {
		found[run.PullID(r.Pull)] = r.N
	}
	return found, nil
}

// running counts the runs of a pull request that are at work.
func running(ctx context.Context, t *tx, pull run.PullID) (int, error) {
	n, err := t.NewSelect().Model((*runRow)(nil)).Where("pull = ? AND live AND state IN ('planning', 'applying')", int64(pull)).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count what is at work: %w", err)
	}
	return int(n), nil
}
