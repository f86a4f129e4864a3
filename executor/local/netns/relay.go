package netns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/reach"
)

func (n *Network) listen(ctx context.Context, f *os.File) error {
	l, err := net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	n.sockets = append(n.sockets, l)
	n.work.Go(func() {
		for {
			inside, err := l.Accept()
			if err != nil {
				return // closed with the execution
			}
			if !n.keep(inside) {
				return
			}
			n.slots <- struct{}{}
			n.work.Go(func() {
				n.connected(ctx, inside)
				n.drop(inside)
				<-n.slots
			})
		}
	})
	return nil
}

// connected serves one connection from inside: by the name service, a handler or a relay.
func (n *Network) connected(ctx context.Context, inside net.Conn) {
	local, ok := inside.LocalAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	at := netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), uint16(local.Port))
	if n.zone != nil && at == netip.AddrPortFrom(names.Server(), 53) {
		n.answerStream(inside)
		return
	}
	if serve, ok := n.served[at]; ok {
		serve(ctx, inside)
		return
	}
	target, asked, ok := n.target(at)
	if !ok {
		n.Refuse(inside, asked)
		return
	}
	n.Relay(ctx, inside, target)
}

// target says what a connection to an address of the namespace means. asked is how a person would write it.
func (n *Network) target(at netip.AddrPort) (target, asked string, ok bool) {
	if r, ok := n.exact[at]; ok {
		return r.Dial, r.Dial, true
	}
	if n.zone == nil {
		return "", at.String(), false
	}
	if name, ok := n.zone.Name(at.Addr()); ok {
		asked = net.JoinHostPort(name, strconv.Itoa(int(at.Port())))
		return asked, asked, n.allow.Name(name, at.Port())
	}
	return at.String(), at.String(), n.allow.Address(at)
}

// Reaches says whether what runs inside reaches a target, host:port, by itself.
func (n *Network) Reaches(target string) bool {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	if n.setup.Stack {
		return true
	}
	if at, err := netip.ParseAddrPort(target); err == nil {
		return n.allow.Address(at)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n.allow.Name(reach.Normal(host), uint16(port))
}

// dialTime is how long a target may take to answer.
const dialTime = 10 * time.Second

// Refuse breaks a connection whose target, host:port, is not to be reached, and says so in the log.
func (n *Network) Refuse(inside net.Conn, target string) {
	n.notes.say("%s is not in network.allow", target)
	reset(inside)
}

// Relay joins one connection with its target, host:port. A target that does not answer looks like a broken connection, and the log says why.
func (n *Network) Relay(ctx context.Context, inside net.Conn, target string) {
	outside, err := n.Dial(ctx, target)
	if err != nil {
		n.notes.say("%s", reason(target, err))
		reset(inside)
		return
	}
	if !n.keep(outside) {
		return
	}
	defer n.drop(outside)
	var both sync.WaitGroup
	both.Go(func() { pour(outside, inside) })
	both.Go(func() { pour(inside, outside) })
	both.Wait()
}

// Dial connects to host:port as this machine finds it now, but to no place that is closed.
func (n *Network) Dial(ctx context.Context, target string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, ControlContext: n.guard.Control(target)}
	return d.DialContext(ctx, "tcp", target)
}

// reason says why a target was not reached, without what only this machine's operator should know of its network.
func reason(target string, err error) string {
	var refused *reach.Refused
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return target + " could not be reached: there is no such name"
	case errors.As(err, &lookup):
		return target + " could not be reached: the name server of planlatch's machine did not say where it is"
	case errors.Is(err, unix.ECONNREFUSED):
		return target + " could not be reached: it refused the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		return target + " could not be reached: no answer within " + dialTime.String()
	}
	return target + " could not be reached"
}

// reset ends a connection so that the other side sees a fault and not an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be gone already
	}
}

// pour copies one direction and passes its end on, so that a half-closed connection still answers.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // an error ends the direction, which both ends see
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // it may be gone already
	}
}

// keep remembers a connection, to be closed with the network. When that is over, it closes it and answers false.
func (n *Network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		_ = c.Close() // too late for it
		return false
	}
	n.conns[c] = true
	return true
}

func (n *Network) drop(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = c.Close() // both directions ended
	delete(n.conns, c)
}
