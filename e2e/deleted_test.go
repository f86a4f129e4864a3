package e2e_test

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs/vcstest"
)

// applied is a repository whose network has been applied by a first pull request.
func applied(t *testing.T, r rules) *world {
	t.Helper()
	r.apply = "before_merge"
	w := begin(t, map[string]string{"README.md": "x"}, r)
	pull, head := w.propose("vpc", network("network", "v1"))
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	w.merge(w.bob, pull, vcstest.Squash)
	w.eventually("the first pull request to be merged", func() (string, bool) { s := w.state("network"); return s, s != "" })
	return w
}

// deletes proposes to delete the network, and perhaps to add others.
func (w *world) deletes(files map[string]string) (int, string) {
	w.t.Helper()
	head := w.alice.Commit(w.t, w.repo, vcstest.Change{Branch: "delete", Files: w.with(files), Delete: []string{"network"}, Message: "Delete it"})
	return w.alice.Open(w.t, w.repo, "delete", "main", "Delete it"), head
}

func TestWhatADeletedDirectoryLeftIsDestroyedOnlyWhenTold(t *testing.T) {
	t.Parallel()
	w := applied(t, rules{requires: "[mergeable, up_to_date]"})
	pull, head := w.deletes(nil)
	w.shows(pull, "`network` is deleted", "planlatch plan --destroy -p network")
	w.tells(w.alice, pull, "planlatch apply")
	w.says(pull, "Nothing")
	w.tells(w.alice, pull, "planlatch plan --destroy")
	w.says(pull, "--destroy -p network")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) {
		t.Fatalf("destroyed without a word: %s", s)
	}

	w.tells(w.alice, pull, "planlatch plan --destroy -p network")
	w.shows(pull, "destroys what the deleted directory left", "terraform_data.vpc")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) {
		t.Fatalf("destroyed by a plan: %s", s)
	}
	w.tells(w.alice, pull, "planlatch apply -p network")
	w.status(head, "planlatch/apply", "success")
	if s := w.state("network"); strings.Contains(s, `"v1"`) {
		t.Errorf("state = %s, want nothing left", s)
	}
}

func TestAnOrphanIsDestroyedAfterTheMergeByWhoDidNotWriteIt(t *testing.T) {
	t.Parallel()
	w := applied(t, rules{requires: "[mergeable]"})
	pull, _ := w.deletes(nil)
	w.shows(pull, "`network` is deleted")
	w.merge(w.bob, pull, vcstest.Squash)
	w.shows(pull, "Orphan", "planlatch plan --destroy -p network")
	w.tells(w.bob, pull, "planlatch plan --destroy -p network")
	w.shows(pull, "destroys what the deleted directory left", "terraform_data.vpc")
	w.tells(w.bob, pull, "planlatch apply -p network")
	w.eventually("the state to be empty", func() (string, bool) {
		s := w.state("network")
		return w.said(pull) + w.summary(pull), !strings.Contains(s, `"v1"`)
	})
}

// TestAMovedDirectoryIsNeverDestroyed moves a project, once in a way that git sees and once with all its text changed, so that only the
// state tells.
func TestAMovedDirectoryIsNeverDestroyed(t *testing.T) {
	t.Parallel()
	w := applied(t, rules{requires: "[mergeable]"})
	moved := network("network", "v1")["network/main.tf"]
	pull, head := w.deletes(map[string]string{
		"infra/net/main.tf": "# Another text altogether, so that no comparison of texts finds the old one in it.\n" + strings.Repeat("# filler\n", 40) + moved,
	})
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch plan --destroy -p network")
	w.says(pull, "infra/net")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) {
		t.Errorf("state = %s, want it untouched", s)
	}
	if strings.Contains(w.summary(pull), "destroys what") {
		t.Errorf("a destroy was planned:\n%s", w.summary(pull))
	}
}

func TestANewDirectoryCannotApplyToTheStateOfAnother(t *testing.T) {
	t.Parallel()
	w := applied(t, rules{requires: "[mergeable]"})
	pull, head := w.propose("copy", map[string]string{"copy/main.tf": network("network", "v2")["network/main.tf"]})
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "`copy` keeps its state where `network` does", "- [ ] its state belongs to network")
	w.tells(w.alice, pull, "planlatch apply")
	w.says(pull, "its state belongs to network")
	w.merge(w.bob, pull, vcstest.Squash)
	w.tells(w.bob, pull, "planlatch apply")
	next, head := w.propose("use", map[string]string{"copy/more.tf": "resource \"terraform_data\" \"more\" {}\n", "network/more.tf": "resource \"terraform_data\" \"own\" {}\n"})
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, next, "planlatch apply -p copy")
	w.says(next, "its state belongs to network")
	w.tells(w.alice, next, "planlatch apply -p network")
	w.eventually("the apply of whom the state belongs to", func() (string, bool) {
		s := w.state("network")
		return w.said(next) + s, strings.Contains(s, `"own"`) && !strings.Contains(s, `"v2"`)
	})
}

func TestOfTwoNewDirectoriesOnOneStateTheFirstKeepsIt(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{apply: "before_merge", requires: "[mergeable]"})
	pull, head := w.propose("both", merged(network("network", "v1"), map[string]string{"copy/main.tf": network("network", "v2")["network/main.tf"]}))
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch apply -p network")
	w.shows(pull, "- [ ] its state belongs to network")
	w.tells(w.alice, pull, "planlatch apply -p copy")
	w.says(pull, "its state belongs to network")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) || strings.Contains(s, `"v2"`) {
		t.Errorf("state = %s, want that of the first", s)
	}
}

// The backend of the new directory is computed, and its text another one, so nothing but the first init can tell that it is a move.
func TestAStateChangesHandsOnceItsDirectoryIsGone(t *testing.T) {
	t.Parallel()
	w := applied(t, rules{requires: "[mergeable]"})
	computed := strings.Replace(network("network", "v2")["network/main.tf"], `"STATES/network.tfstate"`, `"STATES/${local.key}.tfstate"`, 1)
	pull, _ := w.deletes(map[string]string{
		"net/main.tf": "locals {\n  key = join(\"\", [\"net\", \"work\"])\n}\n" + strings.Repeat("# filler\n", 40) + computed,
	})
	w.shows(pull, "- [ ] its state belongs to network")
	w.merge(w.bob, pull, vcstest.Squash)
	w.shows(pull, "merged before it was applied", "- [x] merged")
	w.tells(w.bob, pull, "planlatch apply -p net")
	w.eventually("the apply of the new directory", func() (string, bool) {
		s := w.state("network")
		return w.said(pull) + w.summary(pull) + s, strings.Contains(s, `"v2"`)
	})
}
