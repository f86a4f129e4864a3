package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/netns"
)

// fdControl is the stage's socket to the owner, besides the descriptors that pass through it to the inner.
const fdControl = 8

// orders are what the owner tells the stage once the outside half of the network is ready.
type orders struct {
	netns.Setup

	Bwrap string
	Args  []string
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
	var o orders
	if err := readFrame(socket, &o); err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	if err := o.Apply(socket); err != nil {
		return err
	}
	if err := syscall.Exec(o.Bwrap, o.Args, []string{}); err != nil { // an empty environment: /proc/1/environ shows it to the steps
		return fmt.Errorf("start %s: %w", o.Bwrap, err)
	}
	return nil
}
