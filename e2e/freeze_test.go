package e2e_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// operates runs a command line as an operator elsewhere does, and returns what it prints.
func (w *world) operates(args ...string) string {
	w.t.Helper()
	var out, said bytes.Buffer
	env := map[string]string{"PLANLATCH_SERVER": w.url, "PLANLATCH_TOKEN": "the-admin-token-of-the-tests"}
	if code := app.Run(w.t.Context(), args, env, &out, &said); code != 0 {
		w.t.Fatalf("planlatch %s = %d, want 0:\n%s%s", strings.Join(args, " "), code, &out, &said)
	}
	return out.String()
}

func TestAFreezeHoldsBackWhatIsMergedAndLetsItGoAfterwards(t *testing.T) {
	t.Parallel()
	onEach(t, eachEngine, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, apply: "after_merge"})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/apply", "success")
		w.approves(w.bob, pull)
		w.shows(pull, "[x] approved by "+login(w.bob))
		w.later()

		w.operates("pause", "--reason", "release week")
		w.status(head, "planlatch/apply", "pending")
		w.shows(pull, "Applies are paused by admin since", "release week")
		commit := w.merge(w.bob, pull, vcstest.Squash)
		w.shows(pull, "Confirmed and waiting: `network`")
		w.status(commit, "planlatch/apply", "pending")
		w.status(head, "planlatch/apply", "pending")

		// Plans go on, past what is frozen; what somebody asks for is refused with the reason.
		other, second := w.propose("dns", network("dns", "v1"))
		w.status(second, "planlatch/plan", "success")
		w.shows(other, "release week")

		w.stop()
		w.restart()
		if list := w.operates("pause", "--list"); !strings.Contains(list, "release week") {
			t.Errorf("pause --list after a restart = %q, want the pause", list)
		}
		if list := w.operates("runs", "--state", "confirmed"); !strings.Contains(list, "network") {
			t.Errorf("runs = %q, want the merge to wait", list)
		}
		if s := w.state("network"); s != "" {
			t.Fatalf("applied during a freeze: %s", s)
		}

		w.operates("resume")
		w.status(commit, "planlatch/apply", "success")
		w.says(pull, "applied", "<!-- planlatch:apply:")
		w.status(head, "planlatch/apply", "success")
		w.status(second, "planlatch/apply", "success")
		w.lacks(other, "paused")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
		audit := w.operates("audit", "--json")
		for _, action := range []string{`"pause"`, `"resume"`, `"confirm"`, `"claim_apply"`, `"applied"`} {
			if !strings.Contains(audit, `"action":`+action) {
				t.Errorf("the audit has no row of %s:\n%s", action, audit)
			}
		}
	})
}
