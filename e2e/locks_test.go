package e2e_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/httpstate"
)

// TestALockThatOurOwnPlanLeftIsFreedAndThatOfAnApplyIsNot leaves a lock in the name of a plan that has ended, as a killed one does.
func TestALockThatOurOwnPlanLeftIsFreedAndThatOfAnApplyIsNot(t *testing.T) {
	t.Parallel()
	s := httpstate.New(t)
	b := backend{block: httpBlock(s), grants: httpGrants(s), allow: s.Address}
	w := begin(t, nil, b.rules())
	pull, head := w.propose("vpc", map[string]string{"network/main.tf": code(b.block, "v1")})
	w.status(head, "planlatch/plan", "success")
	_, text := w.api("GET", "/runs")
	var list struct{ Runs []struct{ ID, State string } }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Runs) != 1 {
		t.Fatalf("GET /runs = %s, want one run", text)
	}
	who := "root@planlatch-" + list.Runs[0].ID

	s.HoldAsPlan(t, who, time.Now().Add(-time.Minute))
	w.tells(w.alice, pull, "planlatch plan")
	first := list.Runs[0].ID
	w.eventually("the lock to be freed and the plan to be made", func() (string, bool) {
		_, text := w.api("GET", "/runs")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("GET /runs = %s", text)
		}
		made := false
		for _, r := range list.Runs {
			made = made || r.ID != first && r.State == "planned"
		}
		_, held := s.Held()
		return text, made && !held
	})
	w.shows(pull, "terraform_data.vpc")

	s.Hold(t, who, time.Now().Add(-time.Minute))
	w.tells(w.alice, pull, "planlatch plan")
	w.shows(pull, "its state is locked")
	if _, held := s.Held(); !held {
		t.Error("a lock of an apply was freed by itself")
	}
}
