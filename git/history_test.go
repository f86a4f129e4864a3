package git_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	root := o.commit("root", map[string]string{"a.tf": "one\n", "b.tf": "one\n"})
	o.git("checkout", "--quiet", "-b", "feature")
	head := o.commit("feature", map[string]string{"b.tf": "two\n", "sub dir/c\"ü.tf": "new\n"})
	o.git("checkout", "--quiet", "main")
	base := o.commit("main moves", map[string]string{"a.tf": "two\n"})
	clash := o.commit("main clashes", map[string]string{"b.tf": "three\n", "new\nline.tf": "x\n"})
	o.git("checkout", "--quiet", "--orphan", "other")
	orphan := o.commit("orphan", map[string]string{"z": "z"})
	m := mirrorOf(t, o, head, base, clash, orphan)

	t.Run("combines both sides", func(t *testing.T) {
		t.Parallel()
		got, err := m.Merge(t.Context(), base, head)
		if err != nil {
			t.Fatalf("Merge() = %v", err)
		}
		changed, err := m.ChangedBetween(t.Context(), root, got.Tree)
		if err != nil {
			t.Fatalf("ChangedBetween() = %v", err)
		}
		want := []project.Change{
			{Path: "a.tf", Kind: project.Modified}, {Path: "b.tf", Kind: project.Modified}, {Path: "sub dir/c\"ü.tf", Kind: project.Added},
		}
		if diff := cmp.Diff(want, changed); diff != "" {
			t.Errorf("merged tree (-want +got):\n%s", diff)
		}
	})
	t.Run("of a head on top of the base is the head", func(t *testing.T) {
		t.Parallel()
		got, err := m.Merge(t.Context(), root, head)
		if err != nil {
			t.Fatalf("Merge() = %v", err)
		}
		if want := o.git("rev-parse", head+"^{tree}"); got.Tree != want {
			t.Errorf("Merge().Tree = %s, want %s", got.Tree, want)
		}
	})
	t.Run("names the files in conflict", func(t *testing.T) {
		t.Parallel()
		got, err := m.Merge(t.Context(), clash, head)
		if err != nil {
			t.Fatalf("Merge() = %v", err)
		}
		if diff := cmp.Diff(git.Merged{Conflicts: []string{"b.tf"}}, got); diff != "" {
			t.Errorf("Merge() (-want +got):\n%s", diff)
		}
	})
	t.Run("of unrelated histories is refused", func(t *testing.T) {
		t.Parallel()
		if _, err := m.Merge(t.Context(), base, orphan); !errors.Is(err, git.ErrUnrelated) {
			t.Errorf("Merge() = %v, want ErrUnrelated", err)
		}
	})
	t.Run("of what is not there is refused", func(t *testing.T) {
		t.Parallel()
		if _, err := m.Merge(t.Context(), base, strings.Repeat("0", 40)); !errors.Is(err, git.ErrObject) {
			t.Errorf("Merge() = %v, want ErrObject", err)
		}
	})
	t.Run("takes nothing but object ids", func(t *testing.T) {
		t.Parallel()
		for _, id := range []string{"", "main", "--help", "HEAD", base[:12], base + "^", strings.ToUpper(base)} {
			if _, err := m.Merge(t.Context(), id, head); err == nil {
				t.Errorf("Merge(%q) = nil, want an error", id)
			}
		}
	})
}

func TestChanged(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	long := strings.Repeat("resource \"x\" \"y\" {}\n", 20)
	root := o.commit("root", map[string]string{"old/main.tf": long, "gone.tf": "gone", "same.tf": "same", "odd\n\"name\t.tf": "1"})
	o.git("checkout", "--quiet", "-b", "feature")
	o.git("mv", "old", "new")
	o.git("rm", "--quiet", "gone.tf")
	head := o.commit("feature", map[string]string{"ünï.tf": "x", "odd\n\"name\t.tf": "2"})
	o.git("checkout", "--quiet", "main")
	base := o.commit("main moves", map[string]string{"elsewhere.tf": "x"})
	o.git("merge", "--quiet", "--no-edit", "feature")
	merge := o.git("rev-parse", "HEAD")
	m := mirrorOf(t, o, head, base, merge)
	want := []project.Change{
		{Path: "gone.tf", Kind: project.Deleted},
		{Path: "new/main.tf", Old: "old/main.tf", Kind: project.Renamed},
		{Path: "odd\n\"name\t.tf", Kind: project.Modified},
		{Path: "ünï.tf", Kind: project.Added},
	}

	t.Run("leaves out what the base did meanwhile", func(t *testing.T) {
		t.Parallel()
		got, err := m.Changed(t.Context(), base, head)
		if err != nil {
			t.Fatalf("Changed() = %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Changed() (-want +got):\n%s", diff)
		}
	})
	t.Run("of a merge commit from its first parent is the same", func(t *testing.T) {
		t.Parallel()
		got, err := m.ChangedBetween(t.Context(), base, merge)
		if err != nil {
			t.Fatalf("ChangedBetween() = %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ChangedBetween() (-want +got):\n%s", diff)
		}
	})
	t.Run("from nothing lists everything", func(t *testing.T) {
		t.Parallel()
		got, err := m.ChangedBetween(t.Context(), "", root)
		if err != nil || len(got) != 4 {
			t.Errorf("ChangedBetween() = %v, %v, want four files", got, err)
		}
	})
	t.Run("sees a file become a symlink", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		a := o.commit("file", map[string]string{"x": "y"})
		o.git("update-index", "--add", "--cacheinfo", "120000,"+o.input("y", "hash-object", "-w", "--stdin")+",x")
		o.git("commit", "--quiet", "--message", "link")
		b := o.git("rev-parse", "HEAD")
		got, err := mirrorOf(t, o, b).ChangedBetween(t.Context(), a, b)
		if err != nil {
			t.Fatalf("ChangedBetween() = %v", err)
		}
		if diff := cmp.Diff([]project.Change{{Path: "x", Kind: project.TypeChanged}}, got); diff != "" {
			t.Errorf("ChangedBetween() (-want +got):\n%s", diff)
		}
	})
}

