package netns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// StartStack attaches slirp4netns, the program at slirp, to the namespaces of process pid. label shows in ps, complaints gets what the program says,
// and it ends when the last copy of the other end of exit closes. It becomes ready while the sandbox does; see AwaitStack.
func (n *Network) StartStack(slirp, label string, pid int, exit, complaints *os.File) error {
	ready, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	n.ready = ready
	files := make([]uintptr, 0, 7)
	for _, name := range []string{"user", "net"} { // now: the process soon becomes bubblewrap, which nobody may look into
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + name)
		if err != nil {
			return errors.Join(err, readyWrite.Close())
		}
		defer func() { _ = f.Close() }() // the stack has its own copy
		files = append(files, f.Fd())
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, readyWrite.Close())
	}
	defer func() { _ = null.Close() }() // nothing was written
	n.stack, err = syscall.ForkExec(slirp, []string{
		"slirp4netns:" + label, "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--exit-fd=4",
		"--userns-path=/proc/self/fd/5", "--netns-type=path", "/proc/self/fd/6", "tap0",
	}, &syscall.ProcAttr{
		Env:   []string{},
		Files: append([]uintptr{null.Fd(), null.Fd(), complaints.Fd(), readyWrite.Fd(), exit.Fd()}, files...),
	})
	if err = errors.Join(err, readyWrite.Close()); err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	return nil
}

// Stack is the process of the stack, 0 without one.
func (n *Network) Stack() int { return n.stack }

// AwaitStack waits until the stack, if there is one, is configured.
func (n *Network) AwaitStack(limit time.Duration) error {
	if n.ready == nil {
		return nil
	}
	defer func() { _ = n.ready.Close() }() // read only
	if err := n.ready.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.ReadFull(n.ready, make([]byte, 1)); err != nil {
		return errors.New("slirp4netns ended before the network was up")
	}
	return nil
}
