package shim

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

func (r routeSocket) close() { _ = unix.Close(r.fd) } // nothing is buffered

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

// unreachable closes a prefix: every connection to it fails at once.
func (r routeSocket) unreachable(p netip.Prefix) error {
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0], msg[1] = family(p.Addr()), byte(p.Bits())
	msg[4], msg[5], msg[6], msg[7] = unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNREACHABLE
	msg = attribute(msg, unix.RTA_DST, p.Addr().AsSlice())
	if err := r.ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg); err != nil {
		return fmt.Errorf("close %s: %w", p, err)
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
