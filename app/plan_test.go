package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/app"
)

// clone is somebody's clone of a repository, with an environment of its own.
type clone struct {
	t   testing.TB
	dir string
	env map[string]string
}

// files are the contents of files by name; an empty one is removed.
type files map[string]string

// newClone makes a repository whose main branch has these files, on a branch "work".
func newClone(t testing.TB, base files) *clone {
	t.Helper()
	at, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &clone{t: t, dir: filepath.Join(at, "infra"), env: map[string]string{
		"PATH": app.Environment()["PATH"], "HOME": filepath.Join(at, "home"), "TMPDIR": filepath.Join(at, "tmp"), "USER": "ann",
		"PLANLATCH_TOFU": pinned.Path(t, "tofu"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
	}}
	for _, dir := range []string{c.dir, c.env["HOME"], c.env["TMPDIR"]} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.git("init", "--quiet", "--initial-branch=main")
	c.write(base)
	c.commit()
	c.git("switch", "--quiet", "--create", "work")
	return c
}

func (c *clone) git(args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (c *clone) commit() {
	c.t.Helper()
	c.git("add", "--all")
	c.git("commit", "--quiet", "--message", "change")
}

func (c *clone) write(all files) {
	c.t.Helper()
	for name, text := range all {
		path := filepath.Join(c.dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if text == "" {
			err = os.Remove(path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// run runs a command in the clone. Nothing may be left of it.
func (c *clone) run(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	var out, said bytes.Buffer
	code = app.Run(ctx, append(args, "-C", c.dir), c.env, &out, &said)
	c.clean()
	return code, out.String(), said.String()
}

// clean asserts that no temporary file is left.
func (c *clone) clean() {
	c.t.Helper()
	if left, err := os.ReadDir(c.env["TMPDIR"]); err != nil || len(left) > 0 {
		c.t.Errorf("the command left %v in its temporary directory (%v)", left, err)
	}
}

// everything is the content of all files of the clone.
func (c *clone) everything() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// expect fails the test unless a command ended with a code and said certain words.
func expect(t *testing.T, wantCode, code int, said string, words ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code = %d, want %d; said:\n%s", code, wantCode, said)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("said:\n%s\nwant %q in it", said, w)
		}
	}
}

// three projects: two of them use a module.
var three = files{
	".gitignore":          ".terraform/\n*.tfstate\n",
	"modules/vpc/main.tf": "variable \"cidr\" {}\n\nresource \"terraform_data\" \"vpc\" {\n  input = var.cidr\n}\n",
	"net/main.tf":         "module \"vpc\" {\n  source = \"../modules/vpc\"\n  cidr   = \"10.0.0.0/16\"\n}\n",
	"lab/main.tf":         "module \"vpc\" {\n  source = \"../modules/vpc\"\n  cidr   = \"10.1.0.0/16\"\n}\n",
	"dns/main.tf":         "resource \"terraform_data\" \"zone\" {\n  input = \"example.com\"\n}\n",
}

func TestPlanShowsWhatTheWorkTreeChangesAndTouchesNothing(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{
		"dns/untracked.tf":         "resource \"terraform_data\" \"record\" {\n  input = \"www\"\n}\n",
		"dns/.terraform/planted":   "of somebody else",
		"dns/terraform.tfstate":    "not a state at all", // ignored, so no plan sees it
		"lab/.terraform.lock.hcl~": "an editor's",
	})
	before := c.everything()
	code, out, said := c.run("plan")
	expect(t, 0, code, out+said, "2 of 3 projects change", "terraform_data.record", "input: \"www\"", "dns/untracked.tf:1",
		"planning 2 projects against main", "with what is not committed", "1 not touched by this change", "dns: planned in", "policy", "OpenTofu 1.12.6")
	if diff := cmp.Diff(before, c.everything()); diff != "" {
		t.Errorf("plan changed files of the clone (-before +after):\n%s", diff)
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours where there is no terminal: %q", out)
	}
}

func TestPlanFollowsLocalModules(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"modules/vpc/main.tf": strings.Replace(three["modules/vpc/main.tf"], "var.cidr", "upper(var.cidr)", 1)})
	c.commit()
	code, out, said := c.run("plan")
	expect(t, 0, code, out+said, "2 of 3 projects change", "module.vpc.terraform_data.vpc")
	if strings.Contains(said, "not committed") {
		t.Errorf("said %q of a clean tree", said)
	}
	code, out, said = c.run("plan", "net")
	expect(t, 0, code, out+said, "net changes: 1 to add")
	if strings.Contains(out, "lab") {
		t.Errorf("plan net also shows lab:\n%s", out)
	}
}

func TestPlanTakesWhatIsNamedChangedOrNot(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	for _, args := range [][]string{{"dns"}, {"-p", "dns"}, {filepath.Join(c.dir, "dns")}, {"./dns/main.tf"}} {
		code, out, said := c.run(append([]string{"plan"}, args...)...)
		expect(t, 0, code, out+said, "dns changes: 1 to add")
	}
}

func TestPlanMarksWhatComesAfterAChange(t *testing.T) {
	t.Parallel()
	c := newClone(t, files{
		"planlatch.yaml": "version: 1\nprojects:\n  - {dir: app, depends_on: [net]}\n  - {dir: net}\n",
		"app/main.tf":    three["dns/main.tf"], "net/main.tf": three["dns/main.tf"],
	})
	c.write(files{"app/x.tf": "output \"x\" {\n  value = 1\n}\n", "net/x.tf": "output \"x\" {\n  value = 1\n}\n"})
	for _, args := range [][]string{{"plan"}, {"plan", "app", "net", "--workers", "1"}} {
		code, out, said := c.run(args...)
		expect(t, 0, code, out+said, "2 projects change", "preview: planned again after net")
		if strings.Index(said, "net: planned") > strings.Index(said, "app: planned") {
			t.Errorf("app was planned before net, on which it depends:\n%s", said)
		}
	}
}

func TestPlanOfWorkspaces(t *testing.T) {
	t.Parallel()
	c := newClone(t, files{
		"planlatch.yaml": "version: 1\nprojects:\n  - {dir: app, workspace: prod}\n  - {dir: app, workspace: test}\n",
		"app/main.tf":    "output \"where\" {\n  value = terraform.workspace\n}\n",
	})
	code, out, said := c.run("plan", "app", "-w", "test")
	expect(t, 0, code, out+said, "app:test changes: 1 output to change", `where: "test"`)
	if strings.Contains(out, "prod") {
		t.Errorf("-w test also shows prod:\n%s", out)
	}
	code, out, said = c.run("plan", "-w", "tset")
	expect(t, 2, code, out+said, `there is no workspace "tset"`)
}

func TestPlanWithoutAChangeIsOneLine(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	code, out, said := c.run("plan")
	expect(t, 0, code, out+said, "no project is touched: nothing changed since main at ")
	c.write(files{"README.md": "words\n"})
	code, out, said = c.run("plan")
	expect(t, 0, code, out+said, "no project is touched: 1 file changed since main at ")
	if strings.Count(out, "\n") != 1 {
		t.Errorf("said %q, want one line", out)
	}
}

func TestPlanIsStoppedByPolicy(t *testing.T) {
	t.Parallel()
	const provisioner = "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n}\n"
	c := newClone(t, three)
	c.write(files{"dns/x.tf": provisioner})
	code, out, said := c.run("plan")
	expect(t, 0, code, out+said, "1 advice", "provisioner (advisory) on terraform_data.x")
	code, out, said = c.run("plan", "--policies", "builtin:baseline")
	expect(t, 1, code, out+said, "policy: 1 hard failure", "Policy · provisioner (hard) on terraform_data.x", "Fix: ", "policy stops dns")
	code, out, said = c.run("plan", "--policies", "builtin:baseline", "--level", "advisory")
	expect(t, 0, code, out+said, "policy: 1 advice")
	c.write(files{"policies/none.rego": "package planlatch.none\n\nfinding contains f if { nonsense(\n"})
	code, out, said = c.run("plan", "--policies", "policies")
	expect(t, 2, code, out+said, "none.rego:")
}

func TestPlanThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"dns/x.tf": "output \"x\" {\n  value = tonumber(\"many\")\n}\n", "net/x.tf": "output \"y\" {\n  value = 1\n}\n"})
	code, out, said := c.run("plan")
	expect(t, 1, code, out+said, "1 plan failed", "The plan of dns failed", `cannot convert "many" to number`, "net", "the plan of dns failed")
}

