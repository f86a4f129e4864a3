package project_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

func TestSelectWithoutConfiguration(t *testing.T) {
	t.Parallel()
	base := monorepo()
	for name, c := range map[string]struct {
		change files
		want   map[string][]string
	}{
		"a file of a project": {
			files{"infra/network/main.tf": s3}, map[string][]string{"infra/network": {"infra/network/main.tf changed"}},
		},
		"any file below a project": {
			files{"infra/network/docs/notes.md": "new"}, map[string][]string{"infra/network": {"infra/network/docs/notes.md changed"}},
		},
		"a nested project is not its parent": {
			files{"infra/app/nested/main.tf": s3}, map[string][]string{"infra/app/nested": {"infra/app/nested/main.tf changed"}},
		},
		"a lock file": {
			files{"infra/app/.terraform.lock.hcl": "#\n"}, map[string][]string{"infra/app": {"infra/app/.terraform.lock.hcl changed"}},
		},
		"a module selects all who use it, directly or not": {
			files{"modules/vpc/main.tf": empty}, map[string][]string{
				"infra/network": {"uses modules/vpc, where main.tf changed"},
				"infra/app":     {"uses modules/vpc (through modules/net), where main.tf changed"},
			},
		},
		"a new file of a module": {
			files{"modules/net/more.tf": empty}, map[string][]string{"infra/app": {"uses modules/net, where more.tf was added"}},
		},
		"a template of a module": {
			files{"modules/vpc/templates/user.tpl": ""}, map[string][]string{
				"infra/network": {"uses modules/vpc, where templates/user.tpl was deleted"},
				"infra/app":     {"uses modules/vpc (through modules/net), where templates/user.tpl was deleted"},
			},
		},
		"a file that is read": {
			files{"shared/zones.json": "[]"}, map[string][]string{"infra/dns": {"shared/zones.json changed, which is read by infra/dns"}},
		},
		"a file that a module reads from the root module": {
			files{"shared/policy.json": "[]"}, map[string][]string{"infra/dns": {"shared/policy.json changed, which is read by infra/dns"}},
		},
		"a library module is listed and not planned": {
			files{"modules/unused/main.tf": `variable "other" {}`}, map[string][]string{"modules/unused": {
				"modules/unused/main.tf changed", "skipped: library module: it has no backend, and variables that nobody gives a value",
			}},
		},
		"a module that everybody stopped using": {
			files{"infra/network/main.tf": s3, "infra/app/main.tofu": empty, "modules/net/main.tf": "", "modules/vpc/main.tf": "", "modules/vpc/templates/user.tpl": ""},
			map[string][]string{"infra/network": {"infra/network/main.tf changed"}, "infra/app": {"infra/app/main.tofu changed"}},
		},
		"documents":        {files{"README.md": "other", "shared/other.json": "[]"}, map[string][]string{}},
		"what a tool left": {files{"examples/.terraform/modules/a.tf": s3}, map[string][]string{}},
		"a version file above": {files{".opentofu-version": "1.9.0\n"}, map[string][]string{
			"infra/app": {".opentofu-version was added, which pins its tool"}, "infra/app/nested": {".opentofu-version was added, which pins its tool"},
			"infra/dns": {".opentofu-version was added, which pins its tool"}, "infra/network": {".opentofu-version was added, which pins its tool"},
			"modules/unused": {".opentofu-version was added, which pins its tool", "skipped: library module: it has no backend, and variables that nobody gives a value"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, base, base.with(c.change), serverRules)
			if diff := cmp.Diff(c.want, reasons(s.Projects)); diff != "" {
				t.Errorf("Select() (-want +got):\n%s", diff)
			}
			if len(s.Problems) > 0 {
				t.Errorf("Select().Problems = %+v, want none", s.Problems)
			}
		})
	}
}

