package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

// workspace is a directory with code that the real tofu plans and applies.
type workspace struct {
	t    *testing.T
	tofu string
	dir  string
}

func newWorkspace(t *testing.T) workspace {
	t.Helper()
	if testing.Short() {
		t.Skip("needs tofu, which takes minutes to build the first time")
	}
	return workspace{t: t, tofu: pinned.Path(t, "tofu"), dir: t.TempDir()}
}

// files replaces what the workspace holds, but for state and modules that init linked.
func (w workspace) files(files map[string]string) {
	w.t.Helper()
	for name, content := range files {
		path := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w workspace) run(args ...string) []byte {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.tofu, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("tofu %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.Bytes()
}

func (w workspace) plan() json.RawMessage {
	w.t.Helper()
	w.run("init", "-input=false", "-no-color")
	w.run("plan", "-input=false", "-no-color", "-out=tfplan")
	return w.run("show", "-json", "tfplan")
}

type brief struct{ Rule, Resource, Value string }

func briefs(j policy.Judgement) []brief {
	var list []brief
	for _, f := range j.Findings {
		list = append(list, brief{f.Rule, f.Resource, f.Value})
	}
	return list
}

func TestBaselineOnRealPlans(t *testing.T) {
	t.Parallel()
	engine := load(t, policy.Set{
		Name: "baseline", Source: "builtin:baseline", Level: run.Soft, Owners: run.Owners{Users: []string{"alice"}},
		Settings: map[string]any{"stateful_types": []string{"terraform_data"}},
	})
	judge := func(w workspace) []brief {
		t.Helper()
		judgement := engine.Judge(t.Context(), policy.Input{Target: infra, Plan: w.plan()})
		if len(judgement.Warnings) > 0 {
			t.Errorf("Judge() warns %q, want rules that cope with real plans", judgement.Warnings)
		}
		return briefs(judgement)
	}
	w := newWorkspace(t)
	expect := func(step string, want ...brief) {
		t.Helper()
		if diff := cmp.Diff(want, judge(w)); diff != "" {
			t.Errorf("%s: Judge() (-want +got):\n%s", step, diff)
		}
	}

	w.files(map[string]string{
		"main.tf": `
resource "terraform_data" "first" {
  input = "hello"
  provisioner "local-exec" {
    command = "curl https://example.com/setup.sh | sh"
  }
}
module "app" {
  source   = "./app"
  for_each = toset(["eu.west[0]", "us\"]"])
}`,
		"app/main.tf": `
module "inner" {
  source = "../inner"
  count  = 2
}`,
		"inner/main.tf": `
resource "terraform_data" "deep" {
  provisioner "remote-exec" {
    inline = ["true"]
    connection {
      host = "localhost"
    }
  }
}
resource "terraform_data" "calm" {
  input = terraform_data.deep.id
}`,
	})
	expect("a program hides in every module",
		brief{"provisioner", `module.app["eu.west[0]"].module.inner[0].terraform_data.deep`, "remote-exec"},
		brief{"provisioner", `module.app["eu.west[0]"].module.inner[1].terraform_data.deep`, "remote-exec"},
		brief{"provisioner", `module.app["us\"]"].module.inner[0].terraform_data.deep`, "remote-exec"},
		brief{"provisioner", `module.app["us\"]"].module.inner[1].terraform_data.deep`, "remote-exec"},
		brief{"provisioner", "terraform_data.first", "local-exec"},
	)

	fixed := map[string]string{
		"main.tf": `
resource "terraform_data" "first" {
  input            = "hello"
  triggers_replace = ["one"]
}
module "app" {
  source   = "./app"
  for_each = toset(["eu.west[0]", "us\"]"])
}`,
		"inner/main.tf": `
resource "terraform_data" "deep" {}
resource "terraform_data" "calm" {
  input = terraform_data.deep.id
}`,
	}
	w.files(fixed)
	expect("the program is gone, and what is known only after apply does not disturb")
	w.run("apply", "-input=false", "-no-color", "tfplan")
	expect("nothing changes")

	w.files(map[string]string{
		"main.tf": `
resource "terraform_data" "second" {}
resource "terraform_data" "first" {
  input            = "hello"
  triggers_replace = [terraform_data.second.id]
}`,
	})
	var want []brief
	for _, module := range []string{`module.app["eu.west[0]"]`, `module.app["us\"]"]`} {
		for _, inner := range []string{".module.inner[0]", ".module.inner[1]"} {
			want = append(want, brief{"stateful-destroy", module + inner + ".terraform_data.calm", "delete"}, brief{"stateful-destroy", module + inner + ".terraform_data.deep", "delete"})
		}
	}
	expect("precious data goes, one for a value that is known only after apply",
		append(want, brief{"stateful-replace", "terraform_data.first", `["triggers_replace"]`})...)
}
