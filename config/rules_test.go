package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
)

func TestRulesAreOverlaidKeyByKeyInOrder(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
defaults: {lock: none, parallel: 3}
repos:
  - {match: "gitea/acme", apply: before_merge, requirements: {apply: []}}
  - {match: gitea/acme/infra, apply: off, parallel: 0, branches: [main]}
  - {match: "//", comment: off}
`)
	want := c.Defaults
	want.Apply, want.Requirements.Apply, want.Comment = run.ApplyBeforeMerge, []string{}, "off"
	if diff := cmp.Diff(want, c.Rules("gitea", "acme/web")); diff != "" {
		t.Errorf("Rules(acme/web) differs (-want +got):\n%s", diff)
	}
	want.Apply, want.Parallel, want.Branches = run.ApplyOff, 0, []string{"main"}
	if diff := cmp.Diff(want, c.Rules("gitea", "Acme/Infra")); diff != "" {
		t.Errorf("Rules(Acme/Infra) differs (-want +got):\n%s", diff)
	}
	if got := c.Rules("gitea", "other/x").Lock; got != run.LockNone {
		t.Errorf("Rules(other/x).Lock = %s, want none", got)
	}
	if c.Wrote("gitea", "other/x", "apply") || !c.Wrote("gitea", "acme/web", "apply") || !c.Wrote("gitea", "other/x", "lock") {
		t.Error("Wrote() does not tell settings from built-in defaults")
	}
}

func TestGatesAreTakenAwayOnPurposeOnly(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+"defaults:\n  requirements:\n    # apply: [approved]\nrepos:\n  - {match: gitea/acme/open, requirements: {apply: []}}\n  - match: gitea/acme/strict\n")
	if got := c.Rules("gitea", "acme/open").Requirements.Apply; len(got) != 0 {
		t.Errorf("apply: [] asks for %v, want nothing", got)
	}
	for _, text := range []string{"requirements:", "requirements: {}", "requirements: {apply: }", "links:", "apply:"} {
		if c, err := parse(t, host+"repos:\n  - match: gitea/acme/infra\n    "+text+"\n"); err == nil {
			t.Errorf("%q is read as %+v, want an error", text, c.Rules("gitea", "acme/infra"))
		}
	}
	if got := c.Rules("gitea", "acme/strict").Requirements.Apply; len(got) != 3 {
		t.Errorf("without a word on it, %v is asked for, want the default", got)
	}
}

func TestOverrideMadeInCodeCounts(t *testing.T) {
	t.Parallel()
	c := config.Default(t.TempDir())
	all, err := selector.Parse("//**")
	if err != nil {
		t.Fatal(err)
	}
	c.Repos = []config.RepoRules{config.Override(all, config.Rules{Apply: run.ApplyManual}, "apply")}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "names a directory") {
		t.Errorf("Validate() of an entry with a directory = %v, want an error", err)
	}
	place, err := selector.Parse("*")
	if err != nil {
		t.Fatal(err)
	}
	c.Repos[0].Match = place
	if err := c.Validate(); err != nil {
		t.Fatalf("Validate() = %v", err)
	}
	if got := c.Rules("x", "y/z"); got.Apply != run.ApplyManual || got.Lock != run.LockApply {
		t.Errorf("Rules() = %s, %s, want manual, apply", got.Apply, got.Lock)
	}
}

func TestBranches(t *testing.T) {
	t.Parallel()
	r := config.Rules{Branches: []string{"default", "release/*"}}
	for branch, want := range map[string]bool{"main": true, "release/1": true, "release/1/x": false, "default": false, "dev": false} {
		if got := r.Branch(branch, "main"); got != want {
			t.Errorf("Branch(%s) = %v, want %v", branch, got, want)
		}
	}
}

func TestAllowListLastMatchWins(t *testing.T) {
	t.Parallel()
	c := config.Default(t.TempDir())
	c.VCS = []config.Host{{Name: "github", Repos: []string{"acme/*", "!acme/legacy*", "acme/legacy-2", "!*/secret"}}}
	for repo, want := range map[string]bool{
		"acme/infra": true, "ACME/Infra": true, "acme/legacy": false, "Acme/Legacy": false, "acme/legacy-2": true, "acme/secret": false,
		"other/x": false, "acme/a/b": false, "": false,
	} {
		if got := c.Allows("github", repo); got != want {
			t.Errorf("Allows(github, %q) = %v, want %v", repo, got, want)
		}
	}
	if c.Allows("gitlab", "acme/infra") {
		t.Error("Allows() of an unknown host = true, want false")
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
permissions:
  - {commands: [apply], projects: ["//prod/**"], teams: [acme/prod-approvers], users: [Root]}
  - {commands: [apply, plan], projects: ["//**:locked"], access: admin}
  - {commands: [plan], access: read}
`)
	prod := selector.Target{Host: "gitea", Repo: "acme/infra", Dir: "prod/net", Workspace: "default"}
	stage := selector.Target{Host: "gitea", Repo: "acme/infra", Dir: "stage", Workspace: "default"}
	locked := selector.Target{Host: "gitea", Repo: "acme/infra", Dir: "stage", Workspace: "locked"}
	team := func(names ...string) func(string) (bool, error) {
		return func(t string) (bool, error) { return strings.Contains(strings.Join(names, " "), t), nil }
	}
	broken := func(string) (bool, error) { return true, errors.New("host is ill") }
	tests := []struct {
		name    string
		command string
		target  selector.Target
		who     config.Subject
		want    bool
		reason  string
	}{
		{"WriterAppliesByDefault", "apply", stage, config.Subject{Login: "bob", Access: vcs.PermissionWrite}, true, "bob has write permission"},
		{"ReaderDoesNot", "apply", stage, config.Subject{Login: "bob", Access: vcs.PermissionRead}, false, "apply needs write permission on the repository"},
		{"WriterUnlocksAndCancels", "cancel", stage, config.Subject{Access: vcs.PermissionWrite}, true, ""},
		{"UnknownCommandNeedsAdmin", "destroy-all", stage, config.Subject{Access: vcs.PermissionWrite}, false, "admin"},
		{"AdminMayAll", "destroy-all", stage, config.Subject{Access: vcs.PermissionAdmin}, true, ""},
		{"AnyoneMayAskForHelp", "help", stage, config.Subject{}, true, ""},
		{"OwnersDecideOnApprove", "approve", stage, config.Subject{Access: vcs.PermissionRead}, true, ""},
		{"StrangersDoNotApprove", "approve", stage, config.Subject{}, false, ""},
		{"RuleDecidesAlone", "apply", prod, config.Subject{Login: "bob", Access: vcs.PermissionAdmin, Member: team()}, false, "for acme/prod-approvers or Root"},
		{"TeamMember", "apply", prod, config.Subject{Login: "bob", Access: vcs.PermissionRead, Member: team("acme/prod-approvers")}, true, "member of acme/prod-approvers"},
		{"ListedUserInAnyCase", "apply", prod, config.Subject{Login: "root", Member: team()}, true, "is listed"},
		{"EmptyLoginIsNobody", "apply", prod, config.Subject{}, false, ""},
		{"FailedLookUpMeansNo", "apply", prod, config.Subject{Login: "bob", Access: vcs.PermissionAdmin, Member: broken}, false, "could not be looked up"},
		{"FirstRuleWins", "plan", locked, config.Subject{Access: vcs.PermissionWrite}, false, "admin permission"},
		{"LaterRuleOpens", "plan", stage, config.Subject{Access: vcs.PermissionRead}, true, ""},
		{"OtherCommandsAreUntouched", "plan", prod, config.Subject{Access: vcs.PermissionRead}, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := c.Permitted(tt.command, tt.target, tt.who)
			if got.Allowed != tt.want || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("Permitted(%s, %s) = %+v, want %v with %q", tt.command, tt.target.Dir, got, tt.want, tt.reason)
			}
			if (got.Err != nil) != (tt.name == "FailedLookUpMeansNo") {
				t.Errorf("Permitted(%s).Err = %v", tt.command, got.Err)
			}
		})
	}
}

