package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups are the control groups of one execution, one directory per hierarchy. The zero value bounds nothing.
type cgroups struct {
	dirs   []string
	memory bool // the kernel enforces the memory limit
}

// CgroupBases finds directories below which this process may make groups with a memory limit: one on cgroup v2 when an administrator
// delegated the memory controller, two or one on v1. It finds none where nothing is delegated; then limits are polled.
func CgroupBases() []string {
	body, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var bases []string
	for line := range strings.Lines(string(body)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			// A group with processes cannot hand controllers down, so a delegated server lives in a leaf and the base is its parent.
			base := filepath.Join("/sys/fs/cgroup", filepath.Dir(parts[2]))
			if given, err := os.ReadFile(filepath.Join(base, "cgroup.subtree_control")); err == nil && strings.Contains(string(given), "memory") {
				return writable(base)
			}
		case parts[1] == "memory" || parts[1] == "pids":
			bases = append(bases, writable(filepath.Join("/sys/fs/cgroup", parts[1], parts[2]))...)
		}
	}
	return bases
}

func writable(dir string) []string {
	if unix.Access(dir, unix.W_OK) != nil {
		return nil
	}
	return []string{dir}
}

// makeCgroups makes the groups of an execution and sets their limits. A kernel that knows less than we ask leaves that limit to polling.
func makeCgroups(l Launch) (cgroups, error) {
	var g cgroups
	limits := l.Spec.Limits
	for _, dir := range l.Cgroups {
		// Left over from a start that was killed before it began: the name never ran, so the group is empty.
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return g, fmt.Errorf("control group: %w", err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return g, fmt.Errorf("control group: %w", err)
		}
		g.dirs = append(g.dirs, dir)
		if limits.Memory > 0 {
			set := func(file string, v string) bool { return os.WriteFile(filepath.Join(dir, file), []byte(v), 0) == nil }
			bytes := strconv.FormatInt(limits.Memory, 10)
			if set("memory.max", bytes) {
				set("memory.swap.max", "0") // absent without swap accounting
				set("memory.oom.group", "1")
				g.memory = true
			} else if set("memory.limit_in_bytes", bytes) {
				set("memory.memsw.limit_in_bytes", bytes) // absent without swap accounting
				g.memory = true
			}
		}
		if limits.Processes > 0 { // tasks: threads count, so this is the backstop behind the watched count of processes
			_ = os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(8*limits.Processes+512)), 0)
		}
	}
	return g, nil
}

// add moves a process in; what it starts follows.
func (g cgroups) add(pid int) error {
	for _, dir := range g.dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// starved says that the kernel killed a process of the group for want of memory.
func (g cgroups) starved() bool {
	for _, dir := range g.dirs {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			body, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(body)) {
				if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok && count != "0" {
					return true
				}
			}
		}
	}
	return false
}

func (g cgroups) remove() {
	for _, dir := range g.dirs {
		_ = os.Remove(dir) // an empty group costs next to nothing
	}
}

// RemoveCgroups removes the groups of an ended execution: an owner that was killed leaves them.
func RemoveCgroups(l Launch) { cgroups{dirs: l.Cgroups}.remove() }
