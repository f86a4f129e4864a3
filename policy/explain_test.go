package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

func TestExplainNamesTheRulesOfEachFinding(t *testing.T) {
	t.Parallel()
	const first = "finding contains {\"rule\": \"r\", \"resource\": c.address, \"message\": sprintf(\"%s is bad\", [c.address])} if {\n\tsome c in input.resource_changes\n\tc.bad\n}"
	const second = "deny := \"no\" if count(input.resource_changes) == 2"
	set := hard(t, "package a\n\n"+first+"\n\n"+second+"\n")
	broken := policy.Set{Name: "broken", Level: run.Hard, Source: write(t, map[string]string{"a.rego": "package a\nwarn contains 1"})}
	file := set.Source + "/rules.rego"
	in := policy.Input{Target: infra, Plan: plan(t, map[string]any{"address": "a.b", "bad": true}, map[string]any{"address": "c.d"})}
	type origin struct {
		Rule    string
		Origins []policy.Origin
	}
	var got []origin
	for _, e := range load(t, set, broken).Explain(t.Context(), in) {
		got = append(got, origin{e.Finding.Rule, e.Origins})
	}
	want := []origin{
		{"no-verdict", nil},
		{"a.deny", []policy.Origin{{File: file, Line: 8, Text: second}}},
		{"r", []policy.Origin{{File: file, Line: 3, Text: first}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Explain() (-want +got):\n%s", diff)
	}
}
