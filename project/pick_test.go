package project_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

func place(p run.Problem) string { return fmt.Sprintf("%d:%d", p.Line, p.Column) }

func TestPick(t *testing.T) {
	t.Parallel()
	all := []run.Selected{
		{Dir: "infra/app", Workspace: "prod", Label: "app"}, {Dir: "infra/app", Workspace: "staging", Label: "infra/app:staging"},
		{Dir: "infra/network", Workspace: "default", Label: "infra/network"}, {Dir: ".", Workspace: "default", Label: "."},
	}
	for name, c := range map[string]struct {
		names, dirs []string
		workspace   string
		want        []string
		err         string
	}{
		"nothing takes all":           {want: []string{"app", "infra/app:staging", "infra/network", "."}},
		"a name":                      {names: []string{"app"}, want: []string{"app"}},
		"a directory":                 {dirs: []string{"./infra/app/"}, want: []string{"app", "infra/app:staging"}},
		"a directory and a workspace": {dirs: []string{"infra/app"}, workspace: "staging", want: []string{"infra/app:staging"}},
		"names and directories":       {names: []string{"."}, dirs: []string{"infra/network"}, want: []string{"infra/network", "."}},
		"a workspace":                 {workspace: "prod", want: []string{"app"}},
		"the root":                    {dirs: []string{"."}, want: []string{"."}},
		"a typing error":              {names: []string{"infra/netwrok"}, err: `there is no project "infra/netwrok"; did you mean "infra/network"?`},
		"something else":              {names: []string{"completely-different"}, err: `there is no project "completely-different"`},
		"a directory that is wrong":   {dirs: []string{"infra/ap"}, err: `there is no project in directory "infra/ap"; did you mean "infra/app"?`},
		"a directory above":           {dirs: []string{"../../etc"}, err: `there is no project in directory "../../etc"`},
		"a workspace that is wrong":   {workspace: "prd", err: `there is no workspace "prd"; did you mean "prod"?`},
		"a workspace of another":      {dirs: []string{"infra/network"}, workspace: "prod", err: `there is no workspace "prod"`},
		"a name of another workspace": {names: []string{"app"}, workspace: "staging", err: `there is no project "app in workspace staging"`},
		"a name that hides":           {names: []string{"a\u202e\n`"}, err: "there is no project \"a\\u202e\\n`\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := project.Pick(all, c.names, c.dirs, c.workspace)
			if c.err != "" {
				if e := (*project.PickError)(nil); !errors.As(err, &e) || err.Error() != c.err {
					t.Errorf("Pick() = %v, want %s", err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, labels(got)); diff != "" || err != nil {
				t.Errorf("Pick() = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	repo := files{
		"app/main.tf":      "# first\n\nresource \"x_y\" \"a\" {}\ndata \"x_z\" \"b\" {}\noutput \"o\" {}\nmodule \"m\" {\n  source = \"../mod\"\n}\n",
		"app/more.tf.json": "{\n \"resource\": {\n  \"x_y\": {\n   \"j\": {}\n  }\n }\n}",
		"app/broken.tf":    "resource \"x_y\" \"c\" {}\nresource {\n",
		"mod/main.tf":      "ephemeral \"e\" \"f\" {}\nmodule \"deep\" {\n  source = \"./deep\"\n}\nmodule \"self\" {\n  source = \"../mod\"\n}\n",
		"mod/deep/main.tf": "\nresource \"x_y\" \"d\" {}\n",
	}
	got, err := project.Positions(repo.fs(), "app")
	if err != nil {
		t.Fatalf("Positions() = %v", err)
	}
	want := map[string]project.Position{
		"x_y.a": {File: "app/main.tf", Line: 3}, "data.x_z.b": {File: "app/main.tf", Line: 4}, "output.o": {File: "app/main.tf", Line: 5},
		"module.m": {File: "app/main.tf", Line: 6}, "x_y.j": {File: "app/more.tf.json", Line: 4}, "x_y.c": {File: "app/broken.tf", Line: 1},
		"module.m.ephemeral.e.f": {File: "mod/main.tf", Line: 1}, "module.m.module.deep": {File: "mod/main.tf", Line: 2},
		"module.m.module.self": {File: "mod/main.tf", Line: 5}, "module.m.module.deep.x_y.d": {File: "mod/deep/main.tf", Line: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Positions() (-want +got):\n%s", diff)
	}
	if _, err := project.Positions(repo.fs(), "../x"); !errors.Is(err, project.ErrOutside) {
		t.Errorf("Positions() = %v, want ErrOutside", err)
	}
	if got, err := project.Positions(repo.fs(), "absent"); len(got) != 0 || err != nil {
		t.Errorf("Positions() = %v, %v, want nothing", got, err)
	}
}

func TestPositionsOfModulesThatMultiply(t *testing.T) {
	t.Parallel()
	repo := files{}
	for i := range 30 {
		repo[fmt.Sprintf("m%d/main.tf", i)] = fmt.Sprintf("module \"a\" {\n source = \"../m%d\"\n}\nmodule \"b\" {\n source = \"../m%d\"\n}\n", i+1, i+1)
	}
	if got, err := project.Positions(repo.fs(), "m0"); err != nil || len(got) > 20_000 {
		t.Errorf("Positions() = %d, %v, want it bounded", len(got), err)
	}
}

// TestResolveAgreesWithTheOperatingSystem compares with os.Root, which refuses what leads out of it.
func TestResolveAgreesWithTheOperatingSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	links := map[string]string{
		"a/up": "..", "a/b/top": "../..", "a/out": "../..", "in": "a/b", "twice": "in/top/a", "loop": "loop", "one": "two", "two": "one", "abs": "/etc",
		"dots": "a/./b/../b", "through": "a/b/top/a/up/..", "file": "f",
	}
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only read
	var names []string
	for name := range links {
		names = append(names, name, name+"/..", name+"/a", name+"/b/top")
	}
	slices.Sort(names)
	for _, name := range append(names, ".", "..", "a/../..", "f") {
		target, err := project.Resolve(name, func(p string) (string, bool) { target, ok := links[p]; return target, ok })
		info, osErr := root.Stat(name)
		if errors.Is(osErr, fs.ErrNotExist) || errors.Is(osErr, syscall.ENOTDIR) {
			continue // Resolve does not ask whether a path leads to something
		}
		if (err == nil) != (osErr == nil) {
			t.Errorf("Resolve(%q) = %q, %v; the system says %v", name, target, err, osErr)
			continue
		}
		if err != nil {
			continue
		}
		if there, err := os.Lstat(filepath.Join(dir, target)); err != nil || !os.SameFile(there, info) {
			t.Errorf("Resolve(%q) = %q, which is another file (%v)", name, target, err)
		}
	}
}

func FuzzSelect(f *testing.F) {
	for _, seed := range []string{
		s3, `module "a" {` + "\n source = \"../b\"\n}", `a = file("${path.module}/../x")`, "variable \"x\" {}", "locals {\n a = <<E\n${file(\"x\")}\nE\n}",
		`{"module": [{"a": {"source": "../b"}}]}`, `{"a": "${file(\"x\")}"}`, `x = [for f in fileset(path.root, "**") : file(f)]`, "\"${", "module {}", "variable {}",
		"terraform {\n backend {}\n}", "a = path.module[0]", `x = "${path.module}"`, `x = abspath("${path["module"]}/x")`, "module \"a\" \"b\" {\n source = 1\n}",
	} {
		f.Add([]byte(seed), "x.tf")
		f.Add([]byte(seed), "x.tofu.json")
	}
	f.Fuzz(func(t *testing.T, code []byte, name string) {
		if !fs.ValidPath(name) || name == "." {
			return
		}
		head := files{"b/main.tf": empty, "a/" + name: string(code)}
		s := project.Select(t.Context(), project.Input{Head: head.fs(), Base: files{}.fs(), Changed: diff(nil, head), Rules: serverRules})
		for _, p := range s.All {
			for _, in := range p.Settings.Inputs {
				if in == "" || in[0] == '/' || in == ".." {
					t.Errorf("input %q of %q", in, code)
				}
			}
		}
		if _, err := project.Positions(head.fs(), "a"); err != nil && s.Err == nil {
			t.Errorf("Positions() = %v", err)
		}
	})
}