// Every bad input is one clear message with the way to mend it, and exit code 2.
func TestPlanRefusesBadInputWithOneClearMessage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		base    files
		prepare func(c *clone)
		args    []string
		code    int
		want    []string
	}{
		"NotARepository":  {prepare: func(c *clone) { c.dir = filepath.Dir(c.dir) }, code: 2, want: []string{"not a git repository", "-C DIR"}},
		"NoSuchDirectory": {prepare: func(c *clone) { c.dir += "/nowhere" }, code: 2, want: []string{"nowhere", "no such file"}},
		"UnknownBase":     {args: []string{"--base", "mian"}, code: 2, want: []string{"--base mian", "git fetch"}},
		"NoBase":          {prepare: func(c *clone) { c.git("branch", "--delete", "--force", "main") }, code: 2, want: []string{"main, master", "--base REF"}},
		"NoProject":       {base: files{"README.md": "x"}, code: 2, want: []string{"has no project", "planlatch.yaml"}},
		"NoTool": {prepare: func(c *clone) {
			delete(c.env, "PLANLATCH_TOFU")
			c.env["PATH"] = "/nonexistent"
			c.write(files{"dns/x.tf": "output \"x\" {\n  value = 1\n}\n", "s.yaml": "tools: {download: false}\n"})
		}, args: []string{"--config", "s.yaml"}, code: 2, want: []string{"no such tool: tofu", "PLANLATCH_TOFU"}},
		"AnotherVersion": {prepare: func(c *clone) {
			c.write(files{"dns/x.tf": "terraform {\n  required_version = \"~> 9.1\"\n}\n", "s.yaml": "tools: {download: false}\n"})
		}, args: []string{"--config", "s.yaml"}, code: 2, want: []string{"dns", "~> 9.1", "1.12.6"}},
		"BadConfiguration": {prepare: func(c *clone) {
			c.write(files{"planlatch.yaml": "version: 1\nprojects:\n  - {dir: dns, worksapce: prod}\n"})
		}, code: 2, want: []string{"planlatch.yaml:3:16", "worksapce", "workspace", "1 problem in the configuration"}},
		"BadCode": {prepare: func(c *clone) {
			c.write(files{"dns/x.tf": "resource {\n"})
		}, code: 1, want: []string{"dns/x.tf:1", "nothing was planned"}},
		"Unmerged": {prepare: func(c *clone) {
			c.write(files{"dns/main.tf": "# mine\n"})
			c.commit()
			c.git("switch", "--quiet", "--create", "other", "main")
			c.write(files{"dns/main.tf": "# theirs\n"})
			c.commit()
			cmd := exec.CommandContext(c.t.Context(), "git", "merge", "--quiet", "work") // which fails, as it should
			cmd.Dir = c.dir
			_ = cmd.Run()
		}, code: 2, want: []string{"unresolved merge conflicts in dns/main.tf", "git add"}},
		"ConflictWithTheBase": {prepare: func(c *clone) {
			c.write(files{"dns/main.tf": "# mine\n"})
			c.commit()
			c.git("switch", "--quiet", "main")
			c.write(files{"dns/main.tf": "# theirs\n"})
			c.commit()
			c.git("switch", "--quiet", "work")
		}, code: 1, want: []string{"conflicts with main", "dns/main.tf", "rebase"}},
		"NoProjectThere":   {args: []string{"modules"}, code: 2, want: []string{"no project in modules", "planlatch explain modules"}},
		"InsideOfAProject": {prepare: func(c *clone) { c.write(files{"dns/templates/x": "x"}) }, args: []string{"dns/templates"}, code: 2, want: []string{"belongs to the project in dns"}},
		"Outside":          {args: []string{"/"}, code: 2, want: []string{"outside of the repository"}},
		"UnknownProject":   {args: []string{"-p", "dsn"}, code: 2, want: []string{`no project "dsn"`}},
		"NoSuchBind":       {args: []string{"dns", "--bind", "/nonexistent/x"}, code: 2, want: []string{"--bind /nonexistent/x"}},
		"NoSuchVariable":   {args: []string{"dns", "--env", "NOT_THERE"}, code: 2, want: []string{"--env NOT_THERE", "export"}},
		"OurVariable":      {args: []string{"dns", "--env", "PATH"}, code: 2, want: []string{"--env PATH"}},
		"NoSuchConfig":     {args: []string{"--config", "/nonexistent.yaml"}, code: 2, want: []string{"/nonexistent.yaml"}},
		"BadRepo":          {args: []string{"--repo", "infra"}, code: 2, want: []string{"HOST/OWNER/NAME"}},
		"BadSandbox":       {args: []string{"--sandbox", "perhaps"}, code: 2, want: []string{"--sandbox"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.base == nil {
				c.base = three
			}
			repo := newClone(t, c.base)
			if c.prepare != nil {
				c.prepare(repo)
			}
			code, out, said := repo.run(append([]string{"plan"}, c.args...)...)
			expect(t, c.code, code, out+said, c.want...)
		})
	}
}

