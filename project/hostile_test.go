package project_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/project"
)

// TestWhatIsTooMuchIsRefusedWithOneReason holds the bounds of docs/limits.md that belong to reading a repository.
func TestWhatIsTooMuchIsRefusedWithOneReason(t *testing.T) {
	t.Parallel()
	many := func(n int, name, content string) files {
		head := files{}
		for i := range n {
			head[fmt.Sprintf(name, i)] = content
		}
		return head
	}
	entries := func(n int, entry string) string { return "version: 1\nprojects:\n" + strings.Repeat(entry, n) }
	for name, c := range map[string]struct {
		head files
		want string // what the first problem says
	}{
		"directories 300 deep":     {files{strings.Repeat("d/", 300) + "main.tf": empty}, "directories are nested more than 200 deep"},
		"5,001 projects":           {many(5001, "p%d/main.tf", "#"), "the repository has more than 5000 projects"},
		"50,001 symlinks":          {many(50_001, "l/%d", "-> x").with(files{"a/main.tf": empty}), "the repository has more than 50000 symlinks"},
		"a file of 3 MB":           {files{"a/main.tf": strings.Repeat("#\n", 3<<19)}, "has more than 2097152 bytes"},
		"many files of 2 MB":       {many(40, "a/f%d.tf.json", "{"+strings.Repeat(" ", 2<<20-2)+"}"), "the repository has more than 20000 configuration files, or more than 64 MiB of them"},
		"brackets, round":          {files{"a/main.tf": "a = " + strings.Repeat("(", 100_000)}, "Nested too deeply"},
		"brackets, square":         {files{"a/main.tf": "a = " + strings.Repeat("[", 100_000)}, "Nested too deeply"},
		"brackets, closed":         {files{"a/main.tf": "a = " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)}, "Nested too deeply"},
		"blocks":                   {files{"a/main.tf": strings.Repeat("a {\n", 50_000)}, "Nested too deeply"},
		"templates":                {files{"a/main.tf": "a = " + strings.Repeat(`"${`, 50_000)}, "Nested too deeply"},
		"heredocs":                 {files{"a/main.tf": "a = " + strings.Repeat("<<A\n${", 50_000)}, "Nested too deeply"},
		"a row of not":             {files{"a/main.tf": "a = " + strings.Repeat("!", 1_000_000) + "true\n"}, "Nested too deeply"},
		"a row of minus":           {files{"a/main.tf": "a = " + strings.Repeat("-", 1_000_000) + "1\n"}, "Nested too deeply"},
		"a row of conditions":      {files{"a/main.tf": "a = " + strings.Repeat("b ? c : ", 100_000) + "d\n"}, "Nested too deeply"},
		"a row of calls":           {files{"a/main.tf": "a = " + strings.Repeat("f(", 100_000)}, "Nested too deeply"},
		"JSON, square":             {files{"a/main.tf.json": strings.Repeat("[", 1_000_000)}, "Nested too deeply"},
		"JSON, curly":              {files{"a/main.tf.json": strings.Repeat(`{"a":`, 300_000)}, "Nested too deeply"},
		"an alias bomb":            {files{"planlatch.yaml": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nversion: 1\n", "a/main.tf": empty}, `"a" is not a key here`},
		"a configuration, deep":    {files{"planlatch.yaml": strings.Repeat("[", 5000), "a/main.tf": empty}, "is nested too deeply, or has too many keys in one place"},
		"a configuration, indents": {files{"planlatch.yaml": indented(300), "a/main.tf": empty}, "is nested too deeply, or has too many keys in one place"},
		"a configuration, large":   {files{"planlatch.yaml": strings.Repeat("# x\n", 1<<17), "a/main.tf": empty}, "has more than 262144 bytes"},
		"a configuration, entries": {files{"planlatch.yaml": entries(5001, " - dir: a\n"), "a/main.tf": empty}, "has 5001 items, more than 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := project.Select(t.Context(), project.Input{Head: c.head.fs(), Base: files{}.fs(), Changed: diff(nil, c.head)})
			if s.Err != nil || len(s.Problems) == 0 || s.Problems[0].Message != c.want || s.Problems[0].Fix == "" {
				t.Errorf("Select() = %.300q, %v, want the problem %q and a fix", fmt.Sprint(s.Problems), s.Err, c.want)
			}
			if len(s.Problems) > 100 {
				t.Errorf("Select() has %d problems", len(s.Problems))
			}
		})
	}
}

