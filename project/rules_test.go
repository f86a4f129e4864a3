package project_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

// allowing is the server's rules with more than the default allowed.
func allowing(parts ...string) project.Rules {
	r := serverRules
	r.AllowRepoConfig = append([]string{"projects", "requirements.add"}, parts...)
	return r
}

func TestSelectWithConfiguration(t *testing.T) {
	t.Parallel()
	base := files{
		"planlatch.yaml": `projects:
- {dir: app, workspaces: [prod, staging], when_modified: ["../shared/*.json"], depends_on: [net]}
- {dir: net, name: net, var_files: [../vars/net.tfvars], backend_config: [net.tfbackend, "region=eu"]}
- {dir: "live/**"}
- {dir: live/b, name: b, depends_on: [app]}
discover: {ignore: ["live/old/**"]}
`,
		"app/main.tf": s3, "net/main.tf": s3, "net/net.tfbackend": "key = 1\n", "vars/net.tfvars": "a = 1\n",
		"live/a/main.tf": s3, "live/b/main.tf": s3, "live/old/c/main.tf": s3, "other/main.tf": s3, "shared/a.json": "{}",
	}
	for name, c := range map[string]struct {
		change files
		want   []string
		note   string
	}{
		"both workspaces of a directory":      {change: files{"app/main.tf": empty}, want: []string{"app:prod", "app:staging"}},
		"when_modified":                       {change: files{"shared/b.json": "{}"}, want: []string{"app:prod", "app:staging"}},
		"a var file outside of the directory": {change: files{"vars/net.tfvars": "a = 2\n"}, want: []string{"net"}},
		"the order of depends_on":             {change: files{"app/main.tf": empty, "net/main.tf": empty, "live/a/x.tf": empty, "live/b/x.tf": empty}, want: []string{"net", "app:prod", "app:staging", "live/a", "b"}},
		"what is ignored":                     {change: files{"live/old/c/main.tf": empty}},
		"what is not listed, with a word":     {change: files{"other/main.tf": empty}, note: "other changed and is not planned: planlatch.yaml does not list it"},
		"a new directory that a glob reaches": {change: files{"live/new/main.tf": s3}, want: []string{"live/new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, base, base.with(c.change), serverRules)
			if diff := cmp.Diff(c.want, labels(s.Projects)); diff != "" || len(s.Problems) > 0 {
				t.Errorf("Select() (-want +got):\n%s%+v", diff, s.Problems)
			}
			if c.note != "" && !slices.Contains(s.Notes, c.note) {
				t.Errorf("Notes = %v, want %q", s.Notes, c.note)
			}
		})
	}
	t.Run("fills what the project is run with", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"net/main.tf": empty}), serverRules)
		got := s.Projects[0].Settings
		want := serverRules.Settings
		want.VarFiles, want.BackendConfig, want.Inputs = []string{"../vars/net.tfvars"}, []string{"net.tfbackend", "region=eu"}, []string{"net", "vars/net.tfvars"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Settings (-want +got):\n%s", diff)
		}
	})
}

func TestSelectRefusesConfigurationThatDoesNotFitTheRepository(t *testing.T) {
	t.Parallel()
	repo := files{"app/main.tf": s3, "net/main.tf": s3, "docs/x.md": "x", "app/x/y.tfvars": ""}
	for name, c := range map[string]struct{ config, want string }{
		"a directory that is not there": {"projects: [{dir: ap}]", `1:18 "ap" does not exist | did you mean "app"?`},
		"a directory without code":      {"projects: [{dir: docs}]", `1:18 "docs" has no .tf or .tofu files | add them, or remove the entry`},
		"a glob that reaches nothing":   {"projects: [{dir: 'live/*'}]", `1:18 "live/*" matches no root module | correct the glob, or remove the entry`},
		"two globs for one directory":   {"projects: [{dir: 'a*'}, {dir: '*p'}]", `1:31 "*p" and "a*" both reach "app" | make the globs apart, or list the directory by itself`},
		"a name that is a directory":    {"projects: [{dir: net}, {dir: app, name: net}]", `1:41 "app" and "net" are both called "net" | give one of them another name`},
		"an unknown dependency":         {"projects: [{dir: net}, {dir: app, depends_on: [nett]}]", `1:47 there is no project "nett" | did you mean "net"?`},
		"a circle":                      {"projects: [{dir: net, depends_on: [app]}, {dir: app, depends_on: [net]}]", `1:66 projects depend on each other in a circle: app → net → app | remove one of these dependencies`},
		"a missing var file":            {"projects: [{dir: app, var_files: [x.tfvars]}]", `1:34 "app/x.tfvars" does not exist | add the file, or correct the path, which is relative to the project's directory`},
		"a directory as var file":       {"projects: [{dir: app, var_files: [x]}]", `1:34 "app/x" is a directory | name a file`},
		"apply":                         {"projects: [{dir: app, apply: before_merge}]", `1:30 the server does not let this repository set apply | remove it, or have apply added to allow_repo_config on the server`},
		"environment":                   {"projects: [{dir: app, environment: prod}]", `1:36 the server does not let this repository set environment | remove it, or have environment added to allow_repo_config on the server`},
		"lock":                          {"projects: [{dir: app, lock: none}]", `1:29 the server does not let this repository set lock | remove it, or have apply added to allow_repo_config on the server`},
		"a version beyond the server's": {"projects: [{dir: app, tool: {version: 1.4.0}}]", `1:29 version "1.4.0" is not allowed here | pin a version that meets >=1.5`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := serverRules
			rules.ToolsAllow = ">=1.5"
			s := selectFiles(t, repo, repo.with(files{"planlatch.yaml": c.config, "app/new.tf": empty}), rules)
			var got []string
			for _, p := range s.Problems {
				got = append(got, place(p)+" "+p.Message+" | "+p.Fix)
			}
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("Problems (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("when the server allows no projects", func(t *testing.T) {
		t.Parallel()
		rules := serverRules
		rules.AllowRepoConfig = []string{}
		s := selectFiles(t, repo, repo.with(files{"planlatch.yaml": "projects: [{dir: app}]"}), rules)
		if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Message, "set projects") {
			t.Errorf("Problems = %+v, want one about projects", s.Problems)
		}
	})
	t.Run("under another name", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, repo.with(files{"planlatch.yml": "projects: []"}), serverRules)
		if len(s.Problems) != 1 || s.Problems[0].Fix != "rename it" {
			t.Errorf("Problems = %+v, want one about the name", s.Problems)
		}
	})
}

