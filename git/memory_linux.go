package git

import (
	"os"

	"golang.org/x/sys/unix"
)

// bound limits the memory of a command that has just started. Mapped packs do not count.
func bound(p *os.Process, bytes uint64) {
	// Where it is not allowed, the time limit remains.
	_ = unix.Prlimit(p.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: bytes, Max: bytes}, nil)
}
