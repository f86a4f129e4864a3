package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/local/netns"
	"github.com/planlatch/planlatch/executor/local/shim"
	"github.com/planlatch/planlatch/executor/reach"
)

// network decides what the execution reaches, and through what.
func (e *Executor) network(ctx context.Context, l *shim.Launch) error {
	n := l.Spec.Network
	allow, err := reach.ParseList(n.Allow)
	if err != nil {
		return err
	}
	guard := reach.Guard{Allow: allow, Own: reach.Own}
	if guard.Deny, err = denied(n.Deny); err != nil {
		return err
	}
	l.Names = n.Mode == executor.NetworkAllowList && l.Namespaces
	m := relays{Launch: l, guard: guard, six: haveSix()}
	for _, entry := range allow {
		if err := m.add(ctx, entry); err != nil {
			return err
		}
	}
	if n.Mode == executor.NetworkOpen && l.Namespaces {
		return e.open(l, guard.Deny)
	}
	return nil
}

func denied(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := reach.ParseDeny(text)
		if err != nil {
			return nil, fmt.Errorf("network.deny: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// stackNet is the network of slirp4netns inside. Nobody else is in it.
var stackNet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 2, 0}), 24)

// open gives the execution a network stack of its own, with the places closed that trust whoever reaches them. This machine's own addresses
// are closed by the shim, which sees them change.
func (e *Executor) open(l *shim.Launch, deny []netip.Prefix) error {
	if missing := e.noSlirp(); missing != nil {
		if e.sandbox == SandboxRequired {
			return fmt.Errorf("network open: %w; %s, or set network.mode to allow_list or none and list targets in network.allow", missing, fixSlirp)
		}
		e.log.Warn("network falls back to none and the allowed targets", "execution", l.Spec.Name, "reason", missing, "fix", fixSlirp)
		return nil
	}
	l.Slirp = e.slirp
	for _, p := range append(reach.Metadata(), deny...) {
		if stackNet.Bits() <= p.Bits() && stackNet.Contains(p.Addr()) {
			continue // closed already, but for its name service
		}
		l.Closed = append(l.Closed, p.String())
	}
	return nil
}

// relays fills a launch with the targets of an allow-list.
type relays struct {
	*shim.Launch
	guard reach.Guard
	six   bool     // this kernel has IPv6
	fixed []string // names in the order of their addresses
}

func (m *relays) add(ctx context.Context, e reach.Entry) error {
	r := netns.Relay{Dial: e.String()}
	switch {
	case !e.Exact():
		return m.pattern(e)
	case !m.Namespaces:
	case e.Name == "localhost":
		r.Listen = m.at(e.Port, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	case e.Name == "":
		if m.Names && names.Range().Contains(e.Prefix.Addr()) {
			return errRange(e)
		}
		if r.Listen = m.at(e.Port, e.Prefix.Addr()); len(r.Listen) == 0 {
			return fmt.Errorf("allowed target %s: this kernel has no IPv6", e)
		}
	case m.Names:
		i := slices.Index(m.fixed, e.Name)
		if i < 0 {
			i, m.fixed = len(m.fixed), append(m.fixed, e.Name)
		}
		r.Listen = m.at(e.Port, names.Fixed(i))
	default:
		addrs, err := m.resolve(ctx, e)
		if err != nil {
			return fmt.Errorf("allowed target %s: %w", e, err)
		}
		r.Listen = m.at(e.Port, addrs...)
	}
	m.Relays = append(m.Relays, r)
	return nil
}

func (m *relays) pattern(e reach.Entry) error {
	switch {
	case m.Spec.Network.Mode != executor.NetworkAllowList:
		return fmt.Errorf("allowed target %s: a wildcard or a network needs network.mode allow_list", e)
	case !m.Namespaces && m.Walls:
		return fmt.Errorf("allowed target %s: a wildcard or a network needs namespaces; give them, or list single targets", e)
	case e.Name == "" && e.Prefix.Overlaps(names.Range()):
		return errRange(e)
	}
	m.Patterns = append(m.Patterns, e.String())
	return nil
}

func errRange(e reach.Entry) error {
	return fmt.Errorf("allowed target %s: it lies in %s, whose addresses stand for names inside; use its name", e, names.Range())
}

// at are the places that can exist inside.
func (m *relays) at(port uint16, addrs ...netip.Addr) []string {
	var places []string
	for _, addr := range addrs {
		if m.six || addr.Is4() {
			places = append(places, netip.AddrPortFrom(addr, port).String())
		}
	}
	return places
}

// resolve looks a name up as this machine sees it and keeps the addresses that can exist inside and are not closed.
func (m *relays) resolve(ctx context.Context, e reach.Entry) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", e.Name)
	if err != nil {
		return nil, err
	}
	var kept []netip.Addr
	var faults []error
	for _, addr := range addrs {
		addr = addr.Unmap().WithZone("")
		if addr.Is6() && !m.six {
			continue
		}
		if err := m.guard.Check(e.String(), netip.AddrPortFrom(addr, e.Port)); err != nil {
			faults = append(faults, err)
			continue
		}
		kept = append(kept, addr)
	}
	if len(kept) == 0 {
		return nil, errors.Join(append(faults, errors.New("it has no address that can be connected to"))...)
	}
	return kept, nil
}

func haveSix() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

func listenIP(at string) string {
	p, err := netip.ParseAddrPort(at)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
