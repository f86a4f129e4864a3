package intake_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// TestATreeThatIsATrapIsToldToItsPullRequestAndDisturbsNoOther: what a pull request does to its own tree is an answer to it and not an
// error that is tried again for hours.
func TestATreeThatIsATrapIsToldToItsPullRequestAndDisturbsNoOther(t *testing.T) {
	t.Parallel()
	o := open(t)
	eve, err := o.host.CreateUser("eve", fakehost.Write)
	check(t, err)
	dir := t.TempDir()
	git := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(in)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=e", "GIT_AUTHOR_EMAIL=e@e",
			"GIT_COMMITTER_NAME=e", "GIT_COMMITTER_EMAIL=e@e")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v %s", args, err, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	to, err := url.Parse(o.host.Clone(repository))
	check(t, err)
	to.User = url.UserPassword("eve", eve.Token)
	git("", "init", "--quiet")
	git("", "fetch", "--quiet", to.String(), "main")
	base := git("", "rev-parse", "FETCH_HEAD")
	mode, kind, id := "100644", "blob", git("x", "hash-object", "-w", "--stdin")
	for range 300 { // the host of the test would itself walk a tree that unfolds without end
		id = git(fmt.Sprintf("%s %s %s\td\n", mode, kind, id), "mktree")
		mode, kind = "040000", "tree"
	}
	trap := git("", "commit-tree", id, "-p", base, "-m", "deep")
	git("", "push", "--quiet", to.String(), trap+":refs/heads/trap")
	number, err := o.host.OpenPull(repository, "eve", fakehost.NewPull{Title: "trap", Head: "trap", Base: "main"})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})

	rev, err := o.store.LatestRevision(t.Context(), o.pull(number).ID, run.KindChange)
	check(t, err)
	if len(rev.Problems) != 1 || rev.Problems[0].Message != "directories are nested more than 200 deep" || rev.Problems[0].Fix == "" {
		t.Errorf("the revision has problems %+v, want the one that names the limit", rev.Problems)
	}
	if runs := o.runs(trap); len(runs) != 0 {
		t.Errorf("the trap has %d runs", len(runs))
	}
	if _, head := o.proposes(); len(o.runs(head)) != 1 {
		t.Error("another pull request was not planned")
	}
}