func indented(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestSelectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	late := errors.New("it is late")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	head := files{"a/main.tf": empty}
	s := project.Select(ctx, project.Input{Head: head.fs(), Base: files{}.fs(), Changed: diff(nil, head)})
	if !errors.Is(s.Err, late) || len(s.Problems) == 0 {
		t.Errorf("Select() = %+v, want closed and the cause", s)
	}
}

// TestResolveTakesBoundedTime: each of forty links may lead through two thousand names, and a tree may have many of them.
func TestResolveTakesBoundedTime(t *testing.T) {
	t.Parallel()
	steps := 0
	_, err := project.Resolve("a", func(string) (string, bool) {
		steps++
		return strings.Repeat("x/../", 800) + "a", true
	})
	if !errors.Is(err, project.ErrLoop) || steps > 5000 {
		t.Errorf("Resolve() = %v after %d steps, want ErrLoop after 5000 at most", err, steps)
	}
}

// FuzzTree reads whole trees: each line of the text is one file, its content behind the first space; "-> " makes a symlink.
func FuzzTree(f *testing.F) {
	for _, seed := range []string{
		"a/main.tf module \"m\" { source = \"../m\" }\nm/main.tf variable \"x\" {}\nplanlatch.yaml version: 1\n",
		"a/main.tf -> ../b/main.tf\nb/main.tf -> ../a/main.tf\n", "a -> .\nb -> a/a/a\na/x.tf #\n", "a/main.tf -> /etc/passwd\nb/.terraform-version 1.5.7\n",
		"planlatch.yaml projects: [{dir: \"../x\", workspaces: [\"../../y\"]}]\nx/main.tf #\n", "planlatch.yaml -> a/planlatch.yaml\na/planlatch.yaml version: 1\n",
		"m/main.tf module \"m\" { source = \"../m\" }\n", "a/x.tfvars x = 1\na/x.auto.tfvars.json {\"x\": [}\na/main.tofu variable \"x\" {}\n",
		".tool-versions opentofu ../../../bin/sh\na/main.tf #\n", "a/.terraform-version latest:^1\\.\na/b.tf terraform { required_version = \">= 99999999999999999999\" }\n",
		"\xff/main.tf #\na\u202e/main.tf #\n-rf/main.tf #\na\tb/main.tf #\n", "a/.terraform.lock.hcl provider \"x\" {}\na/main.tf terraform { backend \"s3\" {} }\n",
	} {
		f.Add(seed, "")
	}
	f.Add("a/main.tf #\n", "planlatch.yaml projects: [{dir: a, requirements: {add: [approved]}}]\n")
	parse := func(text string) files {
		out := files{}
		for line := range strings.Lines(text) {
			name, content, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if fs.ValidPath(name) && name != "." && len(out) < 50 {
				out[name] = content
			}
		}
		return out
	}
	f.Fuzz(func(t *testing.T, headText, baseText string) {
		head, base := parse(headText), parse(baseText)
		begun := time.Now()
		s := project.Select(t.Context(), project.Input{Head: head.fs(), Base: base.fs(), Changed: diff(base, head), Rules: serverRules})
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("Select() took %s", took)
		}
		if len(s.Problems) > 100 || len(s.Notes) > 1000 {
			t.Errorf("Select() has %d problems and %d notes", len(s.Problems), len(s.Notes))
		}
		for _, p := range s.All {
			if !fs.ValidPath(p.Dir) || strings.ContainsAny(p.Workspace, "/\\\x00") || p.Workspace == "" || strings.HasPrefix(p.Workspace, ".") {
				t.Errorf("project %+v leaves the tree", p)
			}
			for _, v := range p.Settings.VarFiles {
				if strings.HasPrefix(v, "/") {
					t.Errorf("var file %q", v)
				}
			}
		}
	})
}
