// Package powercut ends executions of the local executor as a machine that loses power does: nothing in them can say goodbye.
//
// It promises that the shim, the sandbox and everything in it got their kill signal when Execution returns; that they are gone is for the
// caller to wait for. Only tests import it.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/shim"
)

// Execution kills everything that belongs to the execution with this directory.
func Execution(t testing.TB, dir string) {
	t.Helper()
	var procs shim.Procs
	if err := shim.ReadJSON(dir, shim.FileProcs, &procs); err != nil {
		t.Fatal(err)
	}
	parent := parents(t)
	doomed := []int{parent[procs.Root.PID], procs.Root.PID}
	for i := 1; i < len(doomed); i++ { // and all that came of the sandbox's first process
		for pid, by := range parent {
			if by == doomed[i] {
				doomed = append(doomed, pid)
			}
		}
	}
	for _, pid := range doomed {
		if pid <= 1 {
			t.Fatalf("the execution in %s has no shim", dir)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}

// parents maps every process of the machine to the one that started it.
func parents(t testing.TB) map[int]int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	parent := map[int]int{}
	for _, file := range files {
		stat, _ := os.ReadFile(file) // gone in the meantime: not ours
		var pid, by int
		if _, err := fmt.Sscanf(string(stat), "%d", &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %1s %d", new(string), &by); err == nil {
			parent[pid] = by
		}
	}
	return parent
}
