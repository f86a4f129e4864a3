// Package names is the name service inside the network of a run that may reach only what is listed.
//
// It answers for the names that an allow-list has, with addresses of its own making, and for nothing else. It asks nobody: what a run looks up
// never leaves the machine, so a name cannot carry anything out. Whoever relays a connection learns from the address which name was meant,
// and looks that up where it matters, outside and at that moment. A Zone is safe for concurrent use.
package names

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/planlatch/planlatch/executor/reach"
)

// Range is where the addresses of names come from: set aside for tests of network equipment, so nobody's host is there.
func Range() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/15") }

// Server is the address of the name service inside, on port 53.
func Server() netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, 1}) }

// Fixed is the address of the i-th name that is known from the start.
func Fixed(i int) netip.Addr { return nth(i + 2) }

// limit is how many names a run may learn; each costs some memory of the process that answers.
const limit = 10000

// ttl is in seconds. An address keeps its name as long as the run lives.
const ttl = 60

func nth(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18 + byte(i>>16&1), byte(i >> 8), byte(i)})
}

// Zone knows the names of one run.
type Zone struct {
	allow reach.List
	note  func(name string) // a name was refused; printable

	mu     sync.Mutex
	byName map[string]netip.Addr
	byAddr map[netip.Addr]string
	next   int
}

// New makes a zone for what allow lists. fixed are names whose addresses are known already, at Fixed(0), Fixed(1), …; note hears of every
// name that is refused, made printable, as often as it is asked for.
func New(allow reach.List, fixed []string, note func(name string)) *Zone {
	z := &Zone{allow: allow, note: note, byName: make(map[string]netip.Addr), byAddr: make(map[netip.Addr]string), next: 2}
	for _, name := range fixed {
		z.add(name)
	}
	return z
}

// Name is what an address was made for.
func (z *Zone) Name(addr netip.Addr) (string, bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name, ok := z.byAddr[addr]
	return name, ok
}

var errFull = errors.New("too many names")

func (z *Zone) address(name string) (netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if addr, ok := z.byName[name]; ok {
		return addr, nil
	}
	if len(z.byName) >= limit {
		return netip.Addr{}, errFull
	}
	return z.add(name), nil
}

// add gives a name the next address. The caller holds mu, or nobody else knows the zone.
func (z *Zone) add(name string) netip.Addr {
	addr := nth(z.next)
	z.next++
	z.byName[name], z.byAddr[addr] = addr, name
	return addr
}

// Answer returns the answer to a query as it came from the wire, or nil if it deserves none: what is no query, or cannot be answered.
func (z *Zone) Answer(query []byte) []byte {
	var p dnsmessage.Parser
	asked, err := p.Start(query)
	if err != nil || asked.Response {
		return nil
	}
	head := dnsmessage.Header{ID: asked.ID, Response: true, OpCode: asked.OpCode, RecursionDesired: asked.RecursionDesired, RecursionAvailable: true, Authoritative: true}
	if asked.OpCode != 0 {
		head.RCode = dnsmessage.RCodeNotImplemented
		return pack(head, nil, netip.Addr{})
	}
	q, err := p.Question()
	if err != nil {
		head.RCode = dnsmessage.RCodeFormatError
		return pack(head, nil, netip.Addr{})
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) { // nobody asks two at once
		head.RCode = dnsmessage.RCodeFormatError
		return pack(head, nil, netip.Addr{})
	}
	addr, code := z.find(q)
	head.RCode = code
	return pack(head, &q, addr)
}

// find decides on one question. An address is there only for IPv4; the other types of a known name have no records, which is no error.
func (z *Zone) find(q dnsmessage.Question) (netip.Addr, dnsmessage.RCode) {
	name := reach.Normal(q.Name.String())
	switch {
	case q.Class != dnsmessage.ClassINET:
		return netip.Addr{}, dnsmessage.RCodeRefused
	case !reach.IsName(name) || !z.allow.Named(name):
		if !strings.HasSuffix(name, ".arpa") { // who has an address: asked by habit, and of no use in a list
			z.note(printable(name))
		}
		// Not "refused": resolvers take that for a fault of the moment and try again.
		return netip.Addr{}, dnsmessage.RCodeNameError
	case q.Type != dnsmessage.TypeA:
		return netip.Addr{}, dnsmessage.RCodeSuccess
	}
	addr, err := z.address(name)
	if err != nil {
		return netip.Addr{}, dnsmessage.RCodeServerFailure
	}
	return addr, dnsmessage.RCodeSuccess
}

// pack builds a message. One that cannot be built is none: the question came from outside.
func pack(head dnsmessage.Header, q *dnsmessage.Question, addr netip.Addr) []byte {
	m := dnsmessage.Message{Header: head}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
		if addr.Is4() {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: ttl},
				Body:   &dnsmessage.AResource{A: addr.As4()},
			}}
		}
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// printable makes a name from the wire safe to show: it may hold any byte.
func printable(name string) string {
	const most = 100
	if len(name) > most {
		name = name[:most] + "…"
	}
	if reach.IsName(strings.TrimSuffix(name, "…")) {
		return name
	}
	return strconv.QuoteToASCII(name)
}
