package fakehost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// gitTimeout bounds one git command; all of them are local and small.
const gitTimeout = time.Minute

const zero = "0000000000000000000000000000000000000000"

// environment keeps the machine's and the person's git configuration out.
func (s *Server) environment(extra ...string) []string {
	return append([]string{
		"PATH=" + filepath.Dir(s.git) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + s.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}, extra...)
}

// run runs git in dir and returns its output without the last newline.
func (s *Server) run(dir, input string, env []string, args ...string) (string, error) {
	// The acting methods have no context: what they do is over in milliseconds, and the limit is for a git that hangs.
	ctx, cancel := context.WithTimeout(context.Background(), gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.git, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, s.environment(env...), strings.NewReader(input)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return strings.TrimSuffix(out.String(), "\n"), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// initialise makes the bare repository. Nobody pushes into refs/pull, any commit may be fetched by its id, and no housekeeping runs in
// the background, which would outlive us.
func (s *Server) initialise(r *repo) error {
	if _, err := s.run(s.dir, "", nil, "init", "--quiet", "--bare", "--template=", "--initial-branch="+r.branch, r.dir); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure repository: %w", err)
	}
	_, err = f.WriteString("[http]\n\treceivepack = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n" +
		"[receive]\n\thideRefs = refs/pull\n\thideRefs = refs/merge-requests\n\tautogc = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("configure repository: %w", err)
	}
	return nil
}

// identity is the environment that makes git write commits in these names.
func identity(author, committer User, at time.Time) []string {
	date := fmt.Sprintf("%d +0000", at.Unix())
	return []string{
		"GIT_AUTHOR_NAME=" + author.Name, "GIT_AUTHOR_EMAIL=" + author.Email, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + committer.Name, "GIT_COMMITTER_EMAIL=" + committer.Email, "GIT_COMMITTER_DATE=" + date,
	}
}

// webFlow commits what people do on the web page.
var webFlow = User{ID: 19864447, Login: "web-flow", Name: "GitHub", Email: "noreply@github.com"}

// fixed is run for what can never change, since args name commits by their ids: a real host does not start a process to show a pull request
// once more.
func (s *Server) fixed(r *repo, args ...string) (string, error) {
	key := r.dir + "\x00" + strings.Join(args, "\x00")
	if out, ok := s.outputs.Load(key); ok {
		return out.(string), nil //nolint:forcetypeassert // only strings are stored
	}
	out, err := s.run(r.dir, "", nil, args...)
	if err == nil {
		s.outputs.Store(key, out)
	}
	return out, err
}

// tip is the commit of a branch, or "" if there is none.
func (s *Server) tip(r *repo, branch string) string {
	// Git replaces the file of a ref as a whole. What has been packed has none.
	if text, err := os.ReadFile(filepath.Join(r.dir, "refs", "heads", filepath.FromSlash(branch))); err == nil && len(text) == len(zero)+1 {
		return strings.TrimSpace(string(text))
	}
	sha, err := s.run(r.dir, "", nil, "show-ref", "--verify", "--hash", "refs/heads/"+branch)
	if err != nil {
		return ""
	}
	return sha
}

// heads lists all branches with their commits.
func (s *Server) heads(r *repo) (map[string]string, error) {
	out, err := s.run(r.dir, "", nil, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads")
	if err != nil {
		return nil, err
	}
	heads := map[string]string{}
	for line := range strings.Lines(out) {
		if sha, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			heads[name] = sha
		}
	}
	return heads, nil
}

// commit writes one commit on a branch with fast-import: one process, whatever the number of files.
func (s *Server) commit(r *repo, u *user, branch, from string, c Commit) (string, error) {
	at := s.now()
	var b strings.Builder
	// A branch of our own first, so that a refused import leaves the real one alone.
	fmt.Fprintf(&b, "commit refs/fakehost/import\nauthor %s <%s> %d +0000\ncommitter %s <%s> %d +0000\ndata %d\n%s\n",
		u.Name, u.Email, at.Unix(), u.Name, u.Email, at.Unix(), len(c.Message), c.Message)
	if from != "" {
		fmt.Fprintf(&b, "from %s\n", from)
	}
	for _, path := range c.Delete {
		fmt.Fprintf(&b, "D %s\n", quote(path))
	}
	paths := make([]string, 0, len(c.Files))
	for path := range c.Files {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		mode := "100644"
		if strings.HasPrefix(c.Files[path], "#!") { // a script, which is to be run
			mode = "100755"
		}
		fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, quote(path), len(c.Files[path]), c.Files[path])
	}
	for path, target := range c.Links {
		fmt.Fprintf(&b, "M 120000 inline %s\ndata %d\n%s\n", quote(path), len(target), target)
	}
	for path, commit := range c.Modules {
		fmt.Fprintf(&b, "M 160000 %s %s\n", commit, quote(path))
	}
	if _, err := s.run(r.dir, b.String(), nil, "fast-import", "--quiet", "--force", "--date-format=raw"); err != nil {
		return "", err
	}
	sha, err := s.run(r.dir, "", nil, "rev-parse", "--verify", "refs/fakehost/import")
	if err != nil {
		return "", err
	}
	moves := fmt.Sprintf("update refs/heads/%s %s\ndelete refs/fakehost/import\n", branch, sha)
	if _, err := s.run(r.dir, moves, nil, "update-ref", "--stdin"); err != nil {
		return "", err
	}
	return sha, nil
}

