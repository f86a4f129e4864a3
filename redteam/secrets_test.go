package redteam_test

// Row 15: a run has a secret of its own and says it aloud, in every way that people and programs do by accident.

func secretAttacks() []attack {
	own := func(s *server) []canary { return []canary{s.project} }
	says := func(text string, secrets func(*server) []canary) func(w *world) []string {
		return func(w *world) []string {
			files := program(`printf %s "$PROJECT_SECRET"`)
			files["says.tf"] = text
			pull, head := w.propose(files)
			w.planned(pull, head)
			return w.spoils(pull, head, secrets(w.server)...)
		}
	}
	return []attack{
		{
			Row: 15, Name: "an attribute that nobody marked equals a secret", Wall: "redaction by value", Without: redaction, Quick: true,
			Try: says("resource \"terraform_data\" \"x\" {\n  input = file(\"printed\")\n}\n", own),
		},
		{
			Row: 15, Name: "a secret in base64, in JSON and in a URL", Wall: "redaction by value", Without: redaction,
			Try: says(`resource "terraform_data" "x" {
  input = {
    base64 = [for before in ["", "a", "ab"] : base64encode("${before}${file("printed")} and more")]
    json   = jsonencode({ text = file("printed") })
    url    = "https://example.com/?secret=${urlencode(file("printed"))}"
    name   = "https://user:${file("printed")}@example.com/repository.git"
  }
}
`, own),
		},
		{
			Row: 15, Name: "a secret in the text of an error", Wall: "redaction by value", Without: redaction,
			Try: says(`resource "terraform_data" "x" {
  lifecycle {
    precondition {
      condition     = path.module == "" # it must name something, or nobody reads the message
      error_message = "the provider says: cannot log in with ${file("printed")}"
    }
  }
}
`, own),
		},
		{
			Row: 15, Name: "a secret in the address of a module", Wall: "redaction by value", Without: redaction,
			Try: func(w *world) []string {
				// The address is what the tool complains about: nothing listens at port 1.
				files := program(`printf %s "$PROJECT_SECRET"; printf 'fatal: unable to access https://x:%s@127.0.0.1:1/x.git\n' "$PROJECT_SECRET" >&2; exit 1`)
				pull, head := w.propose(files)
				w.planned(pull, head)
				return w.spoils(pull, head, w.server.project)
			},
		},
		{
			Row: 15, Name: "a sensitive variable, and an attribute that equals it", Wall: "redaction of what a plan marks", Without: marks,
			Try: func(w *world) []string {
				secret := hatch("a sensitive variable")
				pull, head := w.propose(map[string]string{"main.tf": `variable "password" {
  type      = string
  sensitive = true
  default   = "` + secret.Value + `"
}

resource "terraform_data" "marked" {
  input = var.password
}

output "unmarked" {
  value = nonsensitive(var.password)
}
`})
				w.planned(pull, head)
				return w.spoils(pull, head, secret)
			},
		},
	}
}
