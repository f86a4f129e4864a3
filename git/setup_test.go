package git_test

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/vcs"
)

// origin is a real repository with a work tree, which stands for the one on the VCS host.
type origin struct {
	t   testing.TB
	dir string
}

func newOrigin(t testing.TB) *origin {
	t.Helper()
	o := &origin{t: t, dir: t.TempDir()}
	o.git("init", "--quiet", "--initial-branch=main")
	o.git("config", "uploadpack.allowAnySHA1InWant", "true")
	return o
}

// git runs git in the origin and returns what it printed.
func (o *origin) git(args ...string) string {
	o.t.Helper()
	return o.input("", args...)
}

func (o *origin) input(in string, args ...string) string {
	o.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = o.dir
	cmd.Stdin = strings.NewReader(in)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=Ann@example.com", "GIT_COMMITTER_NAME=Cy", "GIT_COMMITTER_EMAIL=cy@example.com",
		"GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// write puts files into the work tree; a nil content removes one.
func (o *origin) write(files map[string]string) {
	o.t.Helper()
	for name, content := range files {
		p := filepath.Join(o.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			o.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			o.t.Fatal(err)
		}
	}
}

// commit writes files, commits everything and returns the commit.
func (o *origin) commit(message string, files map[string]string) string {
	o.t.Helper()
	o.write(files)
	o.git("add", "--all")
	o.git("commit", "--quiet", "--allow-empty", "--message", message)
	return o.git("rev-parse", "HEAD")
}

func (o *origin) remote() vcs.Remote { return vcs.Remote{URL: o.dir} }

func newMirrors(t testing.TB) *git.Mirrors {
	t.Helper()
	return git.New(git.Options{Dir: filepath.Join(t.TempDir(), "mirrors"), AllowFile: true, Log: slog.New(slog.DiscardHandler)})
}

// mirrorOf returns a mirror that has fetched commits of an origin.
func mirrorOf(t testing.TB, o *origin, commits ...string) *git.Mirror {
	t.Helper()
	m := newMirrors(t).Repo("gitea", "1")
	if err := m.Fetch(t.Context(), o.remote(), commits...); err != nil {
		t.Fatalf("Fetch() = %v", err)
	}
	return m
}
