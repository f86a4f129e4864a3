// Package reach decides what a run may reach in the network: it reads the entries of network.allow and judges names and addresses by them.
//
// It promises that what no entry names is refused, and that a name never leads to a place that trusts whoever reaches it (metadata services,
// loopback, link-local, this machine's own addresses) unless that very place was written down. It looks nothing up and connects to nothing.
// Values are plain and safe for concurrent use.
package reach

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Entry is one line of an allow-list: names or addresses, and a port.
type Entry struct {
	Name   string       // in lower case; of a wildcard what follows "*."; empty when Prefix counts
	Wild   bool         // every name below Name, not Name itself
	Prefix netip.Prefix // a network, or all bits of one address
	Port   uint16
}

// https is the port of an entry that names none.
const https = 443

// How an entry is written, for errors.
const howTo = "write it as in db.internal:5432, *.amazonaws.com:443, 127.0.0.1:9000, 10.1.0.0/16:5432 or [fd00::1]:443; without a port it is 443"

// Parse reads an entry: a name, *.name, an address or a network, each with ":port" or for 443 without.
func Parse(text string) (Entry, error) {
	host, port, err := split(text)
	if err != nil {
		return Entry{}, fmt.Errorf("%q %w", text, err)
	}
	e := Entry{Port: port}
	switch addr, prefix, ok := parseAddress(host); {
	case ok && addr.IsUnspecified() && prefix.IsSingleIP():
		return Entry{}, fmt.Errorf("%q is an address to listen on, not one to reach", text)
	case ok && prefix.Bits() == 0:
		return Entry{}, fmt.Errorf("%q is every address: for that there is mode open", text)
	case ok && addr != prefix.Addr():
		return Entry{}, fmt.Errorf("%q has bits behind its length: %s is the network", text, prefix)
	case ok:
		e.Prefix = prefix
		return e, nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	e.Name, e.Wild = Normal(name), wild
	if !IsName(e.Name) {
		return Entry{}, fmt.Errorf("%q is neither a name nor an address", text)
	}
	return e, nil
}

// Fix says how entries are written, for messages.
func Fix() string { return howTo }

// split takes the port off. An IPv6 address without one may stand in brackets or bare.
func split(text string) (host string, port uint16, err error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if _, _, ok := parseAddress(bare); ok && (bare == text || text == "["+bare+"]") {
		return bare, https, nil
	}
	if !strings.Contains(text, ":") {
		return text, https, nil
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("is not host:port")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != number {
		return "", 0, fmt.Errorf("has no port from 1 to 65535 behind its last colon, but %q", number)
	}
	return host, uint16(n), nil
}

func parseAddress(host string) (netip.Addr, netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return addr, netip.PrefixFrom(addr, addr.BitLen()), true
	}
	if p, err := netip.ParsePrefix(host); err == nil && !p.Addr().Is4In6() {
		return p.Addr(), p.Masked(), true
	}
	return netip.Addr{}, netip.Prefix{}, false
}

// Normal is the form in which names are compared: lower case, without the dot at the end.
func Normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// IsName says whether a normal name can be one of a host. What old resolvers read as an address (127.1, 0x7f.1) is none.
func IsName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return !strings.HasPrefix(last, "0x") && strings.Trim(last, "0123456789") != ""
}

// Exact says whether the entry names one host: relays to it can be set up before anybody asks.
func (e Entry) Exact() bool { return !e.Wild && (e.Name != "" || e.Prefix.IsSingleIP()) }

// Host is the entry without its port.
func (e Entry) Host() string {
	switch {
	case e.Wild:
		return "*." + e.Name
	case e.Name != "":
		return e.Name
	case e.Prefix.IsSingleIP():
		return e.Prefix.Addr().String()
	}
	return e.Prefix.String()
}

// String is the entry in its one form: Parse reads it back.
func (e Entry) String() string { return net.JoinHostPort(e.Host(), strconv.Itoa(int(e.Port))) }

func (e Entry) matches(name string) bool {
	if e.Wild {
		return strings.HasSuffix(name, "."+e.Name)
	}
	return e.Name != "" && name == e.Name
}

// List is an allow-list. An empty one allows nothing.
type List []Entry

// ParseList reads every entry and reports all that are wrong.
func ParseList(texts []string) (List, error) {
	var l List
	var faults []error
	for _, text := range texts {
		e, err := Parse(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("network.allow: %w; %s", err, howTo))
			continue
		}
		l = append(l, e)
	}
	return l, errors.Join(faults...)
}

// Named says whether an entry has this normal name, on whatever port.
func (l List) Named(name string) bool {
	return slices.ContainsFunc(l, func(e Entry) bool { return e.matches(name) })
}

// Name says whether a normal name may be reached on a port.
func (l List) Name(name string, port uint16) bool {
	return slices.ContainsFunc(l, func(e Entry) bool { return e.Port == port && e.matches(name) })
}

// written says whether a name and port stand in the list themselves, not by a wildcard.
func (l List) written(name string, port uint16) bool {
	return slices.ContainsFunc(l, func(e Entry) bool { return !e.Wild && e.Port == port && e.matches(name) })
}

// Address says whether an address may be reached on a port, as an address: not what a name leads to.
func (l List) Address(at netip.AddrPort) bool {
	addr := at.Addr().Unmap()
	return slices.ContainsFunc(l, func(e Entry) bool { return e.Name == "" && e.Port == at.Port() && e.Prefix.Contains(addr) })
}

// Literal says whether this very address and port stand in the list, as one address and not within a network.
func (l List) Literal(at netip.AddrPort) bool {
	addr := at.Addr().Unmap()
	return slices.ContainsFunc(l, func(e Entry) bool {
		return e.Name == "" && e.Port == at.Port() && e.Prefix.IsSingleIP() && e.Prefix.Addr() == addr
	})
}
