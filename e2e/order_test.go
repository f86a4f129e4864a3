package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs/vcstest"
)

// chain is a network and an app that reads the network's state and is to come after it. The app's project sorts before the network's, so
// that only depends_on can put them in order.
func chain(size string) map[string]string {
	return map[string]string{
		"planlatch.yaml": `version: 1
projects:
  - {name: network, dir: net}
  - {name: app, dir: app, depends_on: [network]}
`,
		"net/main.tf": fmt.Sprintf(`terraform {
  backend "local" {
    path = "STATES/net.tfstate"
  }
}

resource "terraform_data" "vpc" {
  input = %q
}

output "size" {
  value = terraform_data.vpc.output
}
`, size),
		"app/main.tf": fmt.Sprintf(`terraform {
  backend "local" {
    path = "STATES/app.tfstate"
  }
}

locals {
  size = fileexists("STATES/net.tfstate") ? jsondecode(file("STATES/net.tfstate")).outputs.size.value : "unknown"
}

resource "terraform_data" "app" {
  input = "in a network of ${local.size}, asked for %s"
}
`, size),
	}
}

func TestADependentIsAPreviewUntilWhatItDependsOnHasApplied(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{requires: "[mergeable]"})
	pull, head := w.propose("chain", chain("16"))
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "preview: planned again after `network`", "unknown")

	w.tells(w.alice, pull, "planlatch apply -p app")
	w.says(pull, "network applied first")
	if w.state("net") != "" || w.state("app") != "" {
		t.Fatal("a preview was applied")
	}

	// Both are confirmed, the network applies, and the app's new plan has another effect than its preview: it waits.
	w.tells(w.alice, pull, "planlatch apply")
	w.eventually("the network to be applied", func() (string, bool) { return w.said(pull), w.state("net") != "" })
	w.shows(pull, "in a network of 16")
	w.lacks(pull, "preview")
	if s := w.state("app"); s != "" {
		t.Fatalf("the app was applied with another effect than was shown: %s", s)
	}
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	if s := w.state("app"); !strings.Contains(s, "in a network of 16") {
		t.Errorf("state of the app = %s", s)
	}
}

func TestAConfirmedPreviewWithTheSameEffectGoesOn(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{requires: "[mergeable]"})
	files := chain("16")
	files["app/main.tf"] = strings.ReplaceAll(files["app/main.tf"], "${local.size}", "any size") // does not read what changes
	pull, head := w.propose("chain", files)
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "preview: planned again after `network`")
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	if w.state("net") == "" || w.state("app") == "" {
		t.Errorf("states: net %q, app %q; want both", w.state("net"), w.state("app"))
	}
}

func TestAMergeAppliesDependentsAfterWhatTheyDependOn(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{apply: "after_merge", requires: "[mergeable]"})
	files := chain("16")
	files["app/main.tf"] = strings.ReplaceAll(files["app/main.tf"], "${local.size}", "any size")
	pull, head := w.propose("chain", files)
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "preview: planned again after `network`")
	w.later()
	commit := w.merge(w.bob, pull, vcstest.Squash)
	w.status(commit, "planlatch/apply", "success")
	if w.state("net") == "" || w.state("app") == "" {
		t.Errorf("states: net %q, app %q; want both", w.state("net"), w.state("app"))
	}
}

// TestALaterMergeContainsAnEarlierOneThatWaits merges two pull requests of one project, the first of which needs a person.
func TestALaterMergeContainsAnEarlierOneThatWaits(t *testing.T) {
	t.Parallel()
	w := begin(t, network("network", "v0"), rules{apply: "manual", requires: "[mergeable]"})
	first, head := w.propose("one", merged(network("network", "v1")))
	w.status(head, "planlatch/plan", "success")
	w.later()
	one := w.merge(w.bob, first, vcstest.MergeCommit)
	w.status(one, "planlatch/apply", "pending")

	second, other := w.propose("two", map[string]string{"network/extra.tf": `resource "terraform_data" "extra" {}`})
	w.status(other, "planlatch/plan", "success")
	w.later()
	two := w.merge(w.bob, second, vcstest.MergeCommit)
	w.status(two, "planlatch/apply", "pending")
	w.shows(first, "contained in")
	w.tells(w.bob, first, "planlatch apply")
	w.says(first, "Nothing")
	w.tells(w.bob, second, "planlatch apply")
	w.status(two, "planlatch/apply", "success")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) || !strings.Contains(s, "extra") {
		t.Errorf("state = %s, want what both merged", s)
	}
}

// TestWhatWasAppliedAndNeverMergedIsToldToEveryLaterPlan closes a pull request after its apply.
func TestWhatWasAppliedAndNeverMergedIsToldToEveryLaterPlan(t *testing.T) {
	t.Parallel()
	w := begin(t, network("network", "v0"), rules{requires: "[mergeable]"})
	first, head := w.propose("one", network("network", "v1"))
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, first, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	w.alice.Close(t, w.repo, first)
	w.shows(first, "live differs from `main`")
	second, _ := w.propose("two", map[string]string{"network/extra.tf": `resource "terraform_data" "extra" {}`})
	w.shows(second, "live differs from `main`", "terraform_data.extra")
}

// TestPlansSayWhatMainHasNotAppliedYet plans on top of a merge that waits for a person.
func TestPlansSayWhatMainHasNotAppliedYet(t *testing.T) {
	t.Parallel()
	w := begin(t, network("network", "v0"), rules{apply: "manual", requires: "[mergeable]"})
	first, head := w.propose("one", network("network", "v1"))
	w.status(head, "planlatch/plan", "success")
	w.later()
	one := w.merge(w.bob, first, vcstest.MergeCommit)
	w.status(one, "planlatch/apply", "pending")
	second, _ := w.propose("two", map[string]string{"network/extra.tf": `resource "terraform_data" "extra" {}`})
	w.shows(second, "includes unapplied changes of", "terraform_data.extra")
	w.tells(w.bob, first, "planlatch apply")
	w.status(one, "planlatch/apply", "success")
}
