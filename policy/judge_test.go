package policy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

func TestJudgeGivesFindingsInOneOrder(t *testing.T) {
	t.Parallel()
	owners := run.Owners{Teams: []string{"acme/security"}, Approvals: 1}
	soft := policy.Set{Name: "alpha", Level: run.Soft, Owners: owners, Source: write(t, map[string]string{
		"a.rego": `package planlatch.alpha
finding contains {"rule": "size", "resource": r.address, "message": "too big", "fix": "Make it smaller.", "value": 3} if some r in input.resource_changes
finding contains {"rule": "hint", "message": "think again", "level": "advisory"}`,
	})}
	other := policy.Set{Name: "beta", Level: run.Hard, Source: write(t, map[string]string{
		"deep/b.rego": `package planlatch.beta
finding contains {"rule": "no", "message": "never", "value": {"b": 1, "a": ["<x>", null]}, "level": "hard"}
finding contains {"rule": "no", "message": "never", "value": {"a": ["<x>", null], "b": 1}}`,
	})}
	changes := plan(t, map[string]any{"address": "module.b.x.y"}, map[string]any{"address": "a.b"})
	want := []run.Finding{
		{Set: "beta", Rule: "no", Level: run.Hard, Message: "never", Value: `{"a":["<x>",null],"b":1}`},
		{Set: "alpha", Rule: "size", Level: run.Soft, Resource: "a.b", Message: "too big", Fix: "Make it smaller.", Value: "3", Owners: owners},
		{Set: "alpha", Rule: "size", Level: run.Soft, Resource: "module.b.x.y", Message: "too big", Fix: "Make it smaller.", Value: "3", Owners: owners},
		{Set: "alpha", Rule: "hint", Level: run.Advisory, Message: "think again", Owners: owners},
	}
	for _, sets := range [][]policy.Set{{soft, other}, {other, soft}} {
		got := load(t, sets...).Judge(t.Context(), policy.Input{Target: infra, Plan: changes})
		if diff := cmp.Diff(want, got.Findings); diff != "" {
			t.Errorf("Judge() findings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"alpha", "beta"}, got.Sets); diff != "" {
			t.Errorf("Judge() sets (-want +got):\n%s", diff)
		}
	}
}

func TestJudgeReadsRulesWrittenForConftest(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		rego, language string
		want           []run.Finding
	}{
		"DenyInTheOldLanguage": {
			language: "v0",
			rego:     "package main\ndeny[msg] { input.resource_changes[i].change.actions[_] == \"delete\"; msg := sprintf(\"%s goes\", [input.resource_changes[i].address]) }",
			want:     []run.Finding{{Set: "rules", Rule: "main.deny", Level: run.Hard, Message: "a.b goes", Value: "a.b goes"}},
		},
		"ViolationWithDetails": {
			rego: `package terraform.tags
violation_owner contains {"msg": "no owner", "resource": "a.b", "fix": "Add it.", "details": {"tag": "owner"}}`,
			want: []run.Finding{{
				Set: "rules", Rule: "terraform.tags.violation_owner", Level: run.Hard, Resource: "a.b", Message: "no owner", Fix: "Add it.",
				Value: `{"details":{"tag":"owner"},"fix":"Add it.","msg":"no owner","resource":"a.b"}`,
			}},
		},
		"WarnIsAdvice": {
			rego: `package main
warn_size contains "big"`,
			want: []run.Finding{{Set: "rules", Rule: "main.warn_size", Level: run.Advisory, Message: "big", Value: "big"}},
		},
		"OneMessage": {
			rego: `package main
deny := "no" if input.plan.resource_changes`,
			want: []run.Finding{{Set: "rules", Rule: "main.deny", Level: run.Hard, Message: "no", Value: "no"}},
		},
		"TrueAndFalse": {
			rego: `package main
default deny_a := false
deny_b if input.format_version == "1.2"`,
			want: []run.Finding{{Set: "rules", Rule: "main.deny_b", Level: run.Hard, Message: "denied by rule main.deny_b", Value: "denied by rule main.deny_b"}},
		},
		"FunctionsAndTestsAreNotRules": {
			rego: `package main
deny(x) := x
warn contains deny("w")
denyall := "not a rule"
test_deny if false`,
			want: []run.Finding{{Set: "rules", Rule: "main.warn", Level: run.Advisory, Message: "w", Value: "w"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := hard(t, c.rego)
			set.Rego = c.language
			in := policy.Input{Target: infra, Plan: plan(t, map[string]any{"address": "a.b", "change": map[string]any{"actions": []string{"delete"}}})}
			got := load(t, set).Judge(t.Context(), in)
			if diff := cmp.Diff(c.want, got.Findings); diff != "" {
				t.Errorf("Judge() findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudgeShowsPlanAndContext(t *testing.T) {
	t.Parallel()
	engine := load(t, hard(t, `package planlatch.echo
finding contains {"rule": "echo", "message": "context", "value": input.planlatch}
finding contains {"rule": "same", "message": "plan"} if input.plan.resource_changes == input.resource_changes
finding contains {"rule": "own", "message": "the plan brought its own"} if input.planlatch.approvers == ["mallory"]`))
	in := policy.Input{
		Target: infra,
		Plan:   marshal(t, map[string]any{"format_version": "1.2", "resource_changes": []any{1}, "planlatch": map[string]any{"approvers": []string{"mallory"}}}),
		Context: policy.Context{
			Pull:        &policy.Pull{Number: 214, Author: "alice", Title: "Encrypt", Labels: []string{"db"}},
			Approvers:   []string{"bob"},
			Environment: "production",
			Kind:        run.KindChange,
			Project:     "db",
			Previous:    []run.Finding{{Set: "s", Rule: "r", Level: run.Soft, Resource: "a.b", Message: "m"}},
			Now:         time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
		},
	}
	got := engine.Judge(t.Context(), in).Findings
	want := []run.Finding{
		{Set: "rules", Rule: "echo", Level: run.Hard, Message: "context", Value: `{"approvers":["bob"],"environment":"production","host":"github",` +
			`"previous":[{"level":"soft","message":"m","resource":"a.b","rule":"r","set":"s"}],"project":{"dir":"prod/database","name":"db","workspace":"default"},` +
			`"pull_request":{"author":"alice","draft":false,"labels":["db"],"number":214,"title":"Encrypt"},"repository":"acme/infra","run_kind":"change","time":"2026-01-02T02:04:05Z"}`},
		{Set: "rules", Rule: "same", Level: run.Hard, Message: "plan"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Judge() findings (-want +got):\n%s", diff)
	}
}

func TestJudgeAppliesSetsBySelector(t *testing.T) {
	t.Parallel()
	source := write(t, map[string]string{"a.rego": "package a\ndeny contains \"no\""})
	prod := policy.Set{Name: "prod", Source: source, Level: run.Hard, Projects: []string{"//prod/**", "gitlab/acme/infra"}}
	engine := load(t, prod)
	cases := map[string]struct {
		in   policy.Input
		want []string
		note string
	}{
		"Matching":              {in: policy.Input{Target: infra}, want: []string{"prod"}},
		"SecondSelector":        {in: policy.Input{Target: policy.Target{Host: "gitlab", Repo: "acme/infra", Dir: ".", Workspace: "default"}}, want: []string{"prod"}},
		"NotMatching":           {in: policy.Input{Target: policy.Target{Host: "github", Repo: "acme/infra", Dir: "dev", Workspace: "default"}}, note: "no policy configured for this project"},
		"ByItsFormerDirectory":  {in: policy.Input{Target: policy.Target{Host: "github", Repo: "acme/infra", Dir: "dev"}, Also: []policy.Target{infra}}, want: []string{"prod"}},
		"WorkspaceDoesNotMatch": {in: policy.Input{Target: policy.Target{Host: "github", Repo: "acme/infra", Dir: "prod"}}, want: []string{"prod"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.in.Plan = plan(t)
			got := engine.Judge(t.Context(), c.in)
			if diff := cmp.Diff(c.want, got.Sets); diff != "" {
				t.Errorf("Judge() sets (-want +got):\n%s", diff)
			}
			if got.Note != c.note {
				t.Errorf("Judge() note = %q, want %q", got.Note, c.note)
			}
		})
	}
}

func TestWithoutASetTheBaselineAdvises(t *testing.T) {
	t.Parallel()
	destroys := map[string]any{"address": "aws_db_instance.main", "type": "aws_db_instance", "mode": "managed", "change": map[string]any{"actions": []string{"delete"}}}
	got := load(t).Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t, destroys)})
	if got.Note != "no policy configured" || len(got.Sets) != 0 {
		t.Errorf("Judge() = note %q, sets %v; want the note and no sets", got.Note, got.Sets)
	}
	if len(got.Findings) != 1 || got.Findings[0].Rule != "stateful-destroy" || got.Findings[0].Level != run.Advisory {
		t.Errorf("Judge() findings = %+v, want one advisory stateful-destroy", got.Findings)
	}
	broken := load(t).Judge(t.Context(), policy.Input{Target: infra, Plan: []byte("{")})
	if len(broken.Findings) != 1 || broken.Findings[0].Level != run.Advisory {
		t.Errorf("Judge() of broken JSON = %+v, want one advisory finding, since nobody made it a gate", broken.Findings)
	}
}

func TestDigestChangesWithWhatJudges(t *testing.T) {
	t.Parallel()
	rules := map[string]string{"a.rego": "package a\ndeny contains \"no\"", "a_test.rego": "package a_test\ntest_x if true", "data.json": `{"limit": 1}`}
	base := policy.Set{Name: "a", Source: write(t, rules), Level: run.Soft, Owners: run.Owners{Users: []string{"x", "y"}}}
	digest := func(change func(files map[string]string, set *policy.Set)) string {
		files := map[string]string{}
		maps.Copy(files, rules)
		set := base
		change(files, &set)
		set.Source = write(t, files)
		return load(t, set).Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t)}).Digest
	}
	type change = func(files map[string]string, set *policy.Set)
	want := digest(func(map[string]string, *policy.Set) {})
	for name, same := range map[string]change{
		"Tests":         func(f map[string]string, _ *policy.Set) { f["a_test.rego"] = "package a_test\ntest_x if false" },
		"OtherFiles":    func(f map[string]string, _ *policy.Set) { f["README.md"] = "hello" },
		"HiddenFiles":   func(f map[string]string, _ *policy.Set) { f[".git/x.rego"] = "no rego" },
		"Projects":      func(_ map[string]string, s *policy.Set) { s.Projects = []string{"//**"} },
		"OrderOfOwners": func(_ map[string]string, s *policy.Set) { s.Owners.Users = []string{"y", "x"} },
	} {
		if got := digest(same); got != want {
			t.Errorf("digest after change of %s = %s, want the same", name, got)
		}
	}
	for name, differs := range map[string]change{
		"Rules":    func(f map[string]string, _ *policy.Set) { f["a.rego"] += " " },
		"MoreFile": func(f map[string]string, _ *policy.Set) { f["b.rego"] = "package b" },
		"Data":     func(f map[string]string, _ *policy.Set) { f["data.json"] = `{"limit": 2}` },
		"Level":    func(_ map[string]string, s *policy.Set) { s.Level = run.Hard },
		"Owners":   func(_ map[string]string, s *policy.Set) { s.Owners.Approvals = 2 },
		"Settings": func(_ map[string]string, s *policy.Set) { s.Settings = map[string]any{"x": 1} },
		"Name":     func(_ map[string]string, s *policy.Set) { s.Name = "b" },
	} {
		if got := digest(differs); got == want {
			t.Errorf("digest after change of %s is the same, want another", name)
		}
	}
}

func TestSettingsReachTheRules(t *testing.T) {
	t.Parallel()
	set := policy.Set{Name: "baseline", Source: "builtin:baseline", Level: run.Hard, Settings: map[string]any{"blast_radius": 0, "stateful_types": []string{"terraform_data"}}}
	gone := map[string]any{"address": "terraform_data.x", "type": "terraform_data", "mode": "managed", "change": map[string]any{"actions": []string{"delete"}}}
	var rules []string
	for _, f := range load(t, set).Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t, gone)}).Findings {
		rules = append(rules, f.Rule)
	}
	if diff := cmp.Diff([]string{"blast-radius", "stateful-destroy"}, rules); diff != "" {
		t.Errorf("rules that found something (-want +got):\n%s", diff)
	}
}

