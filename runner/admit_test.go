package runner

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
	"github.com/planlatch/planlatch/vcs"
)

// gate is an executor, a finder of tools, a store of providers and a giver of credentials that do nothing but count who came through.
type gate struct{ passed atomic.Int32 }

func (g *gate) pass() error {
	g.passed.Add(1)
	return errors.New("nothing starts here")
}

func (g *gate) Start(context.Context, executor.Spec, executor.Secrets) error { return g.pass() }

func (*gate) Attach(context.Context, executor.Name, io.Writer, int64) (executor.Result, error) {
	return executor.Result{}, executor.ErrAbsent
}

func (*gate) Open(context.Context, executor.Name, string) (io.ReadCloser, error) {
	return nil, executor.ErrAbsent
}
func (*gate) Cancel(context.Context, executor.Name, bool) error       { return executor.ErrAbsent }
func (*gate) Renew(context.Context, executor.Name) error              { return executor.ErrAbsent }
func (*gate) Remove(context.Context, executor.Name) error             { return nil }
func (*gate) List(context.Context) ([]executor.Name, error)           { return nil, nil }
func (g *gate) Resolve(context.Context, tool.Want) (tool.Tool, error) { return tool.Tool{}, g.pass() }

func (g *gate) View(context.Context, string, string, []byte, []string) (provider.View, error) {
	return provider.View{}, g.pass()
}

func (g *gate) grants(context.Context, selector.Target, string, run.ID) (Grant, error) {
	return Grant{}, g.pass()
}

