package local_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
)

const configuration = `
variable "secret" {
  sensitive = true
}
resource "terraform_data" "greeting" {
  input = file("${path.module}/../beside/file")
  provisioner "local-exec" {
    command = "hostname; echo $SHLVL >/dev/stderr; echo applied >>$STATES/applied"
  }
}
output "environment" {
  value = nonsensitive(var.secret)
}
`

// tofuSpec is what a runner hands over, for a real tofu.
func tofuSpec(t testing.TB, n executor.Name, binary string) executor.Spec {
	t.Helper()
	s := executortest.Spec(t, n)
	executortest.Write(t, filepath.Join(s.Source.Dir, "in/work/main.tf"), configuration)
	rc := filepath.Join(t.TempDir(), "tofurc")
	executortest.Write(t, rc, "provider_installation {\n  direct {}\n}\n")
	s.Inputs = []executor.File{{Name: ".planlatch.tofurc", Path: rc, SHA256: fileDigest(t, rc)}}
	s.Env = append(s.Env, "TF_CLI_CONFIG_FILE=/src/in/work/.planlatch.tofurc", "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	s.Binds = []executor.Bind{{Path: filepath.Dir(binary)}}
	return s
}

func fileDigest(t testing.TB, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func TestTofuPlansAndAppliesThePlanInASecondExecution(t *testing.T) {
	t.Parallel()
	binary := pinned.Path(t, "tofu")
	for name, o := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, o)
			states := t.TempDir()
			secret := "TF_VAR_secret=geheim"
			plan := tofuSpec(t, "r1-plan-1", binary)
			plan.Binds = append(plan.Binds, executor.Bind{Path: states, Write: true})
			plan.Env = append(plan.Env, "STATES="+states)
			executortest.Write(t, filepath.Join(plan.Source.Dir, "in/work/backend.tf"), "terraform {\n  backend \"local\" {\n    path = \""+states+"/terraform.tfstate\"\n  }\n}\n")
			tool := []string{binary, "init", "-input=false", "-no-color"}
			plan.Steps = []executor.Step{
				{Label: "init", Argv: tool},
				{Label: "plan", Argv: []string{binary, "plan", "-input=false", "-no-color", "-out=tfplan", "-detailed-exitcode"}, OK: []int{0, 2}},
				{Label: "show", Argv: []string{binary, "show", "-json", "tfplan"}, Stdout: "plan.json"},
			}
			plan.Outputs = []string{"tfplan", "plan.json", ".terraform.lock.hcl", "errored.tfstate"}
			r, log := executortest.Finish(t, e, plan, secret)
			if !r.OK(3) || r.Steps[1].Exit != 2 || len(r.Outputs) != 2 {
				t.Fatalf("plan: %+v, log:\n%s", r, log)
			}
			checkPlan(t, e, plan.Name)

			apply := plan
			apply.Name = "r1-apply"
			apply.Steps = []executor.Step{{Label: "init", Argv: tool}, {Label: "apply", Argv: []string{binary, "apply", "-input=false", "-no-color", "tfplan"}}}
			apply.Inputs = append(apply.Inputs, executor.File{Name: "tfplan", Path: keep(t, e, plan.Name, "tfplan"), SHA256: r.Outputs[0].SHA256})
			r, log = executortest.Finish(t, e, apply, secret)
			if !r.OK(2) || !strings.Contains(log, "Apply complete! Resources: 1 added") {
				t.Fatalf("apply: %+v, log:\n%s", r, log)
			}
			if o.Bwrap == "" && !strings.Contains(log, "planlatch-r1\n") {
				t.Errorf("log lacks the run's host name:\n%s", log)
			}
			if body, err := os.ReadFile(filepath.Join(states, "applied")); err != nil || string(body) != "applied\n" {
				t.Errorf("applied = %q, %v, want once", body, err)
			}
			if _, err := os.Stat(filepath.Join(states, "terraform.tfstate")); err != nil {
				t.Errorf("state: %v", err)
			}
		})
	}
}

func checkPlan(t *testing.T, e executor.Executor, n executor.Name) {
	t.Helper()
	body, err := os.ReadFile(keep(t, e, n, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	var plan struct {
		Changes []struct {
			Address string
			Change  struct{ After struct{ Input string } }
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal(body, &plan); err != nil {
		t.Fatalf("plan.json: %v", err)
	}
	if len(plan.Changes) != 1 || plan.Changes[0].Change.After.Input != "beside\n" {
		t.Errorf("plan = %+v, want the greeting with the file of the neighbour", plan)
	}
}

// keep copies an output to a file of the test.
func keep(t *testing.T, e executor.Executor, n executor.Name, output string) string {
	t.Helper()
	from, err := e.Open(t.Context(), n, output)
	if err != nil {
		t.Fatalf("Open(%s) = %v", output, err)
	}
	defer func() { _ = from.Close() }() // read only
	to, err := os.Create(filepath.Join(t.TempDir(), output))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}