func TestTooManyFindingsStillCount(t *testing.T) {
	t.Parallel()
	engine := load(t, hard(t, `package a
deny contains sprintf("%d", [i]) if some i in numbers.range(1, 1500)
warn contains "w"
finding contains {"rule": "long", "message": input.text, "value": input.text}`))
	in := func(text string) policy.Input {
		return policy.Input{Target: infra, Plan: marshal(t, map[string]any{"format_version": "1.2", "text": text})}
	}
	got := engine.Judge(t.Context(), in(strings.Repeat("é", 5000))).Findings
	if len(got) != 1001 {
		t.Fatalf("Judge() gave %d findings, want 1000 and one for the rest", len(got))
	}
	rest := got[slices.IndexFunc(got, func(f run.Finding) bool { return f.Rule == "more-findings" })]
	if rest.Level != run.Hard || !strings.Contains(rest.Message, "502 more findings") {
		t.Errorf("the rest = %+v, want a hard finding that counts 502", rest)
	}
	if again := engine.Judge(t.Context(), in(strings.Repeat("è", 5000))).Findings; slices.ContainsFunc(again, func(f run.Finding) bool { return f.Value == rest.Value }) {
		t.Error("the rest has the same value though other findings are in it")
	}
	for _, f := range got {
		if len(f.Message) > 4100 || len(f.Value) > 1100 {
			t.Errorf("finding of rule %s has a message of %d and a value of %d bytes, want them bounded", f.Rule, len(f.Message), len(f.Value))
		}
	}
}

