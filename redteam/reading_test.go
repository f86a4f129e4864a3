package redteam_test

// Row 1: the configuration itself reads what is none of its business, with nothing but functions of the language. Each prints what it read as
// an output, in base64, which no redaction by plain value would notice.

func readingAttacks() []attack {
	reads := func(expression string, secrets func(*server) []canary) func(w *world) []string {
		return func(w *world) []string {
			pull, head := w.propose(map[string]string{"main.tf": "output \"loot\" {\n  value = " + expression + "\n}\n"})
			w.planned(pull, head)
			return w.spoils(pull, head, secrets(w.server)...)
		}
	}
	all := func(s *server) []canary { return append(s.secrets(), s.trap.secret) }
	files := func(s *server) []canary { return []canary{s.files} }
	victim := func(s *server) []canary { return []canary{s.otherFiles, s.otherEnv} }
	// glob is every file that a pattern finds below a directory, in base64. A file that cannot be read counts as none.
	glob := func(dir, pattern string) string {
		return `{ for f in fileset("` + dir + `", "` + pattern + `") : f => try(filebase64("` + dir + `/${f}"), "") if length(try(filebase64("` +
			dir + `/${f}"), "")) < 30000 }`
	}
	return []attack{
		{
			Row: 1, Name: "an output prints its own environment", Wall: "allow-list of variables", Without: environment, Quick: true,
			Try: reads(`filebase64("/proc/self/environ")`, all),
		},
		{
			Row: 1, Name: "an output prints the environments of other processes", Wall: "namespaces and an empty parent environment", Without: sandbox,
			Try: reads(`[for n in concat(range(1, 200), [SERVER_PID]) : try(filebase64("/proc/${n}/environ"), "")]`, all),
		},
		{
			Row: 1, Name: "an output reads a file of the data directory", Wall: "private file system", Without: sandbox, Quick: true,
			Try: reads(`try(filebase64("DATA/canary"), "")`, files),
		},
		{
			Row: 1, Name: "an output reads server.yaml", Wall: "private file system", Without: sandbox,
			Try: reads(`try(filebase64("SERVER_YAML"), "")`, func(s *server) []canary { return []canary{s.yaml} }),
		},
		{
			Row: 1, Name: "an output reads the directories of other runs", Wall: "private file system", Without: sandbox,
			Try: reads(glob("DATA/executions/runs", "*/*/*.tf"), victim),
		},
		{
			Row: 1, Name: "an output reads the sources and the history of other repositories", Wall: "private file system", Without: sandbox,
			Try: reads(glob("DATA/work", "**/*.tf"), victim),
		},
		{
			Row: 1, Name: "an output climbs out with ../..", Wall: "private file system", Without: sandbox,
			Try: reads(`try([for up in ["../..", "../../..", "../../../..", "../../../../..", "../../../../../.."] : try(filebase64("${up}/canary"), "")], "")`, files),
		},
		{
			Row: 1, Name: "an output reads the configuration of git in the mirror", Wall: "private file system", Without: sandbox,
			Try: func(w *world) []string {
				pull, head := w.propose(map[string]string{"main.tf": `output "loot" {
  value = { for f in fileset("DATA/mirrors", "**/config") : f => try(filebase64("DATA/mirrors/${f}"), "") }
}
`})
				w.planned(pull, head)
				return w.spoils(pull, head, canary{"where the mirror comes from", "remote = "}, canary{"a section of git's configuration", "[core]"})
			},
		},
	}
}
