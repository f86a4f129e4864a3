package policy_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
	"go.uber.org/goleak"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

func TestMain(m *testing.M) {
	// A built-in function with a bug, as OPA had some: it must cost its set the verdict and nobody the server.
	rego.RegisterBuiltin1(&rego.Function{Name: "planlatch_test.panic", Decl: types.NewFunction(types.Args(types.A), types.B)},
		func(rego.BuiltinContext, *ast.Term) (*ast.Term, error) { panic("out of order") })
	goleak.VerifyTestMain(m)
}

// Each case is a set that gives no verdict. It must be found out when it is loaded, where that is possible, and be one hard finding with
// the reason when it judges, though the set is only advisory.
func TestASetWithoutVerdictIsAHardFinding(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		files map[string]string
		set   policy.Set
		plan  string
		fault string // of Load; empty: it can only be found when it judges
		want  string // in the finding
	}{
		"CannotParse": {files: map[string]string{"a.rego": "package a\ndeny contains"}, fault: "a.rego:2:13: ", want: "a.rego:2"},
		"CannotCompile": {
			files: map[string]string{"a.rego": "package a\ndeny contains x if y := 1", "b.rego": "package b\nwarn contains \"w\"\n\tif nothing(1)"},
			fault: "b.rego:3:5: undefined function nothing", want: "undefined function nothing",
		},
		"OldLanguageInNew":   {files: map[string]string{"a.rego": "package a\ndeny[msg] { msg := \"x\" }"}, fault: "a.rego:2:", want: "`if` keyword is required"},
		"Empty":              {fault: "no rule in ", want: "no rule in"},
		"OnlyComments":       {files: map[string]string{"a.rego": "# nothing\n"}, fault: "a.rego", want: "a.rego"},
		"OnlyHelpers":        {files: map[string]string{"a.rego": "package a\nallow := true"}, fault: "a set needs a rule named finding, deny", want: "no rule in"},
		"OnlyTests":          {files: map[string]string{"a_test.rego": "package a\ndeny contains \"x\""}, fault: "no rule in ", want: "no rule in"},
		"MissingDirectory":   {set: policy.Set{Source: "/nowhere/at/all"}, fault: "open source: ", want: "no such file"},
		"Remote":             {set: policy.Set{Source: "git::https://example.com/policies.git?ref=v1"}, fault: "clone it and name the directory", want: "clone it"},
		"UnknownBuiltin":     {set: policy.Set{Source: "builtin:nothing"}, fault: "there are: baseline", want: "no built-in set"},
		"DataIsNoObject":     {files: map[string]string{"a.rego": "package a\ndeny contains \"x\"", "data.json": "[1]"}, fault: "data.json: not an object", want: "data.json"},
		"DataHidden":         {files: map[string]string{"a.rego": "package a\ndeny contains \"x\"", "data.json": `{"a": {"deny": []}}`}, fault: "a.rego:2", want: "conflict"},
		"MapInsteadOfSet":    {files: map[string]string{"a.rego": "package a\ndeny[msg] if msg := \"x\""}, fault: "write `deny contains", want: "makes an object"},
		"Network":            {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if http.send({}).status_code == 1"}, fault: "http.send is not available to policies", want: "http.send is not"},
		"Lookup":             {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if net.lookup_ip_addr(\"x\")"}, fault: "net.lookup_ip_addr is not", want: "net.lookup_ip_addr"},
		"Environment":        {files: map[string]string{"a.rego": "package a\ndeny contains opa.runtime().env.HOME"}, fault: "opa.runtime is not available", want: "opa.runtime"},
		"Clock":              {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if time.now_ns() > 1"}, fault: "read input.planlatch.time", want: "time.now_ns"},
		"Chance":             {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if rand.intn(\"x\", 2) == 1"}, fault: "rand.intn is not", want: "rand.intn"},
		"ForeignSchema":      {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if json.match_schema({}, input.s)[0]"}, fault: "json.match_schema is not", want: "json.match_schema"},
		"NetworkThroughWith": {files: map[string]string{"a.rego": "package a\nf(x) := x\ndeny contains \"x\" if f({}) with f as http.send"}, fault: "a.rego:3", want: "http.send"},
		"NetworkBehindWith":  {files: map[string]string{"a.rego": "package a\nsend(_) := 1\ndeny contains \"x\" if http.send({}) == 1 with http.send as send"}, fault: "http.send", want: "http.send"},
		"NetworkForBuiltin":  {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if count([1]) == 1 with count as http.send"}, fault: "http.send", want: "http.send"},
		"DynamicPolicy": {
			files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if data.b[input.f](1)"}, fault: "a.rego:2", want: "a.rego:2",
		},
		"SoftWithoutOwners": {files: map[string]string{"a.rego": "package a\ndeny contains \"x\""}, set: policy.Set{Level: run.Soft}, fault: "level soft needs owners", want: "owners"},
		"UnknownLevel":      {files: map[string]string{"a.rego": "package a\ndeny contains \"x\""}, set: policy.Set{Level: "harsh"}, fault: `"harsh" is not a level`, want: "harsh"},
		"UnknownLanguage":   {files: map[string]string{"a.rego": "package a\ndeny contains \"x\""}, set: policy.Set{Rego: "v2"}, fault: `"v2" is not a version`, want: "v2"},
		"UnreadableSelector": {
			files: map[string]string{"a.rego": "package a\ndeny contains \"x\""}, set: policy.Set{Projects: []string{"//prod/["}}, fault: "projects: selector", want: "projects: selector",
		},
		"UnknownSetting":     {set: policy.Set{Source: "builtin:baseline", Settings: map[string]any{"required_tag": []string{"x"}}}, fault: `unknown key "required_tag"; the set has blast_radius, open_ports`, want: "required_tag"},
		"SettingOfOtherKind": {set: policy.Set{Source: "builtin:baseline", Settings: map[string]any{"blast_radius": "ten"}}, fault: "blast_radius is a string; the set expects a number", want: "blast_radius"},

		"EndlessComprehension": {
			files: map[string]string{"a.rego": "package a\nn := numbers.range(1, 100000)\ndeny contains \"x\" if count([1 | some a in n; some b in n; a * b == -1]) > 0"},
			want:  "not done after 300ms",
		},
		"EndlessRange":     {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if count(numbers.range(1, 1000000000000)) == 0"}, want: "gives no verdict"},
		"Panic":            {files: map[string]string{"a.rego": "package a\ndeny contains \"x\" if planlatch_test.panic(1)"}, want: "panic: out of order"},
		"Conflict":         {files: map[string]string{"a.rego": "package a\nx := r.a if some r in input.resource_changes\ndeny contains \"x\" if x"}, plan: `{"format_version":"1.2","resource_changes":[{"a":1},{"a":2}]}`, want: "eval_conflict_error"},
		"NumberAsMessage":  {files: map[string]string{"a.rego": "package a\ndeny contains 7"}, want: "rule a.deny: gives 7 instead of a text"},
		"NoMessage":        {files: map[string]string{"a.rego": "package a\ndeny contains {\"message\": \"x\"}"}, want: "an object with msg"},
		"EmptyMessage":     {files: map[string]string{"a.rego": "package a\ndeny contains \"\""}, want: "instead of a text"},
		"ObjectOfFindings": {files: map[string]string{"a.rego": "package a\nfinding := {\"x\": 1}"}, want: "rule a.finding: gives an object instead of findings"},
		"TextAsFinding":    {files: map[string]string{"a.rego": "package a\nfinding contains \"x\""}, want: "gives a string instead of an object"},
		"NoRuleName":       {files: map[string]string{"a.rego": "package a\nfinding contains {\"message\": \"x\"}"}, want: "without rule or message"},
		"NumberAsRule":     {files: map[string]string{"a.rego": "package a\nfinding contains {\"rule\": 1, \"message\": \"x\"}"}, want: "rule is a number instead of a string"},
		"MistypedKey":      {files: map[string]string{"a.rego": "package a\nfinding contains {\"rule\": \"r\", \"mesage\": \"x\"}"}, want: `unknown key "mesage"`},
		"MistypedLevel":    {files: map[string]string{"a.rego": "package a\nfinding contains {\"rule\": \"r\", \"message\": \"x\", \"level\": \"warn\"}"}, want: "level is warn; say advisory"},
		"NoPlan":           {plan: " ", files: map[string]string{"a.rego": "package a\nwarn contains \"x\""}, want: "read plan JSON"},
		"BrokenPlan":       {plan: `{"format_version":"1.2"`, files: map[string]string{"a.rego": "package a\nwarn contains \"x\""}, want: "read plan JSON"},
		"TwoPlans":         {plan: `{"format_version":"1.2"}{}`, files: map[string]string{"a.rego": "package a\nwarn contains \"x\""}, want: "read plan JSON"},
		"PlanIsNull":       {plan: "null", files: map[string]string{"a.rego": "package a\nwarn contains \"x\""}, want: "no format_version"},
		"PlanIsAState":     {plan: `{"format_version":"1.0","values":{}}`, files: map[string]string{"a.rego": "package a\nwarn contains \"x\""}, want: "a state, not a plan"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := c.set
			set.Name = "gate"
			if set.Source == "" {
				set.Source = write(t, c.files)
			}
			if set.Level == "" {
				set.Level = run.Advisory
			}
			if c.plan == "" {
				c.plan = `{"format_version":"1.2","resource_changes":[]}`
			}
			healthy := policy.Set{Name: "healthy", Source: write(t, map[string]string{"h.rego": "package h\nwarn contains \"well\""}), Level: run.Hard}
			o := policy.Options{Timeout: time.Minute, Parallel: 1}
			if strings.HasPrefix(name, "Endless") { // the others say why they give none, however long that takes here
				o.Timeout = 300 * time.Millisecond
			}
			engine, err := policy.Load(t.Context(), []policy.Set{set, healthy}, o)
			switch {
			case c.fault == "" && err != nil:
				t.Errorf("Load() = %v, want no fault", err)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("Load() = %v, want a fault with %q", err, c.fault)
			}
			got := engine.Judge(t.Context(), policy.Input{Target: infra, Plan: []byte(c.plan)})
			var own []run.Finding
			for _, f := range got.Findings {
				if f.Set == "gate" {
					own = append(own, f)
				}
			}
			if len(own) != 1 || own[0].Level != run.Hard || own[0].Rule != "no-verdict" || !strings.Contains(own[0].Message, c.want) || own[0].Fix == "" {
				t.Errorf("Judge() = %+v, want one hard finding with %q", own, c.want)
			}
			if len(own) == 1 && filepath.IsAbs(set.Source) && strings.Contains(own[0].Message, set.Source) {
				t.Errorf("the finding tells where the set lies on the server: %q", own[0].Message)
			}
		})
	}
}

func TestAHealthySetStillJudgesBesideABrokenOne(t *testing.T) {
	t.Parallel()
	broken := policy.Set{Name: "broken", Source: write(t, map[string]string{"a.rego": "package a\ndeny contains"}), Level: run.Hard}
	healthy := policy.Set{Name: "healthy", Source: write(t, map[string]string{"h.rego": "package h\nwarn contains \"well\""}), Level: run.Hard}
	engine, err := policy.Load(t.Context(), []policy.Set{broken, healthy}, policy.Options{})
	if err == nil {
		t.Fatal("Load() = nil, want the fault of the broken set")
	}
	got := engine.Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t)})
	if len(got.Findings) != 2 || got.Findings[0].Set != "broken" || got.Findings[1].Message != "well" {
		t.Errorf("Judge() = %+v, want the broken set first and what the healthy one says", got.Findings)
	}
}