// TestALongTextIsCutBetweenTwoWords: secrets are taken out of it afterwards, and half of one would stay.
func TestALongTextIsCutBetweenTwoWords(t *testing.T) {
	t.Parallel()
	engine := load(t, hard(t, `package a
finding contains {"rule": "long", "message": input.text}`))
	for text, want := range map[string]string{
		strings.Repeat("x ", 1995) + "a-secret-of-the-plan and more": strings.Repeat("x ", 1995) + "…",
		strings.Repeat("x ", 1990) + "a-secret-of-the-plan":          strings.Repeat("x ", 1990) + "a-secret-of-the-plan",
		strings.Repeat("x", 5000):                                    "…",
	} {
		got := engine.Judge(t.Context(), policy.Input{Target: infra, Plan: marshal(t, map[string]any{"format_version": "1.2", "text": text})}).Findings
		if len(got) != 1 || got[0].Message != want {
			t.Errorf("the message of %d bytes became …%q, want …%q", len(text), got[0].Message[max(0, len(got[0].Message)-40):], want[max(0, len(want)-40):])
		}
	}
}

func TestJudgeWarnsWhereABuiltinCouldNotWork(t *testing.T) {
	t.Parallel()
	got := load(t, hard(t, `package a
deny contains "no" if startswith(input.resource_changes[_].name, "x")`)).Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t, map[string]any{"name": nil})})
	if len(got.Findings) != 0 || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "rules.rego:2") {
		t.Errorf("Judge() = %+v, want no finding and a warning that names rules.rego:2", got)
	}
}