func TestPlanHandsOverWhatIsNamedAndWithholdsIt(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"dns/x.tf": `variable "db_password" { default = "" }
variable "stage" { default = "" }
output "password" { value = var.db_password }
output "stage" { value = var.stage }
output "home" { value = pathexpand("~") }
output "file" { value = fileexists(pathexpand("~/.aws/config")) }
`})
	c.env["TF_VAR_db_password"], c.env["TF_VAR_stage"], c.env["TF_CLI_ARGS_plan"] = "correct horse battery", "production", "-no-such-flag"
	if err := os.MkdirAll(filepath.Join(c.env["HOME"], ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.env["HOME"], ".aws", "config"), []byte("[default]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan"}, {"plan", "--json"}} {
		code, out, said := c.run(args...)
		expect(t, 0, code, out+said, "(redacted)", "production", "/tmp", "false")
		if strings.Contains(out+said, "battery") {
			t.Errorf("%v shows a secret:\n%s%s", args, out, said)
		}
	}
	c.env["AWS_CONFIG_FILE"], c.env["SSL_CERT_DIR"] = filepath.Join(c.env["HOME"], ".aws", "config"), "/etc/ssl/certs"
	code, out, said := c.run("plan")
	expect(t, 0, code, out+said, "note: AWS_CONFIG_FILE names a file that plans cannot see; add --bind "+c.env["AWS_CONFIG_FILE"])
	code, out, said = c.run("plan", "--bind", "~/.aws")
	expect(t, 0, code, out+said, c.env["HOME"], "true")
	if strings.Contains(said, "note:") {
		t.Errorf("said %q, though plans see all that is named", said)
	}
}