func TestLoadReportsAllFaultsOfAllSets(t *testing.T) {
	t.Parallel()
	one := policy.Set{Name: "one", Level: run.Hard, Source: write(t, map[string]string{
		"a.rego": "package a\ndeny contains", "b.rego": "package b\nwarn contains x if", "data.json": "{",
	})}
	two := policy.Set{Name: "two", Level: run.Soft, Rego: "v9", Source: write(t, map[string]string{"c.rego": "package c\ndeny contains \"x\""}), Projects: []string{""}}
	_, err := policy.Load(t.Context(), []policy.Set{one, two, two}, policy.Options{})
	var all *policy.LoadError
	if !errors.As(err, &all) {
		t.Fatalf("Load() = %v, want a *LoadError", err)
	}
	for _, want := range []string{
		filepath.Join(one.Source, "a.rego") + ":2:", filepath.Join(one.Source, "b.rego") + ":2:", filepath.Join(one.Source, "data.json") + ": ",
		"level soft needs owners", `"v9" is not a version`, "projects: selector", "used by another set",
	} {
		if !strings.Contains(all.Error(), want) {
			t.Errorf("Load() lacks %q in:\n%v", want, all)
		}
	}
}

func TestJudgingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	engine := load(t, hard(t, "package a\nwarn contains \"w\""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := engine.Judge(ctx, policy.Input{Target: infra, Plan: plan(t)})
	if len(got.Findings) != 1 || got.Findings[0].Level != run.Hard || !strings.Contains(got.Findings[0].Message, "canceled") {
		t.Errorf("Judge() after the end of its context = %+v, want one hard finding that says so", got.Findings)
	}
}

// Not parallel: the limit is on the whole process, which other tests would fill.
func TestARuleThatEatsMemoryIsStopped(t *testing.T) {
	engine, err := policy.Load(t.Context(), []policy.Set{hard(t, "package a\ndeny contains \"x\" if count(numbers.range(1, 1000000000000)) == 0")},
		policy.Options{Memory: 64 << 20, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	got := engine.Judge(t.Context(), policy.Input{Target: infra, Plan: plan(t)})
	if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, "more than 64 MiB") {
		t.Errorf("Judge() = %+v, want one finding that names the limit", got.Findings)
	}
}
