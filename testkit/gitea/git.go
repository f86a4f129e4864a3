package gitea

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Change is one commit to be pushed.
type Change struct {
	Branch  string            // where to; made when it is not there
	From    string            // what a new branch starts from; empty: main, or nothing in an empty repository
	Files   map[string]string // path → content; a content ending in nothing is an empty file
	Links   map[string]string // path → where a symbolic link leads
	Modules map[string]string // path → the commit of a submodule
	Delete  []string          // paths
	Message string            // empty: "Change"
	Author  string            // "Name <mail>"; empty: whoever pushes
	Force   bool              // start the branch anew from From and push over what is there
}

// Push commits a change with real git and pushes it over HTTP as the person. It returns the commit.
func (p *Person) Push(t testing.TB, r Repo, c Change) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) (string, error) { return p.git(t.Context(), dir, args...) }
	must := func(args ...string) string {
		t.Helper()
		out, err := git(args...)
		check(t, err, "push to %s of %s", c.Branch, r.FullName)
		return strings.TrimSpace(out)
	}
	must("clone", "--quiet", "--no-checkout", r.CloneURL, ".")
	start := c.start(git)
	if start != "" {
		must("checkout", "--quiet", "-B", c.Branch, start)
	} else {
		must("symbolic-ref", "HEAD", "refs/heads/"+c.Branch)
	}
	for path, content := range c.Files {
		file := filepath.Join(dir, filepath.FromSlash(path))
		check(t, os.MkdirAll(filepath.Dir(file), 0o755), "write %s", path)
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") { // a script, which is to be run
			mode = 0o755
		}
		check(t, os.WriteFile(file, []byte(content), mode), "write %s", path)
	}
	for path, target := range c.Links {
		file := filepath.Join(dir, filepath.FromSlash(path))
		check(t, os.MkdirAll(filepath.Dir(file), 0o755), "link %s", path)
		check(t, os.Symlink(target, file), "link %s", path)
	}
	for _, path := range c.Delete {
		must("rm", "--quiet", "-r", "--", path)
	}
	must("add", "--all")
	for path, commit := range c.Modules {
		must("update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	}
	message, author := c.Message, c.Author
	if message == "" {
		message = "Change"
	}
	if author == "" {
		author = fmt.Sprintf("%s <%s>", p.Login, p.Email)
	}
	must("commit", "--quiet", "--allow-empty", "--author", author, "-m", message)
	push := []string{"push", "--quiet", "origin", "HEAD:refs/heads/" + c.Branch}
	if c.Force {
		push = append(push, "--force")
	}
	must(push...)
	return must("rev-parse", "HEAD")
}

// start is the commit to build on: the branch as it is, else where it is to start from, else nothing.
func (c Change) start(git func(...string) (string, error)) string {
	from := c.From
	if from == "" {
		from = "main"
	}
	candidates := []string{"origin/" + c.Branch, "origin/" + from, from}
	if c.Force {
		candidates = candidates[1:]
	}
	for _, ref := range candidates {
		if out, err := git("rev-parse", "--verify", "--quiet", ref+"^{commit}"); err == nil {
			return strings.TrimSpace(out)
		}
	}
	return ""
}

// git runs one git command in dir with nothing of this machine's configuration. The password travels in the environment, so that a
// failure can print the command.
func (p *Person) git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	basic := base64.StdEncoding.EncodeToString([]byte(p.Login + ":" + p.Password))
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_COMMITTER_NAME=" + p.Login, "GIT_COMMITTER_EMAIL=" + p.Email,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic " + basic,
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
