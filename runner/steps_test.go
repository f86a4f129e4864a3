package runner

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/testkit/helper"
	"github.com/planlatch/planlatch/tool"
)

func TestMain(m *testing.M) {
	os.Exit(helper.Beside(m.Run))
}

func TestStepsStandAroundTheToolsCommandsOrInTheirPlace(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{LockTimeout: time.Minute})
	for name, c := range map[string]struct {
		steps       run.Steps
		plan, apply []string
	}{
		"none": {
			plan: []string{
				"init: /tofu init -input=false -no-color", "plan: /tofu plan -input=false -no-color -detailed-exitcode -lock-timeout=1m0s -out=tfplan -var-file=a -target=x",
				"show: /tofu show -json /run/planlatch-sealed/tfplan > plan.json",
			},
			apply: []string{"init: /tofu init -input=false -no-color", "apply: /tofu apply -input=false -no-color -lock-timeout=1m0s /run/planlatch-sealed/tfplan"},
		},
		"around": {
			steps: run.Steps{
				BeforeInit: [][]string{{"./gen.sh", "$PROJECT/$WORKSPACE"}, {"../fetch", "a$$HOME"}}, BeforePlan: [][]string{{"lint", "--phase=$PHASE"}},
				AfterPlan: [][]string{{"/opt/price", "$PLANFILE"}}, BeforeApply: [][]string{{"check", "$HEAD"}}, AfterApply: [][]string{{"tell"}},
			},
			plan: []string{
				"before_init 1 (./gen.sh): /src/net/a/gen.sh net/a/prod", "before_init 2 (../fetch): /src/net/fetch a$HOME", "init: /tofu init -input=false -no-color",
				"before_plan (lint): lint --phase=plan", "plan: /tofu plan -input=false -no-color -detailed-exitcode -lock-timeout=1m0s -out=tfplan -var-file=a -target=x",
				"after_plan (/opt/price): /opt/price /src/net/a/tfplan", "show: /tofu show -json /run/planlatch-sealed/tfplan > plan.json",
			},
			apply: []string{
				"before_init 1 (./gen.sh): /src/net/a/gen.sh net/a/prod", "before_init 2 (../fetch): /src/net/fetch a$HOME", "init: /tofu init -input=false -no-color",
				"before_apply (check): check c0ffee", "apply: /tofu apply -input=false -no-color -lock-timeout=1m0s /run/planlatch-sealed/tfplan", "after_apply (tell): tell",
			},
		},
		"in the place": {
			steps: run.Steps{
				Init: [][]string{{"wrap", "--tool", "$TOOL", "init"}}, Plan: [][]string{{"prepare"}, {"wrap", "plan", "$ARGS"}},
				Show: [][]string{{"wrap", "show", "-json", "$PLANFILE"}}, Apply: [][]string{{"wrap", "apply", "$ARGS"}},
			},
			plan: []string{
				"init: wrap --tool /tofu init", "plan 1 (prepare): prepare",
				"plan: wrap plan -input=false -no-color -detailed-exitcode -lock-timeout=1m0s -out=/src/net/a/tfplan -var-file=a -target=x",
				"show: wrap show -json /run/planlatch-sealed/tfplan > plan.json",
			},
			apply: []string{"init: wrap --tool /tofu init", "apply: wrap apply -input=false -no-color -lock-timeout=1m0s /run/planlatch-sealed/tfplan"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := ground{run: run.Run{Dir: "net/a", Work: "prod", Settings: run.Settings{VarFiles: []string{"a"}, Flags: []string{"-target=x"}, Steps: c.steps}}}
			g.tool.Path, g.rev.Head = "/tofu", "c0ffee"
			for phase, want := range map[string][]string{"plan": c.plan, "apply": c.apply} {
				var got []string
				for _, s := range r.sequence(g, phase) {
					line := s.Label + ": " + strings.Join(s.Argv, " ")
					if s.Stdout != "" {
						line += " > " + s.Stdout
					}
					got = append(got, line)
					if ok := slices.Equal(s.OK, []int{0, 2}); ok != (s.Label == "plan") {
						t.Errorf("exit codes of %s = %v", s.Label, s.OK)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("steps of %s (-want +got):\n%s", phase, diff)
				}
			}
		})
	}
}

func TestAWrapperThatWouldLoseSettingsIsRefused(t *testing.T) {
	t.Parallel()
	deaf := run.Steps{Init: [][]string{{"wrap"}}, Plan: [][]string{{"wrap", "$PLANFILE"}}}
	for _, s := range []run.Settings{{Flags: []string{"-target=x"}}, {VarFiles: []string{"a.tfvars"}}, {Destroy: true}, {BackendConfig: []string{"k=v"}}} {
		if err := dropped(s); err != nil {
			t.Errorf("dropped(%+v) without steps = %v", s, err)
		}
		if s.Steps = deaf; dropped(s) == nil {
			t.Errorf("dropped(%+v) = nil, want a refusal", s)
		}
	}
}

