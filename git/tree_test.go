package git_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
)

// hostile is a commit with everything a tree can hold.
func hostile(t *testing.T) (*origin, string) {
	t.Helper()
	o := newOrigin(t)
	o.write(map[string]string{
		".gitattributes":                "hidden.tf export-ignore\nsubst.tf export-subst\ncrlf.tf eol=crlf\n",
		"hidden.tf":                     "hidden",
		"subst.tf":                      "$Format:%H$",
		"crlf.tf":                       "a\nb\n",
		"empty.tf":                      "",
		"new\nline \"ü'.tf":             "odd",
		"dir/nested/deep.tf":            "deep",
		"dir/run.sh":                    "#!/bin/sh\n",
		"dir.d/sorts-oddly":             "x",
		"dir/.terraform/providers/evil": "would be run by init",
		"links/placeholder":             "",
		"outside/placeholder":           "",
	})
	for name, target := range map[string]string{
		"links/file": "../dir/nested/deep.tf", "links/dir": "../dir", "links/chain": "dir/nested", "links/dangling": "nowhere",
		"outside/absolute": "/etc/passwd", "outside/up": "../../etc/passwd", "outside/loop": "loop",
		// Each looks as if it stayed inside; by way of the first, the second does not.
		"links/a/b/top": "../../..", "outside/through": "../links/a/b/top/../x",
	} {
		p := filepath.Join(o.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, p); err != nil {
			t.Fatal(err)
		}
	}
	o.git("add", "--all")
	o.git("update-index", "--chmod=+x", "dir/run.sh")
	o.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("5", 40)+",submodule")
	o.git("commit", "--quiet", "--message", "hostile")
	return o, o.git("rev-parse", "HEAD")
}

func TestExport(t *testing.T) {
	t.Parallel()
	o, head := hostile(t)
	m := mirrorOf(t, o, head)
	tree, err := m.Tree(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "trees", tree)
	t.Cleanup(func() {
		if err := git.RemoveExport(dir); err != nil {
			t.Error(err)
		}
	})
	if err := m.Export(t.Context(), tree, dir); err != nil {
		t.Fatalf("Export() = %v", err)
	}

	got := map[string]string{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := "2000-01-01T00:00:00Z"; info.ModTime().UTC().Format("2006-01-02T15:04:05Z07:00") != want {
			t.Errorf("%s has time %v, want %s", name, info.ModTime(), want)
		}
		rel, content := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/"), ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(name)
		case info.Mode().IsRegular():
			var b []byte
			b, err = os.ReadFile(name)
			content = string(b)
		}
		got[rel] = strings.TrimSpace(info.Mode().String() + " " + content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"": "dr-xr-xr-x", "dir": "dr-xr-xr-x", "dir/nested": "dr-xr-xr-x", "dir.d": "dr-xr-xr-x", "links": "dr-xr-xr-x", "outside": "dr-xr-xr-x",
		"links/a": "dr-xr-xr-x", "links/a/b": "dr-xr-xr-x", "submodule": "dr-xr-xr-x",
		".gitattributes": "-r--r--r-- hidden.tf export-ignore\nsubst.tf export-subst\ncrlf.tf eol=crlf",
		"hidden.tf":      "-r--r--r-- hidden", "subst.tf": "-r--r--r-- $Format:%H$", "crlf.tf": "-r--r--r-- a\nb", "empty.tf": "-r--r--r--",
		"new\nline \"ü'.tf": "-r--r--r-- odd", "dir/nested/deep.tf": "-r--r--r-- deep", "dir/run.sh": "-r-xr-xr-x #!/bin/sh",
		"dir.d/sorts-oddly": "-r--r--r-- x", "links/placeholder": "-r--r--r--", "outside/placeholder": "-r--r--r--",
		"links/file": "Lrwxrwxrwx ../dir/nested/deep.tf", "links/dir": "Lrwxrwxrwx ../dir", "links/chain": "Lrwxrwxrwx dir/nested",
		"links/dangling": "Lrwxrwxrwx nowhere", "links/a/b/top": "Lrwxrwxrwx ../../..",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Export() (-want +got):\n%s", diff)
	}

	t.Run("again leaves it as it is", func(t *testing.T) {
		before, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Export(t.Context(), tree, dir); err != nil {
			t.Fatalf("Export() = %v", err)
		}
		after, err := os.Stat(dir)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("Export() made the directory again (%v)", err)
		}
	})
	t.Run("again after a crash of the machine makes it anew", func(t *testing.T) {
		if err := os.WriteFile(dir+".boot", []byte("an earlier boot"), 0o600); err != nil {
			t.Fatal(err)
		}
		lost := filepath.Join(dir, "hidden.tf")
		if err := os.Chmod(lost, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(lost, 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Export(t.Context(), tree, dir); err != nil {
			t.Fatalf("Export() = %v", err)
		}
		if b, err := os.ReadFile(lost); string(b) != "hidden" {
			t.Errorf("hidden.tf = %q, %v, want its content back", b, err)
		}
	})
	t.Run("leaves nothing beside it", func(t *testing.T) {
		list, err := os.ReadDir(filepath.Dir(dir))
		if err != nil || len(list) != 2 {
			t.Errorf("ReadDir() = %v, %v, want the tree and its mark", list, err)
		}
	})
	t.Run("by many at once gives one tree", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "tree")
		errs := make(chan error)
		for range 4 {
			go func() { errs <- m.Export(t.Context(), tree, dir) }()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Errorf("Export() = %v", err)
			}
		}
		if err := git.RemoveExport(dir); err != nil {
			t.Errorf("RemoveExport() = %v", err)
		}
		if list, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(list) != 0 {
			t.Errorf("ReadDir() = %v, %v, want nothing left", list, err)
		}
	})
}

