package store

import (
	"context"
	"sync"

	"github.com/riverqueue/river/riverdriver"
)

// kicks tells those who wait in this process, and through the engine those in others, that something may be there to do.
type kicks struct {
	mu   sync.Mutex
	subs []chan struct{}

	wake    *listener     // River's, for jobs
	outward chan struct{} // asks the announcer; nil where there is nobody else
}

// Kicks delivers a token whenever a run may have become claimable or a posting wanted. Each call makes a subscription of its own that
// lasts as long as the Store, so that two loops do not take each other's tokens: call it once, before the loop.
func (s *Store) Kicks() <-chan struct{} {
	c := make(chan struct{}, 1)
	s.kicks.mu.Lock()
	defer s.kicks.mu.Unlock()
	s.kicks.subs = append(s.kicks.subs, c)
	return c
}

// tell kicks this process.
func (k *kicks) tell() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.subs {
		poke(c)
	}
}

// announce asks for the other processes to be told, soon and once for all that is asked meanwhile.
func (k *kicks) announce() {
	if k.outward != nil {
		poke(k.outward)
	}
}

// poke leaves a token unless one is there.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// listener is how River hears of new jobs: from the commit itself instead of a row written and polled (SQLite: 25 ms on average) or a
// NOTIFY inside each transaction (PostgreSQL: a lock over all commits).
type listener struct{ tokens chan struct{} }

func newListener() *listener { return &listener{tokens: make(chan struct{}, 1)} }

func (l *listener) wake() { poke(l.tokens) }

func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.tokens:
		return &riverdriver.Notification{Topic: "river_insert", Payload: `{"queue":"default"}`}, nil
	}
}

func (*listener) Close(context.Context) error            { return nil }
func (*listener) Connect(context.Context) error          { return nil }
func (*listener) Listen(context.Context, string) error   { return nil }
func (*listener) Unlisten(context.Context, string) error { return nil }
func (*listener) Ping(context.Context) error             { return nil }
func (*listener) Schema() string                         { return "" }
func (*listener) SetAfterConnectExec(string)             {}

// localDriver is River's own with our listener in it.
type localDriver[T any] struct {
	riverdriver.Driver[T]
	listener *listener
}

func (d localDriver[T]) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return d.listener
}
func (localDriver[T]) SupportsListener() bool     { return true }
func (localDriver[T]) SupportsListenNotify() bool { return false } // so that River writes no notifications
