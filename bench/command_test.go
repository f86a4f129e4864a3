package bench_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/helper"
	"github.com/planlatch/planlatch/testkit/pinned"
)

// BenchmarkPlanCommand runs `planlatch plan` on a work tree with one changed project, as it is installed; bare is init, plan -out and show -json
// of that project in its own directory, by hand. The two alternate, and the ratio is of medians.
func BenchmarkPlanCommand(b *testing.B) {
	dir := b.TempDir()
	tofu := pinned.Path(b, "tofu")
	for _, name := range []string{"planlatch", "planlatch-shim"} {
		must(b, helper.Build(filepath.Join(dir, "bin", name)))
	}
	clone := filepath.Join(dir, "clone")
	timed := func(in string, argv ...string) time.Duration {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), argv[0], argv[1:]...)
		cmd.Dir = in
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PLANLATCH_TOFU=" + tofu, "CHECKPOINT_DISABLE=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		}
		begun := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%q: %v\n%s", argv, err, out)
		}
		return time.Since(begun)
	}
	project := filepath.Join(clone, "net")
	must(b, os.MkdirAll(project, 0o755))
	write := func(text string) { must(b, os.WriteFile(filepath.Join(project, "main.tf"), []byte(text), 0o600)) }
	write("output \"x\" {\n  value = 1\n}\n")
	for _, args := range []string{"init --quiet --initial-branch=main", "add --all", "commit --quiet --message=one", "switch --quiet --create work"} {
		timed(clone, append([]string{"git"}, strings.Fields(args)...)...)
	}
	write("resource \"terraform_data\" \"x\" {\n  input = 2\n}\n")
	var ours, bare []time.Duration
	for range max(5, b.N) {
		ours = append(ours, timed(clone, filepath.Join(dir, "bin", "planlatch"), "plan"))
		bare = append(bare, timed(project, tofu, "init", "-input=false")+timed(project, tofu, "plan", "-input=false", "-out=tfplan")+timed(project, tofu, "show", "-json", "tfplan"))
		must(b, os.Remove(filepath.Join(project, "tfplan")))
		must(b, os.RemoveAll(filepath.Join(project, ".terraform")))
	}
	b.ReportMetric(median(ours).Seconds(), "s/planlatch")
	b.ReportMetric(median(bare).Seconds(), "s/bare")
	b.ReportMetric(median(ours).Seconds()/median(bare).Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
