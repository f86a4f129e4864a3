package project_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

func withSteps(steps string) string {
	return "projects:\n- dir: app\n  steps: " + steps + "\n"
}

func TestStepsOfTheHeadNeverCount(t *testing.T) {
	t.Parallel()
	repo := files{"app/main.tf": s3}
	gen := repo.with(files{"planlatch.yaml": withSteps(`{before_init: [[./gen.sh]]}`)})
	note := "planlatch.yaml changes steps of app; the rules of the base branch judge until it is merged"
	server := allowing("steps")
	server.Settings.Steps = run.Steps{BeforePlan: [][]string{{"lint"}}}
	generated, linted := [][]string{{"./gen.sh"}}, [][]string{{"lint"}}
	for name, c := range map[string]struct {
		base, head files
		rules      project.Rules
		want       run.Steps
		notes      []string
	}{
		"added":              {repo, gen, allowing("steps"), run.Steps{}, []string{note}},
		"changed":            {gen, repo.with(files{"planlatch.yaml": withSteps(`{before_init: [[./steal.sh]]}`)}), allowing("steps"), run.Steps{BeforeInit: generated}, []string{note}},
		"removed":            {gen, repo, allowing("steps"), run.Steps{BeforeInit: generated}, []string{note}},
		"of the base":        {gen, gen, allowing("steps"), run.Steps{BeforeInit: generated}, nil},
		"of the server":      {repo, repo, server, run.Steps{BeforePlan: linted}, nil},
		"of both":            {gen, gen, server, run.Steps{BeforeInit: generated, BeforePlan: linted}, nil},
		"added to a server":  {repo, gen, server, run.Steps{BeforePlan: linted}, []string{note}},
		"instead of theirs":  {repo, repo.with(files{"planlatch.yaml": withSteps(`{before_plan: [[./gen.sh]]}`)}), server, run.Steps{BeforePlan: linted}, []string{note}},
		"instead, on a base": {repo.with(files{"planlatch.yaml": withSteps(`{before_plan: [[./gen.sh]]}`)}), repo.with(files{"planlatch.yaml": withSteps(`{before_plan: [[./gen.sh]]}`)}), server, run.Steps{BeforePlan: generated}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, c.base, c.head.with(files{"app/x.tf": empty}), c.rules)
			if len(s.Projects) != 1 || len(s.Problems) > 0 {
				t.Fatalf("Select() = %+v, want one project", s)
			}
			if got := s.Projects[0].Settings.Steps; !got.Equal(c.want) {
				t.Errorf("Steps = %+v, want %+v", got, c.want)
			}
			if diff := cmp.Diff(c.notes, s.Notes); diff != "" {
				t.Errorf("Notes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("and are refused where the server does not allow them", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, gen, serverRules)
		if len(s.Problems) != 1 || s.Problems[0].Message != "the server does not let this repository set steps" || len(s.Projects) > 0 {
			t.Errorf("Select() = %+v, want one problem", s)
		}
	})
}

func TestAMovedProjectKeepsTheStepsThatJudgedIt(t *testing.T) {
	t.Parallel()
	base := files{"planlatch.yaml": "projects:\n- {dir: 'prod/*', steps: {before_apply: [[check]]}}\n- {dir: 'test/*'}\n", "prod/a/main.tf": s3, "test/b/main.tf": empty}
	head := base.with(files{"prod/a/main.tf": "", "test/a/main.tf": s3, "planlatch.yaml": "projects:\n- {dir: 'test/*'}\n"})
	s := selectFiles(t, base, head, allowing("steps"))
	for _, p := range s.Projects {
		if p.Dir == "test/a" && p.Settings.Steps.Equal(run.Steps{BeforeApply: [][]string{{"check"}}}) {
			return
		}
	}
	t.Errorf("Select() = %+v, want test/a with the check of prod/a", s)
}

const wrapped = "projects:\n- {dir: 'live/*', when_modified: ['../../modules/**'], steps: {plan: [[wrap, $ARGS]]}}\n"

func TestDirectoriesWhoseCodeIsMadeAreProjects(t *testing.T) {
	t.Parallel()
	repo := files{
		"planlatch.yaml": wrapped, "live/a/terragrunt.hcl": "x", "live/b/terragrunt.hcl": "x", "live/notes/README.md": "x",
		"modules/vpc/main.tf": `variable "cidr" {}`,
	}
	rules := allowing("steps")
	t.Run("by their own files", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, repo.with(files{"live/a/terragrunt.hcl": "y"}), rules)
		if diff := cmp.Diff(map[string][]string{"live/a": {"live/a/terragrunt.hcl changed"}}, reasons(s.Projects)); diff != "" || len(s.Problems) > 0 {
			t.Errorf("Select() (-want +got):\n%s%+v", diff, s.Problems)
		}
		if got, want := s.Projects[0].Settings.Inputs, []string{"live/a", "modules", "planlatch.yaml"}; !slices.Equal(got, want) {
			t.Errorf("Inputs = %v, want %v", got, want)
		}
	})
	t.Run("and by what they name", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, repo.with(files{"modules/vpc/main.tf": `variable "range" {}`}), rules)
		if got := labels(s.Projects); !slices.Equal(got, []string{"live/a", "live/b"}) {
			t.Errorf("Projects = %v, want both", got)
		}
	})
	t.Run("and a new one that a glob of the base reaches", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, repo.with(files{"live/c/terragrunt.hcl": "y"}), rules)
		if got := labels(s.Projects); !slices.Equal(got, []string{"live/c"}) || s.Projects[0].Skipped != "" {
			t.Errorf("Projects = %+v, want live/c, planned", s.Projects)
		}
	})
	t.Run("and wait for steps that are new", func(t *testing.T) {
		t.Parallel()
		base := without(repo, "planlatch.yaml", "live/a/terragrunt.hcl")
		for _, config := range []string{wrapped, "projects: [{dir: live/a, steps: {before_init: [[./gen.sh]]}}]\n"} {
			s := selectFiles(t, base, base.with(files{"planlatch.yaml": config, "live/a/terragrunt.hcl": "y"}), rules)
			i := slices.IndexFunc(s.Projects, func(p run.Selected) bool { return p.Dir == "live/a" })
			if i < 0 || !strings.Contains(s.Projects[i].Skipped, "once they are on the base branch") || len(s.Problems) > 0 {
				t.Errorf("Select(%q) = %+v, want live/a not planned", config, s)
			}
		}
	})
	t.Run("and are missed when they go", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, repo, repo.with(files{"live/a/terragrunt.hcl": ""}), rules)
		if len(s.Projects) != 1 || !s.Projects[0].Deleted {
			t.Errorf("Projects = %+v, want live/a, deleted", s.Projects)
		}
	})
	t.Run("and without steps nothing makes them", func(t *testing.T) {
		t.Parallel()
		head := repo.with(files{"planlatch.yaml": "projects: [{dir: live/a}]\n"})
		if s := selectFiles(t, head, head.with(files{"live/a/terragrunt.hcl": "y"}), rules); len(s.Problems) == 0 {
			t.Errorf("Select() = %+v, want a problem", s)
		}
	})
}

// without is a repository without some files.
func without(f files, names ...string) files {
	gone := files{}
	for _, name := range names {
		gone[name] = ""
	}
	return f.with(gone)
}

func TestWhoseCodeIsMadeIsMadeFromTheWholeTreeUnlessItSaysMore(t *testing.T) {
	t.Parallel()
	for steps, want := range map[string][]string{
		"{before_plan: [[./gen.sh]]}": {"."}, "{after_apply: [[./tell.sh]]}": {"app"},
	} {
		repo := files{"app/main.tf": s3, "planlatch.yaml": withSteps(steps)}
		s := selectFiles(t, repo, repo.with(files{"app/x.tf": empty}), allowing("steps"))
		if len(s.Projects) != 1 || !slices.Equal(s.Projects[0].Settings.Inputs, want) {
			t.Errorf("Select(%s) = %+v, want inputs %v", steps, s.Projects, want)
		}
	}
}
