package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

var update = flag.Bool("update", false, "rewrite golden files")

// env is the environment of every test.
func env(name string) (string, bool) {
	v, ok := map[string]string{
		"TOKEN": "t0ken", "PLANLATCH_ADMIN_TOKEN": "adm1n", "GITHUB_WEBHOOK_SECRET": "hook-secret", "WORKERS": "7", "EMPTY": "",
	}[name]
	return v, ok
}

func parse(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse([]byte(text), config.Options{Dir: "/etc/planlatch", Lookup: env})
}

func mustParse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := parse(t, text)
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	return c
}

// host is the smallest host; tests put it below their own text.
const host = `
vcs:
  - {name: gitea, kind: gitea, url: "https://git.example.com/", token: "${TOKEN}", webhook_secret: s3cret, repos: ["acme/*"]}
`

func TestFileWithOneHostIsTheDefaultsAndThatHost(t *testing.T) {
	t.Parallel()
	got := mustParse(t, host)
	want := config.Default("/var/lib/planlatch")
	want.VCS = []config.Host{{
		Name: "gitea", Kind: "gitea", URL: "https://git.example.com", Token: config.NewSecret("t0ken"),
		WebhookSecret: config.NewSecret("s3cret"), Repos: []string{"acme/*"},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
		t.Errorf("Parse() differs (-want +got):\n%s", diff)
	}
	if err := want.Validate(); err != nil {
		t.Errorf("Validate() of the same made in code = %v, want nil", err)
	}
}

func TestEveryKeyOfTheContractIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"key": "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4=\n", "github": "gh-token\n", "gcp.json": "{}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(text, config.Options{Dir: dir, Lookup: env})
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	checks := []struct {
		name      string
		got, want any
	}{
		{"url", c.URL, "https://planlatch.example.com"},
		{"data", c.Data, filepath.Join(dir, "data")},
		{"encryption_key", c.EncryptionKey.Reveal(), "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="},
		{"admin_token", c.AdminToken.Reveal(), "adm1n"},
		{"token from a file, without its newline", c.VCS[0].Token.Reveal(), "gh-token"},
		{"webhook_secret", c.VCS[0].WebhookSecret.Reveal(), "hook-secret"},
		{"workers", c.Execution.Workers, 3},
		{"plan_timeout", c.Execution.PlanTimeout, 15 * time.Minute},
		{"shutdown_wait follows apply_timeout", c.Execution.ShutdownWait, 3 * time.Hour},
		{"lock_timeout", c.Execution.LockTimeout, 90 * time.Second},
		{"grace", c.Execution.CancelGrace, config.Grace{Plan: 5 * time.Second, Apply: 10 * time.Minute}},
		{"limits", c.Execution.Limits, config.Limits{Memory: 2 << 30, Processes: 100, Files: 4096, Disk: 10 << 30, Inodes: 500_000, Log: 1 << 20}},
		{"network", c.Execution.Network, config.Network{Mode: "allow_list", Allow: []string{"127.0.0.1:5432"}}},
		{"bind without projects is for all", c.Execution.Binds[1].Projects.Match(selector.Target{Dir: "x"}), true},
		{"bind phases", c.Execution.Binds[1].Phases, []config.Phase{config.PhasePlan, config.PhaseApply}},
		{"tool", c.Tools.Default, config.Tool{Name: "terraform", Version: "1.5.7"}},
		{"download", c.Tools.Download, false},
		{"defaults.apply", c.Defaults.Apply, run.ApplyBeforeMerge},
		{"defaults.requirements", c.Defaults.Requirements.Apply, []string{"approved"}},
		{"environment", c.EnvironmentOf(selector.Target{Dir: "prod/a"}), "production"},
		{"policy source", c.Policies[1].Source, filepath.Join(dir, "policies")},
		{"policy owners", c.Policies[0].Owners, config.Owners{Users: []string{"alice"}, Teams: []string{"acme/security"}, Approvals: 1}},
		{"rego", c.Policies[0].Rego, "v1"},
		{"files keep every byte", c.ProviderConfigs[0].Apply.Files["GOOGLE_APPLICATION_CREDENTIALS"].Reveal(), "{}\n"},
		{"credential command", c.ProviderConfigs[1].Command, config.CredentialCommand{Plan: []string{"/bin/creds", "plan"}, Apply: []string{"/bin/creds", "apply"}, TTL: time.Hour}},
		{"notify events", len(c.Notify[1].Events), 10},
		{"prefixes", c.Commands.Prefixes, []string{"planlatch", "atlantis"}},
		{"retention", c.Retention, config.Retention{Logs: 36 * time.Hour, Plans: 2 * time.Hour, Deliveries: 72 * time.Hour}},
		{"disk", c.Disk, config.Disk{Free: 5 << 30, Caches: 20 << 30, Blobs: 1 << 30}},
		{"metrics", c.Telemetry.Metrics, false},
	}
	for _, tt := range checks {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestBadInputIsNamedWithItsPlaceAndFix(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse(text, config.Options{File: "server.yaml", Dir: "/nonexistent", Lookup: env})
			if err == nil {
				t.Fatalf("Parse() = %+v, want an error", c)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, url, want string }{
		{"Whole", `"https://${TOKEN}"`, "https://t0ken"},
		{"Inside", `https://a.${TOKEN}.b`, "https://a.t0ken.b"},
		{"Twice", `https://${TOKEN}.${TOKEN}`, "https://t0ken.t0ken"},
		{"Escaped", `https://x/$${TOKEN}`, "https://x/${TOKEN}"},
		{"Dollar", `https://x/$TOKEN`, "https://x/$TOKEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mustParse(t, "url: "+tt.url+host).URL; got != tt.want {
				t.Errorf("url: %s is read as %q, want %q", tt.url, got, tt.want)
			}
		})
	}
	if got := mustParse(t, "execution: {workers: \"${WORKERS}\"}"+host).Execution.Workers; got != 7 {
		t.Errorf("workers from the environment = %d, want 7", got)
	}
}

