package git_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
)

// plainEnv is a person's environment without settings of this machine, and with what a git hook would find in it.
func plainEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_DIR=/nonexistent/.git", "GIT_INDEX_FILE=/nonexistent/index", "GIT_WORK_TREE=/nonexistent",
	}
}

func openTree(t *testing.T, dir string) *git.WorkTree {
	t.Helper()
	w, err := git.OpenWorkTree(t.Context(), dir, plainEnv())
	if err != nil {
		t.Fatalf("OpenWorkTree(%s) = %v", dir, err)
	}
	return w
}

func snapshot(t *testing.T, w *git.WorkTree) (*git.Mirror, git.Snapshot) {
	t.Helper()
	m, s, err := newMirrors(t).Snapshot(t.Context(), w)
	if err != nil {
		t.Fatalf("Snapshot() = %v", err)
	}
	return m, s
}

// everything lists all files below a directory with their content and time (of git's objects the name, which is their content), so that two lists are equal only if nothing was touched.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(path, "/.git/objects/") { // git freshens an object that it would write and finds
			b.WriteString(path + "\n")
			return nil
		}
		b.WriteString(path + info.ModTime().String() + info.Mode().String() + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSnapshotHasWhatIsThereNowAndWritesNothingInTheClone(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	base := o.commit("one", map[string]string{
		".gitignore": "*.tfstate\n.terraform/\n", "a/main.tf": "old", "b/main.tf": "b", "gone/main.tf": "g", "run.sh": "#!/bin/sh\n",
	})
	o.git("switch", "--quiet", "--create", "work")
	head := o.commit("two", map[string]string{"committed/main.tf": "c"})
	o.write(map[string]string{
		"a/main.tf": "edited", "staged/main.tf": "s", "untracked/ü x.tf": "u", "b/terraform.tfstate": "secret", "b/.terraform/x": "x",
	})
	o.git("add", "staged/main.tf")
	if err := errors.Join(os.RemoveAll(filepath.Join(o.dir, "gone")), os.Chmod(filepath.Join(o.dir, "run.sh"), 0o755)); err != nil {
		t.Fatal(err)
	}
	before := everything(t, o.dir)
	w := openTree(t, filepath.Join(o.dir, "a"))
	m, s := snapshot(t, w)
	if after := everything(t, o.dir); after != before {
		t.Error("Snapshot() changed something in the clone")
	}
	if s.Head != head || s.Commit == head {
		t.Errorf("Snapshot() = %+v, want head %s and a commit on top of it", s, head)
	}
	changed, err := m.Changed(t.Context(), base, s.Commit)
	if err != nil {
		t.Fatalf("Changed() = %v", err)
	}
	var got []string
	for _, c := range changed {
		got = append(got, string(c.Kind)+" "+c.Path)
	}
	want := []string{
		"modified a/main.tf", "added committed/main.tf", "deleted gone/main.tf", "modified run.sh", "added staged/main.tf", "added untracked/ü x.tf",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Changed() = %q, want %q", got, want)
	}
	files, err := m.FS(t.Context(), s.Commit)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if text, err := fs.ReadFile(files, "a/main.tf"); err != nil || string(text) != "edited" {
		t.Errorf("a/main.tf = %q, %v, want what is in the work tree", text, err)
	}
	if text, err := fs.ReadFile(files, "b/main.tf"); err != nil || string(text) != "b" {
		t.Errorf("b/main.tf = %q, %v, want what was committed", text, err)
	}
}

func TestSnapshotOfACleanTreeIsItsCommit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	head := o.commit("one", map[string]string{"a/main.tf": "a"})
	m, s := snapshot(t, openTree(t, o.dir))
	if s.Head != head || s.Commit != head {
		t.Errorf("Snapshot() = %+v, want %s twice", s, head)
	}
	if changed, err := m.Changed(t.Context(), head, s.Commit); err != nil || len(changed) != 0 {
		t.Errorf("Changed() = %v, %v, want nothing", changed, err)
	}
}