func TestSelectKnowsEveryProject(t *testing.T) {
	t.Parallel()
	s := selectFiles(t, monorepo(), monorepo(), serverRules)
	want := []string{"infra/app", "infra/app/nested", "infra/dns", "infra/network", "modules/unused"}
	if diff := cmp.Diff(want, labels(s.All)); diff != "" || len(s.Projects) > 0 {
		t.Errorf("All (-want +got):\n%sProjects = %v, want none", diff, s.Projects)
	}
}

func TestSelectFillsSettings(t *testing.T) {
	t.Parallel()
	base := monorepo()
	base["infra/network/versions.tf"] = `terraform { required_version = ">= 1.6" }`
	base["modules/vpc/versions.tf"] = `terraform { required_version = "< 2.0" }`
	base["infra/network/.terraform-version"] = "1.5.7\n"
	base[".tool-versions"] = "nodejs 20\nopentofu 1.9.1\n"
	head := base.with(files{"infra/network/x.tf": empty, "infra/dns/x.tf": empty, "infra/app/x.tofu": `locals { v = file(var.anything) }`})
	got := map[string]run.Settings{}
	for _, p := range selectFiles(t, base, head, serverRules).Projects {
		got[p.Label] = p.Settings
	}
	s := serverRules.Settings
	network, dns, app := s, s, s
	network.Tool, network.Version, network.Backend = "terraform", "1.5.7", "s3"
	network.Required = []string{">= 1.6", "< 2.0"}
	network.Inputs = []string{"infra/network", "modules/vpc"}
	dns.Tool, dns.Version, dns.Inputs = "tofu", "1.9.1", []string{"infra/dns", "modules/zone", "shared/zones.json", "shared/policy.json", ".tool-versions"}
	app.Tool, app.Version, app.Required, app.Inputs = "tofu", "1.9.1", []string{"< 2.0"}, []string{"."}
	if diff := cmp.Diff(map[string]run.Settings{"infra/network": network, "infra/dns": dns, "infra/app": app}, got); diff != "" {
		t.Errorf("Settings (-want +got):\n%s", diff)
	}
}

func TestSelectTakesNestedProjectsOutOfTheInputs(t *testing.T) {
	t.Parallel()
	base := monorepo().with(files{"main.tf": s3 + `module "zone" { source = "./modules/zone" }`})
	s := selectFiles(t, base, base.with(files{"main.tf": s3}), serverRules)
	want := []string{".", "!infra/app", "!infra/dns", "!infra/network"}
	if diff := cmp.Diff([]string{"."}, labels(s.Projects)); diff != "" {
		t.Fatalf("Projects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, s.Projects[0].Settings.Inputs); diff != "" {
		t.Errorf("Inputs (-want +got):\n%s", diff)
	}
}

func TestSelectReadsTheBackendFromTheCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		s3: "s3", empty: "", "terraform {\n backend \"local\" {}\n}": "local", "terraform {\n cloud {\n organization = \"x\"\n }\n}": "cloud",
		"terraform {\n backend \"remote\" {}\n}": "remote",
	} {
		s := selectFiles(t, files{}, files{"main.tf": code}, serverRules)
		if len(s.Projects) != 1 || s.Projects[0].Settings.Backend != want {
			t.Errorf("Select(%q) = %+v, want backend %q", code, s.Projects, want)
		}
	}
	s := selectFiles(t, files{}, files{"main.tf.json": `{"terraform": [{"backend": {"gcs": {"bucket": "b"}}}]}`, "x_override.tf": "terraform {\n backend \"http\" {}\n}"}, serverRules)
	if len(s.Projects) != 1 || s.Projects[0].Settings.Backend != "http" {
		t.Errorf("Select() = %+v, want the backend of the override", s.Projects)
	}
}

