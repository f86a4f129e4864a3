package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStepsOfTheBaseMakeTheCodeAndThoseOfTheHeadAreOnlyTold(t *testing.T) {
	t.Parallel()
	const config = "projects:\n- dir: network\n  steps:\n    before_init: [[./gen.sh]]\n"
	w := begin(t, merged(network("network", "v0"), map[string]string{
		"planlatch.yaml": config + "    after_apply: [[./tell.sh]]\n", "network/gen.sh": script(`echo '# nothing' >made.tf`), "network/tell.sh": script("exit 4"),
	}), rules{requires: "[mergeable]", extra: `repos: [{match: "**", allow_repo_config: [projects, requirements.add, steps]}]`})
	pull, head := w.propose("generate", map[string]string{
		"network/gen.sh":   script(`echo "resource \"terraform_data\" \"made\" { input = \"generated $PLANLATCH_PROJECT\" }" >made.tf`),
		"network/steal.sh": script("echo stolen >STATES/stolen"),
		"planlatch.yaml":   config + "    before_plan: [[./steal.sh]]\n",
	})
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "terraform_data.made", "generated network", "planlatch.yaml changes steps of network; the rules of the base branch judge until it is merged")
	w.tells(w.alice, pull, "planlatch apply")
	w.says(pull, "everything was applied, but after\\_apply (./tell.sh) failed (exit code 4)")
	w.status(head, "planlatch/apply", "failure")
	if s := w.state("network"); !strings.Contains(s, "generated network") {
		t.Errorf("state = %s, want what was generated", s)
	}
	if _, err := os.Stat(filepath.Join(w.states, "stolen")); err == nil {
		t.Error("a step of the head was run")
	}

	w.tells(w.alice, pull, "planlatch plan")
	w.status(head, "planlatch/apply", "success") // nothing is left

	// Also a pull request that touches no project is told.
	other, _ := w.propose("quietly", map[string]string{"planlatch.yaml": config + "    before_plan: [[./steal.sh]]\n"})
	w.shows(other, "planlatch.yaml changes steps of network")
}

func TestStepsAreRefusedWhereTheServerDoesNotAllowThem(t *testing.T) {
	t.Parallel()
	w := begin(t, network("network", "v0"), rules{})
	pull, head := w.propose("steps", map[string]string{
		"planlatch.yaml":   "projects:\n- dir: network\n  steps: {before_plan: [[./steal.sh]]}\n",
		"network/steal.sh": script("echo stolen >STATES/stolen"),
	})
	w.status(head, "planlatch/plan", "failure")
	w.shows(pull, "does not let this repository set steps", "allow\\_repo\\_config")
	if _, err := os.Stat(filepath.Join(w.states, "stolen")); err == nil {
		t.Error("a step of the head was run")
	}
}

// script is the content of an executable file.
func script(text string) string { return "#!/bin/sh\n" + text + "\n" }
