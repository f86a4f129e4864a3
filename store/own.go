package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	ownWithin = 30 * time.Second // for the database to end the session of a process whose machine vanished
	ownLook   = 5 * time.Second
)

// Own takes the id of a node for this process and keeps it until Close. Two processes of one id would take each other's executions for their own
// that never began, and start them again. Error: ErrInUse if another process has the id.
func (s *Store) Own(ctx context.Context, node string) error { return s.engine.own(ctx, node) }

// own does nothing: the lock on the data directory, where the id lies beside the database, says it all.
func (*sqliteEngine) own(context.Context, string) error { return nil }

func (e *postgresEngine) own(ctx context.Context, node string) error {
	wait, cancel := context.WithTimeout(ctx, ownWithin)
	defer cancel()
	var busy error
	for {
		conn, err := e.lockNode(wait, node)
		switch {
		case err == nil:
			background, stop := context.WithCancel(context.WithoutCancel(ctx)) // until close
			before := e.stop
			e.stop = func() { stop(); before() }
			e.ended.Go(func() { e.keep(background, conn, node) })
			return nil
		case errors.Is(err, ErrInUse):
			busy = err
		case busy == nil || wait.Err() == nil:
			return err
		}
		select {
		case <-wait.Done():
			return busy
		case <-time.After(ownLook / 10):
		}
	}
}

// lockNode begins a session that has the lock on a node's id.
func (e *postgresEngine) lockNode(ctx context.Context, node string) (*pgx.Conn, error) {
	conn, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	var taken bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::int4, $2::int4)", lockNode, handleKey(node)).Scan(&taken)
	if err == nil && !taken {
		err = fmt.Errorf("node %s %w", node, ErrInUse)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, nil
}

// keep holds on to a node's id, also when the database was away, and tells if somebody else has taken it since.
func (e *postgresEngine) keep(ctx context.Context, conn *pgx.Conn, node string) {
	tick := time.NewTicker(ownLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx)) // best effort: the lock goes with the connection, whoever ends it
			}
			return
		case <-tick.C:
		}
		asked, cancel := context.WithTimeout(ctx, goneAfter)
		if conn != nil && conn.Ping(asked) != nil {
			_ = conn.Close(asked) // likewise
			conn = nil
		}
		if conn == nil {
			var err error
			if conn, err = e.lockNode(asked, node); errors.Is(err, ErrInUse) {
				e.store.log.Error("another planlatch runs as this node: stop one of them, each needs a data directory of its own", "node", node)
			}
		}
		cancel()
	}
}
