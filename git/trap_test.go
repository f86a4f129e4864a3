package git_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
)

// imported makes a branch on top of another with fast-import, which takes a hundred thousand files in a second.
func (o *origin) imported(branch, from, message string, files func(w io.Writer)) string {
	o.t.Helper()
	cmd := exec.Command("git", "-c", "core.bigFileThreshold=1m", "fast-import", "--quiet")
	cmd.Dir, cmd.Stderr = o.dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	fmt.Fprintf(in, "commit refs/heads/%s\ncommitter a <a@b> 1 +0000\ndata %d\n%s\nfrom %s\n", branch, len(message), message, from)
	files(in)
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		o.t.Fatal(err)
	}
	return o.git("rev-parse", "refs/heads/"+branch)
}

// nested is a tree of trees, each with width entries of one kind, named as a function of the level says.
func (o *origin) nested(levels, width int, name func(level, i int) string) string {
	o.t.Helper()
	mode, id := "100644", o.input("x", "hash-object", "-w", "--stdin")
	for level := range levels {
		var lines []string
		for i := range width {
			lines = append(lines, mode+" "+name(level, i)+" "+id)
		}
		mode, id = "40000", o.tree(lines...)
	}
	return id
}

// TestTrees that would unfold without end are refused before git itself walks them, which would list every file of it.
func TestTreesThatUnfoldWithoutEndAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	short := func(_, i int) string { return fmt.Sprintf("f%d.tf", i) }
	for name, c := range map[string]struct {
		tree func(o *origin) string
		want string
	}{
		"ten billion files": {func(o *origin) string { return o.nested(10, 10, short) }, "the repository has more than 500000 files"},
		"300 deep":          {func(o *origin) string { return o.nested(300, 1, short) }, "directories are nested more than 200 deep"},
		"a path of 20,000 bytes": {func(o *origin) string {
			return o.nested(100, 1, func(int, int) string { return strings.Repeat("n", 200) })
		}, "a path has more than 4000 bytes"},
		"a name of 256 bytes": {func(o *origin) string {
			return o.nested(1, 1, func(int, int) string { return strings.Repeat("n", 256) })
		}, "has a name of more than 255 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			base := o.commit("base", map[string]string{"a/main.tf": "x"})
			head := o.git("commit-tree", c.tree(o), "-p", base, "-m", "trap")
			m := mirrorOf(t, o, base, head)
			dir := t.TempDir()
			for call, err := range map[string]error{
				"Merge":   second(m.Merge(t.Context(), base, head)),
				"Changed": second(m.Changed(t.Context(), base, head)),
				"PatchID": second(m.PatchID(t.Context(), base, head)),
				"Bounded": m.Bounded(t.Context(), head),
			} {
				limit, ok := errors.AsType[*git.LimitError](err)
				if !ok || limit.What != c.want || limit.Fix == "" || !errors.Is(err, git.ErrTooLarge) {
					t.Errorf("%s() = %v, want %q and a fix", call, err, c.want)
				}
			}
			// Export has limits of its own, for trees that nobody compared.
			if err := m.Export(t.Context(), head, filepath.Join(dir, "tree")); err != nil && !errors.Is(err, git.ErrTooLarge) {
				t.Errorf("Export() = %v, want ErrTooLarge", err)
			} else if err == nil {
				_ = git.RemoveExport(filepath.Join(dir, "tree"))
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
				t.Errorf("ReadDir() = %v, %v, want nothing left", list, err)
			}
			// The refusal is of this commit alone.
			if err := m.Bounded(t.Context(), base); err != nil {
				t.Errorf("Bounded(base) = %v", err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// TestALargeFileIsNotRead: git would unpack all of it only for us to refuse it, once for each name that it has.
func TestALargeFileIsNotRead(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	base := o.commit("base", map[string]string{"a/main.tf": "x"})
	const size = 256 << 20
	head := o.imported("big", base, "big", func(w io.Writer) {
		fmt.Fprintf(w, "M 644 inline d0/f.tf\ndata %d\n", size)
		for range size >> 20 {
			_, _ = io.WriteString(w, zeros)
		}
	})
	blob := o.git("rev-parse", head+":d0/f.tf")
	head = o.imported("bigger", head, "bigger", func(w io.Writer) {
		for i := range 500 {
			fmt.Fprintf(w, "M 644 %s d%d/f.tf\n", blob, i)
		}
		fmt.Fprintf(w, "M 644 %s planlatch.yaml\n", blob)
	})
	m := mirrorOf(t, o, base, head)
	changed, err := m.Changed(t.Context(), base, head)
	if err != nil || len(changed) != 501 {
		t.Fatalf("Changed() = %d files, %v", len(changed), err)
	}
	f, err := m.FS(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := project.Select(t.Context(), project.Input{Head: f, Changed: changed})
	if s.Err != nil || len(s.Problems) == 0 || s.Problems[0].Message != "has more than 262144 bytes" {
		t.Errorf("Select() = %+v, %v", s.Problems, s.Err)
	}
	begun := time.Now()
	for i := range 500 {
		if _, err := f.ReadFile(fmt.Sprintf("d%d/f.tf", i)); !errors.Is(err, git.ErrTooLarge) {
			t.Fatalf("ReadFile() = %v, want ErrTooLarge", err)
		}
	}
	// Unpacking 125 GiB takes minutes on any machine.
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("500 refusals took %s", took)
	}
	limited := git.New(git.Options{Dir: filepath.Dir(m.Dir()), AllowFile: true, MaxBytes: 1 << 30}).Repo("gitea", "1")
	dir := t.TempDir()
	if err := limited.Export(t.Context(), head, filepath.Join(dir, "tree")); !errors.Is(err, git.ErrTooLarge) {
		t.Errorf("Export() = %v, want ErrTooLarge", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("ReadDir() = %v, %v, want nothing left", list, err)
	}
}

var zeros = strings.Repeat("\n", 1<<20)

func TestMessagesAndNamesOfRefsHaveNoEffect(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	base := o.commit("base", map[string]string{"a/main.tf": "x"})
	marker := filepath.Join(t.TempDir(), "executed")
	var refs strings.Builder
	names := []string{"refs/heads/--upload-pack=touch " + marker, "refs/heads/-x", "refs/heads/$(touch\t" + marker + ")"}
	for i := range 10_000 {
		fmt.Fprintf(&refs, "create refs/heads/many/%d %s\n", i, base)
	}
	for _, name := range []string{"refs/heads/--upload-pack=touch", "refs/heads/-x", "refs/heads/$(touch)", "refs/heads/`id`", "refs/heads/ü\u202ex"} {
		fmt.Fprintf(&refs, "create %s %s\n", name, base)
		names = append(names, name)
	}
	o.input(refs.String(), "update-ref", "--stdin")
	// Thousands of co-authors in a message of megabytes, to a head that changes nothing.
	head := o.imported("message", base, strings.Repeat("Co-authored-by: a <a@b>\n", 4<<20/24), func(io.Writer) {})
	m := newMirrors(t).Repo("gitea", "1")
	for _, name := range names {
		err := m.Fetch(t.Context(), o.remote(), name)
		if strings.ContainsAny(name, " \t") != (err != nil) {
			t.Errorf("Fetch(%q) = %v", name, err)
		}
	}
	if err := m.Fetch(t.Context(), o.remote(), head, "refs/heads/many/9999"); err != nil {
		t.Fatalf("Fetch() = %v", err)
	}
	if who, err := m.Contributors(t.Context(), base, head); err != nil || len(who) > 5 {
		t.Errorf("Contributors() = %d, %v", len(who), err)
	}
	if kept, err := filepath.Glob(filepath.Join(m.Dir(), "refs", "*", "*")); err != nil || len(kept) > 10 {
		t.Errorf("the mirror keeps %d refs, want those that were asked for", len(kept))
	}
	if _, err := os.Lstat(marker); err == nil {
		t.Error("the name of a ref was executed")
	}
}

// oddNames are file names that git takes and that look like something else; on Linux none of them is.
var oddNames = []string{
	"tab\there", "new\nline", "quote\"'`", `back\slash`, "bell\a", "\x1b[31mred", "bidi\u202egnp.tf", "zero\u200bwidth", "in\xffvalid\xc3", "-rf", "--help",
	"*", "?", "[a]", "$(id)", ";id", "|id", "~", "#x#", " ", "...", strings.Repeat("n", 255), "CASE", "case", "Case", "con", "nul.tf", "a:b",
	"git~1", ".g\u200cit", ".git ", ".git.", ".gitmodules", ".lfsconfig", ".gitattributes", "hooks", "HEAD", "config",
}

func TestOddNamesAndWhatGitWouldObeyAreJustFiles(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	contents := map[string]string{
		".gitmodules":    "[submodule \"x\"]\n\tpath = sub\n\turl = ext::sh -c touch% /tmp/x\n\tupdate = !touch /tmp/x\n",
		".lfsconfig":     "[lfs]\n\turl = http://169.254.169.254/\n",
		".gitattributes": "* filter=evil ident eol=crlf working-tree-encoding=UTF-16 diff=evil merge=evil\n*.tf export-ignore export-subst\n",
		"config":         "[core]\n\tfsmonitor = touch /tmp/x\n\thooksPath = .\n",
		"case":           "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 1\n",
	}
	var lines []string
	want := map[string]string{}
	for _, name := range slices.Sorted(slices.Values(oddNames)) {
		content := contents[name]
		if content == "" {
			content = "$Id$\n" + name
		}
		want[name] = content
		lines = append(lines, "100644 "+name+" "+o.input(content, "hash-object", "-w", "--stdin", "--no-filters"))
	}
	base := o.commit("base", map[string]string{"main.tf": "x"})
	head := o.git("commit-tree", o.tree(lines...), "-p", base, "-m", "odd")
	m := mirrorOf(t, o, base, head)
	changed, err := m.Changed(t.Context(), base, head)
	if err != nil || len(changed) != len(oddNames)+1 {
		t.Errorf("Changed() = %d, %v, want %d", len(changed), err, len(oddNames)+1)
	}
	if _, err := m.PatchID(t.Context(), base, head); err != nil {
		t.Errorf("PatchID() = %v", err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	t.Cleanup(func() { _ = git.RemoveExport(dir) })
	if err := m.Export(t.Context(), head, dir); err != nil {
		t.Fatalf("Export() = %v", err)
	}
	got := map[string]string{}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		b, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[d.Name()] = string(b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Export() (-want +got):\n%s", diff)
	}
	f, err := m.FS(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range changed {
		if c.Kind == project.Deleted {
			continue
		}
		if b, err := fs.ReadFile(f, c.Path); err != nil || string(b) != want[c.Path] {
			t.Errorf("ReadFile(%q) = %q, %v", c.Path, b, err)
		}
	}
}

// FuzzTree reads tree objects as they come from a push: git checks little of them.
func FuzzTree(f *testing.F) {
	id := strings.Repeat("\x11", 20)
	for _, seed := range []string{
		"100644 a\x00" + id, "40000 a\x00" + id + "100644 b\x00" + id, "100644 a\x00" + id[:10], "100644 a", "1 \x00" + id, "77777777777 x\x00" + id,
		"40000 ..\x00" + id, "40000 .GIT\x00" + id, "120000 a/b\x00" + id, "100644 a\x00" + id + "100644 a\x00" + id, "", "\x00", " \x00",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sha256 bool) {
		names, err := git.TreeNames(b, sha256)
		if err != nil {
			if !errors.Is(err, git.ErrBadTree) && !errors.Is(err, git.ErrTooLarge) {
				t.Errorf("parseTree() = %v, want an error of the package", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, name := range names {
			if seen[name] || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.EqualFold(name, ".git") || len(name) > 255 {
				t.Errorf("parseTree() takes %q", name)
			}
			seen[name] = true
		}
	})
}
