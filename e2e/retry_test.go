package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// half is a module of two resources, the second of which fails in the apply until a file is there. tainted: it fails half made.
func half(tainted bool) map[string]string {
	second := `
  lifecycle {
    precondition {
      condition     = fileexists("STATES/ok") || terraform_data.first.id == ""
      error_message = "the quota is used up"
    }
  }`
	if tainted {
		second = `
  provisioner "local-exec" {
    command = "test -e STATES/ok"
  }`
	}
	files := network("network", "v1")
	files["network/main.tf"] += `
resource "terraform_data" "first" {}

resource "terraform_data" "second" {
  input      = "rest"
  depends_on = [terraform_data.first]
` + second + `
}
`
	return files
}

func TestApplyAfterAFailureAppliesWhatIsLeftWithoutAnotherApproval(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{requires: "[approved, mergeable]"})
	pull, head := w.propose("vpc", half(false))
	w.status(head, "planlatch/plan", "success")
	w.approves(w.bob, pull)
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "failure")
	w.says(pull, "the quota is used up", "Not done in `network`: `terraform_data.second`", "`planlatch apply -p network`")
	if s := w.state("network"); !strings.Contains(s, `"first"`) || strings.Contains(s, `"rest"`) {
		t.Fatalf("state = %s, want the first half", s)
	}
	if err := os.WriteFile(filepath.Join(w.states, "ok"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.tells(w.alice, pull, "planlatch apply -p network")
	w.status(head, "planlatch/apply", "success")
	if s := w.state("network"); !strings.Contains(s, `"rest"`) {
		t.Errorf("state = %s, want the rest, too", s)
	}
}

func TestApplyAfterAFailureShowsWhatNobodyReviewed(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{requires: "[approved, mergeable]"})
	pull, head := w.propose("vpc", half(true))
	w.status(head, "planlatch/plan", "success")
	w.approves(w.bob, pull)
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "failure")
	before := w.state("network")
	if err := os.WriteFile(filepath.Join(w.states, "ok"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.tells(w.alice, pull, "planlatch apply -p network")
	w.shows(pull, "replaces", "approved anew: the approval of "+login(w.bob)) // the second was half made, and is replaced now
	w.later()
	if after := w.state("network"); after != before {
		t.Errorf("a replacement that nobody reviewed was applied:\n%s", after)
	}
}