func TestCredentialsBelongToProjectAndPhase(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
provider_configs:
  - name: prod
    projects: ["//prod/**"]
    plan: {env: {KEY: reader}, values: {REGION: eu}}
    apply: {env: {KEY: writer}}
    command: {apply: [/bin/creds]}
  - {name: extra, projects: ["//prod/db"], plan: {values: {REGION: us}}}
`)
	target := func(dir string) selector.Target {
		return selector.Target{Host: "gitea", Repo: "acme/infra", Dir: dir, Workspace: "default"}
	}
	plan, err := c.Credentials(target("prod/net"), config.PhasePlan)
	if err != nil || plan.Env["KEY"].Reveal() != "reader" || plan.Values["REGION"] != "eu" || len(plan.Commands) != 0 {
		t.Errorf("Credentials(prod/net, plan) = %+v, %v", plan, err)
	}
	apply, err := c.Credentials(target("prod/net"), config.PhaseApply)
	if err != nil || apply.Env["KEY"].Reveal() != "writer" || len(apply.Values) != 0 || len(apply.Commands) != 1 {
		t.Errorf("Credentials(prod/net, apply) = %+v, %v", apply, err)
	}
	if other, err := c.Credentials(target("stage"), config.PhasePlan); err != nil || len(other.Env)+len(other.Values) != 0 {
		t.Errorf("Credentials(stage, plan) = %+v, %v, want nothing", other, err)
	}
	if _, err := c.Credentials(target("prod/db"), config.PhasePlan); err == nil || !strings.Contains(err.Error(), "prod and extra both set REGION") {
		t.Errorf("Credentials(prod/db, plan) = %v, want a conflict", err)
	}
}

func TestPoliciesAndBindsBelongToProjects(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
policies:
  - {name: all, source: "builtin:baseline", level: advisory}
  - {name: prod, source: "builtin:baseline", level: hard, projects: ["//prod/**"]}
execution: {binds: [{path: /srv/states, projects: ["//prod/**"], phases: [apply]}]}
`)
	prod, stage := selector.Target{Dir: "prod/a"}, selector.Target{Dir: "stage"}
	if got := len(c.PoliciesFor(prod)); got != 2 {
		t.Errorf("PoliciesFor(prod/a) has %d sets, want 2", got)
	}
	if got := c.PoliciesFor(stage); len(got) != 1 || got[0].Name != "all" {
		t.Errorf("PoliciesFor(stage) = %v, want the set all", got)
	}
	if a, b, s := len(c.BindsFor(prod, config.PhaseApply)), len(c.BindsFor(prod, config.PhasePlan)), len(c.BindsFor(stage, config.PhaseApply)); a != 1 || b != 0 || s != 0 {
		t.Errorf("BindsFor() = %d, %d, %d paths, want 1, 0, 0", a, b, s)
	}
}

