package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

const reapBatch = 1000

// riverClient is River on one engine; T is the engine's transaction.
type riverClient[T any] struct {
	c *river.Client[T]
	d riverdriver.Driver[T]
}

func (r *riverClient[T]) insert(ctx context.Context, t *tx, args jobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	raw, err := transaction[T](t)
	if err != nil {
		return nil, err
	}
	return r.c.InsertTx(ctx, raw, args, opts)
}

func (r *riverClient[T]) complete(ctx context.Context, t *tx, job *river.Job[jobArgs]) error {
	raw, err := transaction[T](t)
	if err != nil {
		return err
	}
	_, err = river.JobCompleteTx[riverdriver.Driver[T]](ctx, raw, job)
	return err
}

func transaction[T any](t *tx) (T, error) {
	raw, ok := t.raw.(T)
	if !ok {
		return raw, fmt.Errorf("a transaction of another engine: %T", t.raw)
	}
	return raw, nil
}

func (r *riverClient[T]) start(ctx context.Context) error { return r.c.Start(ctx) }

func (r *riverClient[T]) stop(ctx context.Context) error {
	if r.c.Stop(ctx) == nil {
		return nil
	}
	// The caller's patience is over: cancel what runs, and give it a moment to see that.
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return r.c.StopAndCancel(hard)
}

// abandoned lists running jobs in order of id; the caller judges their owners.
func (r *riverClient[T]) abandoned(ctx context.Context, after int64) ([]*rivertype.JobRow, error) {
	return r.d.GetExecutor().JobGetStuck(ctx, &riverdriver.JobGetStuckParams{
		AfterID: after, Max: reapBatch, StuckHorizon: time.Now().Add(time.Hour), // all ages
	})
}

// rescue makes jobs available again.
func (r *riverClient[T]) rescue(ctx context.Context, jobs []*rivertype.JobRow) error {
	var p riverdriver.JobRescueManyParams
	for _, job := range jobs {
		note, err := json.Marshal(rivertype.AttemptError{At: time.Now().UTC(), Attempt: job.Attempt, Error: "nobody runs it any more"})
		if err != nil {
			return fmt.Errorf("describe job: %w", err)
		}
		p.ID = append(p.ID, job.ID)
		p.Error = append(p.Error, note)
		p.FinalizedAt = append(p.FinalizedAt, nil)
		p.ScheduledAt = append(p.ScheduledAt, job.ScheduledAt.Add(-24*time.Hour)) // ahead of its day's newer ones
		p.State = append(p.State, string(rivertype.JobStateAvailable))
	}
	_, err := r.d.GetExecutor().JobRescueMany(ctx, &p)
	return err
}

// dethrone ends the reign of a dead leader, for whose return River would wait 15 s before anybody moves jobs whose time has come.
func (r *riverClient[T]) dethrone(ctx context.Context, dead func(id string) (bool, error)) error {
	ex := r.d.GetExecutor()
	leader, err := ex.LeaderGetElectedLeader(ctx, &riverdriver.LeaderGetElectedLeaderParams{})
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	gone, err := dead(leader.LeaderID)
	if err != nil || !gone {
		return err
	}
	_, err = ex.LeaderResign(ctx, &riverdriver.LeaderResignParams{
		ElectedAt: leader.ElectedAt, LeaderID: leader.LeaderID, LeadershipTopic: "river_leadership",
	})
	return err
}

// quiet passes on what people should act on; River tells its life at lower levels.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }
func (q quiet) WithGroup(name string) slog.Handler   { return quiet{q.Handler.WithGroup(name)} }