func TestSnapshotOfLinkedAndShallowClones(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("one", map[string]string{"a/main.tf": "a"})
	base := o.commit("two", map[string]string{"a/main.tf": "b"})
	linked, shallow := filepath.Join(t.TempDir(), "linked"), filepath.Join(t.TempDir(), "shallow")
	o.git("worktree", "add", "--quiet", "-b", "other", linked)
	o.git("clone", "--quiet", "--depth=1", "file://"+o.dir, shallow)
	for name, dir := range map[string]string{"linked": linked, "shallow": shallow} {
		if err := os.WriteFile(filepath.Join(dir, "a", "new.tf"), []byte("n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m, s := snapshot(t, openTree(t, dir))
		changed, err := m.Changed(t.Context(), base, s.Commit)
		want := []project.Change{{Path: "a/new.tf", Kind: project.Added}}
		if err != nil || !slices.Equal(changed, want) {
			t.Errorf("%s: Changed() = %v, %v, want %v", name, changed, err, want)
		}
	}
}

func TestSnapshotRefusesWhatIsNotMerged(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("one", map[string]string{"a.tf": "1", "b.tf": "1"})
	o.git("switch", "--quiet", "--create", "work")
	o.commit("mine", map[string]string{"a.tf": "2", "b.tf": "2"})
	o.git("switch", "--quiet", "main")
	o.commit("theirs", map[string]string{"a.tf": "3", "b.tf": "3"})
	cmd := exec.CommandContext(t.Context(), "git", "merge", "--quiet", "work") // which fails, as it should
	cmd.Dir = o.dir
	_ = cmd.Run()
	_, _, err := newMirrors(t).Snapshot(t.Context(), openTree(t, o.dir))
	unmerged, ok := errors.AsType[*git.UnmergedError](err)
	if !ok || !slices.Equal(unmerged.Files, []string{"a.tf", "b.tf"}) {
		t.Errorf("Snapshot() = %v, want an UnmergedError about a.tf and b.tf", err)
	}
}

func TestSnapshotNeedsACommit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	if _, _, err := newMirrors(t).Snapshot(t.Context(), openTree(t, o.dir)); !errors.Is(err, git.ErrRef) {
		t.Errorf("Snapshot() = %v, want ErrRef", err)
	}
}

func TestOpenWorkTreeOutsideOfARepository(t *testing.T) {
	t.Parallel()
	if _, err := git.OpenWorkTree(t.Context(), t.TempDir(), plainEnv()); !errors.Is(err, git.ErrNoWorkTree) {
		t.Errorf("OpenWorkTree() = %v, want ErrNoWorkTree", err)
	}
}

func TestBaseIsTheDefaultBranchOfTheRemote(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("one", map[string]string{"a.tf": "1"})
	for name, c := range map[string]struct {
		prepare [][]string
		want    string
	}{
		"TheHeadOfOrigin":       {[][]string{{"branch", "trunk"}, {"update-ref", "refs/remotes/origin/trunk", "HEAD"}, {"symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk"}}, "origin/trunk"},
		"NoHeadOfOrigin":        {[][]string{{"update-ref", "refs/remotes/origin/main", "HEAD"}}, "origin/main"},
		"AHeadThatLeadsNowhere": {[][]string{{"symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone"}}, "main"},
		"NoRemote":              {[][]string{{"remote", "remove", "origin"}}, "main"},
		"NothingOfAll":          {[][]string{{"remote", "remove", "origin"}, {"branch", "--move", "main", "work"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clone := &origin{t: t, dir: t.TempDir()}
			clone.git("clone", "--quiet", "--no-tags", o.dir, ".")
			for _, ref := range []string{"refs/remotes/origin/HEAD", "refs/remotes/origin/main"} {
				clone.git("update-ref", "--no-deref", "-d", ref)
			}
			for _, args := range c.prepare {
				clone.git(args...)
			}
			base, commit, err := openTree(t, clone.dir).Base(t.Context())
			if base != c.want || (commit == "") != (c.want == "") || errors.Is(err, git.ErrRef) != (c.want == "") {
				t.Errorf("Base() = %q, %q, %v, want %q", base, commit, err, c.want)
			}
		})
	}
}
