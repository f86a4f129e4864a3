package shim

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/confine"
)

// limitsOf says what the steps of an execution are held to.
func limitsOf(l Launch) confine.Limits {
	limits := l.Spec.Limits
	r := confine.Limits{Files: uint64(max(limits.Files, 0)), FileSize: uint64(max(overrun(limits.Disk), 0))}
	if l.Namespaces {
		r.Processes = uint64(tasks(limits.Processes))
	}
	return r
}

// tasks is how many processes and threads a limit of processes comes to: the kernel counts threads, people do not. It is the backstop behind
// the watched count of processes. None stays none.
func tasks(processes int) int {
	if processes <= 0 {
		return 0
	}
	return 8*processes + 512
}

// overrun is how far something that grows may pass its limit while it is being interrupted, before it is killed.
func overrun(limit int64) int64 { return limit + limit/4 }

// How runs stand behind the server: a busy loop leaves it responsive, and memory that runs out takes a run first.
const (
	niceness  = 5
	oomAdjust = 500
)

// stepBack puts an execution behind the server: the scheduler's group of this session, and the process pid with all that it starts. Each is best
// effort, for kernels are built without one or the other. The niceness of a thread is the inner's own to set.
func stepBack(pid int) {
	_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(oomAdjust)), 0)
}

// tmpfsUse is what the file systems in memory of the sandbox hold: no process owns those pages. inner is a process in it.
func tmpfsUse(inner int) (bytes int64, entries int) {
	for _, path := range []string{insideTmp, "/dev/shm"} {
		var st unix.Statfs_t
		if unix.Statfs(fmt.Sprintf("/proc/%d/root%s", inner, path), &st) != nil || st.Type != unix.TMPFS_MAGIC {
			continue // it just ended, or has none of its own
		}
		bytes += int64(st.Blocks-st.Bfree) * st.Bsize
		entries += int(st.Files - st.Ffree)
	}
	return bytes, entries
}

// openFiles is how many descriptors a process has.
func openFiles(pid int) int {
	var st unix.Stat_t
	path := fmt.Sprintf("/proc/%d/fd", pid)
	if unix.Stat(path, &st) == nil && st.Size > 0 { // Linux 6.2
		return int(st.Size)
	}
	dir, err := os.Open(path)
	if err != nil {
		return 0 // gone meanwhile
	}
	defer func() { _ = dir.Close() }() // read only
	names, _ := dir.Readdirnames(-1)
	return len(names)
}

// sizeText is a size for people.
func sizeText(bytes int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if bytes >= 1<<u.shift && bytes%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d %s", bytes>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
