package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/process"
	"github.com/planlatch/planlatch/executor/reach"
)

// fence keeps the addresses of this machine out of an open network, also those that it gets while the execution runs: the routing socket of
// the namespace obeys its owner outside, whose user made the namespace.
type fence struct {
	changes *os.File    // of this machine's addresses
	inside  routeSocket // of the namespace; open as long as this process
	stack   process.ID  // ended when something cannot be closed: no network is better than one with a hole
	closed  map[netip.Addr]bool
}

// openFence listens for changes from now on.
func openFence() (*fence, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch this machine's addresses: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch this machine's addresses: %w", err), unix.Close(fd))
	}
	return &fence{changes: os.NewFile(uintptr(fd), "changes"), closed: make(map[netip.Addr]bool)}, nil
}

// news are prefixes of addresses that are not closed yet and count as closed from now on.
func (f *fence) news() ([]string, error) {
	all, err := reach.Own()
	if err != nil {
		return nil, err
	}
	var prefixes []string
	for _, addr := range all {
		if addr.IsLoopback() || addr.IsLinkLocalUnicast() || f.closed[addr] {
			continue // loopback is the stack's own; link-local is closed as a whole or never routed
		}
		f.closed[addr] = true
		prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return prefixes, nil
}

// watch closes what is new at every change, until Close.
func (f *fence) watch() {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := f.changes.Read(buffer); err != nil && !errors.Is(err, unix.ENOBUFS) { // too many changes are a change
			return
		}
		prefixes, err := f.news()
		if err == nil {
			err = f.inside.routes(unix.RTN_UNREACHABLE, prefixes)
		}
		if err != nil {
			_ = f.stack.Signal(unix.SIGKILL) // it ends with the sandbox at the latest
			return
		}
	}
}

// Close ends watch. The namespace keeps what is closed.
func (f *fence) Close() error { return f.changes.Close() }
