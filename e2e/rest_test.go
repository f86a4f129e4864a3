package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/notify/notifytest"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// loud is a project that says its secrets in every way that code can: as values, encoded, in a warning, and to policy. No canary stands in it as
// it is, since the mirror of a repository is in the clear.
const loud = `terraform {
  backend "local" {
    path = "STATES/loud.tfstate"
  }
}

variable "password" {
  sensitive = true
}

locals {
  marked = sensitive(format("%s-of-the-plan-%s", "canary", "7f3a"))
  raw    = nonsensitive(local.marked)
}

resource "terraform_data" "marked" {
  input = local.marked
}

resource "terraform_data" "raw" {
  input            = { raw = local.raw, given = nonsensitive(var.password), plain = format("%s-in-plain-%s", "canary", "11aa") }
  triggers_replace = [base64encode("user:${local.raw}"), urlencode("a/${local.raw}"), jsonencode({ k = local.raw })]
}

output "said" {
  value = "${local.raw} ${base64encode("x${nonsensitive(var.password)}")}"
}

check "told" {
  assert {
    condition     = terraform_data.marked.id == "never"
    error_message = "${format("%s-in-the-log-%s", "canary", "22bb")} ${local.raw} ${nonsensitive(var.password)}"
  }
}

output "checked" {
  value = true
  precondition {
    condition     = length(local.raw) > 0
    error_message = "never"
  }
}
`

const quoting = `package main
import rego.v1
warn contains {"msg": sprintf("%s and %s in canary-in-a-finding-44dd", [rc.change.after.input, input.plan.variables.password.value])} if {
	some rc in input.plan.resource_changes
	rc.name == "marked"
}
`

// broken fails with an error that says the given secret.
const brokenLoudly = `terraform {
  backend "local" {
    path = "STATES/broken.tfstate"
  }
}

variable "password" {
  sensitive = true
}

resource "terraform_data" "x" {
  lifecycle {
    precondition {
      condition     = length(nonsensitive(var.password)) == 0
      error_message = "no such user: ${nonsensitive(var.password)}"
    }
  }
}
`

// forms are the shapes in which a canary is looked for.
func forms(canary string) []string {
	all := []string{canary, url.QueryEscape(canary), hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary)))}
	if quoted, err := json.Marshal(canary); err == nil {
		all = append(all, strings.Trim(string(quoted), `"`))
	}
	for offset := range 3 {
		coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), canary...))
		all = append(all, coded[4:len(coded)-4], strings.NewReplacer("+", "-", "/", "_").Replace(coded[4:len(coded)-4]))
	}
	return all
}

// lacksCanaries fails for each canary that a text holds in any form.
func lacksCanaries(t *testing.T, what, text string, canaries map[string]string) {
	t.Helper()
	for name, canary := range canaries {
		for _, form := range forms(canary) {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s holds %s: …%q…", what, name, text[max(0, i-150):min(len(text), i+len(form)+20)])
				break
			}
		}
	}
}

// TestNoSecretLeavesARunOrLiesInTheClear plants canaries wherever a secret can be, has them planned, refused, applied and told of, and then
// searches every way out while the server runs, and everything that it keeps once it has stopped.
func TestNoSecretLeavesARunOrLiesInTheClear(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]engine{"SQLite": engines[0], "PostgreSQL": {"postgres", func(t *testing.T) string { return postgres.New(t, postgres.Options{}) }}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dsn string
			kept := engine.dsn
			engine.dsn = func(t *testing.T) string { dsn = kept(t); return dsn }
			secrets := tellAll(t, place{engine: engine})
			if dsn != "" {
				rows := dump(t, dsn)
				lacksCanaries(t, "the database", rows, secrets)
				if !strings.Contains(rows, "acme/infra") {
					t.Error("the rows do not name the repository: the search is of the wrong database")
				}
			}
		})
	}
}