func TestSelectReadsTofuFilesInPlaceOfTheSameTfFile(t *testing.T) {
	t.Parallel()
	repo := files{
		"app/main.tf": `module "a" { source = "../a" }`, "app/main.tofu": `module "b" { source = "../b" }`,
		"a/a.tf": empty, "b/b.tf": empty,
	}
	for tool, want := range map[string][]string{"tofu": {"b"}, "terraform": {"a"}} {
		repo["planlatch.yaml"] = "projects:\n- dir: app\n  tool: {name: " + tool + "}\n"
		var got []string
		for _, dir := range []string{"a", "b"} {
			if s := selectFiles(t, repo, repo.with(files{dir + "/new.tf": empty}), serverRules); len(s.Projects) > 0 {
				got = append(got, dir)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s uses %v, want %v", tool, got, want)
		}
	}
}

// The tools take a backslash for a slash, so such a module is as much a part of the project as another.
func TestSelectFollowsModulesThatAreWrittenWithBackslashes(t *testing.T) {
	t.Parallel()
	for _, source := range []string{`..\\modules\\a`, `../modules\\a`, `.\\..\\modules/a`} {
		repo := files{"app/main.tf": s3 + `module "a" { source = "` + source + `" }`, "modules/a/a.tf": empty}
		s := selectFiles(t, repo, repo.with(files{"modules/a/new.tf": empty}), serverRules)
		if len(s.Projects) != 1 || s.Projects[0].Dir != "app" || !slices.Contains(s.Projects[0].Settings.Inputs, "modules/a") {
			t.Errorf("Select() of a change in %s = %+v, want app, made from modules/a", source, s.Projects)
		}
	}
}

func TestSelectFollowsSymlinksInsideTheRepository(t *testing.T) {
	t.Parallel()
	base := files{
		"live/prod/provider.tf": "-> ../../common/provider.tf", "live/prod/main.tf": s3 + `module "m" { source = "./mod" }`,
		"live/prod/mod": "-> ../../modules/m", "live/prod/files": "-> ../../assets",
		"common/provider.tf": `module "q" { source = "../../modules/q" }`, "modules/m/main.tf": empty, "modules/q/main.tf": empty, "assets/deep/a.txt": "a",
	}
	for _, name := range []string{"common/provider.tf", "modules/m/main.tf", "modules/q/main.tf", "assets/deep/a.txt", "live/prod/mod"} {
		content := "# changed\n"
		if name == "live/prod/mod" {
			content = "-> ../../modules/q"
		}
		s := selectFiles(t, base, base.with(files{name: content}), serverRules)
		if !slices.Contains(labels(s.Projects), "live/prod") {
			t.Errorf("a change of %s selects %v, want live/prod", name, labels(s.Projects))
		}
	}
}

func TestSelectRefusesWhatLeadsOutside(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		head files
		want string
	}{
		"a module source":          {files{"app/main.tf": `module "m" { source = "../../up" }`}, `module source "../../up" leads outside the repository`},
		"a file that is a symlink": {files{"app/main.tf": "-> /etc/passwd"}, "is a symlink that leads outside the repository"},
		"a loop":                   {files{"app/main.tf": "-> main.tf"}, "is a symlink that leads to itself"},
		"a symlink to nothing":     {files{"app/main.tf": "-> gone.tf"}, "is a symlink that leads to nothing"},
		"a directory":              {files{"planlatch.yaml": "projects: [{dir: app}]", "app": "-> ../../x"}, `"app" is a symlink that leads outside the repository`},
		"a var file": {files{"planlatch.yaml": "projects: [{dir: app, var_files: [x.tfvars]}]", "app/main.tf": empty, "app/x.tfvars": "-> /proc/self/environ"},
			`"app/x.tfvars" is a symlink that leads outside the repository`},
		"the configuration": {files{"planlatch.yaml": "-> /etc/planlatch.yaml"}, "is a symlink that leads outside the repository"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, files{}, c.head, serverRules)
			if len(s.Problems) != 1 || s.Problems[0].Message != c.want {
				t.Errorf("Problems = %+v, want one: %s", s.Problems, c.want)
			}
		})
	}
}