func TestGatesComeFromTheBase(t *testing.T) {
	t.Parallel()
	config := func(gates string) files {
		return files{"planlatch.yaml": "projects:\n- dir: 'app/*'\n" + gates, "app/a/main.tf": s3}
	}
	strict := "  apply: manual\n  lock: plan\n  environment: prod\n  requirements: {add: [up_to_date]}\n"
	rules := allowing("apply", "environment")
	one := func(s project.Selection) run.Settings {
		if len(s.Projects) != 1 {
			t.Fatalf("Projects = %v, %+v, want one", labels(s.Projects), s.Problems)
		}
		return s.Projects[0].Settings
	}
	t.Run("and a head that loosens them is told so", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, config(strict), config("  apply: before_merge\n").with(files{"app/a/x.tf": empty}), rules)
		got := one(s)
		if got.Apply != run.ApplyManual || got.Lock != run.LockPlan || got.Environment != "prod" || !slices.Contains(got.Requirements, "up_to_date") {
			t.Errorf("Settings = %+v, want those of the base", got)
		}
		want := "planlatch.yaml changes apply, lock, environment, requirements of app/a; the rules of the base branch judge until it is merged"
		if !slices.Contains(s.Notes, want) {
			t.Errorf("Notes = %q, want %q", s.Notes, want)
		}
	})
	t.Run("and a head without the file changes nothing", func(t *testing.T) {
		t.Parallel()
		got := one(selectFiles(t, config(strict), files{"app/a/main.tf": s3, "app/a/x.tf": empty}, rules))
		if got.Apply != run.ApplyManual || got.Environment != "prod" {
			t.Errorf("Settings = %+v, want those of the base", got)
		}
	})
	t.Run("for a new directory that a glob of the base reaches", func(t *testing.T) {
		t.Parallel()
		head := config(strict).with(files{"app/b/main.tf": s3, "planlatch.yaml": "projects:\n- dir: app/a\n- {dir: app/b, apply: before_merge}\n"})
		if got := one(selectFiles(t, config(strict), head, rules)); got.Apply != run.ApplyManual {
			t.Errorf("Settings = %+v, want those of the base's glob", got)
		}
	})
	t.Run("and are the server's where the base has none", func(t *testing.T) {
		t.Parallel()
		got := one(selectFiles(t, files{"app/a/main.tf": s3}, config("  apply: off\n  environment: prod\n").with(files{"app/a/x.tf": empty}), rules))
		if got.Apply != run.ApplyAfterMerge || got.Environment != "" {
			t.Errorf("Settings = %+v, want the server's", got)
		}
	})
	t.Run("while requirements of the head are added", func(t *testing.T) {
		t.Parallel()
		got := one(selectFiles(t, config(""), config("  requirements: {add: [mergeable]}\n").with(files{"app/a/x.tf": empty}), rules))
		if want := []string{"approved", "mergeable"}; !slices.Equal(got.Requirements, want) {
			t.Errorf("Requirements = %v, want %v", got.Requirements, want)
		}
	})
	t.Run("and an invalid base refuses everything", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, config("  aply: off\n"), config("").with(files{"app/a/x.tf": empty}), rules)
		if len(s.Projects) > 0 || len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0].Message, "on the base branch: ") {
			t.Errorf("Select() = %+v, want the base's problem alone", s)
		}
	})
	t.Run("and without a base are the server's", func(t *testing.T) {
		t.Parallel()
		head := config("  apply: off\n")
		s := project.Select(t.Context(), project.Input{Head: head.fs(), Changed: diff(nil, head), Rules: rules})
		if got := one(s); got.Apply != run.ApplyAfterMerge {
			t.Errorf("Settings = %+v, want the server's", got)
		}
	})
}