// tree makes a tree object that git itself would not.
func (o *origin) tree(entries ...string) string {
	o.t.Helper()
	var raw strings.Builder
	for _, e := range entries {
		mode, rest, _ := strings.Cut(e, " ")
		at := strings.LastIndexByte(rest, ' ')
		name, id := rest[:at], rest[at+1:] // a name may have spaces
		fmt.Fprintf(&raw, "%s %s\x00", mode, name)
		for i := 0; i < len(id); i += 2 {
			var b byte
			if _, err := fmt.Sscanf(id[i:i+2], "%02x", &b); err != nil {
				o.t.Fatal(err)
			}
			raw.WriteByte(b)
		}
	}
	return o.input(raw.String(), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tree func(o *origin, blob string) string
		o    git.Options
		want error
	}{
		"a name that leads up": {tree: func(o *origin, b string) string { return o.tree("40000 .. " + o.tree("100644 x "+b)) }, want: git.ErrBadTree},
		"a .git":               {tree: func(o *origin, b string) string { return o.tree("40000 .GIT " + o.tree("100644 config "+b)) }, want: git.ErrBadTree},
		"a slash in a name":    {tree: func(o *origin, b string) string { return o.tree("100644 a/../../b " + b) }, want: git.ErrBadTree},
		"a link and a directory of one name": {tree: func(o *origin, b string) string {
			return o.tree("120000 a "+o.input("/tmp", "hash-object", "-w", "--stdin"), "40000 a "+o.tree("100644 x "+b))
		}, want: git.ErrBadTree},
		"a tree that unfolds": {tree: func(o *origin, b string) string {
			id := o.tree("100644 a "+b, "100644 b "+b)
			for range 30 {
				id = o.tree("40000 a "+id, "40000 b "+id)
			}
			return id
		}, o: git.Options{MaxFiles: 1000}, want: git.ErrTooLarge},
		"too many bytes": {tree: func(o *origin, b string) string { return o.tree("100644 a "+b, "100644 b "+b) }, o: git.Options{MaxBytes: 7}, want: git.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			id := c.tree(o, o.input("blob", "hash-object", "-w", "--stdin"))
			// A commit brings the tree over; receiving it checks as little as a host that was tricked.
			head := o.git("commit-tree", id, "-m", "hostile")
			c.o.Dir, c.o.AllowFile = t.TempDir(), true
			m := git.New(c.o).Repo("gitea", "1")
			if err := m.Fetch(t.Context(), o.remote(), head); err != nil {
				t.Fatalf("Fetch() = %v", err)
			}
			dir := t.TempDir()
			if err := m.Export(t.Context(), head, filepath.Join(dir, "tree")); !errors.Is(err, c.want) {
				t.Errorf("Export() = %v, want %v", err, c.want)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
				t.Errorf("ReadDir() = %v, %v, want nothing left", list, err)
			}
		})
	}
}

