package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program writes an executable script.
func program(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return path
}

func TestCredentialsOfFilesAndCommandsReachAPlanAndNothingElse(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.git("config", "remote.origin.url", "https://git.example.com/acme/infra.git")
	c.write(files{"dns/x.tf": "variable \"key\" {\n  default = \"\"\n}\nvariable \"region\" {\n  default = \"\"\n}\nvariable \"token\" {\n  default = \"\"\n}\n" +
		"output \"shown\" {\n  value = \"in ${var.region} with ${try(file(var.key), \"none\")} and ${var.token} ${fileexists(\"/proc/self/status\")}\"\n}\n"})
	home := c.env["HOME"]
	if err := os.WriteFile(filepath.Join(home, "key.json"), []byte(`{"private_key": "content-of-the-key"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	creds := program(t, filepath.Join(home, "creds"), `test "$PLANLATCH_PHASE" = plan || exit 9
echo asked >>"$HOME/asked"
printf '{"env": {"TF_VAR_token": "printed-for-%s"}, "values": {"TF_VAR_region": "eu-%s"}}' "$PLANLATCH_DIR" "$PLANLATCH_WORKSPACE"`)
	settings := `vcs:
  - {name: git, kind: gitea, url: "https://git.example.com", token: a-token-of-the-tests, webhook_secret: a-secret-of-the-tests, repos: ["acme/*"]}
provider_configs:
  - name: net
    projects: ["git/acme/infra//dns"]
    plan: {files: {TF_VAR_key: file:key.json}}
    command: {plan: [` + creds + `], apply: [no-such-program]}
`
	server := filepath.Join(home, "server.yaml")
	plan := func(extra string) (int, string) {
		t.Helper()
		if err := os.WriteFile(server, []byte(settings+extra), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, said := c.run("plan", "dns", "--config", server)
		return code, out + said
	}
	code, said := plan("")
	expect(t, 0, code, said, "in eu-default with (redacted) and (redacted) true")
	for _, secret := range []string{"content-of-the-key", "printed-for-dns"} {
		if strings.Contains(said, secret) {
			t.Errorf("the output shows %s:\n%s", secret, said)
		}
	}
	code, said = plan(`  - {name: other, projects: ["//dns"], plan: {files: {TF_VAR_token: "file:key.json"}}}` + "\n")
	expect(t, 1, code, said, "provider configurations other and net both set TF_VAR_token for dns")
	program(t, creds, `echo "denied: printed-for-dns" >&2; exit 3`)
	code, said = plan("")
	expect(t, 1, code, said, "the credential command of net failed (exit 3)")
	program(t, creds, `echo '{"env": {"TF_CLI_ARGS": "-destroy"}}'`)
	code, said = plan("")
	expect(t, 1, code, said, "the credential command of net printed no valid answer")
}

func TestDoctorAsksEachCredentialCommandAndShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := program(t, filepath.Join(dir, "good"), `test "$PLANLATCH_RUN_ID $PLANLATCH_REPO" = "doctor acme/infra" && echo '{"env": {"AWS_SECRET_ACCESS_KEY": "geheim-4711", "PIN": "p-i"}}'`)
	bad := program(t, filepath.Join(dir, "bad"), `echo "no role for you" >&2; exit 3`)
	file, _ := write(t, `
vcs: [{name: gitea, kind: gitea, url: "http://127.0.0.1:1", token: a-token-of-the-tests, webhook_secret: a-secret-of-the-tests, repos: ["acme/*"]}]
execution:
  binds: [{path: /srv/states, write: true}, {path: /srv/one, write: true, projects: ["//one"]}, {path: /srv/certs}]
provider_configs:
  - {name: aws, projects: ["gitea/acme/infra//prod/**"], plan: {values: {X: y}, files: {TOO: short}}, command: {plan: [`+good+`], apply: [`+bad+`]}}
`)
	_, out, _ := run(t, map[string]string{"PATH": "/usr/bin:/bin"}, "doctor", "--config", file)
	for _, want := range []string{
		"ok    credentials    aws plan: its command answered in ", ", for 1h0m0s: AWS_SECRET_ACCESS_KEY PIN\n",
		"FAIL  credentials    aws apply: the credential command of aws failed (exit 3): no role for you\n",
		"warn  credentials    aws plan: TOO has 5 characters", "warn  credentials    aws plan: PIN has 3 characters",
		"warn  binds          /srv/states: the plan of any pull request can write to it",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	for _, not := range []string{"geheim-4711", "p-i", "/srv/one", "/srv/certs"} {
		if strings.Contains(out, not) {
			t.Errorf("doctor says %q:\n%s", not, out)
		}
	}
}
