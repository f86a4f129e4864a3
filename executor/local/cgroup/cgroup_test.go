package cgroup_test

import (
	"testing"

	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local/cgroup"
)

func TestTheVersionThatHoldsAControllerIsTold(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	executortest.Write(t, root+"/cgroup.subtree_control", "cpu memory pids\n") // for a server in a group at the top
	for base, want := range map[string]string{root: "v2", root + "/memory/some/group": "v1", t.TempDir(): ""} {
		if got := cgroup.Holds(root, []string{base}, "memory"); got != want {
			t.Errorf("Holds(%s) = %q, want %q", base, got, want)
		}
	}
}
