package confine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data. Arguments are 64 bits wide; the low half is what the kernel reads of an int.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// namespaceFlags are the clone flags that make namespaces: inside a new user namespace a process has capabilities again.
const namespaceFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// deniedSyscalls are refused with EPERM: what reaches into other processes or the kernel. Build tools and providers need none of them.
func deniedSyscalls() []uint32 {
	return append([]uint32{
		// other processes
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_PROCESS_MADVISE,
		// keys of the user's session survive the run
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		// programs and memory tricks in the kernel
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		// mounts and namespaces
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOVE_MOUNT,
		unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
		// the machine
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
		unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL,
	}, deniedHere()...)
}

// bpf assembles a filter. Each check is self-contained, so that its jumps are short and can be read one at a time.
type bpf []unix.SockFilter

func (p *bpf) add(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *bpf) load(offset uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (p *bpf) ret(action uint32)  { p.add(unix.BPF_RET|unix.BPF_K, action, 0, 0) }

// unless continues behind the next instruction when the accumulator is not k.
func (p *bpf) unless(k uint32) { p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, 0, 1) }

func (p *bpf) arg(n uint32) { p.load(dataArgs + 8*n) }

func refuse(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// filter builds the program: what is listed is refused, the rest is allowed. offline refuses IP but for TCP when tcp is set.
func filter(offline, tcp bool) bpf {
	var p bpf
	p.load(dataArch)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, nativeArch, 1, 0)
	p.ret(refuse(unix.EPERM)) // another ABI has other numbers: it could name what is refused here
	p.load(dataNumber)
	if foreignNumbers != 0 {
		p.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, foreignNumbers, 0, 1)
		p.ret(refuse(unix.EPERM))
	}
	for _, number := range deniedSyscalls() {
		p.unless(number)
		p.ret(refuse(unix.EPERM))
	}
	// clone3 keeps its flags in memory, where no filter can look. ENOSYS makes every libc fall back to clone.
	p.unless(unix.SYS_CLONE3)
	p.ret(refuse(unix.ENOSYS))

	// clone with a flag that makes a namespace: 4 instructions, skipped as a whole.
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_CLONE, 0, 4)
	p.arg(0)
	p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, namespaceFlags, 0, 1)
	p.ret(refuse(unix.EPERM))
	p.load(dataNumber)

	// ioctl TIOCSTI and TIOCLINUX type into a terminal that somebody else may be sitting at.
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_IOCTL, 0, 6)
	p.arg(1)
	p.unless(unix.TIOCSTI)
	p.ret(refuse(unix.EPERM))
	p.unless(unix.TIOCLINUX)
	p.ret(refuse(unix.EPERM))
	p.load(dataNumber)

	p.sockets(offline, tcp)
	p.ret(unix.SECCOMP_RET_ALLOW)
	return p
}

// sockets allows only the families that tools use: vsock reaches the host of a virtual machine past every network namespace.
func (p *bpf) sockets(offline, tcp bool) {
	var body bpf
	body.arg(0)
	body.unless(unix.AF_UNIX)
	body.ret(unix.SECCOMP_RET_ALLOW)
	body.unless(unix.AF_NETLINK)
	body.ret(unix.SECCOMP_RET_ALLOW)
	switch {
	case offline && tcp: // AF_INET or AF_INET6, but then a stream: landlock bounds its port
		body.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.AF_INET, 1, 0)
		body.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.AF_INET6, 0, 7)
		body.arg(1)
		body.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0xf, 0, 0)
		body.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SOCK_STREAM, 0, 4)
		body.arg(2) // multipath TCP is a stream that landlock does not bound
		body.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, 0)
		body.unless(unix.IPPROTO_TCP)
		body.ret(unix.SECCOMP_RET_ALLOW)
	case !offline:
		body.unless(unix.AF_INET)
		body.ret(unix.SECCOMP_RET_ALLOW)
		body.unless(unix.AF_INET6)
		body.ret(unix.SECCOMP_RET_ALLOW)
	}
	body.ret(refuse(unix.EAFNOSUPPORT))
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_SOCKET, 0, uint8(len(body)))
	*p = append(*p, body...)
}

func noNewPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no-new-privileges: %w", err)
	}
	return nil
}

// installFilter sets no-new-privileges and the filter on every thread of this process.
func installFilter(offline, tcp bool) error {
	p := filter(offline, tcp)
	fprog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	if err := noNewPrivileges(); err != nil {
		return err
	}
	// TSYNC gives every other thread this thread's no-new-privileges and filter.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&fprog))) //nolint:gosec // the kernel reads it before the call returns
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
