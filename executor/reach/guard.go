package reach

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Metadata are the addresses at which clouds hand out credentials and settings of a machine to whoever asks on it.
func Metadata() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),     // nearly all of them, and everything link-local
		netip.MustParsePrefix("fd00:ec2::/32"),      // AWS over IPv6
		netip.MustParsePrefix("fd20:ce::254/128"),   // Google over IPv6
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure's wire server
		netip.MustParsePrefix("192.0.0.192/32"),     // Oracle's older one
	}
}

// Guard refuses the places that trust whoever reaches them.
type Guard struct {
	Allow List                         // an entry that is this very address and port opens it
	Deny  []netip.Prefix               // networks that are closed besides
	Own   func() ([]netip.Addr, error) // this machine's own addresses at this moment; nil: it has none
}

// Refused is why a place is not connected to. Its text is for people.
type Refused struct {
	Target string // name:port or address:port, as it was asked for
	At     netip.AddrPort
	Why    string
}

func (r *Refused) Error() string {
	if r.Target == r.At.String() {
		return fmt.Sprintf("%s is %s; if that is meant, write %s in network.allow itself", r.Target, r.Why, r.At)
	}
	return fmt.Sprintf("%s leads to %s, which is %s; if that is meant, write %s in network.allow as well", r.Target, r.At.Addr(), r.Why, r.At)
}

// Check judges the place that a target (name:port or address:port) turned out to be. It returns nil or a *Refused.
func (g Guard) Check(target string, at netip.AddrPort) error {
	at = netip.AddrPortFrom(inner(at.Addr()), at.Port())
	if g.Allow.Literal(at) {
		return nil
	}
	name, _, err := net.SplitHostPort(target)
	if err == nil && at.Addr().IsLoopback() && isLocalhost(Normal(name)) && g.Allow.written(Normal(name), at.Port()) {
		return nil
	}
	why := g.closed(at.Addr())
	if why == "" {
		return nil
	}
	return &Refused{Target: target, At: at, Why: why}
}

// isLocalhost says whether a name is loopback by its meaning, wherever it is looked up.
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// closed says what is wrong with an address, or "".
func (g Guard) closed(addr netip.Addr) string {
	for _, p := range Metadata() {
		if p.Contains(addr) {
			return "a metadata or link-local address"
		}
	}
	switch {
	case addr.IsLoopback(), addr.IsUnspecified():
		return "loopback of this machine"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}), addr.Is4() && addr.As4()[0] == 0:
		return "no address of one machine"
	}
	for _, p := range g.Deny {
		if p.Contains(addr) {
			return "in network.deny"
		}
	}
	if g.Own == nil {
		return ""
	}
	all, err := g.Own()
	if err != nil {
		return "not known to be none of planlatch's own machine, for its addresses cannot be listed"
	}
	for _, own := range all {
		if own.Unmap().WithZone("") == addr {
			return "an address of planlatch's own machine"
		}
	}
	return ""
}

// Control is for net.Dialer.ControlContext: it checks the address of each attempt, after the name was looked up and before the connection.
func (g Guard) Control(target string) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s leads to %s: %w", target, address, err)
		}
		return g.Check(target, at)
	}
}

// inner is the IPv4 address within an IPv6 one that a gateway or this machine would go to, or addr itself without its zone.
func inner(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("64:ff9b:1::/48").Contains(addr), netip.MustParsePrefix("::/96").Contains(addr) && !addr.IsLoopback() && !addr.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:])) // NAT64, its prefix for one's own gateways, and the deprecated compatible form
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])) // 6to4
	}
	return addr
}

// Own lists this machine's addresses.
func Own() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs, nil
}

// ParseDeny reads the networks that are closed besides, as 10.0.0.0/8 or a single address.
func ParseDeny(text string) (netip.Prefix, error) {
	addr, prefix, ok := parseAddress(text)
	switch {
	case !ok:
		return netip.Prefix{}, fmt.Errorf("%q is not a network", text)
	case prefix.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%q is every address: for that there is mode none", text)
	case addr != prefix.Addr():
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its length: %s is the network", text, prefix)
	}
	return prefix, nil
}