func TestAncestry(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	a := o.commit("a", map[string]string{"f": "a"})
	b := o.commit("b", map[string]string{"f": "b"})
	m := mirrorOf(t, o, b)
	for _, c := range []struct {
		a, b string
		want bool
	}{{a, b, true}, {b, a, false}, {a, a, true}} {
		got, err := m.IsAncestor(t.Context(), c.a, c.b)
		if err != nil || got != c.want {
			t.Errorf("IsAncestor(%s, %s) = %v, %v, want %v", c.a, c.b, got, err, c.want)
		}
	}
	if got, err := m.MergeBase(t.Context(), a, b); err != nil || got != a {
		t.Errorf("MergeBase() = %s, %v, want %s", got, err, a)
	}
	for commit, want := range map[string]int64{a: 1, b: 2} {
		if got, err := m.Turn(t.Context(), commit); err != nil || got != want {
			t.Errorf("Turn(%s) = %d, %v, want %d", commit, got, err, want)
		}
	}
	if _, err := m.IsAncestor(t.Context(), strings.Repeat("1", 40), b); !errors.Is(err, git.ErrObject) {
		t.Errorf("IsAncestor() = %v, want ErrObject", err)
	}
}

func TestPatchID(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	body := strings.Repeat("line\n", 30)
	root := o.commit("root", map[string]string{"a.tf": body + "x = 1\n", "run.sh": "#!/bin/sh\n", "b.tf": "b\n", "bin": "\x00\x01"})
	change := func(name string, do func()) string {
		o.git("checkout", "--quiet", "-B", name, root)
		do()
		return o.commit(name, nil)
	}
	edit := func(content string) func() { return func() { o.write(map[string]string{"a.tf": content}) } }
	heads := map[string]string{
		"edit":       change("edit", edit(body+"x = 2\n")),
		"same edit":  change("same-edit", edit(body+"x = 2\n")),
		"indented":   change("indented", edit(body+"  x = 2\n")),
		"other":      change("other", edit(body+"x = 3\n")),
		"executable": change("executable", func() { o.git("update-index", "--chmod=+x", "run.sh"); o.git("checkout", "--", ".") }),
		"binary":     change("binary", func() { o.write(map[string]string{"bin": "\x00\x02"}) }),
		"binary too": change("binary-too", func() { o.write(map[string]string{"bin": "\x00\x03"}) }),
		"empty file": change("empty-file", func() { o.write(map[string]string{"empty": ""}) }),
		"removed":    change("removed", func() { o.git("rm", "--quiet", "b.tf") }),
	}
	o.git("checkout", "--quiet", "main")
	moved := o.commit("main moves", map[string]string{"a.tf": "first\n" + body + "x = 1\n"})
	o.git("checkout", "--quiet", "-B", "rebased", heads["edit"])
	o.git("rebase", "--quiet", "main")
	heads["rebased"] = o.git("rev-parse", "HEAD")
	var commits []string
	for _, sha := range heads {
		commits = append(commits, sha)
	}
	m := mirrorOf(t, o, append(commits, moved)...)

	ids := map[string]string{}
	for name, head := range heads {
		base := root
		if name == "rebased" {
			base = moved
		}
		id, err := m.PatchID(t.Context(), base, head)
		if err != nil || id == "" {
			t.Fatalf("PatchID(%s) = %q, %v", name, id, err)
		}
		ids[name] = id
	}
	for _, same := range []string{"same edit", "rebased"} {
		if ids[same] != ids["edit"] {
			t.Errorf("PatchID(%s) = %s, want that of edit, %s", same, ids[same], ids["edit"])
		}
	}
	seen := map[string]string{}
	for name, id := range ids {
		if name == "same edit" || name == "rebased" {
			continue
		}
		if other, ok := seen[id]; ok {
			t.Errorf("PatchID() of %s and %s are both %s", name, other, id)
		}
		seen[id] = name
	}
	if id, err := m.PatchID(t.Context(), root, root); err != nil || id != "" {
		t.Errorf("PatchID() of no change = %q, %v, want empty", id, err)
	}
}

func TestContributorsAreAllWhoTouchedTheHead(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	base := o.commit("root", nil)
	o.git("checkout", "--quiet", "-b", "feature")
	o.git("-c", "user.name=x", "commit", "--quiet", "--allow-empty", "--author", "Eve <EVE@example.com>", "--message", "one")
	head := o.commit("two\n\nCo-authored-by: Bob <bob@example.com>\nCo-authored-by: \"odd, name\" <odd@example.com>", nil)
	m := mirrorOf(t, o, head)
	got, err := m.Contributors(t.Context(), base, head)
	if err != nil {
		t.Fatalf("Contributors() = %v", err)
	}
	want := []string{"ann@example.com", "bob@example.com", "cy@example.com", "eve@example.com", "odd@example.com"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Contributors() (-want +got):\n%s", diff)
	}
}
