// Package process looks at processes of this machine and ends them.
//
// It promises that an ID is never taken for a later process with the same number, and that who is gone is no error. It finds what lives below a
// process on kernels with and without a list of children, and each look is one moment: a process that is born meanwhile may be missed, so who
// must have all looks again until there is none.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ID is a process that cannot be mistaken for a later one with the same number.
type ID struct {
	PID   int
	Start uint64 // clock ticks since boot
}

// Stat is what we read of /proc/<pid>/stat.
type Stat struct {
	ID

	Parent int
	RSS    int64 // bytes

	zombie bool
}

// Identify reads what tells process pid from later ones of the same number.
func Identify(pid int) (ID, error) {
	s, err := read(pid)
	return s.ID, err
}

func read(pid int) (Stat, error) {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	// The name is in parentheses and may hold anything, parentheses too: only the last one counts.
	end := bytes.LastIndexByte(body, ')')
	fields := strings.Fields(string(body[end+1:]))
	if end < 0 || len(fields) < 22 {
		return Stat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	s := Stat{ID: ID{PID: pid}, zombie: fields[0] == "Z" || fields[0] == "X"}
	if s.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return Stat{}, err
	}
	if s.Start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return Stat{}, err
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	s.RSS = pages * int64(os.Getpagesize())
	return s, err
}

// Descendants lists the living processes below root (without it) and not below skip. One that is born meanwhile may be missed.
func Descendants(root, skip int) ([]Stat, error) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil { // a kernel without CONFIG_PROC_CHILDREN
		return scanDescendants(root, skip)
	}
	var found []Stat
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		// Each thread has its own children.
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", todo[0]))
		if err != nil {
			continue // gone in the meantime: its children are somebody else's by now, and found there
		}
		for _, task := range tasks {
			body, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", todo[0], task.Name()))
			if err != nil {
				continue // as above
			}
			for text := range strings.FieldsSeq(string(body)) {
				pid, err := strconv.Atoi(text)
				if err != nil || pid == skip {
					continue
				}
				if s, err := read(pid); err == nil && !s.zombie {
					found, todo = append(found, s), append(todo, pid)
				}
			}
		}
	}
	return found, nil
}

// scanDescendants finds them among all processes of the machine.
func scanDescendants(root, skip int) ([]Stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]Stat)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := read(pid); err == nil { // gone in the meantime is fine
			children[s.Parent] = append(children[s.Parent], s)
		}
	}
	var found []Stat
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		for _, s := range children[todo[0]] {
			if s.PID == skip || s.zombie {
				continue
			}
			found, todo = append(found, s), append(todo, s.PID)
		}
	}
	return found, nil
}

// Signal sends sig to p, if p still is the process it was. One that is gone is no error.
func (p ID) Signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	if now, err := Identify(p.PID); err != nil || now != p {
		return nil //nolint:nilerr // gone: the number belongs to nobody or to another now
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// KillTree kills p and everything below it. Process 1 of a namespace takes its namespace with it.
func (p ID) KillTree() error {
	if now, err := Identify(p.PID); err != nil || now != p {
		return nil //nolint:nilerr // gone
	}
	below, err := Descendants(p.PID, 0)
	if err != nil {
		return err
	}
	var all error
	for _, s := range append([]Stat{{ID: p}}, below...) {
		all = errors.Join(all, s.Signal(unix.SIGKILL))
	}
	return all
}

// OpenFiles is how many descriptors a process has.
func OpenFiles(pid int) int {
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
