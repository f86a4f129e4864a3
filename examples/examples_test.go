// Package examples_test loads every configuration that we show to people.
package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/project"
)

func TestServerConfigurationsLoad(t *testing.T) {
	t.Parallel()
	for _, path := range append(glob(t, "*/server.yaml"), "../deploy/server.yaml") {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			t.Parallel()
			secrets := t.TempDir()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for word := range strings.FieldsSeq(string(text)) {
				if name, ok := strings.CutPrefix(word, "file:/run/secrets/"); ok {
					content := "base64key://secret\n"
					if strings.HasSuffix(name, "_url") {
						content = "https://secret.example.com/x\n"
					}
					if err := os.WriteFile(filepath.Join(secrets, name), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			c, err := config.Parse([]byte(strings.ReplaceAll(string(text), "/run/secrets", secrets)), config.Options{
				File: path, Lookup: func(name string) (string, bool) { return "value-of-" + name, true },
			})
			if err != nil {
				t.Fatalf("Parse() =\n%v", err)
			}
			if c.Execution.Sandbox != "required" {
				t.Errorf("sandbox = %s; examples show required", c.Execution.Sandbox)
			}
		})
	}
}

func TestRepositoryConfigurationsLoad(t *testing.T) {
	t.Parallel()
	for _, path := range glob(t, "*/planlatch.yaml") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := project.ParseConfig(path, text); len(problems) > 0 {
			t.Errorf("ParseConfig(%s) = %+v", path, problems)
		}
	}
}

func TestStepsInTheDocumentsLoad(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/steps.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		text, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(text, "# planlatch.yaml") {
			continue
		}
		found++
		if c, problems := project.ParseConfig("steps.md", []byte(text)); len(problems) > 0 || c.Projects[0].Steps.Empty() {
			t.Errorf("ParseConfig() = %+v, %+v", c, problems)
		}
	}
	if found < 2 {
		t.Errorf("%d blocks of planlatch.yaml were found", found)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob(%s) = %v, %v, want examples", pattern, paths, err)
	}
	return paths
}
