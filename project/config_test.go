package project_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

const full = `version: 1
projects:
  - name: network-prod
    dir: ./infra/network/
    workspace: prod
    tool: {name: tofu, version: "1.12.6"}
    when_modified: ["**/*.tf", "../shared/*.tfvars"]
    depends_on: [dns-prod]
    apply: manual
    lock: plan
    environment: production
    requirements: {add: [up_to_date]}
    var_files: [prod.tfvars]
    backend_config: [prod.s3.tfbackend, "key=prod"]
    steps: {before_plan: [["./gen.sh", "$WORKSPACE"], [lint, lint]], plan: [[terragrunt, plan, $ARGS]]}
  - dir: live/*
    workspaces: [staging, prod]
discover: {ignore: ["modules/**", "examples/**"]}
`

func TestParseConfigReadsEveryKey(t *testing.T) {
	t.Parallel()
	got, problems := project.ParseConfig("planlatch.yaml", []byte(full))
	if len(problems) > 0 {
		t.Fatalf("ParseConfig() problems = %+v", problems)
	}
	want := project.Config{
		Projects: []project.Entry{
			{
				Name: "network-prod", Dir: "infra/network", Workspaces: []string{"prod"}, Tool: "tofu", Version: "1.12.6",
				WhenModified: []string{"**/*.tf", "../shared/*.tfvars"}, DependsOn: []string{"dns-prod"}, VarFiles: []string{"prod.tfvars"},
				BackendConfig: []string{"prod.s3.tfbackend", "key=prod"}, Apply: run.ApplyManual, Lock: run.LockPlan, Environment: "production",
				Requirements: []string{"up_to_date"},
				Steps: run.Steps{
					BeforePlan: [][]string{{"./gen.sh", "$WORKSPACE"}, {"lint", "lint"}}, Plan: [][]string{{"terragrunt", "plan", "$ARGS"}},
				},
			},
			{Dir: "live/*", Glob: true, Workspaces: []string{"staging", "prod"}},
		},
		Ignore: []string{"modules/**", "examples/**"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(project.Entry{})); diff != "" {
		t.Errorf("ParseConfig() (-want +got):\n%s", diff)
	}
}

func TestParseConfigTakesNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "version: 1\n", "projects:\n", "projects: []\n", "discover:\n  ignore: []\n"} {
		if c, problems := project.ParseConfig("planlatch.yaml", []byte(text)); len(c.Projects)+len(problems) > 0 {
			t.Errorf("ParseConfig(%q) = %+v, %+v, want nothing", text, c, problems)
		}
	}
}

func TestParseConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"an unknown key":           {"projets: []\n", `1:1 projets "projets" is not a key here | did you mean "projects"?`},
		"an unknown key inside":    {"projects:\n- dir: a\n  wrkspace: x\n", `3:3 projects[0].wrkspace "wrkspace" is not a key here | did you mean "workspace"?`},
		"a key written twice":      {"version: 1\nversion: 1\n", `2:1 version is written twice, first in line 1 | keep one of them`},
		"an unknown version":       {"version: 2\n", `1:10 version version "2" is unknown | write version: 1`},
		"a text for a list":        {"projects: a\n", `1:11 projects is text, not a list | write one item per line, each after a dash`},
		"a list for a text":        {"projects:\n- dir: [a]\n", `2:8 projects[0].dir is a list, not text | write a text, in quotes if need be`},
		"a text for a mapping":     {"projects:\n- a\n", `2:3 projects[0] is text, not a mapping of keys to values | write key: value lines below it`},
		"true for a text":          {"projects:\n- {dir: a, workspace: true}\n", `2:23 projects[0].workspace is true or false, not text | write a text, in quotes if need be`},
		"no directory":             {"projects:\n- name: a\n", `2:3 projects[0].dir a project needs a directory | add dir:, relative to the root of the repository`},
		"a directory above":        {"projects:\n- dir: ../x\n", `2:8 projects[0].dir "../x" leads outside the repository | write a path relative to the root of the repository`},
		"an absolute directory":    {"projects:\n- dir: /etc\n", `2:8 projects[0].dir "/etc" leads outside the repository | write a path relative to the root of the repository`},
		"a workspace with a path":  {"projects:\n- dir: a\n  workspace: ../../x\n", `3:14 projects[0].workspace "../../x" is not a valid workspace | use up to 90 letters, digits, dots, dashes and underscores, beginning with a letter or digit`},
		"a name with a slash":      {"projects:\n- dir: a\n  name: a/b\n", `3:9 projects[0].name "a/b" is not a valid name | use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit`},
		"a name that hides":        {"projects:\n- dir: a\n  name: \"a\\u202eb\"\n", `3:9 projects[0].name "a\u202eb" contains a character that cannot be seen | remove it`},
		"an apply mode":            {"projects:\n- dir: a\n  apply: after-merge\n", `3:10 projects[0].apply "after-merge" is not one of its values | did you mean "after_merge"?`},
		"an unknown requirement":   {"projects:\n- dir: a\n  requirements: {add: [tested]}\n", `3:24 projects[0].requirements.add[0] "tested" is not one of its values | write approved, mergeable or up_to_date`},
		"an unknown tool":          {"projects:\n- dir: a\n  tool: {name: pulumi}\n", `3:16 projects[0].tool.name "pulumi" is not one of its values | write tofu or terraform`},
		"a version that is none":   {"projects:\n- dir: a\n  tool: {version: latest}\n", `3:19 projects[0].tool.version "latest" is neither a version nor a constraint | write "1.12.6" or "~> 1.12"`},
		"a glob that is none":      {"projects:\n- dir: 'a/[x'\n", `2:8 projects[0].dir "a/[x" is not a valid glob | close its brackets and braces`},
		"a name for a glob":        {"projects:\n- dir: a/*\n  name: x\n", `3:9 projects[0].name one name cannot stand for all the directories of a glob | remove name, or write a path instead of a glob`},
		"a var file outside":       {"projects:\n- dir: a\n  var_files: [../../x]\n", `3:14 projects[0].var_files "../../x" leads outside the repository | write a path relative to the project's directory`},
		"an exclusion":             {"projects:\n- dir: a\n  when_modified: ['!x']\n", `3:18 projects[0].when_modified "!x" excludes, but the list only adds to what is found from the code | remove it`},
		"both workspace keys":      {"projects:\n- dir: a\n  workspace: x\n  workspaces: [y]\n", `2:3 projects[0].workspaces workspace and workspaces are both written | keep one of them`},
		"a workspace twice":        {"projects:\n- dir: a\n  workspaces: [y, y]\n", `3:19 projects[0].workspaces[1] "y" is in the list twice | keep one of them`},
		"a directory twice":        {"projects:\n- dir: a\n- dir: ./a\n", `3:8 projects[1].dir "a" in workspace "default" is listed before, in line 2 | list each directory and workspace once`},
		"a name twice":             {"projects:\n- {dir: a, name: x}\n- {dir: b, name: x}\n", `3:18 projects[1].name name "x" is taken by the project in line 2 | give each project its own name`},
		"an unknown step":          {"projects:\n- dir: a\n  steps: {before_pln: [[./gen.sh]]}\n", `3:11 projects[0].steps.before_pln "before_pln" is not a key here | did you mean "before_plan"?`},
		"a step for a shell":       {"projects:\n- dir: a\n  steps: {before_plan: [./gen.sh]}\n", `3:25 projects[0].steps.before_plan[0] is text, not a list | write one item per line, each after a dash`},
		"a step that does nothing": {"projects:\n- dir: a\n  steps: {before_plan: [[]]}\n", `3:24 projects[0].steps.before_plan has a command without a program | write each command as a list, as in [["./gen.sh", "$WORKSPACE"]]`},
		"a plan of something else": {"projects:\n- dir: a\n  steps: {plan: [[terragrunt, plan]]}\n", `3:17 projects[0].steps.plan names neither $PLANFILE nor $ARGS, so that it could be about another plan than the one that is reviewed | hand the plan file over, as in ["terragrunt", "plan", "$ARGS"]`},
		"an ignore outside":        {"discover: {ignore: [../x]}\n", `1:21 discover.ignore[0] "../x" is not a glob of directories in this repository | write, for example, "modules/**"`},
		"an anchor":                {"projects:\n- &x {dir: a}\n", `2:3 projects[0] is an anchor or alias, which are not read here, not a mapping of keys to values | write key: value lines below it`},
		"a merge":                  {"projects:\n- <<: {dir: a}\n  dir: b\n", `2:3 projects[0].<< merging of anchors is not read here | write the values out`},
		"two documents":            {"version: 1\n---\nversion: 1\n", `3:1  a second YAML document begins here | keep everything in one document`},
		"something that is a list": {"- a\n", `1:1  is a list, not a mapping of keys to values | write key: value lines below it`},
		"bytes":                    {"\xff\xfe", `0:0  is not text in UTF-8 | save it as UTF-8`},
		"depth":                    {"a: " + strings.Repeat("[", 1000), `0:0  is nested too deeply, or has too many keys in one place | keep to the documented keys`},
		"size":                     {strings.Repeat("# x\n", 100_000), `0:0  has 400000 bytes, more than 262144 | list directories by globs`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := project.ParseConfig("planlatch.yaml", []byte(c.text))
			var got []string
			for _, p := range problems {
				if p.File != "planlatch.yaml" {
					t.Errorf("File = %q, want planlatch.yaml", p.File)
				}
				got = append(got, fmt.Sprintf("%d:%d %s %s | %s", p.Line, p.Column, p.Key, p.Message, p.Fix))
			}
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("ParseConfig() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConfigReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, problems := project.ParseConfig("planlatch.yaml", []byte("version: 7\nprojects:\n- dir: ..\n- dir: a\n  aply: off\n  workspace: '-'\nfoo: 1\n"))
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{1, 3, 5, 6, 7}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s%+v", diff, problems)
	}
}

func TestParseConfigSaysWhereTheSyntaxIsWrong(t *testing.T) {
	t.Parallel()
	_, problems := project.ParseConfig("planlatch.yaml", []byte("version: 1\nprojects:\n  - dir: a\n name: b\n"))
	if len(problems) != 1 || problems[0].Line == 0 || !strings.Contains(problems[0].Message, "is not valid YAML") {
		t.Errorf("ParseConfig() problems = %+v, want one with its line", problems)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{full, "a: &a [*a]", "? [a]\n: b", "projects:\n- dir: {}\n", "\t", "!!binary x", "projects: *x", "- - - -", "\"", "a: |\n  x\n b", "<<: 1", "{}", "? ", ": "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := project.ParseConfig("planlatch.yaml", data)
		for _, p := range problems {
			if p.Message == "" {
				t.Errorf("a problem without a message: %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		for _, e := range c.Projects {
			if e.Dir == "" || strings.HasPrefix(e.Dir, "/") || e.Dir == ".." || strings.HasPrefix(e.Dir, "../") || len(e.Workspaces) == 0 {
				t.Errorf("ParseConfig() accepted %+v", e)
			}
		}
	})
}