// shop executes the phases of one run with a real tool.
type shop struct {
	*Runner
	t      *testing.T
	exec   executor.Executor
	g      ground
	states string
}

func newShop(t *testing.T, o local.Options, files map[string]string, steps run.Steps) *shop {
	t.Helper()
	o.Dir = t.TempDir()
	e, err := local.New(o)
	if err != nil {
		t.Fatal(err)
	}
	tree, states := t.TempDir(), t.TempDir()
	for name, text := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "STATES", states)), 0o755); err != nil { //nolint:gosec // scripts
			t.Fatal(err)
		}
	}
	providers, err := provider.New(provider.Options{Dir: t.TempDir(), Exec: e})
	if err != nil {
		t.Fatal(err)
	}
	none, err := policy.Load(t.Context(), nil, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := New(Parts{Providers: providers, Policy: none}, Options{
		Dir: t.TempDir(), LockTimeout: time.Second, Network: executor.Network{Mode: executor.NetworkNone}, PlanTimeout: 10 * time.Minute, ApplyTimeout: 10 * time.Minute,
		Binds: func(selector.Target, string) []executor.Bind { return []executor.Bind{{Path: states, Write: true}} },
	})
	g := ground{run: run.Run{Dir: "app", Work: "default", Settings: run.Settings{Steps: steps}}, tree: tree, tool: tool.Tool{Name: "tofu", Path: pinned.Path(t, "tofu")}}
	g.rev.Head = "c0ffee"
	if _, err := r.provide(t.Context(), &g, nil); err != nil {
		t.Fatal(err)
	}
	return &shop{Runner: r, t: t, exec: e, g: g, states: states}
}

func (s *shop) follows(spec executor.Spec) (executor.Result, string) {
	s.t.Helper()
	if err := s.exec.Start(s.t.Context(), spec, executor.Secrets{}); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	var log bytes.Buffer
	res, err := s.exec.Attach(ctx, spec.Name, &log, 0)
	if err != nil {
		s.t.Fatalf("Attach() = %v; log:\n%s", err, log.String())
	}
	return res, log.String()
}

func (s *shop) plan() (executor.Result, string) {
	s.t.Helper()
	s.g.run.Execution = "r1-plan-1"
	return s.follows(s.planSpec(s.g))
}

// apply applies the plan file that plan left.
func (s *shop) apply() (executor.Result, string) {
	s.t.Helper()
	kept, err := s.exec.Open(s.t.Context(), "r1-plan-1", filePlan)
	if err != nil {
		s.t.Fatal(err)
	}
	defer kept.Close()
	plan, err := io.ReadAll(kept)
	if err != nil {
		s.t.Fatal(err)
	}
	inputs, done, err := s.lay(s.t.Context(), map[string][]byte{filePlan: plan})
	if err != nil {
		s.t.Fatal(err)
	}
	defer done()
	s.g.run.Execution = "r1-apply"
	return s.follows(s.applySpec(s.g, inputs))
}

// succeeds checks a phase that must go well.
func (s *shop) succeeds(phase string, res executor.Result, log string) {
	s.t.Helper()
	if steps := len(s.sequence(s.g, phase)); !res.OK(steps) {
		s.t.Fatalf("%s: %s; log:\n%s", phase, why(ending{result: res}, steps), log)
	}
}

func (s *shop) state() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.states, "app.tfstate"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

const stateInBind = `terraform {
  backend "local" { path = "STATES/app.tfstate" }
}
`

func sandboxes() map[string]local.Options {
	return map[string]local.Options{"required": {}, "without namespaces": {Sandbox: local.SandboxAuto, Bwrap: "/nonexistent/bwrap"}}
}

