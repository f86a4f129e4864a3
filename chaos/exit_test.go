package chaos_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exits kills workers of a server while they write the file that says how their execution ended: some before it is in place, some after.
func (m *monkey) exits(s *server) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		panic(err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	runs := filepath.Join(s.Dir, "data", "executions", "runs")
	root := -1
	dirs := map[int]string{}
	buffer := make([]byte, 64<<10)
	for !m.over() {
		if root < 0 { // not made yet, or lost with its disk
			root, _ = unix.InotifyAddWatch(fd, runs, unix.IN_CREATE|unix.IN_ONLYDIR)
		}
		_ = events.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _ := events.Read(buffer) // nothing, most of the time
		for rest := buffer[:max(n, 0)]; len(rest) >= unix.SizeofInotifyEvent; {
			watch, mask := int(int32(binary.NativeEndian.Uint32(rest))), binary.NativeEndian.Uint32(rest[4:])
			size := int(binary.NativeEndian.Uint32(rest[12:]))
			name := string(bytes.TrimRight(rest[16:16+size], "\x00"))
			rest = rest[16+size:]
			switch {
			case mask&unix.IN_IGNORED != 0 && watch == root:
				root = -1
			case watch == root:
				dir := filepath.Join(runs, name)
				if in, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO); err == nil {
					dirs[in] = dir
				}
			case strings.Contains(name, "exit.json"):
				m.atExit(dirs[watch], mask&unix.IN_MOVED_TO != 0)
			}
		}
	}
}

// atExit kills the owner of an execution at its last step, sometimes.
func (m *monkey) atExit(dir string, written bool) {
	point := "before:exit file"
	if written {
		point = "after:exit file"
	}
	m.mu.Lock()
	m.seen[point]++
	dies := !m.over() && rand.IntN(3+3*m.died[point]) == 0
	m.mu.Unlock()
	if !dies || !killOwner(dir) {
		return
	}
	m.mu.Lock()
	m.died[point]++
	m.mu.Unlock()
	m.note("worker, at its exit file", "")
}

func killOwner(dir string) bool {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if bytes.Contains(line, []byte("owner\x00"+dir)) {
			return syscall.Kill(pid, syscall.SIGKILL) == nil
		}
	}
	return false
}
