package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// period is a job that is asked for again and again.
type period struct {
	kind, key string
	interval  time.Duration
	atStart   bool
}

type periodRow struct {
	bun.BaseModel `bun:"table:periods"`
	Kind          string `bun:",pk"`
	Subject       string `bun:",pk"`
	At            int64
}

// Every asks for the job (kind, key) once per interval over all processes, and besides whenever this one starts when atStart. Call it
// before Start.
//
// It is not River's periodic job, which only an elected leader makes: after a kill the next process is elected 15 s later, and what is
// looked for at start, such as missed deliveries, should not wait for that.
func (s *Store) Every(kind, key string, interval time.Duration, atStart bool) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	s.jobs.periods = append(s.jobs.periods, period{kind: kind, key: key, interval: interval, atStart: atStart})
}

func (j *jobs) every(ctx context.Context, p period) {
	force := p.atStart
	for {
		next, err := j.elapse(ctx, p, force)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			j.store.log.Warn("cannot ask for a periodic job", "kind", p.kind, "key", p.key, "error", err)
			next = min(p.interval, 10*time.Second)
		} else {
			force = false
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// elapse asks for the job if its time has come or it is forced, and says how long to wait. The row's lock lets one process of many ask.
func (j *jobs) elapse(ctx context.Context, p period, force bool) (wait time.Duration, err error) {
	err = j.store.write(ctx, "periodic job", "", func(ctx context.Context, t *tx) error {
		row := periodRow{Kind: p.kind, Subject: p.key}
		if _, err := t.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
			return err
		}
		if err := t.lockRows(t.NewSelect().Model(&row).WherePK()).Scan(ctx); err != nil {
			return err
		}
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		if left := time.Duration(row.At+p.interval.Microseconds()-now) * time.Microsecond; left > 0 && !force {
			wait = min(left, p.interval)
			return nil
		}
		wait, row.At = p.interval, now
		if _, err := t.NewUpdate().Model(&row).Column("at").WherePK().Exec(ctx); err != nil {
			return err
		}
		return j.store.enqueue(ctx, t, run.Job{Kind: p.kind, Key: p.key})
	})
	return wait, err
}