// guarded is the strictest set there is.
func guarded(t *testing.T, level run.Level, settings map[string]any) *policy.Engine {
	t.Helper()
	if settings == nil {
		settings = map[string]any{
			"providers": []string{"hashicorp/aws"}, "modules": []string{"acme/*/aws"}, "pinned_modules": true, "data": []string{"aws_*"}, "provisioners": []string{},
			"external": false, "backends": []string{"s3"}, "actions": []string{}, "ephemeral": []string{}, "outside_files": false, "steps": false,
		}
	}
	e, err := policy.Load(t.Context(), []policy.Set{{
		Name: "sources", Source: "builtin:sources", Level: level, Owners: run.Owners{Users: []string{"olga"}}, Settings: settings,
	}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestNothingStartsForCodeThatPolicyDoesNotAllow: not a tool, not a fetch of providers, not a helper that gives credentials.
func TestNothingStartsForCodeThatPolicyDoesNotAllow(t *testing.T) {
	t.Parallel()
	const program = "data \"external\" \"x\" {\n  program = [\"sh\"]\n}\n"
	const fine = "terraform {\n  backend \"s3\" {}\n}\n\nresource \"aws_instance\" \"x\" {}\n\nmodule \"vpc\" {\n  source  = \"acme/vpc/aws\"\n  version = \"1.2.3\"\n}\n"
	attacks := map[string]struct {
		files map[string]string
		rule  string
	}{
		"Fine":                  {map[string]string{"app/main.tf": fine}, ""},
		"DataSource":            {map[string]string{"app/x.tf": program}, "external-program"},
		"JSON":                  {map[string]string{"app/x.tf.json": `{"data":{"external":{"x":{"program":["sh"]}}}}`}, "external-program"},
		"Override":              {map[string]string{"app/override.tf": program}, "external-program"},
		"NamedOverride":         {map[string]string{"app/a_override.tf.json": `{"data":{"external":{"x":{}}}}`}, "external-program"},
		"OpenTofuFile":          {map[string]string{"app/main.tofu": program}, "external-program"},
		"HashFile":              {map[string]string{"app/#.tf": program}, "external-program"},
		"LocalModule":           {map[string]string{"app/x.tf": `module "m" { source = "../m" }`, "m/x.tf": program}, "external-program"},
		"SymlinkedModule":       {map[string]string{"app/x.tf": `module "m" { source = "./m" }`, "app/m": "-> ../n", "n/x.tf": program}, "external-program"},
		"ModuleInNodeModules":   {map[string]string{"app/x.tf": `module "m" { source = "../node_modules/m" }`, "node_modules/m/x.tf": program}, "external-program"},
		"SymlinkOutOfTheTree":   {map[string]string{"app/x.tf": "-> /etc/passwd"}, "not-understood"},
		"Check":                 {map[string]string{"app/x.tf": "check \"c\" {\n  data \"http\" \"x\" {}\n}\n"}, "data-source"},
		"KeyProvider":           {map[string]string{"app/x.tf": "terraform {\n  encryption {\n    key_provider \"external\" \"x\" {}\n  }\n}\n"}, "external-program"},
		"Provisioner":           {map[string]string{"app/x.tf": "resource \"aws_instance\" \"y\" {\n  provisioner \"local-exec\" {}\n}\n"}, "provisioner"},
		"ProvisionerOfRemoved":  {map[string]string{"app/x.tf": "removed {\n  from = aws_instance.z\n  provisioner \"local-exec\" {}\n}\n"}, "provisioner"},
		"ProviderFunction":      {map[string]string{"app/x.tf": "output \"x\" {\n  value = provider::evil::f()\n}\n"}, "provider"},
		"ProviderOfAnother":     {map[string]string{"app/x.tf": "terraform {\n  required_providers {\n    aws = { source = \"evil/aws\" }\n  }\n}\n"}, "provider"},
		"ProviderOfTheLockFile": {map[string]string{"app/.terraform.lock.hcl": "provider \"registry.opentofu.org/evil/aws\" {\n  version = \"1.0.0\"\n}\n"}, "provider"},
		"ModuleOfAnother":       {map[string]string{"app/x.tf": "module \"x\" {\n  source = \"evil/vpc/aws\"\n  version = \"1.0.0\"\n}\n"}, "module"},
		"ModuleWithoutPin":      {map[string]string{"app/x.tf": "module \"x\" {\n  source = \"acme/vpc/aws\"\n}\n"}, "unpinned-module"},
		"ModuleOfAVariable":     {map[string]string{"app/x.tf": "module \"x\" {\n  source = var.x\n}\n"}, "not-understood"},
		"Backend":               {map[string]string{"app/x.tf": "terraform {\n  backend \"http\" {}\n}\n"}, "backend"},
		"StateOfAnother":        {map[string]string{"app/x.tf": "data \"terraform_remote_state\" \"x\" {\n  backend = \"http\"\n}\n"}, "data-source"},
		"File":                  {map[string]string{"app/x.tf": "output \"x\" {\n  value = file(\"/proc/self/environ\")\n}\n"}, "outside-file"},
		"Syntax":                {map[string]string{"app/x.tf": "resource {"}, "not-understood"},
		"UnknownBlock":          {map[string]string{"app/x.tf": "future {}\n"}, "not-understood"},
		"Homoglyph":             {map[string]string{"app/x.tf": "dаta \"external\" \"x\" {}\n"}, "not-understood"},
		"TooLarge":              {map[string]string{"app/x.tf": strings.Repeat("# comment\n", 300_000)}, "not-understood"},
		"ByteOrderMark":         {map[string]string{"app/x.tf": "\ufeff" + program}, "external-program"},
		"WindowsLines":          {map[string]string{"app/x.tf": strings.ReplaceAll(program, "\n", "\r\n")}, "external-program"},
	}
	strict := guarded(t, run.Hard, nil)
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree(t, dir, map[string]string{"app/main.tf": fine})
			tree(t, dir, attack.files)
			g := &gate{}
			r := New(Parts{Exec: g, Tools: g, Providers: g, Policy: strict, Log: slog.New(slog.DiscardHandler)}, Options{Grants: g.grants})
			shown, err := r.Preview(t.Context(), Preview{Run: run.Run{Label: "app", Dir: "app", Work: "default", Execution: "r-plan-1"}, Tree: dir})
			if attack.rule == "" {
				if g.passed.Load() == 0 || len(shown.Findings) > 0 {
					t.Errorf("Preview() = %v, %v; want it to go on", shown.Findings, err)
				}
				return
			}
			if n := g.passed.Load(); n > 0 {
				t.Errorf("%d things were begun, want none", n)
			}
			if err != nil || shown.Run.State != run.Failed || !strings.Contains(shown.Run.Reason, "before anything ran: ") || !strings.Contains(shown.Run.Reason, attack.rule) {
				t.Errorf("Preview() = %s (%s), %v; want it refused for %s", shown.Run.State, shown.Run.Reason, err, attack.rule)
			}
			for _, f := range shown.Findings {
				if f.File == "" || !f.Source || f.Level != run.Hard {
					t.Errorf("finding %+v, want a hard one with its place", f)
				}
			}
		})
	}
}

