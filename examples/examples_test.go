// Package examples_test loads every configuration that we show to people.
package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
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
				if name, ok := strings.CutPrefix(strings.TrimRight(word, "},"), "file:/run/secrets/"); ok {
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

var (
	block   = regexp.MustCompile("(?ms)^```yaml\n(# (server|planlatch)\\.yaml.*?)^```")
	secret  = regexp.MustCompile(`file:[^\s,}"]+`)
	laptops = config.Options{NoHosts: true, Lookup: func(name string) (string, bool) { return "https://example.com/" + name, true }}
)

// Blocks of YAML in the documents that begin with the name of a file load as that file.
func TestConfigurationsInTheDocumentsLoad(t *testing.T) {
	t.Parallel()
	value := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(value, []byte("https://secret.example.com/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, page := range append(glob(t, "../docs/*.md"), "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			found[m[2]]++
			if m[2] == "planlatch" {
				if _, problems := project.ParseConfig(page, []byte(m[1])); len(problems) > 0 {
					t.Errorf("%s: ParseConfig() = %+v of\n%s", page, problems, m[1])
				}
			} else if _, err := config.Parse([]byte(secret.ReplaceAllString(m[1], "file:"+value)), laptops); err != nil {
				t.Errorf("%s: Parse() = %v of\n%s", page, err, m[1])
			}
		}
	}
	if found["planlatch"] < 4 || found["server"] < 6 {
		t.Errorf("only %v blocks were found", found)
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
