package breach

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func processAttacks() []Attack {
	return []Attack{
		{"see a process outside of the run", Processes, false, see},
		{"read the environment of any process", Processes, false, readEnvironments},
		{"open the memory of a process outside", Processes, false, openMemory},
		{"read that memory by process_vm_readv", Processes, false, readMemory},
		{"trace that process", Processes, false, trace},
		{"signal that process", Processes, false, signal},
		{"take a descriptor of that process", Processes, false, takeDescriptor},
		{"open the memory of the process that holds the run's secrets", Processes, true, openParent},
	}
}

func see(t *Targets) (State, string) {
	for _, process := range others() {
		if body, err := os.ReadFile(process + "/cmdline"); err == nil && strings.Contains(string(body), t.Marker) {
			return broken("%s shows what it is", process)
		}
	}
	return held(nil)
}

func readEnvironments(t *Targets) (State, string) {
	for _, process := range append(others(), "/proc/self") {
		for _, file := range []string{"/environ", "/task/" + strings.TrimPrefix(process, "/proc/") + "/environ"} {
			if got, _ := t.readCanary(process + file); got {
				return broken("%s%s shows a secret", process, file)
			}
		}
	}
	return held(nil)
}

var errNotThere = errors.New("the process is not there")

// target finds the process: its number may mean another one in here.
func (t *Targets) target() (int, error) {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", t.PID))
	if err == nil && !strings.Contains(string(body), t.Marker) {
		return 0, errNotThere
	}
	return t.PID, nil // not seen is not safe: it is tried
}

func openMemory(t *Targets) (State, string) {
	pid, err := t.target()
	if err != nil {
		return held(err)
	}
	return opened(fmt.Sprintf("/proc/%d/mem", pid))
}

func openParent(*Targets) (State, string) {
	return opened(fmt.Sprintf("/proc/%d/mem", os.Getppid()))
}

func opened(path string) (State, string) {
	f, err := os.Open(path)
	if err != nil {
		return held(err)
	}
	_ = f.Close() // read only
	return broken("%s was opened", path)
}

// readMemory reads from an address that nobody has: the kernel asks for the right first, so a bad address is a right that was had.
func readMemory(t *Targets) (State, string) {
	pid, err := t.target()
	if err != nil {
		return held(err)
	}
	var b [8]byte
	local := []unix.Iovec{{Base: &b[0], Len: 8}}
	_, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 8, Len: 8}}, 0)
	if err == nil || errors.Is(err, unix.EFAULT) {
		return broken("process %d could be read", pid)
	}
	return held(err)
}

func trace(t *Targets) (State, string) {
	pid, err := t.target()
	if err != nil {
		return held(err)
	}
	if err := spawn(0, "trace", fmt.Sprint(pid)); err != nil { // who traces and ends lets go
		return held(err)
	}
	return broken("process %d was traced", pid)
}

// seize begins to trace a process without stopping it.
func seize(pid int) error {
	const request = 0x4206 // PTRACE_SEIZE
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(pid), 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func signal(t *Targets) (State, string) {
	pid, err := t.target()
	if err != nil {
		return held(err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		return held(err)
	}
	return broken("process %d takes signals of the run", pid)
}

func takeDescriptor(t *Targets) (State, string) {
	pid, err := t.target()
	if err != nil {
		return held(err)
	}
	at, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return held(err)
	}
	defer func() { _ = unix.Close(at) }() // nothing was written
	fd, err := unix.PidfdGetfd(at, 0, 0)
	if err != nil {
		return held(err)
	}
	_ = unix.Close(fd) // nothing was written
	return broken("a descriptor of process %d was taken", pid)
}

// leftOpen looks at what was inherited: this program opens nothing that its children would have. 0 to 2 are the step's own, and one empty file
// is the lock of the execution, whose holder lives as long as anything of it.
func leftOpen(*Targets) (State, string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return broken("what is open could not be listed: %v", err)
	}
	locks := 0
	for _, entry := range entries {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err != nil || fd <= 2 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // our own
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return broken("descriptor %d was inherited", fd)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0 && fd == 3 {
			locks++
			continue
		}
		return broken("descriptor %d was inherited, kind %o", fd, st.Mode&unix.S_IFMT)
	}
	return Held, fmt.Sprintf("%d beside the step's own, the lock", locks)
}

// call makes a raw system call.
func call(number uintptr, args ...uintptr) error {
	args = append(args, 0, 0, 0, 0, 0, 0)
	_, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
	if errno != 0 {
		return errno
	}
	return nil
}
