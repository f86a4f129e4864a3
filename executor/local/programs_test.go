package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
)

// programMain makes the test binary a server that starts an execution, or a tool inside a sandbox.
func programMain(args []string) (exit int, isProgram bool) {
	if len(args) < 3 || args[1] != "__program" {
		return 0, false
	}
	if err := program(args[2], args[3:]); err != nil {
		fmt.Println("error:", err)
		return 1, true
	}
	return 0, true
}

// order is what a starter is told on stdin.
type order struct {
	Options local.Options
	Spec    executor.Spec
	Secrets executor.Secrets
}

func program(name string, args []string) error {
	switch name {
	case "start": // the server that is going to be killed
		if err := local.Harden(); err != nil {
			return err
		}
		var o order
		if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
			return err
		}
		e, err := local.New(o.Options)
		if err != nil {
			return err
		}
		fmt.Println("begin")
		if err := e.Start(context.Background(), o.Spec, o.Secrets); err != nil {
			return err
		}
		fmt.Println("started")
		select {}
	case "dial": // says what became of a connection to each address
		for _, addr := range args {
			fmt.Printf("%s: %s\n", addr, dial(addr))
		}
		return nil
	case "syscalls": // says what became of each call that reaches out of a sandbox
		for name, call := range forbidden() {
			fmt.Printf("%s: %v\n", name, call())
		}
		return nil
	case "eat": // takes so much memory
		size, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		var kept [][]byte
		for taken := 0; taken < size; taken += 1 << 20 {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
		}
		fmt.Println("ate", len(kept))
		select {} // hold it
	}
	return fmt.Errorf("unknown program %q", name)
}

func dial(addr string) string {
	c, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }() // read only
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return "said " + string(body)
}

// forbidden are calls that a run has no use for, by name.
func forbidden() map[string]func() error {
	raw := func(number uintptr, args ...uintptr) func() error {
		return func() error {
			args := append(args, 0, 0, 0, 0, 0, 0)
			_, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
			return errno
		}
	}
	socket := func(family, kind int) func() error {
		return func() error { _, err := unix.Socket(family, kind, 0); return err }
	}
	return map[string]func() error{
		"ptrace": raw(unix.SYS_PTRACE, unix.PTRACE_TRACEME), "process_vm_readv": raw(unix.SYS_PROCESS_VM_READV, 1),
		"keyctl": raw(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID), "bpf": raw(unix.SYS_BPF), "userfaultfd": raw(unix.SYS_USERFAULTFD),
		"io_uring_setup": raw(unix.SYS_IO_URING_SETUP, 1), "perf_event_open": raw(unix.SYS_PERF_EVENT_OPEN), "mount": raw(unix.SYS_MOUNT),
		"unshare": raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), "setns": raw(unix.SYS_SETNS), "open_tree": raw(unix.SYS_OPEN_TREE),
		"init_module": raw(unix.SYS_INIT_MODULE), "kexec_load": raw(unix.SYS_KEXEC_LOAD), "chroot": raw(unix.SYS_CHROOT),
		"clone": raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_NEWNS), "tiocsti": raw(unix.SYS_IOCTL, 0, unix.TIOCSTI),
		"clone3": raw(unix.SYS_CLONE3), "vsock": socket(unix.AF_VSOCK, unix.SOCK_STREAM), "alg": socket(unix.AF_ALG, unix.SOCK_SEQPACKET),
		"packet": socket(unix.AF_PACKET, unix.SOCK_RAW),
	}
}
