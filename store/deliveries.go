package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type deliveryRow struct {
	bun.BaseModel `bun:"table:deliveries,alias:t"`
	Host          string `bun:",pk"`
	ID            string `bun:",pk"`
	Event         []byte
	Received      int64
	Outcome       string
}

// IntakeJob is the kind of the job that Deliver enqueues; its key is DeliveryKey.
const IntakeJob = "intake"

// DeliveryKey names a delivery in a job: the host's name, which has no slash, and the delivery's id.
func DeliveryKey(host, id string) string { return host + "/" + id }

// Deliver stores a delivery and the job with kind IntakeJob that handles it.
func (s *Store) Deliver(ctx context.Context, d run.Delivery) (fresh bool, err error) {
	sealed, err := s.seal(ctx, d.Event)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, "store delivery", "deliver", func(ctx context.Context, t *tx) error {
		row := cleaned(&deliveryRow{Host: d.Host, ID: d.ID, Event: sealed, Received: micros(d.Received), Outcome: d.Outcome})
		if row.Received == 0 {
			if row.Received, err = t.stamp(ctx); err != nil {
				return err
			}
		}
		res, err := t.NewInsert().Model(row).On("CONFLICT (host, id) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if fresh = n > 0; err != nil || !fresh {
			return err
		}
		return s.enqueue(ctx, t, run.Job{Kind: IntakeJob, Key: DeliveryKey(d.Host, d.ID)})
	})
	return fresh && err == nil, err
}

// Delivery returns a delivery.
func (s *Store) Delivery(ctx context.Context, host, id string) (run.Delivery, error) {
	var row deliveryRow
	if err := s.read.NewSelect().Model(&row).Where("host = ? AND id = ?", host, id).Scan(ctx); err != nil {
		return run.Delivery{}, domain(fmt.Sprintf("delivery %s of %s", id, host), err)
	}
	event, err := s.unseal(ctx, row.Event)
	if err != nil {
		return run.Delivery{}, err
	}
	return run.Delivery{Host: row.Host, ID: row.ID, Event: event, Received: moment(row.Received), Outcome: row.Outcome}, nil
}

// Delivered records what became of a delivery.
func (s *Store) Delivered(ctx context.Context, host, id, outcome string) error {
	return s.write(ctx, "settle delivery", "handled", func(ctx context.Context, t *tx) error {
		res, err := t.NewUpdate().Model((*deliveryRow)(nil)).Set("outcome = ?", clean(outcome)).Where("host = ? AND id = ?", host, id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("delivery %s of %s: %w", id, host, run.ErrNotFound)
		}
		return nil
	})
}