func TestSelectTellsWhatIsWrongWithTheCode(t *testing.T) {
	t.Parallel()
	base := files{"a/main.tf": empty, "b/main.tf": "resource \"x\" {\n", "lib/main.tf": empty, "use/main.tf": `module "l" { source = "../lib" }`}
	t.Run("of selected projects, with the place", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"lib/main.tf": "locals {\n  a = \n}\n"}), serverRules)
		if len(s.Problems) != 1 || s.Problems[0].File != "lib/main.tf" || s.Problems[0].Line != 2 || s.Problems[0].Column == 0 || s.Problems[0].Fix == "" {
			t.Errorf("Problems = %+v, want one in lib/main.tf, line 2", s.Problems)
		}
	})
	t.Run("not of others", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"a/main.tf": s3}), serverRules)
		if len(s.Problems) != 0 || len(s.Notes) != 0 {
			t.Errorf("Problems = %+v, Notes = %v, want none", s.Problems, s.Notes)
		}
	})
	for name, code := range map[string]string{
		"deep brackets":   "a = " + strings.Repeat("[", 100_000),
		"deep braces":     strings.Repeat("a {", 100_000),
		"deep negation":   "a = " + strings.Repeat("!", 200_000) + "true",
		"long sum":        "a = 1" + strings.Repeat("+1", 200_000),
		"long conditions": "a = " + strings.Repeat("(f(1,2)) ? 1 : ", 50_000) + "1",
		"deep template":   `a = "` + strings.Repeat(`${"`, 50_000),
		"long accessors":  "a = b" + strings.Repeat("[c]", 50_000),
		"big file":        strings.Repeat("# comment\n", 300_000),
	} {
		t.Run("and survives "+name, func(t *testing.T) {
			t.Parallel()
			s := selectFiles(t, base, base.with(files{"a/main.tf": code}), serverRules)
			if len(s.Problems) == 0 {
				t.Error("Problems = none, want one")
			}
		})
	}
	for name, code := range map[string]string{
		"deep JSON":  strings.Repeat(`{"a":`, 100_000),
		"wrong JSON": `{"terraform": [`,
		"JSON loops": `{"module": {"m": {"source": "` + strings.Repeat("%{for i in [1,2,3,4,5,6,7,8,9]}", 30) + `"}}}`,
	} {
		t.Run("and survives "+name, func(t *testing.T) {
			t.Parallel()
			selectFiles(t, base, base.with(files{"a/main.tf.json": code}), serverRules)
		})
	}
}