func TestFS(t *testing.T) {
	t.Parallel()
	o, head := hostile(t)
	f, err := mirrorOf(t, o, head).FS(t.Context(), head)
	if err != nil {
		t.Fatalf("FS() = %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})

	for name, want := range map[string]string{
		"hidden.tf": "hidden", "subst.tf": "$Format:%H$", "empty.tf": "", "new\nline \"ü'.tf": "odd", "dir/nested/deep.tf": "deep",
		"links/file": "deep", "links/dir/run.sh": "#!/bin/sh\n", "links/chain/deep.tf": "deep", "links/a/b/top/hidden.tf": "hidden",
	} {
		if got, err := f.ReadFile(name); string(got) != want || err != nil {
			t.Errorf("ReadFile(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"absent": fs.ErrNotExist, "hidden.tf/x": fs.ErrNotExist, "links/dangling": fs.ErrNotExist, "/etc/passwd": fs.ErrInvalid, "../x": fs.ErrInvalid,
		"a//b": fs.ErrInvalid, "outside/absolute": project.ErrOutside, "outside/up": project.ErrOutside, "outside/through": project.ErrOutside,
		"outside/loop": project.ErrLoop,
	} {
		if _, err := f.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("ReadFile(%q) = %v, want %v", name, err, want)
		}
	}
	if list, err := f.ReadDir("submodule"); len(list) != 0 || err != nil {
		t.Errorf("ReadDir(submodule) = %v, %v, want it empty", list, err)
	}
	info, err := f.Lstat("links/dir/../dir")
	if err == nil {
		t.Errorf("Lstat() of an unclean path = %v, want an error", info)
	}
	if target, err := f.ReadLink("links/chain"); target != "dir/nested" || err != nil {
		t.Errorf("ReadLink() = %q, %v, want dir/nested", target, err)
	}
	if info, err := f.Stat("links/dir/run.sh"); err != nil || info.Mode() != 0o555 || info.Size() != 10 {
		t.Errorf("Stat() = %v, %v, want an executable of 10 bytes", info, err)
	}
	t.Run("is a file system by the book", func(t *testing.T) {
		o := newOrigin(t)
		head := o.commit("plain", map[string]string{"a/b/c.tf": "c", "a/b.tf": "b", "z": ""})
		f, err := mirrorOf(t, o, head).FS(t.Context(), head)
		if err != nil {
			t.Fatalf("FS() = %v", err)
		}
		defer f.Close() //nolint:errcheck // what was read is whole
		if err := fstest.TestFS(f, "a/b/c.tf", "a/b.tf", "z"); err != nil {
			t.Errorf("TestFS() = %v", err)
		}
	})
	t.Run("needs the tree", func(t *testing.T) {
		if _, err := mirrorOf(t, o, head).FS(t.Context(), strings.Repeat("7", 40)); !errors.Is(err, git.ErrObject) {
			t.Errorf("FS() = %v, want ErrObject", err)
		}
	})
}

func TestObjects(t *testing.T) {
	t.Parallel()
	o, a := hostile(t)
	o.write(map[string]string{"dir/nested/deep.tf": "deeper", "dir.d/new": "n"})
	o.git("add", "dir/nested", "dir.d")
	o.git("commit", "--quiet", "--message", "deep changes")
	b := o.git("rev-parse", "HEAD")
	m := mirrorOf(t, o, b)
	paths := []string{".", "dir", "dir/run.sh", "dir/nested/deep.tf", "links/file", "links/placeholder", "absent", "outside/up", "!dir/nested", "!dir.d"}
	at := func(commit string) map[string]string {
		got, err := m.Objects(t.Context(), commit, paths)
		if err != nil {
			t.Fatalf("Objects() = %v", err)
		}
		return got
	}
	before, after := at(a), at(b)
	same := map[string]bool{".": true, "dir": true, "dir/run.sh": true, "links/placeholder": true, "absent": true, "outside/up": true}
	for _, p := range paths {
		if got := before[p] == after[p]; got != same[p] && !strings.HasPrefix(p, "!") {
			t.Errorf("%s stays the same: %v, want %v", p, got, same[p])
		}
	}
	if before["absent"] != "" || before["dir/run.sh"] != o.git("rev-parse", a+":dir/run.sh") {
		t.Errorf("Objects() = %v, want nothing for what is absent and the blob for a file", before)
	}
	whole, err := m.Objects(t.Context(), a, []string{".", "dir"})
	if err != nil || whole["."] != o.git("rev-parse", a+"^{tree}") || whole["dir"] != o.git("rev-parse", a+":dir") {
		t.Errorf("Objects() = %v, %v, want the trees", whole, err)
	}
}
