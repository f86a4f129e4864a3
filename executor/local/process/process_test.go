package process

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// family starts a shell with a child and returns the shell once both live.
func family(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("/bin/sh", "-c", "sleep 60 & echo ready; wait")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

func pids(all []Stat) []int {
	var found []int
	for _, s := range all {
		found = append(found, s.PID)
	}
	slices.Sort(found)
	return found
}

func TestATreeIsFoundWithAndWithoutAListOfChildrenAndKilledAsAWhole(t *testing.T) {
	t.Parallel()
	c := family(t)
	id, err := Identify(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := Descendants(id.PID, 0)
	if err != nil || len(listed) != 1 || listed[0].Parent != id.PID {
		t.Errorf("Descendants() = %+v, %v, want the one child", listed, err)
	}
	scanned, err := scanDescendants(id.PID, 0)
	if err != nil || !slices.Equal(pids(scanned), pids(listed)) {
		t.Errorf("without a list of children: %v, %v, want %v", pids(scanned), err, pids(listed))
	}
	if skipped, err := Descendants(os.Getpid(), id.PID); err != nil || slices.Contains(pids(skipped), listed[0].PID) {
		t.Errorf("Descendants() but for the shell = %v, %v, want none of its children", pids(skipped), err)
	}
	if err := id.KillTree(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it ends when nobody holds its output any more
	if err := id.KillTree(); err != nil {
		t.Errorf("KillTree() of what is gone = %v", err)
	}
}

func TestASignalNeverReachesALaterProcessWithTheSameNumber(t *testing.T) {
	t.Parallel()
	c := family(t)
	id, err := Identify(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	earlier := ID{PID: id.PID, Start: id.Start - 1}
	if err := earlier.Signal(unix.SIGKILL); err != nil {
		t.Errorf("Signal() = %v", err)
	}
	if err := earlier.KillTree(); err != nil {
		t.Errorf("KillTree() = %v", err)
	}
	if s, err := read(id.PID); err != nil || s.ID != id || s.zombie {
		t.Errorf("the later process is %+v, %v, want it alive", s, err)
	}
	if err := id.KillTree(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
}
