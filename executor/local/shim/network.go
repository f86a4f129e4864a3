package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fdControl is the stage's socket to the owner, besides the descriptors that pass through it to the inner.
const fdControl = 7

// setup is what the owner tells the stage once the outside half of the network is ready.
type setup struct {
	Listen []string // ip:port, in the order in which the listeners go back
	Closed []string // prefixes
	Bwrap  string
	Args   []string
}

// answer is what the stage says before it becomes bubblewrap; the listeners travel beside it.
type answer struct {
	Error string `json:",omitempty"`
}

// enterNetwork runs in fresh user and network namespaces: it sets the network up and becomes bubblewrap. The namespaces of the sandbox are
// made below this user namespace, so no capability that a step may get in there reaches the network's settings.
func enterNetwork() error {
	unix.CloseOnExec(fdControl)
	control := os.NewFile(fdControl, "control")
	conn, err := net.FileConn(control)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("control socket: not a unix socket")
	}
	var s setup
	if err := readFrame(socket, &s); err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	listeners, err := s.apply()
	if err != nil {
		return errors.Join(err, sayTo(socket, answer{Error: err.Error()}, nil))
	}
	if err := sayTo(socket, answer{}, listeners); err != nil {
		return err
	}
	if err := syscall.Exec(s.Bwrap, s.Args, []string{}); err != nil { // an empty environment: /proc/1/environ shows it to the steps
		return fmt.Errorf("start %s: %w", s.Bwrap, err)
	}
	return nil
}

// apply brings loopback up, closes prefixes and listens for the relays. It returns the listeners' descriptors.
func (s setup) apply() ([]int, error) {
	route, err := openRouteSocket()
	if err != nil {
		return nil, err
	}
	defer route.close()
	if err := route.up(); err != nil {
		return nil, err
	}
	for _, text := range s.Closed {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		// Without IPv6 in this kernel there is nothing to close.
		if err := route.unreachable(p); err != nil && (p.Addr().Is4() || !noIPv6(err)) {
			return nil, err
		}
	}
	var listeners []int
	for _, text := range s.Listen {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, err
		}
		if !at.Addr().IsLoopback() {
			if err := route.address(at.Addr()); err != nil {
				return nil, err
			}
		}
		fd, err := listenTCP(at)
		if err != nil {
			return nil, fmt.Errorf("listen on %s inside the sandbox: %w", at, err)
		}
		listeners = append(listeners, fd)
	}
	return listeners, nil
}

func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV)
}

func listenTCP(at netip.AddrPort) (int, error) {
	addr, domain := unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}), unix.AF_INET6
	if at.Addr().Is4() {
		addr, domain = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(unix.Bind(fd, addr), unix.Listen(fd, 128)); err != nil {
		return 0, err
	}
	return fd, nil
}

func sayTo(socket *net.UnixConn, a answer, fds []int) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = socket.WriteMsgUnix(body, rights, nil)
	return err
}

// network is the outside half: the stack of an open network and the relays. It lives in the owner.
type network struct {
	stack     int      // pid of slirp4netns, 0: none
	hold      *os.File // the stack ends when the last copy of this closes; the inner inherits one, so it outlives a killed owner
	listeners []net.Listener
	work      sync.WaitGroup
	mu        sync.Mutex
	conns     map[net.Conn]bool // nil once closed
}

// holdPair makes the descriptors that tie the stack's life to the sandbox's.
func (n *network) holdPair() (exit *os.File, err error) {
	exit, n.hold, err = os.Pipe()
	return exit, err
}

// startStack attaches slirp4netns to the namespaces of process pid and waits until it is configured.
func (n *network) startStack(path string, pid int, exit, complaints *os.File) error {
	ready, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }() // read only
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, readyWrite.Close())
	}
	defer func() { _ = null.Close() }() // nothing was written
	proc := "/proc/" + strconv.Itoa(pid) + "/ns/"
	n.stack, err = syscall.ForkExec(path, []string{
		"slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--exit-fd=4",
		"--userns-path=" + proc + "user", "--netns-type=path", proc + "net", "tap0",
	}, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{null.Fd(), null.Fd(), complaints.Fd(), readyWrite.Fd(), exit.Fd()}})
	if err = errors.Join(err, readyWrite.Close()); err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	if err := ready.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		return errors.New("slirp4netns ended before the network was up")
	}
	return nil
}

// hear reads the stage's answer and serves its listeners: each connection is dialed again from outside, where dials names the target.
func (n *network) hear(socket *net.UnixConn, dials []string) error {
	body, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*max(1, len(dials))))
	size, rightsSize, _, _, err := socket.ReadMsgUnix(body, rights)
	if err != nil || size == 0 {
		return fmt.Errorf("the network stage ended early: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	var a answer
	if err := json.Unmarshal(body[:size], &a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	fds, err := passedFDs(rights[:rightsSize])
	if err != nil || len(fds) != len(dials) {
		return errors.Join(fmt.Errorf("the network stage passed %d listeners of %d", len(fds), len(dials)), err)
	}
	n.conns = make(map[net.Conn]bool)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "relay")
		l, err := net.FileListener(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		n.listeners = append(n.listeners, l)
		n.work.Go(func() { n.serve(l, dials[i]) })
	}
	return nil
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

func (n *network) serve(l net.Listener, dial string) {
	for {
		inside, err := l.Accept()
		if err != nil {
			return // closed with the execution
		}
		n.work.Go(func() { n.relay(inside, dial) })
	}
}

// relay joins one connection with its target. A target that does not answer looks like a closed connection.
func (n *network) relay(inside net.Conn, dial string) {
	outside, err := net.DialTimeout("tcp", dial, 10*time.Second) //nolint:noctx // lives as long as this process, which is the execution
	if err != nil {
		_ = inside.Close() // the only answer there is
		return
	}
	if !n.keep(inside, outside) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pour(outside, inside) })
	both.Go(func() { pour(inside, outside) })
	both.Wait()
	n.drop(inside, outside)
}

// pour copies one direction and passes its end on, so that a half-closed connection still answers.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // an error ends the direction, which both ends see
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // it may be gone already
	}
}

func (n *network) keep(conns ...net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range conns {
		if n.conns == nil {
			_ = c.Close() // too late for it
			continue
		}
		n.conns[c] = true
	}
	return n.conns != nil
}

func (n *network) drop(conns ...net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // both directions ended
		delete(n.conns, c)
	}
}

// close ends every relay. The stack is a process and dies with the others.
func (n *network) close() {
	for _, l := range n.listeners {
		_ = l.Close() // ends Accept
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
