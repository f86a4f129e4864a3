package store

import (
	"context"
	"fmt"
	"time"
)

// Now is the time of the database, which all replicas share, whatever the clock of this machine says: as of the last time that the database was
// asked, which is some seconds ago at most. It asks nobody. With SQLite it is this machine's clock.
func (s *Store) Now() time.Time {
	return s.machine().Add(time.Duration(s.skew.Load()) * time.Microsecond)
}

// local is the time of SQLite, in microseconds.
func (s *Store) local() int64 { return s.machine().UnixMicro() }

// shared keeps what the database's clock said.
func (s *Store) shared(now int64) int64 {
	s.skew.Store(now - s.local())
	return now
}

// clock reads the database's clock outside a transaction.
func (s *Store) clock(ctx context.Context) (int64, error) {
	now, err := s.engine.clock(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}

// riverClock makes River reckon on the database's clock, too: the leader's alarms and everybody's retries would otherwise come early or late by
// as much as its machine's clock is wrong.
type riverClock struct{ *Store }

func (c riverClock) Now() time.Time     { return c.Store.Now() }
func (riverClock) NowOrNil() *time.Time { return nil } // in a statement: the database's own
