package redteam_test

// Row 3: a project asks for what another project, or its own other phase, gets. A program prints what it finds in its environment in hex and
// reversed, which redaction does not undo: only absence helps.

func credentialAttacks() []attack {
	shows := func(variable string) string {
		return `printf %s "$` + variable + `" | od -An -v -tx1 | tr -d ' \n'; printf ' %s' "has ${` + variable + `:+something}"`
	}
	return []attack{
		{
			Row: 3, Name: "a project asks for another project's provider configuration", Wall: "selectors of provider configurations", Without: perProject,
			Quick: true,
			Try: func(w *world) []string {
				pull, head := w.propose(program(shows("VAULT_SECRET")))
				w.planned(pull, head)
				return w.spoils(pull, head, w.server.otherEnv)
			},
		},
		{
			Row: 3, Name: "a plan asks for the identity of the apply", Wall: "an identity per phase", Without: perPhase,
			Try: func(w *world) []string {
				pull, head := w.propose(program(shows("IDENTITY")))
				w.planned(pull, head)
				return w.spoils(pull, head, w.server.identity)
			},
		},
	}
}
