package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/local/process"
	"github.com/planlatch/planlatch/executor/reach"
)

// network is the outside half: the stack of an open network, the relays and the name service. It lives in the owner.
type network struct {
	stack   int      // pid of slirp4netns, 0: none
	hold    *os.File // the stack ends when the last copy of this closes; the inner inherits one, so it outlives a killed owner
	ready   *os.File // brings a byte when the stack is configured
	fence   *fence   // keeps this machine's addresses closed in an open network; nil: there is no stack
	exact   map[netip.AddrPort]Relay
	allow   reach.List
	guard   reach.Guard
	zone    *names.Zone // nil: no name service
	lender  *lender     // nil: nothing is lent
	notes   *notes
	sockets []io.Closer
	slots   chan struct{} // bounds the connections of a run: each takes descriptors of this process
	cancel  func()        // ends attempts to connect; nil: nothing is served
	work    sync.WaitGroup
	mu      sync.Mutex
	conns   map[net.Conn]bool // nil once closed
}

// connections is how many a run may have at once through relays. The next waits.
const connections = 512

// holdPair makes the descriptors that tie the stack's life to the sandbox's.
func (n *network) holdPair() (exit *os.File, err error) {
	exit, n.hold, err = os.Pipe()
	return exit, err
}

// prepare reads what the launch allows and says how the inside half is set up for it.
func (n *network) prepare(l Launch, log io.Writer) (setup, error) {
	s := setup{Closed: l.Closed, Stack: l.Slirp != ""}
	n.exact, n.conns = make(map[netip.AddrPort]Relay), make(map[net.Conn]bool)
	n.notes, n.slots = &notes{log: log}, make(chan struct{}, connections)
	var err error
	if n.allow, err = reach.ParseList(l.Spec.Network.Allow); err != nil {
		return s, err
	}
	n.guard = reach.Guard{Allow: n.allow, Own: reach.Own}
	for _, text := range l.Spec.Network.Deny {
		p, err := reach.ParseDeny(text)
		if err != nil {
			return s, err
		}
		n.guard.Deny = append(n.guard.Deny, p)
	}
	patterns, err := reach.ParseList(l.Patterns)
	if err != nil {
		return s, err
	}
	fixed, err := s.relays(l, patterns, n.exact)
	if err != nil {
		return s, err
	}
	if l.Names {
		n.zone = names.New(n.allow, fixed, func(name string) { n.notes.say("%s is not in network.allow", name) })
	}
	if s.Stack {
		if n.fence, err = openFence(); err != nil {
			return s, err
		}
		closed, err := n.fence.news()
		if err != nil {
			return s, err
		}
		s.Closed = append(closed, s.Closed...)
	}
	return s, nil
}

// relays adds what the relays and patterns of a launch need inside. It fills exact and returns the names that have an address from the start.
func (s *setup) relays(l Launch, patterns reach.List, exact map[netip.AddrPort]Relay) (fixed []string, err error) {
	for _, e := range patterns { // a pattern's port is listened for on all addresses, for nobody knows them all
		all := netip.IPv4Unspecified()
		if e.Name == "" {
			s.Local = append(s.Local, e.Prefix.String())
			all = unspecified(e.Prefix.Addr())
		}
		s.listen(netip.AddrPortFrom(all, e.Port))
	}
	if l.Names {
		server := netip.AddrPortFrom(names.Server(), 53)
		s.listen(server)
		s.Names, s.Local = server.String(), append(s.Local, names.Range().String())
	}
	for _, r := range l.Relays {
		for _, text := range r.Listen {
			at, err := netip.ParseAddrPort(text)
			if err != nil {
				return nil, err
			}
			exact[at] = r
			s.listen(at)
			switch host, _, _ := net.SplitHostPort(r.Dial); {
			case at.Addr().IsLoopback():
			case !l.Names || !names.Range().Contains(at.Addr()):
				s.Addresses = append(s.Addresses, at.Addr().String())
			case !slices.Contains(fixed, host):
				fixed = append(fixed, host)
			}
		}
	}
	return fixed, nil
}

// listen adds a place to listen at, unless it is listened for already. Those for all addresses come first.
func (s *setup) listen(at netip.AddrPort) {
	all := netip.AddrPortFrom(unspecified(at.Addr()), at.Port())
	if !slices.Contains(s.Listen, all.String()) && !slices.Contains(s.Listen, at.String()) {
		s.Listen = append(s.Listen, at.String())
	}
}

