package policy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheExamplesOfTheDocsWork(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```(?:rego|yaml)\n# policies/machines/(\\S+)\n(.*?)```").FindAllStringSubmatch(docs(t), -1) {
		files[block[1]] = block[2]
	}
	if len(files) != 3 {
		t.Fatalf("docs/policies.md has %d files in policies/machines, want 3", len(files))
	}
	set := policy.Set{
		Name: "machines", Source: write(t, files), Level: run.Soft, Owners: run.Owners{Teams: []string{"acme/security"}},
		Projects: []string{"//prod/**"}, Settings: map[string]any{"exceptions": []string{"aws_instance.bastion"}},
	}
	results, err := policy.Test(t.Context(), set, policy.TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 {
		t.Errorf("Test() ran %d tests, want 3", len(results))
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s did not pass: %s%s", r.Name, r.FailedAt, r.Error)
		}
	}
	load(t, set)
}

func TestTheDocsListWhatRulesMayNotUse(t *testing.T) {
	t.Parallel()
	_, list, _ := strings.Cut(docs(t), "does not exist for rules:")
	list, _, _ = strings.Cut(list, "A set that names one")
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if got, want := strings.Contains(list, "`"+b.Name+"`"), b.IsNondeterministic(); got != want {
			t.Errorf("docs/policies.md lists %s: %v, want %v", b.Name, got, want)
		}
	}
}

func TestTheDocsListTheBaseline(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(docs(t), "## The baseline")
	for _, file := range []string{"blast_radius", "encryption", "firewall", "iam", "provisioner", "public", "sources", "stateful", "tags"} {
		text, err := os.ReadFile("../policies/baseline/" + file + ".rego")
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range regexp.MustCompile(`"rule": "([a-z-]+)"`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(table, "`"+rule[1]+"`") {
				t.Errorf("docs/policies.md does not list the rule %s of %s.rego", rule[1], file)
			}
		}
	}
}
