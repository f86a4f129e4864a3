package runner

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/report"
)

// TestBothToolsRefuseAPlanOfAnotherState in words that are known: the state's serial moved, or it is another state altogether.
func TestBothToolsRefuseAPlanOfAnotherState(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tofu", "terraform"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := pinned.Path(t, name)
			dir := t.TempDir()
			write := func(file, text string) {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run := func(ok bool, args ...string) string {
				cmd := exec.CommandContext(t.Context(), program, args...)
				cmd.Dir = dir
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0"} //nolint:forbidigo // a test of real programs
				out, err := cmd.CombinedOutput()
				if (err == nil) != ok {
					t.Fatalf("%s %v: %v\n%s", name, args, err, out)
				}
				return string(out)
			}
			write("main.tf", "terraform {\n  backend \"local\" {}\n}\n\nresource \"terraform_data\" \"x\" {\n  input = 1\n}\n")
			run(true, "init", "-no-color")
			run(true, "plan", "-no-color", "-out=old")
			run(true, "apply", "-no-color", "-auto-approve")
			if log := run(false, "apply", "-no-color", "old"); !report.StalePlan(log) {
				t.Errorf("StalePlan() = false of a state that another apply has moved:\n%s", log)
			}
			write("main.tf", "terraform {\n  backend \"local\" {}\n}\n\nresource \"terraform_data\" \"x\" {\n  input = 2\n}\n")
			run(true, "plan", "-no-color", "-out=change")
			write("terraform.tfstate", `{"version":4,"terraform_version":"1.5.0","serial":9,"lineage":"4a1b0c7e-0000-4000-8000-000000000001","outputs":{},"resources":[]}`)
			if log := run(false, "apply", "-no-color", "change"); !report.StalePlan(log) {
				t.Errorf("StalePlan() = false of a state of another lineage:\n%s", log)
			}
			if log := run(false, "apply", "-no-color", "nothing"); report.StalePlan(log) {
				t.Errorf("StalePlan() = true of another error:\n%s", log)
			}
		})
	}
}