// quote writes a path as fast-import reads it, whatever is in it.
func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}

// mergeTree merges two commits without touching anything; ok is false on a conflict.
func (s *Server) mergeTree(r *repo, base, head string) (tree string, ok bool) {
	if len(base) != len(zero) || len(head) != len(zero) {
		return "", false
	}
	out, err := s.fixed(r, "merge-tree", "--write-tree", base, head)
	if err != nil {
		return "", false
	}
	tree, _, _ = strings.Cut(out, "\n")
	return tree, true
}

// rebase replays base..head on base, in a scratch clone, and brings the result back.
func (s *Server) rebase(r *repo, base, head string, committer User) (string, error) {
	dir, err := os.MkdirTemp(s.dir, "rebase-")
	if err != nil {
		return "", fmt.Errorf("make scratch clone: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // below s.dir, which Close removes
	at := s.now()
	env := identity(committer, committer, at)[3:] // authors stay
	steps := [][]string{
		{"clone", "--quiet", "--shared", "--no-checkout", r.dir, dir},
		{"-C", dir, "checkout", "--quiet", "--detach", head},
		{"-C", dir, "rebase", "--quiet", "--force-rebase", base},
	}
	for _, step := range steps {
		if _, err := s.run(s.dir, "", env, step...); err != nil {
			return "", err
		}
	}
	sha, err := s.run(dir, "", nil, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	if _, err := s.run(r.dir, "", nil, "fetch", "--quiet", dir, "HEAD"); err != nil {
		return "", err
	}
	return sha, nil
}

// setRef points a ref at a commit, or removes it when sha is empty.
func (s *Server) setRef(r *repo, ref, sha string) error {
	args := []string{"update-ref", ref, sha}
	if sha == "" {
		args = []string{"update-ref", "-d", ref}
	}
	_, err := s.run(r.dir, "", nil, args...)
	return err
}

// logEntry is one commit as the API shows it.
type logEntry struct {
	sha, tree, authorName, authorEmail, committerName, committerEmail, message string
	authored, committed                                                        string
	parents                                                                    []string
}

// lasting is an argument of log that means the same for ever.
var lasting = regexp.MustCompile(`^(-1|[0-9a-f]{40}(\.\.[0-9a-f]{40})?)$`)

// log lists the commits of a range, oldest first.
func (s *Server) log(r *repo, of ...string) ([]logEntry, error) {
	run := s.fixed
	if slices.ContainsFunc(of, func(o string) bool { return !lasting.MatchString(o) }) {
		run = func(r *repo, args ...string) (string, error) { return s.run(r.dir, "", nil, args...) }
	}
	out, err := run(r, append([]string{"log", "--reverse", "--topo-order", "-z",
		"--format=%H%x01%an%x01%ae%x01%aI%x01%cn%x01%ce%x01%cI%x01%P%x01%T%x01%B"}, of...)...)
	if err != nil || out == "" {
		return nil, err
	}
	var list []logEntry
	for one := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		f := strings.SplitN(one, "\x01", 10)
		if len(f) != 10 {
			continue
		}
		list = append(list, logEntry{
			sha: f[0], authorName: f[1], authorEmail: f[2], authored: f[3], committerName: f[4], committerEmail: f[5], committed: f[6],
			parents: strings.Fields(f[7]), tree: f[8], message: strings.TrimRight(f[9], "\n"),
		})
	}
	return list, nil
}

// contains says whether commit is an ancestor of (or equal to) tip.
func (s *Server) contains(r *repo, tip, commit string) bool {
	_, err := s.run(r.dir, "", nil, "merge-base", "--is-ancestor", commit, tip)
	return err == nil
}
