package local_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Tests of what a run reaches need hosts that it must not reach, and nothing may be sent to anybody's. They run in a network of their own: every
// address there is on loopback, and names are answered by the test.

// privateArg makes the test binary enter such a network before it runs tests.
const privateArg = "__private"

var isPrivate bool

// enterPrivate sets the network up. This process is root in its own user, mount and network namespaces.
func enterPrivate(shim string) error {
	isPrivate, shimPath, buildShim = true, shim, func() error { return nil }
	if err := errors.Join(address("lo", "127.0.0.1"), address("lo:1", "198.51.100.1"), address("lo:2", "169.254.0.1")); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "planlatch-private-")
	if err != nil {
		return err
	}
	resolv := filepath.Join(dir, "resolv.conf")
	return errors.Join(
		os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n"), 0o600),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""),
		os.RemoveAll(dir))
}

// address gives an interface of loopback an IPv4 address. There its whole network of old (a /24 for 198.51.100.1) answers, but only the address
// itself is listed as one of this machine's.
func address(name, addr string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing is buffered
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ip := netip.MustParseAddr(addr).As4()
	if err := request.SetInet4Addr(ip[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request); err != nil {
		return fmt.Errorf("give %s %s: %w", name, addr, err)
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// privately runs this very test again in a private network, unless it is there already. It says whether the test goes on here.
func privately(t *testing.T) bool {
	t.Helper()
	if isPrivate {
		return true
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, privateArg, builtShim(t), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("in a private network: %v\n%s", err, out)
	}
	return false
}

// nameServer answers for the names that it has, and remembers all that it was asked.
type nameServer struct {
	mu    sync.Mutex
	addrs map[string]string
	asked map[string]int
}

// serveNames is what the machine of the test asks for names.
func serveNames(t *testing.T, addrs map[string]string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{addrs: addrs, asked: map[string]int{}}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // ends with conn
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if a := s.answer(buffer[:n]); a != nil {
				_, _ = conn.WriteTo(a, from)
			}
		}
	}()
	return s
}

func (s *nameServer) answer(query []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	s.asked[name]++
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	addr, ok := s.addrs[name]
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()},
		}}
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (s *nameServer) set(name, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[name] = addr
}

func (s *nameServer) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}