func unspecified(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// startStack attaches slirp4netns to the namespaces of process pid. It becomes ready while the sandbox does; see awaitStack.
func (n *network) startStack(l Launch, pid int, exit, complaints *os.File) error {
	ready, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	n.ready = ready
	files := make([]uintptr, 0, 7)
	for _, name := range []string{"user", "net"} { // now: the process soon becomes bubblewrap, which nobody may look into
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + name)
		if err != nil {
			return errors.Join(err, readyWrite.Close())
		}
		defer func() { _ = f.Close() }() // the stack has its own copy
		files = append(files, f.Fd())
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, readyWrite.Close())
	}
	defer func() { _ = null.Close() }() // nothing was written
	n.stack, err = syscall.ForkExec(l.Slirp, []string{
		"slirp4netns:" + string(l.Spec.Name), "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--exit-fd=4",
		"--userns-path=/proc/self/fd/5", "--netns-type=path", "/proc/self/fd/6", "tap0",
	}, &syscall.ProcAttr{
		Env:   []string{},
		Files: append([]uintptr{null.Fd(), null.Fd(), complaints.Fd(), readyWrite.Fd(), exit.Fd()}, files...),
	})
	if err = errors.Join(err, readyWrite.Close()); err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	return nil
}

// awaitStack waits until the stack, if there is one, is configured.
func (n *network) awaitStack() error {
	if n.ready == nil {
		return nil
	}
	defer func() { _ = n.ready.Close() }() // read only
	if err := n.ready.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if _, err := io.ReadFull(n.ready, make([]byte, 1)); err != nil {
		return errors.New("slirp4netns ended before the network was up")
	}
	return nil
}

// serve takes the sockets that the stage made for s and answers on them, until close.
func (n *network) serve(socket *net.UnixConn, s setup) error {
	fds, err := hear(socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) // the execution outlives every caller
	n.cancel = cancel
	want := len(s.Listen)
	for _, more := range []bool{s.Names != "", s.Stack} {
		if more {
			want++
		}
	}
	if len(fds) != want {
		return fmt.Errorf("the network stage passed %d sockets of %d", len(fds), want)
	}
	for i, fd := range fds {
		switch {
		case i < len(s.Listen):
			err = n.listen(ctx, os.NewFile(uintptr(fd), "listener"))
		case i == len(s.Listen) && s.Names != "":
			err = n.answer(os.NewFile(uintptr(fd), "names"))
		default:
			err = n.keepFence(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keepFence takes the namespace's routing socket.
func (n *network) keepFence(inside int) (err error) {
	n.fence.inside = routeSocket{inside}
	if n.fence.stack, err = process.Identify(n.stack); err != nil {
		return err
	}
	n.sockets = append(n.sockets, n.fence)
	n.work.Go(n.fence.watch)
	return nil
}

func (n *network) listen(ctx context.Context, f *os.File) error {
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

// connected serves one connection from inside: to the name service or through a relay.
func (n *network) connected(ctx context.Context, inside net.Conn) {
	local, ok := inside.LocalAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	at := netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), uint16(local.Port))
	if n.zone != nil && at == netip.AddrPortFrom(names.Server(), 53) {
		n.answerStream(inside)
		return
	}
	if n.lender.connected(ctx, at, inside) {
		return
	}
	r, asked, ok := n.target(at)
	if !ok {
		n.notes.say("%s is not in network.allow", asked)
		reset(inside)
		return
	}
	n.relay(ctx, inside, r)
}

// target says what a connection to an address of the namespace means. asked is how a person would write it.
func (n *network) target(at netip.AddrPort) (r Relay, asked string, ok bool) {
	if r, ok := n.exact[at]; ok {
		return r, r.Dial, true
	}
	if n.zone == nil {
		return Relay{}, at.String(), false
	}
	if name, ok := n.zone.Name(at.Addr()); ok {
		asked = net.JoinHostPort(name, strconv.Itoa(int(at.Port())))
		return Relay{Dial: asked}, asked, n.allow.Name(name, at.Port())
	}
	return Relay{Dial: at.String()}, at.String(), n.allow.Address(at)
}

// dialTime is how long a target may take to answer.
const dialTime = 10 * time.Second

// relay joins one connection with its target. A target that does not answer looks like a broken connection, and the log says why.
func (n *network) relay(ctx context.Context, inside net.Conn, r Relay) {
	outside, err := n.dial(ctx, r.Dial)
	if err != nil {
		n.notes.say("%s", reason(r.Dial, err))
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

// dial connects to host:port as this machine finds it now, but to no place that is closed.
func (n *network) dial(ctx context.Context, target string) (net.Conn, error) {
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
func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		_ = c.Close() // too late for it
		return false
	}
	n.conns[c] = true
	return true
}

func (n *network) drop(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = c.Close() // both directions ended
	delete(n.conns, c)
}

// close ends every relay. The stack is a process and dies with the others.
func (n *network) close() {
	if n.cancel != nil {
		n.cancel()
	}
	for _, s := range n.sockets {
		_ = s.Close() // ends whoever reads from it
	}
	n.mu.Lock()
	for c := range n.conns {
		_ = c.Close() // ends the copies
	}
	n.conns = nil
	n.mu.Unlock()
	n.work.Wait()
}

// portOf is the port of a host:port that was checked before.
func portOf(target string) uint16 {
	_, text, err := net.SplitHostPort(target)
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}
