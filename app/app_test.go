package app_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/testkit/helper"
)

func TestMain(m *testing.M) {
	if env := app.Environment(); env[asProgram] != "" {
		os.Exit(app.Run(context.Background(), os.Args[1:], env, os.Stdout, os.Stderr))
	}
	os.Exit(helper.Beside(m.Run))
}

// asProgram, in the environment of the test's own binary, makes it planlatch.
const asProgram = "PLANLATCH_TEST_AS_PROGRAM"

// run runs a command line as main does.
func run(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out, err bytes.Buffer
	code = app.Run(ctx, args, env, &out, &err)
	return code, out.String(), err.String()
}

const good = `listen: 127.0.0.1:0
data: DATA
vcs:
  - {name: gitea, kind: gitea, url: "http://127.0.0.1:1", token: a-token-of-the-tests, webhook_secret: a-secret-of-the-tests, repos: ["acme/*"]}
`

func write(t *testing.T, text string) (file, data string) {
	t.Helper()
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	file = filepath.Join(dir, "server.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DATA", data)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, data
}

// TestServeRefusesBadInputWithOneClearMessage starts the server with something wrong: it ends with exit code 2 and says what, where and how
// to mend it.
func TestServeRefusesBadInputWithOneClearMessage(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	policies := t.TempDir()
	if err := os.WriteFile(filepath.Join(policies, "broken.rego"), []byte("package planlatch.x\n\nfinding contains f if { nonsense(\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"UnknownKey":                 {good + "workers: 3\n", []string{"server.yaml:", "workers"}},
		"WrongType":                  {good + "execution: {workers: many}\n", []string{"server.yaml:5:22", "execution.workers"}},
		"SoftWithoutOwners":          {good + "policies:\n  - {name: p, source: builtin:baseline, level: soft}\n", []string{"owners"}},
		"PortTaken":                  {strings.Replace(good, "127.0.0.1:0", taken.Addr().String(), 1), []string{"listen", "address already in use", "choose another"}},
		"DataNotWritable":            {strings.Replace(good, "DATA", "/proc/planlatch", 1), []string{"data", "writable"}},
		"PolicyThatDoesNotCompile":   {good + fmt.Sprintf("policies:\n  - {name: p, source: %q, level: hard}\n", policies), []string{"policies", "broken.rego:"}},
		"PolicySettingOfAnotherKind": {good + "policies:\n  - {name: p, source: builtin:sources, on: source, level: hard, settings: {providers: aws}}\n", []string{"set p: ", "providers", "no list of texts"}},
		"UnknownPolicySetting":       {good + "policies:\n  - {name: p, source: builtin:baseline, level: hard, settings: {blast_radios: 3}}\n", []string{"blast_radios"}},
		"HostNotSupported":           {strings.Replace(good, "kind: gitea", "kind: bitbucket_cloud", 1), []string{"bitbucket_cloud", "not supported"}},
		"NoWebhookSecret":            {strings.Replace(good, "webhook_secret: a-secret-of-the-tests, ", "", 1), []string{"webhook_secret"}},
		"MissingEnvironment":         {strings.Replace(good, "a-token-of-the-tests", `"${NOT_THERE}"`, 1), []string{"NOT_THERE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, _ := write(t, c.text)
			code, _, said := run(t, nil, "serve", "--config", file)
			if code != 2 {
				t.Errorf("exit code = %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("said %q, want it to name %q", said, want)
				}
			}
		})
	}
}

func TestServeSecondProcessOnOneDataDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	file, _ := write(t, good)
	cfg, err := config.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	first, err := app.NewServer(t.Context(), cfg, app.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	code, _, said := run(t, nil, "serve", "--config", file)
	if code == 0 || !strings.Contains(said, cfg.Data) {
		t.Errorf("exit code = %d, said %q; want a refusal that names the directory", code, said)
	}
}

func TestAdminTokenIsShownOnceAndNeverKept(t *testing.T) {
	t.Parallel()
	file, data := write(t, good)
	start := func() string {
		t.Helper()
		cfg, err := config.Load(file, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		s, err := app.NewServer(t.Context(), cfg, app.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return s.NewAdminToken
	}
	token := start()
	if len(token) < 32 {
		t.Fatalf("token = %q, want one", token)
	}
	if again := start(); again != "" {
		t.Errorf("the second start shows %q, want nothing", again)
	}
	out, err := exec.CommandContext(t.Context(), "grep", "-rlF", token, data).Output()
	if len(out) > 0 || err == nil {
		t.Errorf("the token lies in %s", out)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		code   int
		out    string
		errors string
	}{
		"NothingPrintsHelp":    {nil, 0, "serve", ""},
		"Help":                 {[]string{"--help"}, 0, "doctor", ""},
		"HelpOfACommand":       {[]string{"serve", "--help"}, 0, "--config", ""},
		"Version":              {[]string{"version"}, 0, "planlatch", ""},
		"UnknownCommand":       {[]string{"server"}, 2, "", "serve"},
		"UnknownFlag":          {[]string{"serve", "--konfig", "x"}, 2, "", "--konfig"},
		"MissingConfig":        {[]string{"serve"}, 2, "", "--config"},
		"ConfigThatIsNotThere": {[]string{"serve", "--config", "/nowhere/server.yaml"}, 2, "", "/nowhere/server.yaml"},
		"PolicyTest":           {[]string{"policy", "test", "builtin:baseline"}, 0, " 0 failed", ""},
		"PolicyTestOfNothing":  {[]string{"policy", "test", "/nowhere"}, 2, "", "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, said := run(t, nil, c.args...)
			if code != c.code {
				t.Errorf("exit code = %d, want %d\n%s", code, c.code, said)
			}
			if !strings.Contains(out, c.out) || !strings.Contains(said, c.errors) {
				t.Errorf("stdout %q, stderr %q; want %q and %q", out, said, c.out, c.errors)
			}
		})
	}
}

func TestPolicyCheckSaysNo(t *testing.T) {
	t.Parallel()
	plan := filepath.Join(t.TempDir(), "plan.json")
	text := `{"format_version":"1.2","resource_changes":[],"configuration":{"root_module":{"resources":[{"address":"terraform_data.x","mode":"managed","type":"terraform_data","name":"x","provisioners":[{"type":"local-exec"}]}]}},"planned_values":{}}`
	if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := run(t, nil, "policy", "check", plan)
	if code > 1 {
		t.Errorf("exit code = %d, want 0 or 1\n%s", code, out)
	}
	if err := os.WriteFile(plan, []byte("not json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := run(t, nil, "policy", "check", plan); code != 1 {
		t.Errorf("exit code = %d for an unreadable plan, want 1: a gate stays shut\n%s", code, out)
	}
}

// TestDemo is what `make demo` runs.
func TestDemo(t *testing.T) {
	t.Parallel()
	code, told, said := run(t, map[string]string{"PLANLATCH_TOFU": pinned.Path(t, "tofu"), "PATH": app.Environment()["PATH"]}, "demo")
	if code != 0 {
		t.Fatalf("exit code = %d\n%s\n%s", code, told, said)
	}
	for _, want := range []string{"alice opened the pull request", "policy: 1 soft failure", "Who wrote the change cannot override", "[x] policy passes",
		"bob merged it into main", "planlatch: applied", "The state now says"} {
		if !strings.Contains(told, want) {
			t.Errorf("the demo does not tell %q:\n%s", want, told)
		}
	}
}

func TestDemoWithoutAToolSaysHowToGetOne(t *testing.T) {
	t.Parallel()
	code, _, said := run(t, map[string]string{"PATH": t.TempDir()}, "demo")
	if code != 2 || !strings.Contains(said, "make demo") {
		t.Errorf("exit code = %d, said %q; want 2 and the way out", code, said)
	}
}