func TestAnchorsAndMergesAreFollowed(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
policies:
  - &base {name: one, source: "builtin:baseline", level: advisory, projects: &prod ["//prod/**"]}
  - {<<: *base, name: two}
environments: [{name: production, match: *prod}]
`)
	if got, want := c.Policies[1].Name+" "+c.Policies[1].Source, "two builtin:baseline"; got != want {
		t.Errorf("merged policy = %q, want %q", got, want)
	}
	if got := c.EnvironmentOf(selector.Target{Dir: "prod/x"}); got != "production" {
		t.Errorf("EnvironmentOf(prod/x) = %q, want production", got)
	}
}

func TestMissingFileIsOneClearError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.yaml")
	_, err := config.Load(path, env)
	want := path + ": cannot be read: no such file or directory; name the file with --config or PLANLATCH_CONFIG"
	if err == nil || err.Error() != want {
		t.Errorf("Load() = %v, want %s", err, want)
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "database: postgres://u:pa55word@h/db\nblobs: file:///b\nencryption_key: base64key://k3y\nadmin_token: adm1n-token"+host)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "token", c.AdminToken)
	for name, out := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c), "%s": fmt.Sprintf("%s", c.AdminToken),
		"%q": fmt.Sprintf("%q", c.AdminToken), "%x": fmt.Sprintf("%x", c.AdminToken), "json": string(asJSON), "slog": log.String(),
	} {
		for _, secret := range []string{"pa55word", "k3y", "adm1n-token", "t0ken", "s3cret", "61646d31"} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %q: %s", name, secret, out)
			}
		}
	}
}

func TestErrorsDoNotRepeatSecrets(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "database: mysql://u:pa55word@h/db\nurl: \"ftp://u:pa55word@h\"\nencryption_key: k3y-in-plain"+host)
	if err == nil || strings.Contains(err.Error(), "pa55word") || strings.Contains(err.Error(), "k3y") {
		t.Errorf("Parse() = %v, want an error without the secrets", err)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{"4GiB": 4 << 30, "64MiB": 64 << 20, "1 KiB": 1024, "500MB": 500e6, "1024": 1024, "0": 0, "3B": 3} {
		var got config.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("UnmarshalText(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "9999999999GiB", "4 GiBs", "1e3"} {
		var got config.Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) = %d, want an error", text, got)
		}
	}
	if got := config.Size(4 << 30).String(); got != "4GiB" {
		t.Errorf("Size(4<<30).String() = %s, want 4GiB", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(host)
	f.Add("a: &a [*a]")
	f.Add("vcs: &v\n  - <<: *v\n")
	f.Add("execution: {limits: {memory: -1}}")
	f.Add("? [a]\n: b\n")
	f.Add("!!binary x: y")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := config.Parse([]byte(text), config.Options{Lookup: env}); err == nil {
			if err := c.Validate(); err != nil {
				t.Errorf("Validate() of what Parse accepted = %v", err)
			}
		}
	})
}