func TestPlanWithTheSettingsOfAServer(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"dns/x.tf": "variable \"region\" {\n  default = \"\"\n}\n\nresource \"terraform_data\" \"x\" {\n  input = var.region\n  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n}\n"})
	file := filepath.Join(c.env["HOME"], "laptop.yaml")
	const settings = `vcs:
  - {name: git, kind: gitea, url: "https://git.example.com", token: a-token-of-the-tests, webhook_secret: a-secret-of-the-tests, repos: ["acme/*"]}
policies:
  - {name: house, source: builtin:baseline, level: soft, projects: ["git/acme/infra//dns"], owners: {users: [carol]}}
provider_configs:
  - {name: net, projects: ["git/acme/infra//dns"], plan: {values: {TF_VAR_region: eu-central-1}}}
`
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env["TF_VAR_region"] = "of the person" // a provider configuration goes first, as on the server
	for _, address := range []string{"git@git.example.com:acme/infra.git", "https://git.example.com/acme/infra", "ssh://git@git.example.com:2222/acme/infra.git"} {
		c.git("config", "remote.origin.url", address)
		code, out, said := c.run("plan", "--config", file)
		expect(t, 1, code, out+said, "eu-central-1", "policy: 1 soft failure", "@carol. They can override it on the pull request.")
	}
	c.git("config", "remote.origin.url", "https://elsewhere.example.com/acme/infra")
	code, out, said := c.run("plan", "--config", file)
	expect(t, 0, code, out+said, "of the person", "say which it is with --repo")
	code, out, said = c.run("plan", "--config", file, "--repo", "git/acme/infra")
	expect(t, 1, code, out+said, "eu-central-1")
}

// The example of docs/plan.md is what really comes out, but for what is new each time.
func TestPlanJSON(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"dns/x.tf": "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n}\n"})
	c.git("mv", "lab", "old")
	code, out, said := c.run("plan", "dns", "--json", "--policies", "builtin:baseline")
	expect(t, 1, code, said, "policy stops dns", "planning 1 project")
	compareWithPage(t, "plan", out)
	code, out, said = c.run("explain", "dns", "net", "modules", "--json")
	expect(t, 0, code, said)
	compareWithPage(t, "explain", out)
}