func TestStepsMakeTheCodeThatIsPlannedAndApplied(t *testing.T) {
	t.Parallel()
	for name, o := range sandboxes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, o, map[string]string{
				"app/main.tf":    stateInBind + `resource "terraform_data" "read" { input = file("${path.module}/made.txt") }`,
				"app/gen.sh":     "#!/bin/sh\nset -e\ncp ../shared/names made.txt\necho \"before_init in $PLANLATCH_PHASE of $PLANLATCH_PROJECT at $PLANLATCH_HEAD\"\n",
				"app/more.sh":    "#!/bin/sh\nprintf '{\"resource\": {\"terraform_data\": {\"made\": {\"input\": \"of %s\"}}}}' \"$1\" >made.tf.json\n",
				"shared/names":   "shared words\n",
				"scripts/say.sh": "#!/bin/sh\ntest -s \"$PLANLATCH_PLANFILE\" && echo \"$@\"\n",
			}, run.Steps{
				BeforeInit: [][]string{{"./gen.sh"}}, BeforePlan: [][]string{{"./more.sh", "$WORKSPACE"}},
				AfterPlan: [][]string{{"../scripts/say.sh", "planned", "$PROJECT"}}, AfterApply: [][]string{{"../scripts/say.sh", "applied; no $(shell)"}},
			})
			res, log := s.plan()
			s.succeeds("plan", res, log)
			if !strings.Contains(log, "before_init in plan of app at c0ffee\n") || !strings.Contains(log, "planned app\n") {
				t.Errorf("log of plan lacks what steps said:\n%s", log)
			}
			res, log = s.apply()
			s.succeeds("apply", res, log)
			if !strings.Contains(log, "before_init in apply of app") || !strings.Contains(log, "applied; no $(shell)\n") {
				t.Errorf("log of apply lacks what steps said:\n%s", log)
			}
			if got := s.state(); !strings.Contains(got, "shared words") || !strings.Contains(got, "of default") {
				t.Errorf("state lacks what was generated:\n%s", got)
			}
		})
	}
}

// wrapper does what Terragrunt does: it makes the code in a cache of its own and runs the tool there.
const wrapper = `#!/bin/sh
set -e
cache=$PWD/.cache/unit
mkdir -p "$cache"
cp "$1"/*.tf "$cache/"
printf 'name = "%s"\n' "$(cat unit.hcl)" >"$cache/unit.auto.tfvars"
tool=$2
shift 2
cd "$cache"
exec "$tool" "$@"
`

func TestAWrapperPlansAndAppliesInAPlaceOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, o := range sandboxes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrap := func(verb string) [][]string {
				return [][]string{{"../bin/wrap", "../modules/app", "$TOOL", verb, "$ARGS"}}
			}
			s := newShop(t, o, map[string]string{
				"app/unit.hcl": "wrapped words", "bin/wrap": wrapper,
				"modules/app/main.tf": stateInBind + "variable \"name\" {}\n" + `resource "terraform_data" "x" { input = var.name }`,
			}, run.Steps{Init: wrap("init"), Plan: wrap("plan"), Apply: wrap("apply")})
			res, log := s.plan()
			s.succeeds("plan", res, log)
			for _, output := range []string{filePlan, filePlanJSON, fileBackend} {
				if !slices.ContainsFunc(res.Outputs, func(a executor.Artifact) bool { return a.Name == output }) {
					t.Errorf("the wrapper's plan left no %s: %+v", output, res.Outputs)
				}
			}
			res, log = s.apply()
			s.succeeds("apply", res, log)
			if got := s.state(); !strings.Contains(got, "wrapped words") {
				t.Errorf("state lacks what was wrapped:\n%s", got)
			}
		})
	}
}

func TestAWrapperWithoutAPlanFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, local.Options{}, map[string]string{"app/main.tf": stateInBind}, run.Steps{Plan: [][]string{{"echo", "planned", "$PLANFILE"}}})
	res, log := s.plan()
	if got := why(ending{result: res}, len(s.sequence(s.g, "plan"))); got != "show failed (exit code 1)" {
		t.Errorf("why() = %q; log:\n%s", got, log)
	}
}

func TestAStepThatFailsIsNamedAndEndsTheRun(t *testing.T) {
	t.Parallel()
	for want, steps := range map[string]run.Steps{
		"before_plan 2 (./fail.sh) failed (exit code 3)":                                   {BeforePlan: [][]string{{"echo", "first"}, {"./fail.sh"}}},
		"before_init (./fail.sh) failed (exit code 3)":                                     {BeforeInit: [][]string{{"./fail.sh"}}},
		"before_plan (lint): lint could not be started: lint is no program along PATH":     {BeforePlan: [][]string{{"lint"}}},
		"before_plan (/opt/x/y): /opt/x/y could not be started: no such file or directory": {BeforePlan: [][]string{{"/opt/x/y"}}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, local.Options{}, map[string]string{"app/main.tf": stateInBind, "app/fail.sh": "#!/bin/sh\necho no\nexit 3\n"}, steps)
			res, log := s.plan()
			if got := why(ending{result: res}, len(s.sequence(s.g, "plan"))); got != want {
				t.Errorf("why() = %q, want %q; log:\n%s", got, want, log)
			}
			if slices.ContainsFunc(res.Outputs, func(a executor.Artifact) bool { return a.Name == filePlanJSON }) {
				t.Error("a plan was shown after a step that failed")
			}
		})
	}
}
