package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/httpstate"
	"github.com/planlatch/planlatch/testkit/powercut"
)

// TestAKilledApplyIsToldAcknowledgedAndFinished kills a real apply with everything in it, as a machine that loses power does, and goes the
// whole way back: what is known is told, a person looks and says so, the lock that it left in the backend is freed, and the rest is applied.
func TestAKilledApplyIsToldAcknowledgedAndFinished(t *testing.T) {
	t.Parallel()
	s := httpstate.New(t)
	b := backend{block: httpBlock(s), grants: httpGrants(s), allow: s.Address}
	r := b.rules()
	r.requires = "[approved, mergeable]"
	w := begin(t, nil, r)
	text := code(b.block, "v1") + `
resource "terraform_data" "slow" {
  depends_on = [terraform_data.vpc]
  provisioner "local-exec" {
    command = "echo begun >STATES/begun; while ! [ -e STATES/go ]; do sleep 0.1; done"
  }
}

resource "terraform_data" "last" {
  depends_on = [terraform_data.slow]
}
`
	pull, head := w.propose("vpc", map[string]string{"network/main.tf": text})
	w.status(head, "planlatch/plan", "success")
	w.approves(w.bob, pull)
	w.tells(w.alice, pull, "planlatch apply")
	w.eventually("the apply to be half way", func() (string, bool) {
		_, err := os.Stat(filepath.Join(w.states, "begun"))
		return w.summary(pull), err == nil
	})
	w.cutPower("-apply")

	w.status(head, "planlatch/apply", "error")
	w.says(pull, "the apply of `network` was interrupted", "Its log says done: `terraform_data.vpc`. Begun, and perhaps half done: `terraform_data.slow`. Not seen to begin: `terraform_data.last`.",
		"`planlatch unlock -p network`")
	held, locked := s.Held()
	if !locked || !strings.Contains(held.Who, "@planlatch-") || held.Operation != "OperationTypeApply" {
		t.Fatalf("the backend's lock is %+v, want the one that the killed apply left", held)
	}
	w.refuses(w.alice, pull, "planlatch apply", "`network`")
	w.tells(w.alice, pull, "planlatch unlock")
	w.says(pull, "To go on, say `planlatch unlock -p network`")

	// Somebody looked. The plan that follows by itself meets the lock, and only a person frees that.
	w.tells(w.alice, pull, "planlatch unlock -p network")
	w.shows(pull, "its state is locked by the apply of our run", "acknowledged by "+login(w.alice), "Nothing of it runs any more")
	if _, still := s.Held(); !still {
		t.Fatal("the lock of an apply was freed by itself")
	}
	m := regexp.MustCompile("`(planlatch unlock --state [^`]+)`").FindStringSubmatch(w.summary(pull))
	if m == nil || !strings.Contains(m[1], held.ID) {
		t.Fatalf("the summary does not say how to free the lock %s:\n%s", held.ID, w.summary(pull))
	}
	w.tells(w.alice, pull, m[1])
	w.says(pull, "is free, and it is planned again")

	// It was killed before the state was saved: what the plan would create anew is told, and waits for a person's word.
	w.shows(pull, "creates **a second time**", "`terraform_data.vpc`", "[x] approved by "+login(w.bob))
	w.status(head, "planlatch/apply", "pending")
	if state, ok := s.State(); ok {
		t.Fatalf("something was applied without a word: %s", state)
	}
	if err := os.WriteFile(filepath.Join(w.states, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	if state, _ := s.State(); !strings.Contains(state, `"last"`) {
		t.Errorf("state = %s, want all three", state)
	}
	if held, locked := s.Held(); locked {
		t.Errorf("the backend is still locked by %+v", held)
	}
}

// TestAKilledPlanIsMadeAgainPastTheLockThatItLeft kills a real plan while it has the backend's lock.
func TestAKilledPlanIsMadeAgainPastTheLockThatItLeft(t *testing.T) {
	t.Parallel()
	s := httpstate.New(t)
	b := backend{block: httpBlock(s), grants: httpGrants(s), allow: s.Address}
	r := b.rules()
	r.waits = "5s" // the tool names no lock when its time is over in the middle of asking for it
	w := begin(t, nil, r)
	release := s.Stall()
	defer release()
	pull, head := w.propose("vpc", map[string]string{"network/main.tf": code(b.block, "v1")})
	w.eventually("the plan to have the lock", func() (string, bool) { _, ok := s.Held(); return w.summary(pull), ok })
	w.cutPower("-plan-1")
	release()
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "terraform_data.vpc")
	if held, locked := s.Held(); locked {
		t.Errorf("the backend is still locked by %+v", held)
	}
}

// cutPower kills the one execution under way whose name ends so, and everything in it.
func (w *world) cutPower(suffix string) {
	w.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(w.dir, "data/executions/runs/*"+suffix))
	if err != nil || len(dirs) != 1 {
		w.t.Fatalf("executions under way: %v, %v, want one", dirs, err)
	}
	powercut.Execution(w.t, dirs[0])
}
