package shim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stat is what we read of /proc/<pid>/stat.
type stat struct {
	Proc
	parent int
	zombie bool
	rss    int64 // bytes
}

// Identify reads what tells process pid from later ones of the same number.
func Identify(pid int) (Proc, error) {
	s, err := readStat(pid)
	return s.Proc, err
}

func readStat(pid int) (stat, error) {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name is in parentheses and may hold anything, parentheses too: only the last one counts.
	end := bytes.LastIndexByte(body, ')')
	fields := strings.Fields(string(body[end+1:]))
	if end < 0 || len(fields) < 22 {
		return stat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	s := stat{Proc: Proc{PID: pid}, zombie: fields[0] == "Z" || fields[0] == "X"}
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return stat{}, err
	}
	if s.Start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return stat{}, err
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	s.rss = pages * int64(os.Getpagesize())
	return s, err
}

// descendants lists the living processes below root (without it) and not below skip. One that is born meanwhile may be missed.
func descendants(root, skip int) ([]stat, error) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil { // a kernel without CONFIG_PROC_CHILDREN
		return scanDescendants(root, skip)
	}
	var found []stat
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
				if s, err := readStat(pid); err == nil && !s.zombie {
					found, todo = append(found, s), append(todo, pid)
				}
			}
		}
	}
	return found, nil
}

// scanDescendants finds them among all processes of the machine.
func scanDescendants(root, skip int) ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]stat)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // gone in the meantime is fine
			children[s.parent] = append(children[s.parent], s)
		}
	}
	var found []stat
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
func (p Proc) Signal(sig unix.Signal) error {
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
func (p Proc) KillTree() error {
	if now, err := Identify(p.PID); err != nil || now != p {
		return nil //nolint:nilerr // gone
	}
	below, err := descendants(p.PID, 0)
	if err != nil {
		return err
	}
	var all error
	for _, s := range append([]stat{{Proc: p}}, below...) {
		all = errors.Join(all, s.Signal(unix.SIGKILL))
	}
	return all
}
