package redteam_test

import (
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 16: a pull request gives a project another name or place, to lose what guards it or to get what is another's.

func renameAttacks() []attack {
	// moved is a pull request that moves a guarded project out of what guards it.
	moved := func(w *world, base, head map[string]string) (pull int, sha string) {
		w.onMain(base)
		sha = w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: w.with(head), Delete: []string{"guarded"}})
		pull = w.mallory.Open(w, w.repo, w.name, "main", w.name)
		w.planned(pull, sha)
		return pull, sha
	}
	return []attack{
		{
			Row: 16, Name: "a project moves out of the reach of a policy", Wall: "what is moved keeps the stricter rules", Without: baseBranch, Own: true,
			Try: func(w *world) []string {
				pull, head := moved(w, map[string]string{"guarded/main.tf": w.thing("")}, map[string]string{"free/main.tf": w.thing(provisioner)})
				w.told(pull, "provisioner")
				return w.goesAhead(pull, head)
			},
		},
		{
			Row: 16, Name: "a project moves away from what its apply requires", Wall: "what is moved keeps the stricter rules", Without: baseBranch, Own: true,
			Try: func(w *world) []string {
				pull, head := moved(w,
					map[string]string{"planlatch.yaml": listing("{dir: guarded, requirements: {add: [approved]}}"), "guarded/main.tf": w.thing("")},
					map[string]string{"planlatch.yaml": listing("{dir: free}"), "free/main.tf": w.thing("")})
				w.told(pull, "approved by someone other than the author")
				return w.goesAhead(pull, head)
			},
		},
		{
			Row: 16, Name: "a new directory names the state of a guarded project", Wall: "a state belongs to one project", Without: ownStates, Own: true,
			Try: func(w *world) []string {
				return w.takesState(map[string]string{"free/main.tf": w.backend()})
			},
		},
		{
			Row: 16, Name: "and its program writes over where the state is said to be", Wall: "a plan file says where its state is", Without: ownStates, Own: true,
			Try: func(w *world) []string {
				keys := program(`setsid sh -c 'until [ -s tfplan ]; do sleep 0.05; done; sed -i "s/[.]tfstate/.elsewhere/" .terraform/terraform.tfstate' ` +
					"</dev/null >/dev/null 2>&1 &")
				return w.takesState(map[string]string{"free/main.tf": w.backend(), "free/program.tf": keys["main.tf"], "free/program.sh": keys["program.sh"]})
			},
		},
		{
			Row: 16, Name: "a project has the name of one with credentials", Wall: "selectors look at directories, never at names", Without: perProject,
			Try: func(w *world) []string {
				files := w.with(program(`printf %s "$VAULT_SECRET" | od -An -v -tx1 | tr -d ' \n'`))
				files["planlatch.yaml"] = listing("{name: vault, dir: " + w.dir + "}")
				head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: files})
				pull := w.mallory.Open(w, w.repo, w.name, "main", w.name)
				w.planned(pull, head)
				return w.spoils(pull, head, w.server.otherEnv)
			},
		},
	}
}

// takesState applies files that name the state of a guarded project, which has something that they have not, and says whether it is another one then.
func (w *world) takesState(files map[string]string) []string {
	w.Helper()
	w.onMain(map[string]string{"guarded/main.tf": w.backend()})
	pull, head := w.proposeAs(w.bob, w.name+"-before", map[string]string{"guarded/main.tf": w.thing("")})
	w.planned(pull, head)
	w.tells(w.bob, pull, "planlatch apply")
	w.ends(head, "planlatch/apply")
	w.bob.Close(w, w.repo, pull)
	until(w.T, "the lock to be freed", func() (string, bool) { return w.server.said(), !w.holds(pull) })
	before := w.state()
	pull, head = w.propose(files)
	w.planned(pull, head)
	w.told(pull, "its state belongs to")
	w.goesAhead(pull, head)
	if w.state() != before {
		return []string{"the state of the guarded project is another one"}
	}
	return nil
}
