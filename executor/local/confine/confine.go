// Package confine takes from the calling process, and from all that it starts, what it does not need: landlock bounds the files and ports that it
// reaches, a seccomp filter the system calls, resource limits what it uses; root's capabilities go, and no program that it executes brings them back.
//
// It promises that Raise either stands, as far as this kernel's landlock goes, or is an error, after which the caller must start nothing. Nothing
// takes a wall down again. It leaves to callers which paths and ports there are, and when: what has to be opened or written is so before.
package confine

import (
	"errors"
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Walls are what a process may still reach. A path that does not exist is no fault.
type Walls struct {
	Read    []string // trees
	Write   []string // trees
	Files   []string // single files that are read and written: devices
	Offline bool     // no IP but TCP to Ports; for a run without a network namespace
	Ports   []uint16

	NoLandlock bool `json:",omitempty"` // left out, in tests that show what it is good for
	NoSeccomp  bool `json:",omitempty"` // the same
}

// LandlockABI is the version of landlock that this kernel offers, 0 for none.
func LandlockABI() int {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return version
}

// NetABI is the first version of landlock that bounds TCP.
const NetABI = 4

// Raise raises the walls around this process and all that it starts. A caller locks its thread, and starts on it: the capabilities that go are that
// thread's.
func (w *Walls) Raise() error {
	abi := LandlockABI()
	if abi == 0 {
		return errors.New("landlock: this kernel has none; enable it with lsm=landlock,… on the kernel's command line")
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if !w.NoLandlock {
		if err := w.restrict(abi); err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	return w.filter()
}

// filter sets no-new-privileges and the filter of system calls.
func (w *Walls) filter() error {
	if w.NoSeccomp {
		return noNewPrivileges()
	}
	return installFilter(w.Offline, len(w.Ports) > 0)
}

// restrict raises landlock.
func (w *Walls) restrict(abi int) error {
	var rules []landlock.Rule
	for _, path := range w.Read {
		rules = append(rules, rule(path, landlock.RODirs, landlock.ROFiles)...)
	}
	for _, path := range w.Write {
		rules = append(rules, rule(path, func(p ...string) landlock.FSRule {
			r := landlock.RWDirs(p...)
			if abi >= 2 { // older kernels refuse a rename across directories; asking them for it would turn all of landlock off
				r = r.WithRefer()
			}
			return r
		}, landlock.RWFiles)...)
	}
	for _, path := range w.Files {
		rules = append(rules, rule(path, landlock.RWDirs, landlock.RWFiles)...)
	}
	config := landlock.V7.BestEffort()
	if err := errors.Join(config.RestrictPaths(rules...), config.RestrictScoped()); err != nil || !w.Offline {
		return err
	}
	if abi < NetABI && len(w.Ports) > 0 {
		return fmt.Errorf("version %d cannot bound TCP to allowed ports, version %d can", abi, NetABI)
	}
	var net []landlock.Rule
	for _, port := range w.Ports {
		net = append(net, landlock.ConnectTCP(port))
	}
	return landlock.V4.BestEffort().RestrictNet(net...)
}

// rule allows path with the rights that fit what it is; one that does not exist needs none.
func rule(path string, dirs, files func(...string) landlock.FSRule) []landlock.Rule {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return []landlock.Rule{dirs(path)}
	default:
		return []landlock.Rule{files(path)}
	}
}

// dropCapabilities takes root's powers from the calling thread and all that it starts. bubblewrap has done it where there are namespaces;
// without them a run of a server that is root would read every process's environment past landlock, for the kernel asks CAP_PERFMON first.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if sets[0].Effective&(1<<unix.CAP_SETPCAP) != 0 { // otherwise the bounding set stays, and no-new-privileges keeps it from meaning anything
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // an older kernel knows fewer
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
