// Package cgroup bounds an execution by control groups of version 1 or 2, one per hierarchy, where this process may make them.
//
// It promises that a memory limit which Groups calls the kernel's own is held for every process that was added and all that it starts. What a
// kernel does not know is left to the caller, who watches it. Where nothing is delegated it finds nothing and changes nothing. It leaves to callers
// the names of groups, and that nothing lives in one that is made or removed.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Groups are the control groups of one execution, one directory per hierarchy. The zero value bounds nothing.
type Groups struct {
	Memory bool // the kernel enforces the memory limit

	dirs []string
	v2   bool
}

// Holder says for people who holds the memory limit.
func (g Groups) Holder() string {
	switch {
	case g.Memory && g.v2:
		return "held by cgroup v2"
	case g.Memory:
		return "held by cgroup v1"
	}
	return "watched"
}

// Bases finds directories below which this process may make groups with a memory limit: one on cgroup v2 when an administrator
// delegated it, two or one on v1. root is where control groups are mounted, /sys/fs/cgroup. It finds none where nothing is delegated; then
// limits are watched.
func Bases(root string) []string {
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
			base := filepath.Join(root, filepath.Dir(parts[2]))
			handDown(base)
			if slices.Contains(handedDown(base), "memory") {
				return writable(base)
			}
		case parts[1] == "memory" || parts[1] == "pids":
			bases = append(bases, writable(filepath.Join(root, parts[1], parts[2]))...)
		}
	}
	return bases
}

// handedDown are the controllers that groups below base have.
func handedDown(base string) []string {
	given, err := os.ReadFile(filepath.Join(base, "cgroup.subtree_control"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(given))
}

// handDown gives groups below base their controllers, where base was delegated to us: systemd gives them to the unit and leaves the rest to it.
// Root may write everywhere, so for root only the mark counts that systemd leaves.
func handDown(base string) {
	marked := false
	for _, mark := range []string{"user.delegate", "trusted.delegate"} {
		value := make([]byte, 8)
		n, err := unix.Lgetxattr(base, mark, value)
		marked = marked || (err == nil && string(value[:n]) == "1")
	}
	if !marked && os.Getuid() == 0 {
		return
	}
	for _, controller := range []string{"+memory", "+pids", "+cpu"} {
		// Best effort, one by one: what is not there, or not ours, is seen by what was handed down.
		if f, err := os.OpenFile(filepath.Join(base, "cgroup.subtree_control"), os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString(controller)
			_ = f.Close()
		}
	}
}

// Holds says which version of control groups has a controller for the groups below bases, v1 or v2, or "" for none.
func Holds(root string, bases []string, controller string) string {
	for _, base := range bases {
		switch {
		case slices.Contains(handedDown(base), controller):
			return "v2"
		case strings.HasPrefix(base+"/", filepath.Join(root, controller)+"/"):
			return "v1"
		}
	}
	return ""
}

func writable(dir string) []string {
	if unix.Access(dir, unix.W_OK) != nil {
		return nil
	}
	return []string{dir}
}

// cpuWeight leaves the server, whose group has 100, most of what several busy runs fight for.
const cpuWeight = "25"

// Make makes the groups of an execution, each in a directory below one of Bases, and sets their limits: bytes of memory, processes and threads; 0 is
// none. A kernel that knows less than we ask leaves that limit to polling. On an error the groups hold those that were made.
func Make(dirs []string, memory int64, tasks int) (Groups, error) {
	var g Groups
	for _, dir := range dirs {
		// Left over from a start that was killed before it began: the name never ran, so the group is empty.
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return g, fmt.Errorf("control group: %w", err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return g, fmt.Errorf("control group: %w", err)
		}
		g.dirs = append(g.dirs, dir)
		if memory > 0 {
			set := func(file string, v string) bool { return os.WriteFile(filepath.Join(dir, file), []byte(v), 0) == nil }
			bytes := strconv.FormatInt(memory, 10)
			if set("memory.max", bytes) {
				set("memory.swap.max", "0") // absent without swap accounting
				set("memory.oom.group", "1")
				g.Memory, g.v2 = true, true
			} else if set("memory.limit_in_bytes", bytes) {
				set("memory.memsw.limit_in_bytes", bytes) // absent without swap accounting
				g.Memory = true
			}
		}
		_ = os.WriteFile(filepath.Join(dir, "cpu.weight"), []byte(cpuWeight), 0) // best effort: only where the cpu controller was delegated
		if tasks > 0 {
			_ = os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(tasks)), 0)
		}
	}
	return g, nil
}

// Add moves a process in; what it starts follows.
func (g Groups) Add(pid int) error {
	for _, dir := range g.dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// Starved says that the kernel killed a process of the group for want of memory.
func (g Groups) Starved() bool { return g.happened("oom_kill ", "memory.events", "memory.oom_control") }

// Crowded says that the kernel refused the group a process or a thread, because it had all that it may have.
func (g Groups) Crowded() bool { return g.happened("max ", "pids.events") }

// happened says that the kernel counted an event of this name in one of these files.
func (g Groups) happened(event string, files ...string) bool {
	for _, dir := range g.dirs {
		for _, file := range files {
			body, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(body)) {
				if count, ok := strings.CutPrefix(strings.TrimSpace(line), event); ok && count != "0" {
					return true
				}
			}
		}
	}
	return false
}

// Remove removes the groups.
func (g Groups) Remove() { Remove(g.dirs) }

// Remove removes the groups in dirs, of an ended execution: an owner that was killed leaves them.
func Remove(dirs []string) {
	for _, dir := range dirs {
		_ = os.Remove(dir) // an empty group costs next to nothing
	}
}