// tree writes files; "-> target" is a symlink.
func tree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, at); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// commits makes a repository of files and has the desk's mirror fetch it. It returns the tree.
func (d *desk) commits(files map[string]string) string {
	d.t.Helper()
	dir := d.t.TempDir()
	tree(d.t, dir, files)
	var out []byte
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"}, {"rev-parse", "HEAD"}, {"rev-parse", "HEAD^{tree}"},
	} {
		var err error
		if out, err = exec.CommandContext(d.t.Context(), "git", append([]string{"-C", dir}, args...)...).Output(); err != nil {
			d.t.Fatalf("git %v: %v", args, err)
		}
		if args[0] == "rev-parse" && args[1] == "HEAD" {
			if err := d.Git.Repo("gitea", "1").Fetch(d.t.Context(), vcs.Remote{URL: dir}, strings.TrimSpace(string(out))); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	return strings.TrimSpace(string(out))
}

// guard is a desk where plans begin, at a gate.
func guard(t *testing.T, e *policy.Engine) (*desk, *gate) {
	t.Helper()
	d, g := openDesk(t), &gate{}
	mirrors := git.New(git.Options{Dir: t.TempDir(), AllowFile: true})
	d.Git, d.Exec, d.Tools, d.Providers, d.Policy = mirrors, g, g, g, e
	d.Facts.Git = mirrors
	d.o.Grants, d.o.Dir = g.grants, t.TempDir()
	return d, g
}

// plans begins a plan of a tree, for a cause, and returns the run as it is then.
func (d *desk) plans(tree, cause string) run.Run {
	d.t.Helper()
	ctx := d.t.Context()
	r := d.run
	r.State, r.Confirmed, r.ConfirmedBy, r.Blobs, r.Cause = run.Queued, time.Time{}, "", nil, cause
	r.PlanDigest, r.EffectDigest, r.PolicyDigest = "", "", ""
	rev := run.Revision{Repo: r.Repo, Pull: r.Pull, Branch: "main", Head: "head" + tree, Base: "base", Tree: tree, Kind: run.KindChange}
	res, err := d.Store.Advance(ctx, run.Scope{Pull: r.Pull}, func(s run.Snapshot) (run.Change, error) { return run.Revise(s, rev, []run.Run{r}, "") })
	if err != nil {
		d.t.Fatal(err)
	}
	claimed, err := d.advanced(ctx, res.Runs[len(res.Runs)-1], func(s run.Snapshot) (run.Change, error) {
		return run.ClaimPlan(s, s.Runs[0].ID, run.Owner{Node: "n", Deadline: s.Now.Add(time.Hour)})
	})
	if err != nil {
		d.t.Fatal(err)
	}
	// What comes through the gate ends there with an error, and would be tried again.
	_ = d.carry(ctx, d.planPhase(claimed))
	now, err := d.Store.Run(ctx, claimed.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	if now.State == run.Planning { // make room for the next
		_, err = d.advanced(ctx, now, func(s run.Snapshot) (run.Change, error) {
			return run.SettlePlan(s, now.ID, run.PlanOutcome{Failed: "ended by the test"})
		})
		if err != nil {
			d.t.Fatal(err)
		}
	}
	return now
}

const hostile = "data \"external\" \"x\" {\n  program = [\"sh\", \"-c\", \"./x.sh\"]\n}\n"

func TestAServerRefusesARunBeforeAnythingOfItStarts(t *testing.T) {
	t.Parallel()
	for _, level := range []run.Level{run.Hard, run.Soft} {
		d, g := guard(t, guarded(t, level, map[string]any{"external": false}))
		got := d.plans(d.commits(map[string]string{"a/main.tf": hostile}), "opened")
		if got.State != run.Failed || !strings.Contains(got.Reason, "policy stopped it before anything ran: external-program") || g.passed.Load() != 0 {
			t.Errorf("a run that breaks a %s set is %s (%s), and %d things were begun; want none", level, got.State, got.Reason, g.passed.Load())
		}
		findings, err := d.Store.Findings(t.Context(), got.ID)
		if f := findings[got.ID]; err != nil || len(f) != 1 || f[0].File != "a/main.tf" || f[0].Line != 1 || f[0].Level != level || !run.Stopped(got, f) {
			t.Errorf("findings = %+v, %v; want the one with its place", f, err)
		}
		if got.PolicyDigest == "" || got.InputsDigest == "" {
			t.Errorf("run = %+v, want what overrides are bound to", got)
		}
	}
}

func TestAdviceOnTheSourceStopsNothing(t *testing.T) {
	t.Parallel()
	d, g := guard(t, guarded(t, run.Advisory, map[string]any{"external": false}))
	if got := d.plans(d.commits(map[string]string{"a/main.tf": hostile}), "opened"); got.State != run.Planning || g.passed.Load() == 0 {
		t.Errorf("run is %s (%s), want it to go on", got.State, got.Reason)
	}
}

// TestAPolicyThatCannotJudgeTheSourceStopsEverything: it does not compile, it takes too long, it answers nonsense.
func TestAPolicyThatCannotJudgeTheSourceStopsEverything(t *testing.T) {
	t.Parallel()
	for name, rego := range map[string]string{
		"Broken":   "package a\nfinding contains",
		"Empty":    "package a\n",
		"Nonsense": "package a\nfinding contains 7 if true\n",
		"Slow":     "package a\nfinding contains {\"rule\": \"r\", \"message\": \"m\"} if {\n\tcount([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i == -j]) > 0\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree(t, dir, map[string]string{"p.rego": rego})
			set := policy.Set{Name: "ours", Source: dir, Level: run.Advisory, On: policy.OnSource}
			e, _ := policy.Load(t.Context(), []policy.Set{set}, policy.Options{Timeout: 300 * time.Millisecond}) // faults are findings
			d, g := guard(t, e)
			got := d.plans(d.commits(map[string]string{"a/main.tf": ""}), "opened")
			if got.State != run.Failed || !strings.Contains(got.Reason, "no-verdict") || g.passed.Load() != 0 {
				t.Errorf("run is %s (%s), and %d things were begun; want it refused", got.State, got.Reason, g.passed.Load())
			}
		})
	}
}

