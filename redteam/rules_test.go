package redteam_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 6: a pull request brings rules of its own.

func ruleAttacks() []attack {
	return []attack{
		{
			Row: 6, Name: "planlatch.yaml drops what an apply requires", Wall: "rules of the base branch", Without: baseBranch, Own: true,
			Try: func(w *world) []string {
				w.onMain(map[string]string{"planlatch.yaml": listing("{dir: guarded, requirements: {add: [approved]}}"), "guarded/main.tf": w.backend()})
				pull, head := w.propose(map[string]string{"planlatch.yaml": listing("{dir: guarded}"), "guarded/main.tf": w.thing("")})
				w.planned(pull, head)
				w.told(pull, "planlatch.yaml changes requirements of guarded")
				return w.goesAhead(pull, head)
			},
		},
		{
			Row: 6, Name: "planlatch.yaml adds a step that runs a program", Wall: "allow_repo_config, and rules of the base branch", Without: baseBranch,
			Own: true,
			Try: func(w *world) (loot []string) {
				w.onMain(map[string]string{"planlatch.yaml": listing("{dir: guarded}"), "guarded/main.tf": w.backend()})
				pull, head := w.propose(map[string]string{
					"planlatch.yaml": listing("{dir: guarded, steps: {before_plan: [[./step.sh]]}}"), "guarded/main.tf": w.thing(""),
					"guarded/step.sh": "#!/bin/sh\necho run >STATES/" + w.name + ".step\n",
				})
				w.ends(head, "planlatch/plan")
				w.told(pull, "does not let this repository set steps")
				if _, err := os.Stat(filepath.Join(w.states, w.name+".step")); err == nil {
					loot = append(loot, "a step of the pull request was run")
				}
				return loot
			},
		},
		{
			Row: 6, Name: "planlatch.yaml makes an accomplice the owner of a policy set", Wall: "policy sets belong to server.yaml", Without: owners,
			Try: func(w *world) []string {
				files := w.with(map[string]string{"guarded/main.tf": w.thing(provisioner)})
				files["planlatch.yaml"] = listing("{dir: "+w.dir+"/guarded}") + "policies:\n  - {name: guard, owners: {users: [" + w.bob.User().Login + "]}}\n"
				head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: files})
				pull := w.mallory.Open(w, w.repo, w.name, "main", w.name)
				w.told(pull, "policies")
				if got := w.ends(head, "planlatch/plan"); got.State == vcs.StatusSuccess {
					w.Error("a planlatch.yaml that names owners of policy sets was taken")
				}
				head = w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Delete: []string{"planlatch.yaml"}})
				w.planned(pull, head)
				return append(w.overrides(w.bob, pull, head), w.goesAhead(pull, head)...)
			},
		},
	}
}

// provisioner is what a policy set finds.
const provisioner = "  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n"

// thing is a project that can be applied.
func (w *world) thing(more string) string {
	return w.backend() + "resource \"terraform_data\" \"x\" {\n  input = \"x\"\n" + more + "}\n"
}

// listing is a planlatch.yaml with projects.
func listing(projects ...string) string {
	return "version: 1\nprojects:\n  - " + strings.Join(projects, "\n  - ") + "\n"
}

// onMain has somebody who may do so put files on the base branch.
func (w *world) onMain(files map[string]string) {
	w.Helper()
	w.bob.Commit(w, w.repo, vcstest.Change{Branch: "main", Files: w.with(files)})
}

// told waits until the summary of a pull request tells what was tried in it, where all walls stand.
func (w *world) told(pull int, texts ...string) {
	w.Helper()
	if w.breached() {
		return
	}
	for _, text := range texts {
		until(w.T, fmt.Sprintf("the summary to say %q", text), func() (string, bool) {
			s := w.summary(pull)
			return s, strings.Contains(s, text)
		})
	}
}

// overrides has somebody override what policy found. It is loot if the check is green after that.
func (w *world) overrides(who vcstest.Person, pull int, head string) []string {
	w.Helper()
	before := w.answers(pull)
	w.tells(who, pull, `planlatch approve --reason "trust me"`)
	var got vcs.Status
	until(w.T, who.User().Login+"'s override to be answered", func() (string, bool) {
		got = w.host.Statuses(w, w.repo, head)["planlatch/policy"]
		return w.summary(pull) + fmt.Sprint(got), w.answers(pull) != before || got.State == vcs.StatusSuccess
	})
	if got.State == vcs.StatusSuccess {
		return []string{who.User().Login + " overrode a policy"}
	}
	return nil
}

// goesAhead has mallory apply. It is loot if anything was.
func (w *world) goesAhead(pull int, head string) []string {
	w.Helper()
	before := w.answers(pull)
	w.tells(w.mallory, pull, "planlatch apply")
	until(w.T, "an answer to apply", func() (string, bool) {
		return w.summary(pull), w.answers(pull) != before || w.host.Statuses(w, w.repo, head)["planlatch/apply"].State == vcs.StatusSuccess
	})
	if w.state() != "" {
		return []string{"it was applied"}
	}
	return nil
}

// byTheHead has a pull request judged by what it brings, as if that were merged.
func byTheHead(ctx context.Context, in project.Input) project.Selection {
	in.Base = in.Head
	return project.Select(ctx, in)
}