var variable = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[0-9a-f]{40}`), "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432"},
	{regexp.MustCompile(`"seconds": [0-9.]+`), `"seconds": 0.61`},
}

func compareWithPage(t *testing.T, name, out string) {
	t.Helper()
	for _, v := range variable {
		out = v.pattern.ReplaceAllString(out, v.with)
	}
	page, err := os.ReadFile("../docs/plan.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json "+name+"\n")
	example, _, _ = strings.Cut(example, "```")
	var got, want any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%s --json = %v:\n%s", name, err, out)
	}
	if err := json.Unmarshal([]byte(example), &want); err != nil {
		t.Fatalf("the example %q of docs/plan.md is no JSON: %v; it should be\n%s", name, err, out)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/plan.md has another JSON of %s (-page +real):\n%s\nreal:\n%s", name, diff, out)
	}
}

func TestExplainSaysWhyAndWhyNot(t *testing.T) {
	t.Parallel()
	c := newClone(t, three)
	c.write(files{"net/templates/a.tpl": "a", "modules/vpc/main.tf": three["modules/vpc/main.tf"] + "# more\n", "docs/x.md": "x"})
	code, out, said := c.run("explain")
	expect(t, 0, code, out+said, "2 projects selected for this work tree on main at ", "uses modules/vpc, where main.tf changed", "Not selected:",
		"- dns: none of the 3 files that changed is its own")
	code, out, said = c.run("explain", "net", "dns", "modules/vpc", "net/templates", "docs", "gone")
	expect(t, 0, code, out+said, "- net\n", "- modules/vpc: a module of lab, net, planned with them", "- net/templates: it belongs to the project in net",
		"- docs: it has no .tf or .tofu file", "- gone: there is no such directory")
	if strings.Contains(out, "- lab") {
		t.Errorf("explain of other directories also explains lab:\n%s", out)
	}
	c.write(files{"planlatch.yaml": "version: 1\nprojects: [{dir: net}]\n"})
	code, out, said = c.run("explain", "dns")
	expect(t, 0, code, out+said, "- dns: planlatch.yaml does not list it")
}

// watched is a buffer that can be read while it is written.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func TestPlanThatIsInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	states, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(states, "dns.tfstate")
	c := newClone(t, files{"dns/main.tf": "terraform {\n  backend \"local\" {\n    path = \"" + state + "\"\n  }\n}\n"})
	// Somebody holds the state's lock, so the plan waits for as long as it is let.
	held, err := os.Create(state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() })
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(held.Fd(), syscall.F_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, said watched
	ended := make(chan int, 1)
	go func() {
		ended <- app.Run(ctx, []string{"plan", "dns", "-C", c.dir, "--bind", states + ":rw"}, maps.Clone(c.env), &out, &said)
	}()
	deadline := time.After(10 * time.Minute)
	for begun := false; !begun; { // until init is over, as its log tells
		select {
		case <-deadline:
			t.Fatalf("the plan did not begin; said %q", said.String())
		case code := <-ended:
			t.Fatalf("the plan ended by itself with %d; said %q%q", code, out.String(), said.String())
		case <-time.After(20 * time.Millisecond):
		}
		logs, err := filepath.Glob(filepath.Join(c.env["TMPDIR"], "*", "executions", "runs", "*", "log"))
		if err != nil {
			t.Fatal(err)
		}
		begun = slices.ContainsFunc(logs, func(path string) bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(text), "successfully initialized")
		})
	}
	interrupt()
	select {
	case code := <-ended:
		expect(t, 3, code, out.String()+said.String(), "interrupted")
	case <-deadline:
		t.Fatal("the interrupted command did not end")
	}
	c.clean()
	for until := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) { // an owner tells its result, and then ends
		left := processes(t, c.env["TMPDIR"])
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("still running: %q", left)
		}
	}
}

// TestPlanThatNobodyReadsLeavesNothing runs the program with an output that is closed, as in planlatch plan | true.
func TestPlanThatNobodyReadsLeavesNothing(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := newClone(t, three)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan", "dns"}, {"explain"}} {
		cmd := exec.CommandContext(t.Context(), self, append(args, "-C", c.dir)...)
		for name, value := range c.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.Env = append(cmd.Env, asProgram+"=yes")
		cmd.Stdout, cmd.Stderr = write, write
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
			t.Errorf("%v ended with %v, want exit code 3", args, err)
		}
		c.clean()
	}
}

// processes are the command lines that name a directory.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range all {
		if line, err := os.ReadFile(p); err == nil && strings.Contains(string(line), dir) {
			found = append(found, string(line))
		}
	}
	return found
}