// TestAnOverrideLetsExactlyWhatWasJudgedRun, and nothing else: not another script beside it, not under another policy, not by too few.
func TestAnOverrideLetsExactlyWhatWasJudgedRun(t *testing.T) {
	t.Parallel()
	settings := map[string]any{"external": false}
	d, g := guard(t, guarded(t, run.Soft, settings))
	ctx := t.Context()
	d.run.Settings.Inputs = []string{"a"}
	code := map[string]string{"a/main.tf": hostile, "a/x.sh": "echo one\n"}
	first := d.commits(code)
	got := d.plans(first, "opened")
	findings, err := d.Store.Findings(ctx, got.ID)
	if err != nil || len(findings[got.ID]) != 1 {
		t.Fatalf("findings = %v, %v, want one", findings, err)
	}
	f := findings[got.ID][0]
	override := run.Override{
		Pull: got.Pull, Project: got.Project, Set: f.Set, Rule: f.Rule, Resource: f.Resource, Value: f.Value, Effect: run.Bound(got, f), Policy: got.PolicyDigest, Actor: "olga",
	}
	_, err = d.Store.Advance(ctx, run.Scope{Pull: got.Pull}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActOverride, Overrides: []run.Override{override}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.plans(first, "again"); got.State != run.Planning || g.passed.Load() == 0 {
		t.Errorf("an overridden run is %s (%s), want it to go on", got.State, got.Reason)
	}
	g.passed.Store(0)
	code["other/main.tf"] = "# beside\n"
	if got := d.plans(d.commits(code), "beside"); got.State != run.Planning || g.passed.Load() == 0 {
		t.Errorf("after a change beside it, it is %s (%s), want it to go on", got.State, got.Reason)
	}
	g.passed.Store(0)
	code["a/x.sh"] = "echo two\n"
	if got := d.plans(d.commits(code), "another script"); got.State != run.Failed || g.passed.Load() != 0 {
		t.Errorf("another script runs under an override of the first: %s (%s)", got.State, got.Reason)
	}
	d.Policy = guarded(t, run.Soft, map[string]any{"external": false, "provisioners": []string{}})
	if got := d.plans(first, "another policy"); got.State != run.Failed || g.passed.Load() != 0 {
		t.Errorf("it runs under another policy than the one that was overridden: %s (%s)", got.State, got.Reason)
	}
}

// TestAPlanIsNotAppliedWhenItsSourceIsNotAllowedAnyMore: policy is asked about the source as well as about the plan.
func TestAPlanIsNotAppliedWhenItsSourceIsNotAllowedAnyMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code string
		want run.State
	}{"Allowed": {"# nothing\n", run.Applying}, "Forbidden": {hostile, run.Planned}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := guard(t, guarded(t, run.Hard, map[string]any{"external": false}))
			d.o.Grants = func(context.Context, selector.Target, string, run.ID) (Grant, error) { return Grant{}, nil }
			tree := d.commits(map[string]string{"a/main.tf": c.code})
			ctx := t.Context()
			rev := run.Revision{Repo: d.run.Repo, Pull: d.run.Pull, Branch: "main", Head: "head", Base: "base", Tree: tree, Kind: run.KindChange}
			res, err := d.Store.Advance(ctx, run.Scope{Pull: d.run.Pull}, func(s run.Snapshot) (run.Change, error) { return run.Revise(s, rev, []run.Run{d.run}, "") })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.claimApply(ctx, res.Runs[0]); err != nil {
				t.Fatal(err)
			}
			got, err := d.Store.Run(ctx, res.Runs[0].ID)
			if err != nil || got.State != c.want || c.want == run.Planned && !strings.Contains(got.Reason, "policy has changed since the plan was made and says no now") {
				t.Errorf("run is %s (%s), %v; want %s", got.State, got.Reason, err, c.want)
			}
		})
	}
}

