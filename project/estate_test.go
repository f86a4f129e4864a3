package project_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/testkit/estate"
)

var update = flag.Bool("update", false, "write the golden files anew")

// clone is the work tree of somebody who changes the sixty projects.
type clone struct {
	t   *testing.T
	dir string
}

func newClone(t *testing.T) clone {
	t.Helper()
	c := clone{t, t.TempDir()}
	c.git("init", "--quiet", "--initial-branch=main")
	for name, content := range estate.Files() {
		c.write(name, content)
	}
	c.git("add", "--all")
	c.git("-c", "user.name=a", "-c", "user.email=a@example.test", "commit", "--quiet", "-m", "Sixty projects")
	return c
}

func (c clone) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull}
}

func (c clone) git(args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir, cmd.Env = c.dir, c.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (c clone) write(name, content string) {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c clone) append(name, text string) {
	c.t.Helper()
	old, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(name, string(old)+text)
}

// selection selects by real git, as for a pull request with everything that is not committed.
func (c clone) selection() project.Selection {
	t := c.t
	t.Helper()
	ctx := t.Context()
	tree, err := git.OpenWorkTree(ctx, c.dir, c.env())
	check(t, err)
	mirror, snap, err := git.New(git.Options{Dir: t.TempDir()}).Snapshot(ctx, tree)
	check(t, err)
	changed, err := mirror.Changed(ctx, snap.Head, snap.Commit)
	check(t, err)
	head, err := mirror.FS(ctx, snap.Commit)
	check(t, err)
	defer head.Close()
	base, err := mirror.FS(ctx, snap.Head)
	check(t, err)
	defer base.Close()
	s := project.Select(t.Context(), project.Input{Head: head, Base: base, Changed: changed, Rules: serverRules})
	if s.Err != nil || len(s.Problems) > 0 {
		t.Fatalf("Select() = problems %+v, error %v", s.Problems, s.Err)
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// everywhere are these stacks of each environment and region.
func everywhere(stacks ...string) (labels []string) {
	for _, environment := range estate.Environments {
		for _, region := range estate.Regions {
			for _, stack := range stacks {
				labels = append(labels, estate.Label(environment, region, stack))
			}
		}
	}
	return labels
}

// TestSixtyProjects changes one thing at a time in a repository of sixty projects. Which projects that selects is said here; the golden
// files have the order and what a person is told.
func TestSixtyProjects(t *testing.T) {
	t.Parallel()
	const line = "\n# changed\n"
	for name, c := range map[string]struct {
		change func(c clone)
		want   []string
	}{
		"documents and ignored examples": {func(c clone) {
			c.append("README.md", line)
			c.append("docs/ownership.md", line)
			c.append("tools/examples/basic/main.tf", line)
			c.append("modules/unused/main.tf", line)
		}, nil},
		"one stack": {func(c clone) { c.append("live/prod/eu/database/main.tf", line) }, []string{"prod-eu-database"}},
		"a region out of order": {func(c clone) {
			for _, stack := range []string{"app/main.tofu", "cluster/main.tf", "database/main.tf", "monitor/main.tf", "network/main.tf"} {
				c.append("live/dev/us/"+stack, line)
			}
		}, []string{"dev-us-network", "dev-us-cluster", "dev-us-database", "dev-us-app", "dev-us-monitor"}},
		"a leaf module": {func(c clone) { c.append("modules/label/main.tf", line) },
			append(everywhere("network", "cache", "cluster", "database", "queue"), "global/iam", "global/registry")},
		"a module in the middle":      {func(c clone) { c.append("modules/subnets/main.tf", line) }, everywhere("cluster")},
		"a template of a module":      {func(c clone) { c.append("modules/service/templates/unit", line) }, everywhere("app")},
		"a file from afar":            {func(c clone) { c.append("shared/zones.json", line) }, everywhere("dns")},
		"a var file":                  {func(c clone) { c.append("live/staging/eu/region.tfvars", line) }, []string{"staging-eu-network", "staging-eu-database"}},
		"two workspaces":              {func(c clone) { c.append("data/warehouse/main.tf", line) }, []string{"warehouse-blue", "warehouse-green"}},
		"two workspaces of one entry": {func(c clone) { c.append("data/lake/common.auto.tfvars", line) }, []string{"data/lake:blue", "data/lake:green"}},
		"other languages": {func(c clone) {
			c.append("tools/bastion/bastion.tofu", line)
			c.write("global/registry/main.tf.json", strings.ReplaceAll(estate.Files()["global/registry/main.tf.json"], `"module": {`, `"locals": {}, "module": {`))
		}, []string{"tools/bastion", "global/registry"}},
		"a version for all of production": {func(c clone) { c.write("live/prod/.opentofu-version", "1.12.6\n") },
			[]string{"prod-eu-app", "prod-eu-cache", "prod-eu-cluster", "prod-eu-database", "prod-eu-dns", "prod-eu-monitor", "prod-eu-network", "prod-eu-queue",
				"prod-us-app", "prod-us-cache", "prod-us-cluster", "prod-us-database", "prod-us-dns", "prod-us-monitor", "prod-us-network", "prod-us-queue"}},
		"a module among the projects": {func(c clone) { c.append("tools/shared/main.tf", line) }, []string{"tools/shared"}},
		"a moved directory":           {func(c clone) { c.git("mv", "tools/wiki", "tools/handbook") }, []string{"tools/handbook", "tools/wiki"}},
		"a deleted directory":         {func(c clone) { c.git("rm", "--quiet", "-r", "tools/legacy") }, []string{"tools/legacy"}},
		"a new module": {func(c clone) {
			c.write("modules/alerts/main.tf", "variable \"name\" {}\n")
			c.append("live/dev/eu/monitor/main.tf", "module \"alerts\" {\n  source = \"../../../../modules/alerts\"\n  name   = \"x\"\n}\n")
		}, []string{"dev-eu-monitor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clone := newClone(t)
			c.change(clone)
			s := clone.selection()
			if planned := len(slices.DeleteFunc(slices.Clone(s.All), func(p run.Selected) bool { return p.Skipped != "" || p.Deleted })); planned != estate.Projects && name != "a deleted directory" {
				t.Errorf("the repository has %d projects, want %d", planned, estate.Projects)
			}
			got, want := labels(s.Projects), slices.Clone(c.want)
			slices.Sort(want)
			if diff := gocmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
			inOrder(t, s.Projects)
			golden(t, strings.ReplaceAll(name, " ", "-"), report.Explain(report.View{Head: "aaaaaaa", Base: "bbbbbbb", Selection: s.Projects, Notes: s.Notes}, 1<<20))
		})
	}
}

// inOrder checks that whatever comes first does.
func inOrder(t *testing.T, list []run.Selected) {
	t.Helper()
	place := map[string]int{}
	for n, p := range list {
		place[p.Label] = n
	}
	for n, p := range list {
		for _, before := range p.After {
			if at, ok := place[before]; !ok || at > n {
				t.Errorf("%s is at %d, and %s, which it comes after, at %d", p.Label, n, before, cmp.Or(at, -1))
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "sixty", name+".md")
	if *update {
		check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		check(t, os.WriteFile(file, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./project -update makes it)", err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant:\n%s", file, diff)
	}
}

// TestTheEstateIsWhatItSays keeps the generator honest.
func TestTheEstateIsWhatItSays(t *testing.T) {
	t.Parallel()
	if a, b := fmt.Sprint(estate.Files()), fmt.Sprint(estate.Files()); a != b {
		t.Error("the repository differs from call to call")
	}
	if n := len(estate.Environments)*len(estate.Regions)*len(estate.Stacks) + 12; n != estate.Projects {
		t.Errorf("%d projects, want %d", n, estate.Projects)
	}
}
