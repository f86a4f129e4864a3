// Package netns is the network of one execution, in a network namespace of its own: the half inside, which sets the namespace up and listens in it,
// and the half outside, which answers there.
//
// It promises that without a stack nothing inside reaches more than the namespace's own loopback, what Rules list and what a handler took; that an
// open network, which has a user-mode stack, does not lead to addresses of this machine, also not to those that it gets later; and that what was
// refused is told in the log, in a bounded number of printable lines. When something cannot be closed the stack is ended. It leaves to callers who
// makes the namespace, and that nobody in it has power over its settings.
//
// A Network is prepared, told its handlers and served, in this order and by one goroutine; what it offers to handlers is safe for concurrent use.
package netns

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/local/process"
	"github.com/planlatch/planlatch/executor/reach"
)

// Rules say what there is inside.
type Rules struct {
	Allow    []string // entries of package reach
	Deny     []string // addresses and networks that no relay leads to
	Relays   []Relay  // single targets of Allow
	Patterns []string // the other entries of Allow, of an allow-list: wildcards and networks
	Names    bool     // a name service of its own, for an allow-list
	Closed   []string // prefixes that answer "unreachable", besides this machine's own addresses where there is a stack
	Stack    bool     // StartStack will be called
}

// Relay is one allowed target: a single name or address.
type Relay struct {
	Dial   string   // host:port
	Listen []string // ip:port inside the network namespace
}

// Network is the outside half: the stack of an open network, the relays and the name service. It lives as long as the execution. The zero value has
// nothing inside, and only dials.
type Network struct {
	setup   Setup
	stack   int      // pid of slirp4netns, 0: none
	ready   *os.File // brings a byte when the stack is configured
	fence   *fence   // keeps this machine's addresses closed in an open network; nil: there is no stack
	exact   map[netip.AddrPort]Relay
	allow   reach.List
	guard   reach.Guard
	zone    *names.Zone // nil: no name service
	served  map[netip.AddrPort]func(context.Context, net.Conn)
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

// Prepare reads what the rules allow. Notes for people go to log, which appends.
func (n *Network) Prepare(r Rules, log io.Writer) error {
	n.setup = Setup{Closed: r.Closed, Stack: r.Stack}
	n.exact, n.served, n.conns = make(map[netip.AddrPort]Relay), make(map[netip.AddrPort]func(context.Context, net.Conn)), make(map[net.Conn]bool)
	n.notes, n.slots = &notes{log: log}, make(chan struct{}, connections)
	var err error
	if n.allow, err = reach.ParseList(r.Allow); err != nil {
		return err
	}
	n.guard = reach.Guard{Allow: n.allow, Own: reach.Own}
	for _, text := range r.Deny {
		p, err := reach.ParseDeny(text)
		if err != nil {
			return err
		}
		n.guard.Deny = append(n.guard.Deny, p)
	}
	patterns, err := reach.ParseList(r.Patterns)
	if err != nil {
		return err
	}
	fixed, err := n.setup.relays(r, patterns, n.exact)
	if err != nil {
		return err
	}
	if r.Names {
		n.zone = names.New(n.allow, fixed, func(name string) { n.notes.say("%s is not in network.allow", name) })
	}
	if r.Stack {
		if n.fence, err = openFence(); err != nil {
			return err
		}
		closed, err := n.fence.news()
		if err != nil {
			return err
		}
		n.setup.Closed = slices.Concat(closed, r.Closed)
	}
	return nil
}

// Setup is what the inside half is to be told.
func (n *Network) Setup() Setup { return n.setup }

// Handle gives the connections to one place inside to serve, instead of to relays. They are closed when it returns.
func (n *Network) Handle(at netip.AddrPort, serve func(ctx context.Context, inside net.Conn)) {
	n.setup.listen(at)
	if !at.Addr().IsLoopback() {
		n.setup.Addresses = append(n.setup.Addresses, at.Addr().String())
	}
	n.served[at] = serve
}

// relays adds what relays and patterns need inside. It fills exact and returns the names that have an address from the start.
func (s *Setup) relays(r Rules, patterns reach.List, exact map[netip.AddrPort]Relay) (fixed []string, err error) {
	for _, e := range patterns { // a pattern's port is listened for on all addresses, for nobody knows them all
		all := netip.IPv4Unspecified()
		if e.Name == "" {
			s.Local = append(s.Local, e.Prefix.String())
			all = unspecified(e.Prefix.Addr())
		}
		s.listen(netip.AddrPortFrom(all, e.Port))
	}
	if r.Names {
		server := netip.AddrPortFrom(names.Server(), 53)
		s.listen(server)
		s.Names, s.Local = server.String(), append(s.Local, names.Range().String())
	}
	for _, relay := range r.Relays {
		for _, text := range relay.Listen {
			at, err := netip.ParseAddrPort(text)
			if err != nil {
				return nil, err
			}
			exact[at] = relay
			s.listen(at)
			switch host, _, _ := net.SplitHostPort(relay.Dial); {
			case at.Addr().IsLoopback():
			case !r.Names || !names.Range().Contains(at.Addr()):
				s.Addresses = append(s.Addresses, at.Addr().String())
			case !slices.Contains(fixed, host):
				fixed = append(fixed, host)
			}
		}
	}
	return fixed, nil
}

// listen adds a place to listen at, unless it is listened for already. Those for all addresses come first.
func (s *Setup) listen(at netip.AddrPort) {
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

// Serve takes the sockets that Setup.Apply passed into the other side of socket, and answers on them until Close.
func (n *Network) Serve(socket *net.UnixConn) error {
	s := n.setup
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
func (n *Network) keepFence(inside int) (err error) {
	n.fence.inside = routeSocket{inside}
	if n.fence.stack, err = process.Identify(n.stack); err != nil {
		return err
	}
	n.sockets = append(n.sockets, n.fence)
	n.work.Go(n.fence.watch)
	return nil
}

// Close ends every relay. The stack is a process and dies with the others.
func (n *Network) Close() {
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
