package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Setup is what the inside half makes of a fresh namespace. It is plain data, for it travels.
type Setup struct {
	Addresses []string // to give to loopback
	Local     []string // prefixes whose every address is ours
	Listen    []string // ip:port, in the order in which the listeners go back
	Names     string   // ip:port of a name service over UDP, whose socket goes back behind the listeners; empty: none
	Closed    []string // prefixes
	Stack     bool     // there will be a network stack to guard; the socket to do so later goes back last
}

// answer is what the inside half says when it is done; the sockets travel before it.
type answer struct {
	Error string `json:",omitempty"`
}

// Apply sets the network namespace of this process up, and passes its sockets, or why there are none, through socket to Serve on its other side.
func (s Setup) Apply(socket *net.UnixConn) error {
	sockets, err := s.apply()
	if err != nil {
		return errors.Join(err, sayTo(socket, answer{Error: err.Error()}, nil))
	}
	return sayTo(socket, answer{}, sockets)
}

// apply sets the network up and returns the descriptors of its sockets.
func (s Setup) apply() (sockets []int, err error) {
	route, err := openRouteSocket()
	if err != nil {
		return nil, err
	}
	if err := s.routes(route); err != nil {
		return nil, errors.Join(err, route.close())
	}
	for _, text := range s.Listen {
		fd, err := listen(text, unix.SOCK_STREAM)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, fd)
	}
	if s.Names != "" {
		fd, err := listen(s.Names, unix.SOCK_DGRAM)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, fd)
	}
	if s.Stack {
		return append(sockets, route.fd), nil
	}
	return sockets, route.close()
}

func (s Setup) routes(route routeSocket) error {
	if err := route.up(); err != nil {
		return err
	}
	for _, text := range s.Addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		if err := route.address(addr); err != nil {
			return err
		}
	}
	if err := errors.Join(route.routes(unix.RTN_LOCAL, s.Local), route.routes(unix.RTN_UNREACHABLE, s.Closed)); err != nil {
		return err
	}
	if s.Stack {
		return route.guardStack()
	}
	return nil
}

func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV)
}

// listen makes a socket that is bound to ip:port, and listens if it is a stream.
func listen(text string, kind int) (int, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return 0, err
	}
	addr, domain := unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}), unix.AF_INET6
	if at.Addr().Is4() {
		addr, domain = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, unix.AF_INET
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	if domain == unix.AF_INET6 { // IPv4 has a listener of its own
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err = errors.Join(err, unix.Bind(fd, addr)); err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		return 0, fmt.Errorf("listen on %s inside the sandbox: %w", at, err)
	}
	return fd, nil
}

// fdsPerMessage is fewer than the kernel lets pass at once.
const fdsPerMessage = 200

// sayTo passes descriptors, some with each byte, and then the answer.
func sayTo(socket *net.UnixConn, a answer, fds []int) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(fds, fdsPerMessage) {
		if _, _, err := socket.WriteMsgUnix([]byte{0}, unix.UnixRights(some...), nil); err != nil {
			return err
		}
	}
	_, err = socket.Write(body)
	return err
}

// hear reads what sayTo sent. It closes the descriptors if the answer is an error.
func hear(socket *net.UnixConn) (fds []int, err error) {
	defer func() {
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd) // unused
			}
			fds = nil
		}
	}()
	body, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*fdsPerMessage))
	for {
		size, rightsSize, _, _, err := socket.ReadMsgUnix(body, rights)
		if err != nil || size == 0 {
			return fds, fmt.Errorf("the network stage ended early: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if rightsSize == 0 {
			var a answer
			if err := json.Unmarshal(body[:size], &a); err != nil {
				return fds, err
			}
			if a.Error != "" {
				return fds, errors.New(a.Error)
			}
			return fds, nil
		}
		some, err := passedFDs(rights[:rightsSize])
		if fds = append(fds, some...); err != nil {
			return fds, err
		}
	}
}

func passedFDs(rights []byte) ([]int, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		for _, fd := range got {
			unix.CloseOnExec(fd)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