func TestSelectTellsDeletedFromMoved(t *testing.T) {
	t.Parallel()
	key := func(k string) string { return "terraform {\n backend \"s3\" {\n key = \"" + k + "\"\n }\n}\n" }
	base := files{"old/main.tf": key("old"), "old/x.tf": "# a long file that git would recognise\n", "stay/main.tf": key("stay"), "plain/main.tf": empty}
	t.Run("moved with its backend", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"old/main.tf": "", "old/x.tf": "", "new/main.tf": key("old")}), serverRules)
		want := map[string][]string{"new": {"new/main.tf was added", "moved here from old"}, "old": {"old was deleted", "skipped: moved to new"}}
		if diff := cmp.Diff(want, reasons(s.Projects)); diff != "" {
			t.Errorf("Select() (-want +got):\n%s", diff)
		}
		if p := s.Projects[slices.IndexFunc(s.Projects, func(p run.Selected) bool { return p.Dir == "new" })]; p.From != "old" {
			t.Errorf("new comes from %q, want old", p.From)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"old/main.tf": "", "old/x.tf": "", "new/main.tf": key("new")}), serverRules)
		want := map[string][]string{"new": {"new/main.tf was added"}, "old": {"old was deleted",
			"skipped: its directory was deleted; `planlatch plan --destroy -p old` shows what its state still holds"}}
		if diff := cmp.Diff(want, reasons(s.Projects)); diff != "" {
			t.Errorf("Select() (-want +got):\n%s", diff)
		}
		if p := s.Projects[len(s.Projects)-1]; !p.Deleted || p.Settings.Backend != "s3" || !slices.Contains(labels(s.All), "old") {
			t.Errorf("last project = %+v, want the deleted one with its settings", p)
		}
	})
	t.Run("deleted while another has its state", func(t *testing.T) {
		t.Parallel()
		base := base.with(files{"twin/main.tf": key("old")})
		s := selectFiles(t, base, base.with(files{"old/main.tf": "", "old/x.tf": ""}), serverRules)
		if got := reasons(s.Projects)["old"]; len(got) != 2 || !strings.Contains(got[1], "twin keeps its state") {
			t.Errorf("old = %v, want it to name twin", got)
		}
	})
	t.Run("moved without a backend by what git saw", func(t *testing.T) {
		t.Parallel()
		head := base.with(files{"plain/main.tf": "", "other/main.tf": empty})
		changed := []project.Change{{Path: "other/main.tf", Old: "plain/main.tf", Kind: project.Renamed}}
		s := project.Select(t.Context(), project.Input{Head: head.fs(), Base: base.fs(), Changed: changed, Rules: serverRules})
		want := map[string][]string{
			"other": {"other/main.tf was moved from plain/main.tf", "moved here from plain"},
			"plain": {"plain was deleted", "skipped: moved to other"},
		}
		if diff := cmp.Diff(want, reasons(s.Projects)); diff != "" {
			t.Errorf("Select() (-want +got):\n%s", diff)
		}
	})
	t.Run("a project that became a module", func(t *testing.T) {
		t.Parallel()
		s := selectFiles(t, base, base.with(files{"stay/main.tf": key("stay") + "\n" + `module "p" { source = "../plain" }`, "old/main.tf": "", "old/x.tf": "", "plain/main.tf": "# still\n"}), serverRules)
		if want := "plain is no longer a project: another directory uses it as a module; what its state holds stays"; !slices.Contains(s.Notes, want) {
			t.Errorf("Notes = %v, want %q", s.Notes, want)
		}
	})
	t.Run("a moved project keeps the stricter rules", func(t *testing.T) {
		t.Parallel()
		rules := serverRules
		rules.AllowRepoConfig = []string{"projects", "requirements.add", "apply", "environment"}
		base := base.with(files{"planlatch.yaml": "projects:\n- {dir: old, apply: manual, environment: prod, requirements: {add: [up_to_date]}}\n"})
		head := base.with(files{"old/main.tf": "", "old/x.tf": "", "new/main.tf": key("old"), "planlatch.yaml": "projects:\n- {dir: new}\n"})
		s := selectFiles(t, base, head, rules)
		p := s.Projects[0]
		if p.Label != "new" || p.Settings.Apply != run.ApplyManual || !slices.Equal(p.Settings.Requirements, []string{"approved", "up_to_date"}) || p.Settings.Environment != "" {
			t.Errorf("new = %+v, want the old rules and no environment", p)
		}
	})
}

func TestSelectFailsClosedWhenTheRepositoryCannotBeRead(t *testing.T) {
	t.Parallel()
	s := project.Select(t.Context(), project.Input{Head: broken{}, Changed: []project.Change{{Path: "main.tf", Kind: project.Added}}})
	if s.Err == nil || len(s.Problems) == 0 || len(s.Projects) > 0 {
		t.Errorf("Select() = %+v, want an error and a problem", s)
	}
}

type broken struct{}

func (broken) Open(string) (fs.File, error) { return nil, errors.New("git has died") }

// many makes a repository of n projects, each with its own module and one that all share.
func many(n int) files {
	f := files{"modules/shared/main.tf": `variable "x" {}`}
	for i := range n {
		f[fmt.Sprintf("live/team%d/p%d/main.tf", i%10, i)] = fmt.Sprintf("terraform {\n  backend \"s3\" {\n    key = \"p%d\"\n  }\n}\n"+
			"module \"a\" {\n  source = \"../../../modules/m%d\"\n}\nresource \"terraform_data\" \"x\" {\n  input = file(\"${path.module}/in.txt\")\n}\n", i, i)
		f[fmt.Sprintf("live/team%d/p%d/variables.tf", i%10, i)] = "variable \"region\" {\n  default = \"eu\"\n}\n"
		f[fmt.Sprintf("modules/m%d/main.tf", i)] = "module \"s\" {\n  source = \"../shared\"\n}\n"
	}
	return f
}

