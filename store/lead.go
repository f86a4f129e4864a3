package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Leads says whether this process is the one that sends postings, and makes it that one if nobody is.
func (s *Store) Leads(ctx context.Context) (bool, error) {
	leads, err := s.engine.leads(ctx)
	if err != nil {
		return false, fmt.Errorf("ask who sends postings: %w", err)
	}
	return leads, nil
}

// leads is always true: one process uses the database.
func (*sqliteEngine) leads(context.Context) (bool, error) { return true, nil }

// seat is the one place of the process that sends postings: a lock of a session of its own, which the server takes back when the session
// ends, however it ends.
type seat struct {
	mu    sync.Mutex
	conn  *pgx.Conn
	taken bool
	tried time.Time
}

// seatEvery is how often a process that has not the seat looks whether it is free.
const seatEvery = time.Second

func (e *postgresEngine) leads(ctx context.Context) (bool, error) {
	s := &e.seat
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken && time.Since(s.tried) < seatEvery {
		return false, nil
	}
	s.tried = time.Now()
	err := e.sit(ctx, s)
	if err != nil && s.conn != nil {
		// A session that cannot be asked may have ended, and somebody else may send by now.
		_ = s.conn.Close(context.WithoutCancel(ctx)) // best effort: it is broken
		s.conn, s.taken = nil, false
	}
	return s.taken, err
}

// sit shows that the seat is still ours, or tries to take it.
func (e *postgresEngine) sit(ctx context.Context, s *seat) (err error) {
	if s.conn == nil {
		if s.conn, err = e.session(ctx); err != nil {
			return err
		}
	}
	if s.taken {
		return s.conn.Ping(ctx)
	}
	return s.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::int4, 0)", lockPosts).Scan(&s.taken)
}

// session connects outside the pool, for locks that live as long as the process: the database ends the session of a machine that vanished
// within half a minute.
func (e *postgresEngine) session(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, e.pool.Config().ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	for _, setting := range []string{"tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3"} {
		if _, err := conn.Exec(ctx, "SET "+setting); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s: %w", setting, err), conn.Close(ctx))
		}
	}
	return conn, nil
}

// leave gives the seat up.
func (s *seat) leave(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close(ctx)
	s.conn, s.taken = nil, false
	return err
}
