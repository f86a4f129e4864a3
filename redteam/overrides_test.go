package redteam_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Row 7, the other half: a policy stops a change, and somebody says that it need not.

func overrideAttacks() []attack {
	return []attack{
		{
			Row: 7, Name: "who owns nothing, or another project's set, overrides a policy", Wall: "owners of policy sets", Without: owners,
			Try: func(w *world) (loot []string) {
				pull, head := w.propose(map[string]string{"guarded/main.tf": w.thing(provisioner)})
				w.planned(pull, head)
				for _, who := range []struct {
					name string
					says func() []string
				}{
					{"stranger", func() []string { return w.overrides(w.stranger, pull, head) }},
					{"bob", func() []string { return w.overrides(w.bob, pull, head) }},
				} {
					if got := who.says(); len(got) > 0 {
						loot = append(loot, got...)
						break // it is green, and the other would get no answer
					}
				}
				return append(loot, w.goesAhead(pull, head)...)
			},
		},
		{
			Row: 7, Name: "the owner for one workspace overrides the policy of another", Wall: "owners of policy sets", Without: owners, Own: true,
			Try: func(w *world) []string {
				states := "terraform {\n  backend \"local\" {\n    path          = \"STATES/" + w.name + ".tfstate\"\n    workspace_dir = \"STATES/" + w.name + ".d\"\n  }\n}\n"
				pull, head := w.propose(map[string]string{
					"planlatch.yaml": listing("{dir: tiers, workspaces: [staging, prod]}"),
					"tiers/main.tf":  states + "resource \"terraform_data\" \"x\" {\n" + provisioner + "}\n",
				})
				w.planned(pull, head)
				w.tells(w.bob, pull, `planlatch approve --reason "staging is mine"`)
				w.tells(w.mallory, pull, "planlatch apply -p tiers:prod")
				until(w.T, "an answer to apply", func() (string, bool) {
					return w.summary(pull) + w.answers(pull), w.answers(pull) != ""
				})
				if _, err := os.Stat(filepath.Join(w.states, w.name+".d", "prod", "terraform.tfstate")); err == nil {
					return []string{"the other workspace was applied"}
				}
				return nil
			},
		},
		{
			Row: 7, Name: "an owner overrides the policy that stops a change of their own", Wall: "nobody overrides for themselves", Without: reviews,
			Try: func(w *world) []string {
				pull, head := w.proposeAs(w.carol, w.name, map[string]string{"guarded/main.tf": w.thing(provisioner)})
				w.planned(pull, head)
				return append(w.overrides(w.carol, pull, head), w.goesAhead(pull, head)...)
			},
		},
	}
}

// Policies are the policy sets of server.yaml.
func (c settings) Policies() string {
	text := "policies:\n" + c.Sets
	for _, set := range []struct{ name, projects, owner string }{
		{"guard", "//**/guarded", c.Owner}, {"elsewhere", "//**/elsewhere", c.Other},
		{"prod", "//tiers:prod", c.Owner}, {"staging", "//tiers:staging", c.Other},
	} {
		users := c.Owners
		if len(users) == 0 {
			users = []string{set.owner}
		}
		text += fmt.Sprintf("  - {name: %s, source: \"builtin:baseline\", level: soft, projects: [%q], owners: {users: [%s]}}\n",
			set.name, set.projects, strings.Join(users, ", "))
	}
	return text
}
