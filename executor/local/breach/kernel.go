package breach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelAttacks make calls that no tool needs, with arguments that make them fail. Which failure tells: refused at the door, or by the call
// itself, which was reached then.
func kernelAttacks() []Attack {
	raw := func(number uintptr, args ...uintptr) func(*Targets) (State, string) {
		return func(*Targets) (State, string) { return reached(call(number, args...)) }
	}
	socket := func(family, kind int) func(*Targets) (State, string) {
		return func(*Targets) (State, string) { return socketOf(family, kind) }
	}
	const userModeOnly = 1 // userfaultfd as an ordinary user may have it
	return []Attack{
		{"make a user namespace", Kernel, false, newUser},
		{"mount in a namespace of its own", Kernel, false, mountInNew},
		{"call keyctl", Kernel, false, raw(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID)},
		{"call bpf", Kernel, true, raw(unix.SYS_BPF)},
		{"call perf_event_open", Kernel, false, raw(unix.SYS_PERF_EVENT_OPEN)},
		{"call userfaultfd", Kernel, false, userfault(userModeOnly)},
		{"call io_uring_setup", Kernel, false, raw(unix.SYS_IO_URING_SETUP, 1)},
		{"call setns", Kernel, false, raw(unix.SYS_SETNS)},
		{"call chroot", Kernel, false, raw(unix.SYS_CHROOT)},
		{"call open_tree", Kernel, false, raw(unix.SYS_OPEN_TREE, ^uintptr(0))},
		{"call pivot_root", Kernel, true, raw(unix.SYS_PIVOT_ROOT)},
		{"call fsopen", Kernel, true, raw(unix.SYS_FSOPEN)},
		{"call mount", Kernel, false, raw(unix.SYS_MOUNT, 8, 8, 8)},
		{"call unshare", Kernel, false, raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"call clone3", Kernel, false, raw(unix.SYS_CLONE3)},
		{"call init_module", Kernel, true, raw(unix.SYS_INIT_MODULE)},
		{"call kexec_load", Kernel, true, raw(unix.SYS_KEXEC_LOAD, 0, 1<<10, 0, 0xffff)},
		{"read the kernel's log", Kernel, true, raw(unix.SYS_SYSLOG, 10)}, // its size
		{"type into a terminal", Kernel, false, raw(unix.SYS_IOCTL, 0, unix.TIOCSTI)},
		{"open a vsock to the machine below", Kernel, false, socket(unix.AF_VSOCK, unix.SOCK_STREAM)},
		{"open a socket to the kernel's ciphers", Kernel, false, socket(unix.AF_ALG, unix.SOCK_SEQPACKET)},
		{"open a packet socket", Kernel, true, socket(unix.AF_PACKET, unix.SOCK_RAW)},
	}
}

// reached judges how a call failed.
func reached(err error) (State, string) {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return held(err)
	case errors.Is(err, unix.ENOSYS): // refused as unknown, or unknown
		return Absent, err.Error()
	case err == nil:
		return broken("the call was made")
	}
	return broken("the call was reached: %v", err)
}

func userfault(flags uintptr) func(*Targets) (State, string) {
	return func(*Targets) (State, string) {
		fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, flags|unix.O_CLOEXEC, 0, 0)
		if errno != 0 {
			return reached(errno)
		}
		_ = unix.Close(int(fd)) // nothing was written
		return reached(nil)
	}
}

func socketOf(family, kind int) (State, string) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return Absent, err.Error()
	case err != nil:
		return reached(err)
	}
	_ = unix.Close(fd) // nothing was written
	return broken("a socket was opened")
}

func newUser(*Targets) (State, string) {
	if err := spawn(unix.CLONE_NEWUSER, "nothing"); err != nil {
		return held(err)
	}
	return broken("a user namespace was made, and with it all capabilities")
}

func mountInNew(*Targets) (State, string) {
	if err := spawn(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, "mount"); err != nil {
		return held(err)
	}
	return broken("a file system was mounted")
}

// again starts this program's breach stage once more; see Main.
var again []string

// spawn runs a child stage in new namespaces. No error says that what it tried worked.
func spawn(flags uintptr, args ...string) error {
	attr := &syscall.ProcAttr{Env: []string{}, Files: []uintptr{0, 0, 0}, Sys: &syscall.SysProcAttr{Cloneflags: flags}}
	if flags&unix.CLONE_NEWNS != 0 { // root in there, for what it has to do
		attr.Sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.Sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	argv := append(append(append([]string{}, again...), "child"), args...)
	pid, err := syscall.ForkExec("/proc/self/exe", argv, attr)
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil && status.ExitStatus() != 0 {
		err = errors.New("it was refused")
	}
	return err
}

// child does one thing that must not be done to the process that tries everything else.
func child(what string, args []string) error {
	switch what {
	case "nothing":
		return nil
	case "mount":
		return unix.Mount("planlatch", "/tmp", "tmpfs", 0, "size=4096")
	case "trace":
		pid, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		runtime.LockOSThread()
		return seize(pid)
	case "hostname":
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		return unix.Sethostname([]byte(name))
	}
	return fmt.Errorf("unknown breach %q", what)
}
