package shim

import (
	"fmt"
	"os"
	"strconv"

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