// TestInitIsKeptToWhatPolicyAllows, and to what was judged in the source: a state may name any provider.
func TestInitIsKeptToWhatPolicyAllows(t *testing.T) {
	t.Parallel()
	code := map[string]string{"a/main.tf": "provider \"odd\" {}\n"}
	for name, tt := range map[string]struct {
		level    run.Level
		settings map[string]any
		want     []string
	}{
		"Hard":     {run.Hard, map[string]any{"providers": []any{"corp.example/acme/aws"}}, []string{"corp.example/acme/aws", "registry.opentofu.org/hashicorp/odd"}},
		"Soft":     {run.Soft, map[string]any{"providers": []string{}}, []string{"registry.opentofu.org/hashicorp/odd"}},
		"Advisory": {run.Advisory, map[string]any{"providers": []string{}}, nil},
		"NoList":   {run.Hard, map[string]any{"external": false}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := guard(t, guarded(t, tt.level, tt.settings))
			g := ground{run: d.run, tree: t.TempDir()}
			g.run.Dir = "a"
			tree(t, g.tree, code)
			got, err := d.allowedProviders(g)
			if err != nil || (got == nil) != (tt.want == nil) {
				t.Fatalf("allowedProviders() = %q, %v, want %q", got, err, tt.want)
			}
			for _, want := range tt.want {
				if !slices.Contains(got, want) {
					t.Errorf("allowedProviders() = %q, want %s among it", got, want)
				}
			}
		})
	}
}
