package breach

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func privilegeAttacks() []Attack {
	return []Attack{
		{"use a capability", Privileges, true, capabilities},
		{"gain rights from a setuid program", Privileges, false, setuid},
		{"make a device", Privileges, true, makeDevice},
		{"open a device of this machine", Privileges, false, openDevice},
		{"change a setting of the kernel", Privileges, true, writable("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
			"/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger")},
		{"write to /sys", Privileges, true, writable("/sys/power/state", "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled",
			"/sys/module/kernel/parameters/*", "/sys/class/net/lo/mtu")},
		{"leave its control group", Privileges, true, writable("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/*/cgroup.procs")},
		{"change the name of this machine", Privileges, true, rehost},
	}
}

func capabilities(*Targets) (State, string) {
	body, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return broken("the capabilities could not be read: %v", err)
	}
	for line := range strings.Lines(string(body)) {
		name, mask, _ := strings.Cut(strings.TrimSpace(line), ":")
		mask = strings.TrimSpace(mask)
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			if strings.Trim(mask, "0") != "" {
				return broken("%s is %s", name, mask)
			}
		}
	}
	return held(nil)
}

// setuid asks what keeps the kernel from giving a program its owner's rights.
func setuid(*Targets) (State, string) {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil || set != 1 {
		return broken("no-new-privileges is not set")
	}
	return Held, "no-new-privileges is set"
}

func makeDevice(*Targets) (State, string) {
	const name, null = "breach-device", 1<<8 | 3
	if err := unix.Mknod(name, unix.S_IFCHR|0o600, null); err != nil {
		return held(err)
	}
	_ = os.Remove(name) // it goes with the run
	return broken("a device was made")
}

func openDevice(*Targets) (State, string) {
	var last error
	for _, name := range []string{
		"/dev/mem", "/dev/kmsg", "/dev/port", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/loop-control",
		"/dev/mapper/control", "/dev/vsock", "/dev/userfaultfd",
	} {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
			fd, err = unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			_ = unix.Close(fd) // nothing was written
			return broken("%s was opened", name)
		}
		last = err
	}
	return held(last)
}

// writable tries to open files for writing, and writes nothing.
func writable(patterns ...string) func(*Targets) (State, string) {
	return func(*Targets) (State, string) {
		var last error
		for _, pattern := range patterns {
			names, _ := filepath.Glob(pattern) // the patterns are good
			for _, name := range names {
				fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
				if err == nil {
					_ = unix.Close(fd) // nothing was written
					return broken("%s was opened for writing", name)
				}
				last = err
			}
		}
		return held(last)
	}
}

func rehost(*Targets) (State, string) {
	if err := spawn(0, "hostname"); err != nil {
		return held(err)
	}
	return broken("it was set")
}
