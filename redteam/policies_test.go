package redteam_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/vcs"
)

// Row 14: policy sets that give no verdict. A server does not start with a set that it cannot load; here its sets broke later, or only the
// plan, which the attacker writes, makes them fail.

// brokenSet is a set that cannot judge, and what its finding says. The directory that it judges has its name.
type brokenSet struct{ name, code, says string }

func brokenOnes() []brokenSet {
	return []brokenSet{
		{"uncompiled", "package main\n\ndeny contains \"no\" if unknown_function(input)\n", "undefined function"},
		{"empty", "", "no rule"},
		{"asking", "package main\n\ndeny contains \"no\" if http.send({\"method\": \"GET\", \"url\": \"http://127.0.0.1:1\"}).status_code == 1\n", "not available to policies"},
		{"endless", `package main

deny contains "never" if {
	some change in input.resource_changes
	n := to_number(change.change.after.input)
	some a in numbers.range(1, n)
	some b in numbers.range(1, n)
	a * b == 0
}
`, "not done after"},
		{"babbling", "package main\n\nfinding contains 7\n", "no verdict"},
	}
}

func policyAttacks() (all []attack) {
	for _, set := range brokenOnes() {
		all = append(all, attack{
			Row: 14, Name: "an apply past a policy set that is " + set.name, Wall: "a policy that gives no verdict is a no", On: crumbled, Without: closedFails,
			Try: func(w *world) (loot []string) {
				pull, head := w.propose(map[string]string{
					set.name + "/main.tf": w.backend() + "resource \"terraform_data\" \"x\" {\n  input = \"2500\"\n}\n",
				})
				w.planned(pull, head)
				w.told(pull, "gives no verdict", set.says)
				if w.ends(head, "planlatch/policy").State == vcs.StatusSuccess {
					loot = append(loot, "the check of policy is green")
				}
				return append(loot, w.goesAhead(pull, head)...)
			},
		})
	}
	return all
}

// brokenSets is an engine with every broken set. One that is not closed leaves out what cannot be used, and lets the others take their time.
func brokenSets(closed bool) *policy.Engine {
	dir, err := os.MkdirTemp("", "planlatch-redteam-sets-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	var sets []policy.Set
	for _, b := range brokenOnes() {
		at := filepath.Join(dir, b.name)
		err := os.Mkdir(at, 0o700)
		if err == nil && b.code != "" {
			err = os.WriteFile(filepath.Join(at, "rules.rego"), []byte(b.code), 0o600)
		}
		if err != nil {
			panic(err)
		}
		set := policy.Set{Name: b.name, Source: at, Level: "hard", Projects: []string{"//**/" + b.name}}
		_, err = policy.Load(context.Background(), []policy.Set{set}, policy.Options{})
		if closed || err == nil && b.name != "babbling" {
			sets = append(sets, set)
		}
	}
	o := policy.Options{Timeout: 10 * time.Minute}
	if closed {
		o.Timeout = time.Second
	}
	engine, err := policy.Load(context.Background(), sets, o)
	if broken := (*policy.LoadError)(nil); err != nil && !errors.As(err, &broken) {
		panic(err)
	}
	return engine
}