func tellAll(t *testing.T, at place) (secrets map[string]string) {
	t.Helper()
	policies := t.TempDir()
	if err := os.WriteFile(filepath.Join(policies, "quoting.rego"), []byte(quoting), 0o600); err != nil {
		t.Fatal(err)
	}
	slack := notifytest.NewSlack(t, "#infra")
	const given = "canary-of-the-provider/5b1c+x"
	w := begin(t, map[string]string{"README.md": "x"}, rules{
		at: at, requires: "[mergeable]",
		policies: fmt.Sprintf("policies:\n  - {name: quoting, source: %q, level: advisory}", policies),
		extra: fmt.Sprintf(`notify:
  - {name: infra, kind: slack, token: %s, channel: "#infra", api_url: %q}
provider_configs:
  - {name: loud, projects: ["//**"], plan: {env: {TF_VAR_password: %q}}, apply: {env: {TF_VAR_password: %[3]q}}}
`, slack.Token, slack.URL, given),
	})
	account := w.host.Account()
	hidden := map[string]string{ // from every way out
		"the provider's secret": given, "the plan's sensitive value": "canary-of-the-plan-7f3a", "the host's token": account.Token,
		"the webhook's secret": account.WebhookSecret, "the chat's token": slack.Token, "the administrator's token": "the-admin-token-of-the-tests",
		"the encryption key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE", "the server's environment": "a canary in the server's environment",
	}
	pull, head := w.propose("loud", map[string]string{"loud/main.tf": loud, "broken/main.tf": brokenLoudly})
	w.status(head, "planlatch/plan", "failure") // of broken
	w.shows(pull, "canary-in-plain-11aa", "(redacted) and (redacted) in canary-in-a-finding-44dd")
	w.tells(w.bob, pull, "What is this canary-in-a-comment-33cc about?")
	w.tells(w.alice, pull, "planlatch apply -p loud")
	w.status(head, "planlatch/apply", "failure")
	w.eventually("the state", func() (string, bool) { s := w.state("loud"); return s, strings.Contains(s, "canary-of-the-plan") })
	w.says(pull, "applied")

	w.waysOut(pull, slack, hidden)
	w.stop()
	lacksCanaries(t, "the server's log", w.server.Log(), hidden)
	secrets = hidden
	maps.Copy(secrets, map[string]string{ // people may see these, but not at rest
		"a value of the plan": "canary-in-plain-11aa", "the log": "canary-in-the-log-22bb", "a comment's text": "canary-in-a-comment-33cc",
		"a finding": "canary-in-a-finding-44dd",
	})
	w.atRest(secrets)
	return secrets
}

// waysOut searches everything that people and programs can read of a server.
func (w *world) waysOut(pull int, slack *notifytest.Slack, hidden map[string]string) {
	t := w.t
	t.Helper()
	texts := map[string]string{
		"the comment": w.summary(pull), "the answers": w.said(pull), "the chat": fmt.Sprintf("%+v", slack.Messages("#infra")),
		"planlatch runs": w.operates("runs"), "planlatch audit": w.operates("audit", "--json"), "planlatch locks": w.operates("locks"),
	}
	browser := w.browser()
	_, list := w.api(http.MethodGet, "/runs")
	var all struct{ Runs []struct{ ID string } }
	if err := json.Unmarshal([]byte(list), &all); err != nil || len(all.Runs) < 2 {
		t.Fatalf("GET /runs = %s, %v", list, err)
	}
	texts["GET /runs"] = list
	for _, r := range all.Runs {
		texts["planlatch runs "+r.ID] = w.operates("runs", r.ID)
		_, texts["GET /runs/"+r.ID] = w.api(http.MethodGet, "/runs/"+r.ID)
		for _, path := range []string{"", "/log", "/log/live?phase=plan", "/log/live?phase=apply"} {
			_, texts["page "+r.ID+path] = w.get(browser, "/runs/"+r.ID+path)
		}
	}
	for _, path := range []string{"/", "/audit", "/metrics"} {
		_, texts["page "+path] = w.get(browser, path)
	}
	_, texts["an error of the API"] = w.api(http.MethodGet, "/runs/no-such-run")
	var seen string
	for what, text := range texts {
		lacksCanaries(t, what, text, hidden)
		seen += text
	}
	for _, want := range []string{"canary-in-plain-11aa", "canary-in-the-log-22bb"} { // else nothing was looked at
		if !strings.Contains(seen, want) {
			t.Errorf("no way out shows %s, which is no secret: the search is of the wrong texts", want)
		}
	}
}

// browser is a client that has logged in.
func (w *world) browser() *http.Client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/login", strings.NewReader("token=the-admin-token-of-the-tests"))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("log in: %v, %v", res, err)
	}
	_ = res.Body.Close() // nothing is read of it
	return c
}

// atRest searches all files of a stopped server. Left out are the mirrors and trees of repositories, whose code is in the clear, and the file
// of the configuration itself.
func (w *world) atRest(secrets map[string]string) {
	t := w.t
	t.Helper()
	looked, named := 0, 0
	for _, root := range []string{filepath.Join(w.dir, "data"), filepath.Join(w.dir, "blobs")} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() {
				switch e.Name() {
				case "mirrors", "work", "tools", "providers":
					return fs.SkipDir
				}
				return nil
			}
			if !e.Type().IsRegular() {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			looked++
			named += strings.Count(string(text), w.repo.Name)
			lacksCanaries(t, path, string(text), secrets)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := os.Stat(filepath.Join(w.dir, "data", "planlatch.db"))
	if looked < 5 || err == nil && named == 0 {
		t.Errorf("%d files were searched and name the repository %d times; want those of the database and of the plans", looked, named)
	}
}

// dump is every row of a database as text.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 15 {
		t.Fatalf("tables = %v, %v", tables, err)
	}
	var all strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(ctx, "SELECT t::text FROM "+pgx.Identifier{table}.Sanitize()+" AS t")
		if err != nil {
			t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, table, strings.Join(texts, "\n"))
	}
	return all.String()
}
