package broker

import (
	"net"
	"sync"
)

// queue is a listener whose connections were accepted elsewhere.
type queue struct {
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newQueue() *queue {
	q := &queue{conns: make(chan net.Conn), over: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.over) })
	return q
}

// hand gives a connection to who serves the queue, and returns when that is done with it.
func (q *queue) hand(c net.Conn) {
	served := &handed{Conn: c, done: make(chan struct{})}
	served.end = sync.OnceFunc(func() { close(served.done) })
	select {
	case q.conns <- served:
		<-served.done
	case <-q.over:
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.over:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.close()
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// handed is a connection whose giver waits for its end.
type handed struct {
	net.Conn

	done chan struct{}
	end  func()
}

func (h *handed) Close() error {
	defer h.end()
	return h.Conn.Close()
}
