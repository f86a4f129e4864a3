package redteam_test

import (
	"strings"

	"github.com/planlatch/planlatch/vcs"
)

// Rows 5 and 7: what people say in comments, and who says it.

func commandAttacks() []attack {
	// thing is a project that can be applied.
	thing := func(w *world) map[string]string {
		return map[string]string{"main.tf": w.backend() + "variable \"x\" {\n  default = \"x\"\n}\n\nresource \"terraform_data\" \"x\" {\n  input = var.x\n}\n"}
	}
	return []attack{
		{
			Row: 5, Name: "flags that run, read or write elsewhere, in a comment", Wall: "allow-list of flags", Without: flags, Quick: true,
			Try: func(w *world) (loot []string) {
				pull, head := w.propose(thing(w))
				w.planned(pull, head)
				for _, flag := range []string{"-lock=false", "-plugin-dir=/tmp", "-chdir=/", "-out=/tmp/x", "-state=/tmp/x", "-var-file=/etc/hosts", "-compact-warnings"} {
					before := w.answers(pull)
					w.tells(w.mallory, pull, "planlatch plan -- "+flag)
					until(w.T, "an answer about "+flag, func() (string, bool) {
						answer := strings.TrimPrefix(w.answers(pull), before)
						if w.breached() && flag == "-compact-warnings" && strings.Contains(w.summary(pull), "partial") {
							loot = append(loot, flag+" was given to the tool")
							return "", true
						}
						return answer + w.summary(pull), answer != ""
					})
				}
				return loot
			},
		},
		{
			Row: 5, Name: "a shell's words in a value", Wall: "argv, never a shell", Without: shell,
			Try: func(w *world) []string {
				secret := hatch("what a shell would have printed")
				pull, head := w.propose(thing(w))
				w.planned(pull, head)
				w.tells(w.mallory, pull, `planlatch plan -- -var "x=$(printf %s `+secret.Value[:15]+`''`+secret.Value[15:]+`)"`)
				until(w.T, "a partial plan", func() (string, bool) {
					s := w.summary(pull)
					return s + w.answers(pull), strings.Contains(s, "partial") || strings.Contains(w.answers(pull), "var")
				})
				return w.spoils(pull, head, secret)
			},
		},
		{
			Row: 7, Name: "a stranger applies", Wall: "permissions", Without: permissions, Quick: true,
			Try: func(w *world) []string {
				pull, head := w.propose(thing(w))
				w.planned(pull, head)
				w.tells(w.stranger, pull, "planlatch apply")
				until(w.T, "an answer", func() (string, bool) {
					return w.answers(pull), w.answers(pull) != "" || w.host.Statuses(w, w.repo, head)["planlatch/apply"].State == vcs.StatusSuccess
				})
				if w.state() != "" {
					return []string{"a stranger applied"}
				}
				return nil
			},
		},
	}
}
