package netns

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// routeSocket speaks just enough rtnetlink to set up a fresh network namespace.
type routeSocket struct{ fd int }

func openRouteSocket() (routeSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return routeSocket{}, fmt.Errorf("open netlink: %w", err)
	}
	return routeSocket{fd}, nil
}

func (r routeSocket) close() error { return unix.Close(r.fd) }

// loopback is the index of lo, the first interface of every namespace.
const loopback = 1

// up brings lo up.
func (r routeSocket) up() error {
	link := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(link[4:], loopback)
	binary.NativeEndian.PutUint32(link[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(link[12:], unix.IFF_UP)
	if err := r.ask(unix.RTM_NEWLINK, 0, link); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

// address adds addr to lo.
func (r routeSocket) address(addr netip.Addr) error {
	msg := make([]byte, unix.SizeofIfAddrmsg)
	msg[0], msg[1], msg[2] = family(addr), byte(addr.BitLen()), unix.IFA_F_NODAD
	binary.NativeEndian.PutUint32(msg[4:], loopback)
	msg = attribute(msg, unix.IFA_LOCAL, addr.AsSlice())
	msg = attribute(msg, unix.IFA_ADDRESS, addr.AsSlice())
	if err := r.ask(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg); err != nil {
		return fmt.Errorf("add %s to loopback: %w", addr, err)
	}
	return nil
}

// route makes every address of a prefix one of ours (unix.RTN_LOCAL), or one to which connections fail at once (unix.RTN_UNREACHABLE).
func (r routeSocket) route(how byte, p netip.Prefix) error {
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0], msg[1] = family(p.Addr()), byte(p.Bits())
	msg[4], msg[5], msg[6], msg[7] = unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, how
	if how == unix.RTN_LOCAL {
		msg[4], msg[6] = unix.RT_TABLE_LOCAL, unix.RT_SCOPE_HOST
	}
	msg = attribute(msg, unix.RTA_DST, p.Addr().AsSlice())
	if how == unix.RTN_LOCAL {
		msg = attribute(msg, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, loopback))
	}
	if err := r.ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg); err != nil {
		return fmt.Errorf("route %s: %w", p, err)
	}
	return nil
}

// routes does the same for many. Without IPv6 in this kernel there is nothing to open or to close there.
func (r routeSocket) routes(how byte, prefixes []string) error {
	for _, text := range prefixes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if err := r.route(how, p); err != nil && (p.Addr().Is4() || !noIPv6(err)) {
			return err
		}
	}
	return nil
}

// The addresses of slirp4netns inside: the gateway stands for loopback of this machine, the other for its name server.
var (
	stackGateway = netip.AddrFrom4([4]byte{10, 0, 2, 2})
	stackNames   = netip.AddrFrom4([4]byte{10, 0, 2, 3})
)

// guardStack lets packets for the stack itself through to its name service alone: some versions translate the other ports too, to this
// machine. Rules are by protocol, because the kernel looks the gateway of a route up without one.
func (r routeSocket) guardStack() error {
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if err := r.rule(1, unix.RT_TABLE_MAIN, ruleTable, netip.PrefixFrom(stackNames, 32), protocol, 53); err != nil {
			return err
		}
	}
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP} {
		if err := r.rule(2, 0, ruleUnreachable, netip.PrefixFrom(stackGateway, 31), protocol, 0); err != nil {
			return err
		}
	}
	return nil
}

// What a routing rule does, and its attributes, as in linux/fib_rules.h.
const (
	ruleTable       = 1
	ruleUnreachable = 7

	ruleTo       = 1
	rulePriority = 6
	ruleProtocol = 22
	rulePorts    = 24
)

// rule decides on packets to a prefix before the routes do. port 0 means every port.
func (r routeSocket) rule(priority uint32, table, action byte, to netip.Prefix, protocol byte, port uint16) error {
	msg := make([]byte, 12)
	msg[0], msg[1], msg[4], msg[7] = family(to.Addr()), byte(to.Bits()), table, action
	msg = attribute(msg, ruleTo, to.Addr().AsSlice())
	msg = attribute(msg, rulePriority, binary.NativeEndian.AppendUint32(nil, priority))
	msg = attribute(msg, ruleProtocol, []byte{protocol})
	if port != 0 {
		msg = attribute(msg, rulePorts, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, port), port))
	}
	if err := r.ask(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg); err != nil {
		return fmt.Errorf("rule for %s: %w", to, err)
	}
	return nil
}

func family(addr netip.Addr) byte {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func attribute(msg []byte, kind uint16, value []byte) []byte {
	msg = binary.NativeEndian.AppendUint16(msg, uint16(4+len(value)))
	msg = binary.NativeEndian.AppendUint16(msg, kind)
	msg = append(msg, value...)
	return append(msg, make([]byte, -len(msg)&3)...)
}

// ask sends one request and waits for its acknowledgement.
func (r routeSocket) ask(kind, flags uint16, body []byte) error {
	msg := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(msg[0:], uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	if err := unix.Sendto(r.fd, append(msg, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(r.fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("unexpected netlink answer of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