func TestSelectSeesWhatTheConfigurationChanges(t *testing.T) {
	t.Parallel()
	repo := files{"a/main.tf": s3, "b/main.tf": s3, "a/x.tfvars": "a = 1\n"}
	for name, c := range map[string]struct {
		before, after string
		want          map[string][]string
		note          string
	}{
		"a var file": {"projects: [{dir: a}, {dir: b}]", "projects: [{dir: a, var_files: [x.tfvars]}, {dir: b}]",
			map[string][]string{"a": {"planlatch.yaml changed its var_files"}}, ""},
		"a workspace": {"projects: [{dir: a}]", "projects: [{dir: a, workspaces: [default, prod]}]",
			map[string][]string{"a:prod": {"planlatch.yaml lists it now"}}, ""},
		"a project more": {"projects: [{dir: a}]", "projects: [{dir: a}, {dir: b}]", map[string][]string{"b": {"planlatch.yaml lists it now"}}, ""},
		"a project less": {"projects: [{dir: a}, {dir: b}]", "projects: [{dir: a}]", map[string][]string{},
			"b is no longer a project: planlatch.yaml does not list it; what its state holds stays"},
		"a name":        {"projects: [{dir: a}]", "projects: [{dir: a, name: x}]", map[string][]string{}, ""},
		"the first one": {"", "projects: [{dir: a, tool: {name: terraform}}, {dir: b}]", map[string][]string{"a": {"planlatch.yaml changed its tool"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, repo.with(files{"planlatch.yaml": c.before}), repo.with(files{"planlatch.yaml": c.after}), serverRules)
			if diff := cmp.Diff(c.want, reasons(s.Projects)); diff != "" || len(s.Problems) > 0 {
				t.Errorf("Select() (-want +got):\n%s%+v", diff, s.Problems)
			}
			if c.note != "" && !slices.Contains(s.Notes, c.note) {
				t.Errorf("Notes = %q, want %q", s.Notes, c.note)
			}
		})
	}
}

func TestVersionFilesPinTheTool(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files   files
		rules   project.Rules
		want    [2]string
		problem string
		note    string
	}{
		"of the directory":              {files: files{"a/.opentofu-version": "v1.9.0\n"}, want: [2]string{"tofu", "1.9.0"}},
		"above":                         {files: files{".terraform-version": "1.5.7"}, want: [2]string{"terraform", "1.5.7"}},
		"the nearest":                   {files: files{".terraform-version": "1.5.7", "a/.opentofu-version": "1.9.0"}, want: [2]string{"tofu", "1.9.0"}},
		"of the default tool first":     {files: files{"a/.terraform-version": "1.5.7", "a/.opentofu-version": "1.9.0"}, rules: project.Rules{DefaultTool: "terraform"}, want: [2]string{"terraform", "1.5.7"}},
		"of the tool that is asked for": {files: files{"planlatch.yaml": "projects: [{dir: a, tool: {name: terraform}}]", "a/.terraform-version": "1.5.7", "a/.opentofu-version": "1.9.0"}, want: [2]string{"terraform", "1.5.7"}},
		"less than planlatch.yaml":      {files: files{"planlatch.yaml": "projects: [{dir: a, tool: {version: 1.8.0}}]", "a/.opentofu-version": "1.9.0"}, want: [2]string{"tofu", "1.8.0"}},
		"in .tool-versions":             {files: files{".tool-versions": "# x\nterraform 1.5.7\nopentofu 1.9.0 1.8.0\n"}, want: [2]string{"tofu", "1.9.0"}},
		"by the kind of files":          {files: files{"a/x.tofu": empty}, want: [2]string{"tofu", ""}},
		"with a word":                   {files: files{"a/.terraform-version": "latest:^1.5"}, want: [2]string{"terraform", ""}, note: `a/.terraform-version says "latest:^1.5", which is not a version`},
		"beyond what the server allows": {files: files{"a/.terraform-version": "1.2.0"}, rules: project.Rules{ToolsAllow: ">=1.5"}, want: [2]string{"terraform", "1.2.0"}, problem: `version "1.2.0" is not allowed here`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := files{"a/main.tf": s3}.with(c.files)
			s := selectFiles(t, base, base.with(files{"a/new.tf": empty}), c.rules)
			if len(s.Projects) != 1 || [2]string{s.Projects[0].Settings.Tool, s.Projects[0].Settings.Version} != c.want {
				t.Errorf("Projects = %+v, want %v", s.Projects, c.want)
			}
			if c.problem != "" && (len(s.Problems) != 1 || s.Problems[0].Message != c.problem) || c.problem == "" && len(s.Problems) > 0 {
				t.Errorf("Problems = %+v, want %q", s.Problems, c.problem)
			}
			if c.note != "" && (len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], c.note)) {
				t.Errorf("Notes = %q, want %q", s.Notes, c.note)
			}
		})
	}
}