func TestStepsAreOverlaidAsAWholeAndKeepTheirPlaceholders(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
defaults: {steps: {before_plan: [[lint, "$PROJECT"]], after_apply: [[tell]]}}
repos: [{match: gitea/acme/live, steps: {plan: [["/opt/bin/${WORKERS}", plan, $ARGS]]}}]
`)
	if diff := cmp.Diff(config.Steps{BeforePlan: [][]string{{"lint", "$PROJECT"}}, AfterApply: [][]string{{"tell"}}}, c.Rules("gitea", "acme/web").Steps); diff != "" {
		t.Errorf("Steps differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(config.Steps{Plan: [][]string{{"/opt/bin/7", "plan", "$ARGS"}}}, c.Rules("gitea", "acme/live").Steps); diff != "" {
		t.Errorf("Steps of a repository differ (-want +got):\n%s", diff)
	}
}

func TestTheNetworkOfARepositoryIsItsLastEntryOrTheServers(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
execution: {network: {deny: [10.0.0.0/8]}}
repos:
  - {match: "gitea/acme", network: {mode: allow_list, allow: ["*.example.com"]}}
  - {match: gitea/acme/infra, lock: none}
  - {match: gitea/acme/web, network: {mode: none}}
`)
	for repo, want := range map[string]config.Network{
		"acme/infra": {Mode: "allow_list", Allow: []string{"*.example.com"}}, "acme/web": {Mode: "none"}, "other/x": {Mode: "open", Deny: []string{"10.0.0.0/8"}},
	} {
		if diff := cmp.Diff(want, c.NetworkOf("gitea", repo), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("NetworkOf(%s) (-want +got):\n%s", repo, diff)
		}
	}
}
