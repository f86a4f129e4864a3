package fakehost_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planlatch/planlatch/testkit/githubapi"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repo = "acme/infra"

// start gives a host with a repository and people: alice administers, bob writes, mallory may only read what is public.
func start(t *testing.T, o fakehost.Options) (*fakehost.Server, map[string]fakehost.User) {
	t.Helper()
	o.Dir, o.Judge = t.TempDir(), githubapi.New(t)
	s, err := fakehost.Start(o)
	if err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	people := map[string]fakehost.User{}
	for login, p := range map[string]fakehost.Permission{
		"alice": fakehost.Admin, "bob": fakehost.Write, "carol": fakehost.Write, "mallory": fakehost.None, "planlatch-bot": fakehost.Write,
	} {
		if people[login], err = s.CreateUser(login, p); err != nil {
			t.Fatalf("CreateUser(%s) = %v", login, err)
		}
	}
	ok(t, s.CreateRepo(repo, fakehost.NewRepo{By: "alice", Files: map[string]string{"main.tf": "# nothing\n"}}))
	return s, people
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// git runs the real git as a person would, with a token given by header so that it is in no file.
func git(t *testing.T, dir, token string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	askpass := filepath.Join(t.TempDir(), "askpass")
	syscall.ForkLock.RLock() // a process of another test that begins meanwhile would have it open for writing, and then it cannot be run
	err := os.WriteFile(askpass, []byte("#!/bin/sh\necho \"$FAKE_ANSWER\"\n"), 0o700)
	syscall.ForkLock.RUnlock()
	ok(t, err)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS="+askpass,
		"FAKE_ANSWER="+token, "GIT_AUTHOR_NAME=Bob", "GIT_AUTHOR_EMAIL=bob@example.com", "GIT_COMMITTER_NAME=Bob",
		"GIT_COMMITTER_EMAIL=bob@example.com", "no_proxy=127.0.0.1")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestGitClonesAndPushesOverHTTP(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	dir := filepath.Join(t.TempDir(), "work")
	if out, err := git(t, ".", people["bob"].Token, "clone", s.Clone(repo), dir); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	big := strings.Repeat("0123456789abcdef", 1<<17) // does not compress into one request: git sends it in chunks
	ok(t, os.WriteFile(filepath.Join(dir, "big.txt"), []byte(big), 0o600))
	for _, step := range [][]string{
		{"checkout", "-q", "-b", "feature/one"}, {"add", "."}, {"commit", "-q", "-m", "big"},
		{"-c", "http.postBuffer=65536", "-c", "core.compression=0", "push", "-q", "origin", "feature/one"},
	} {
		if out, err := git(t, dir, people["bob"].Token, step...); err != nil {
			t.Fatalf("git %v: %v\n%s", step, err, out)
		}
	}
	want := must(git(t, dir, "", "rev-parse", "HEAD"))(t)
	if got := must(s.Tip(repo, "feature/one"))(t); got != want {
		t.Errorf("Tip() = %s, want the pushed %s", got, want)
	}
	n := must(s.OpenPull(repo, "bob", fakehost.NewPull{Title: "Big", Head: "feature/one"}))(t)
	out := must(git(t, dir, people["bob"].Token, "ls-remote", "origin", "refs/pull/1/head"))(t)
	if !strings.HasPrefix(out, want) {
		t.Errorf("ls-remote refs/pull/%d/head = %q, want %s", n, out, want)
	}
	if out, err := git(t, dir, people["bob"].Token, "push", "-q", "origin", "HEAD:refs/pull/1/head"); err == nil {
		t.Errorf("push into refs/pull was taken: %s", out)
	}
}

func TestGitIsRefusedWithoutARightToken(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	ok(t, s.CreateRepo("acme/secret", fakehost.NewRepo{Private: true, By: "alice", Files: map[string]string{"a": "b"}}))
	dir := filepath.Join(t.TempDir(), "work")
	if out, err := git(t, ".", people["mallory"].Token, "clone", s.Clone(repo), dir); err != nil {
		t.Fatalf("git clone of a public repository: %v\n%s", err, out)
	}
	ok(t, os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600))
	for _, step := range [][]string{{"add", "."}, {"commit", "-q", "-m", "x"}} {
		must(git(t, dir, "", step...))(t)
	}
	for name, c := range map[string]struct {
		token string
		args  []string
		says  string
	}{
		"clone a private repository with a wrong token":      {"wrong", []string{"clone", s.Clone("acme/secret")}, "Authentication failed"},
		"clone a private repository with a stranger's token": {people["mallory"].Token, []string{"clone", s.Clone("acme/secret")}, "not found"},
		"push with a wrong token":                            {"wrong", []string{"-C", dir, "push", "origin", "HEAD:main"}, "Authentication failed"},
		"push with a reader's token":                         {people["mallory"].Token, []string{"-C", dir, "push", "origin", "HEAD:main"}, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := git(t, t.TempDir(), c.token, c.args...)
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("git %v = %v, %q; want a refusal that says %q", c.args, err, out, c.says)
			}
		})
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := fakehost.Start(fakehost.Options{Dir: dir})
	ok(t, err)
	must(s.AddWebhook("http://127.0.0.1:1/nobody", "x"))(t)
	must(s.CreateUser("alice", fakehost.Admin))(t)
	ok(t, s.CreateRepo(repo, fakehost.NewRepo{}))
	ok(t, s.Close())
	ok(t, s.Close())
	left := must(os.ReadDir(dir))(t)
	if len(left) != 0 {
		t.Errorf("Close() left %v", left)
	}
}
