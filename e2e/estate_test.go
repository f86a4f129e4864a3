package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/estate"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// TestASliceOfSixtyProjectsIsPlannedAndAppliedInOrder changes one region, out of order, and a directory of two workspaces.
func TestASliceOfSixtyProjectsIsPlannedAndAppliedInOrder(t *testing.T) {
	t.Parallel()
	files := estate.Files()
	w := begin(t, files, rules{requires: "[mergeable]"})
	change := map[string]string{"live/dev/eu/region.tfvars": "cidr = \"wider\"\n"}
	for _, file := range []string{"monitor/main.tf", "app/main.tofu", "cluster/main.tf"} {
		change["live/dev/eu/"+file] = files["live/dev/eu/"+file] + "# changed\n"
	}
	change["live/dev/eu/queue/main.tf.json"] = strings.Replace(files["live/dev/eu/queue/main.tf.json"], `"module"`, `"locals": {}, "module"`, 1)
	change["data/warehouse/main.tf"] = files["data/warehouse/main.tf"] + "# changed\n"
	pull, head := w.propose("dev-eu", change)
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "8 projects", "preview: planned again after `dev-eu-network`", "preview: planned again after `warehouse-blue`", "blue: small", "green: large")
	summary := w.summary(pull)
	for _, other := range []string{"dev-eu-dns", "dev-eu-cache", "dev-us", "staging", "prod", "lake", "global", "tools"} {
		if strings.Contains(summary, other) {
			t.Errorf("the summary tells of %s, which the change does not touch:\n%s", other, summary)
		}
	}
	w.tells(w.alice, pull, "planlatch explain")
	w.says(pull, "8 projects selected", "live/dev/eu/region.tfvars changed, which is given to dev-eu-network")

	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	for _, chain := range [][]string{
		{"dev-eu-network.tfstate", "dev-eu-cluster.tfstate", "dev-eu-app.tfstate", "dev-eu-monitor.tfstate"},
		{"dev-eu-network.tfstate", "dev-eu-database.tfstate", "dev-eu-app.tfstate"},
		{"warehouse/blue/terraform.tfstate", "warehouse/green/terraform.tfstate"},
		{"dev-eu-queue.tfstate"},
	} {
		w.savedInOrder(chain...)
	}
	if list, err := filepath.Glob(filepath.Join(w.states, "*.tfstate")); err != nil || len(list) != 6 {
		t.Errorf("the states are %v, %v; want those of six stacks", list, err)
	}
	w.merge(w.bob, pull, vcstest.Squash)
	w.shows(pull, "applied")
}

// savedInOrder checks that each of these states is there and was saved after the one before.
func (w *world) savedInOrder(names ...string) {
	w.t.Helper()
	var last os.FileInfo
	for _, name := range names {
		info, err := os.Stat(filepath.Join(w.states, name))
		if err != nil {
			w.t.Errorf("%s was not applied: %v", name, err)
			return
		}
		if last != nil && !info.ModTime().After(last.ModTime()) {
			w.t.Errorf("%s was saved at %s, before %s at %s", name, info.ModTime(), last.Name(), last.ModTime())
		}
		last = info
	}
}
