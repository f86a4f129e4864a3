package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Limits are what the kernel holds each process to. Zero means none.
type Limits struct {
	Processes uint64 // of the user; only where the sandbox has users of its own
	Files     uint64 // open
	FileSize  uint64
}

// Set holds this process, and all that it starts, to the limits. None of them leaves a core file.
func (l Limits) Set() error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	if l.Files == 0 {
		l.Files = 1 << 16
	}
	files.Max = min(files.Max, l.Files)
	limits := map[int]unix.Rlimit{
		unix.RLIMIT_CORE:   {}, // a core file would hold every secret of the run
		unix.RLIMIT_NOFILE: {Cur: files.Max, Max: files.Max},
	}
	if l.Processes > 0 {
		limits[unix.RLIMIT_NPROC] = unix.Rlimit{Cur: l.Processes, Max: l.Processes}
	}
	if l.FileSize > 0 {
		limits[unix.RLIMIT_FSIZE] = unix.Rlimit{Cur: l.FileSize, Max: l.FileSize}
	}
	for which, limit := range limits {
		if err := unix.Setrlimit(which, &limit); err != nil {
			return fmt.Errorf("set limit %d: %w", which, err)
		}
	}
	return nil
}