func TestSelectOfSixtyProjects(t *testing.T) {
	t.Parallel()
	base := many(60)
	for name, c := range map[string]struct {
		change files
		want   int
	}{
		"one of them":          {files{"live/team3/p13/variables.tf": empty}, 1},
		"the module of one":    {files{"modules/m42/main.tf": empty}, 1},
		"the module of all":    {files{"modules/shared/main.tf": empty}, 60},
		"nobody's":             {files{"docs/x.md": "x"}, 0},
		"two and their module": {files{"live/team0/p0/x": "x", "live/team1/p1/x": "x", "modules/m1/x": "x"}, 2},
	} {
		s := selectFiles(t, base, base.with(c.change), serverRules)
		if len(s.Projects) != c.want || len(s.All) != 60 || len(s.Problems) > 0 {
			t.Errorf("a change of %s selects %d of %d, want %d of 60 (%v)", name, len(s.Projects), len(s.All), c.want, s.Problems)
		}
	}
}

func TestSelectOfManyFilesNamesAFew(t *testing.T) {
	t.Parallel()
	base, change := many(3), files{}
	for i := range 3500 {
		change[fmt.Sprintf("live/team0/p0/data/f%04d.json", i)] = "{}"
	}
	s := selectFiles(t, base, base.with(change), serverRules)
	if len(s.Projects) != 1 || len(s.Projects[0].Reasons) != 11 || s.Projects[0].Reasons[10] != "and 3490 more" {
		t.Errorf("Projects = %+v, want one with ten reasons and a count", s.Projects)
	}
}

func BenchmarkSelect500(b *testing.B) {
	base := many(500)
	head := base.with(files{"modules/shared/main.tf": empty, "live/team0/p0/main.tf": ""})
	// fstest.MapFS looks through all files for each directory; a real file system does not.
	in := project.Input{Head: onDisk(b, head), Base: onDisk(b, base), Changed: diff(base, head), Rules: serverRules}
	for b.Loop() {
		if s := project.Select(b.Context(), in); len(s.Projects) < 499 {
			b.Fatal(len(s.Projects), s.Problems)
		}
	}
}

func onDisk(b *testing.B, f files) fs.FS {
	dir := b.TempDir()
	for name, content := range f {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return os.DirFS(dir)
}

// TestSelectNamesWhatAProjectComesAfter walks dependencies through projects that the change does not touch.
func TestSelectNamesWhatAProjectComesAfter(t *testing.T) {
	t.Parallel()
	base := files{
		"planlatch.yaml": "version: 1\nprojects:\n- {dir: dns}\n- {dir: net, depends_on: [dns]}\n- {dir: db, depends_on: [net]}\n- {dir: app, depends_on: [db, net]}\n",
		"dns/main.tf":    s3, "net/main.tf": s3, "db/main.tf": s3, "app/main.tf": s3,
	}
	for name, c := range map[string]struct {
		change files
		want   map[string][]string
	}{
		"all of it":           {files{"dns/x.tf": "#", "net/x.tf": "#", "db/x.tf": "#", "app/x.tf": "#"}, map[string][]string{"dns": nil, "net": {"dns"}, "db": {"net", "dns"}, "app": {"db", "net", "dns"}}},
		"around an untouched": {files{"dns/x.tf": "#", "app/x.tf": "#"}, map[string][]string{"dns": nil, "app": {"dns"}}},
		"one alone":           {files{"app/x.tf": "#"}, map[string][]string{"app": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := base.with(c.change)
			sel := project.Select(t.Context(), project.Input{Head: head.fs(), Base: base.fs(), Changed: diff(base, head)})
			got := map[string][]string{}
			for _, p := range sel.Projects {
				got[p.Label] = p.After
			}
			if diff := cmp.Diff(c.want, got); diff != "" || len(sel.Problems) > 0 {
				t.Errorf("After (-want +got):\n%s\nproblems: %v", diff, sel.Problems)
			}
		})
	}
}
