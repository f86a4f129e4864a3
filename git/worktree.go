package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoWorkTree says that a directory is not in a git repository with a work tree.
var ErrNoWorkTree = errors.New("not a git repository")

// UnmergedError says that a work tree has files with conflicts that nobody has resolved yet.
type UnmergedError struct {
	Files []string // sorted
}

func (e *UnmergedError) Error() string {
	return "unresolved merge conflicts in " + strings.Join(e.Files, ", ")
}

// WorkTree is somebody's own clone. It is read with the settings of its owner (excludes, filters, line ends), and nothing in it is ever
// written: neither files, nor index, nor objects, nor refs. At most git freshens the time of an object that it finds there.
type WorkTree struct {
	// Root is its top directory, absolute, symbolic links resolved.
	Root string

	git string
	env []string
}

// OpenWorkTree finds the work tree around a directory. env is the environment of its owner, as NAME=value; what git's hooks put there does
// not count, so that it works the same inside of a hook. Error: ErrNoWorkTree.
func OpenWorkTree(ctx context.Context, dir string, env []string) (*WorkTree, error) {
	w := &WorkTree{Root: dir, git: "git"}
	for _, pair := range env {
		if name, _, _ := strings.Cut(pair, "="); !strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "GIT_CONFIG_") {
			w.env = append(w.env, pair)
		}
	}
	w.env = append(w.env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	root, err := w.output(ctx, "rev-parse", "--show-toplevel")
	if exit := (*CommandError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w (%s)", dir, ErrNoWorkTree, exit.Stderr)
	}
	if err != nil {
		return nil, err
	}
	w.Root = root
	return w, nil
}

// output runs git in the work tree and returns what it printed without the last line's end.
func (w *WorkTree) output(ctx context.Context, args ...string) (string, error) {
	return w.with(ctx, nil, args...)
}

func (w *WorkTree) with(ctx context.Context, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, fmt.Errorf("took longer than %s", readTimeout))
	defer cancel()
	settings := []string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false", "-c", "core.untrackedCache=false",
		"-c", "core.quotePath=false",
	}
	cmd := exec.CommandContext(ctx, w.git, append(settings, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = w.Root, slices.Concat(w.env, env), killAfter
	var out bytes.Buffer
	stderr := &tail{}
	cmd.Stdout, cmd.Stderr = &out, stderr
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return strings.TrimSuffix(out.String(), "\n"), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	case errors.As(err, &exit):
		return "", &CommandError{Op: args[0], Exit: exit.ExitCode(), Stderr: stderr.text()}
	}
	return "", fmt.Errorf("git %s: %w", args[0], err)
}

// Commit resolves what people call a commit: a branch, a tag, an id. Error: ErrRef.
func (w *WorkTree) Commit(ctx context.Context, name string) (string, error) {
	id, err := w.output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if exitCode(err) > 0 {
		return "", fmt.Errorf("%q: %w", name, ErrRef)
	}
	return id, err
}

// Branch is the name of what is checked out: a branch, or HEAD.
func (w *WorkTree) Branch(ctx context.Context) string {
	name, err := w.output(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
	if err != nil {
		return "HEAD"
	}
	return name
}

// Remote is the name and address of the remote that this clone came from: origin, else the only one. Both are empty if there is none.
func (w *WorkTree) Remote(ctx context.Context) (name, address string, err error) {
	list, err := w.output(ctx, "remote")
	if err != nil {
		return "", "", err
	}
	names := strings.Fields(list)
	switch {
	case slices.Contains(names, "origin"):
		name = "origin"
	case len(names) == 1:
		name = names[0]
	default:
		return "", "", nil
	}
	address, err = w.output(ctx, "config", "--get", "remote."+name+".url")
	if exitCode(err) == 1 { // it has none
		return name, "", nil
	}
	return name, address, err
}

// Base finds the branch that changes are compared with: the default branch of the remote, else main or master there or here. Error: ErrRef,
// with the names that were looked for.
func (w *WorkTree) Base(ctx context.Context) (name, commit string, err error) {
	remote, _, err := w.Remote(ctx)
	if err != nil {
		return "", "", err
	}
	var names []string
	if remote != "" {
		names = append(names, remote+"/HEAD", remote+"/main", remote+"/master")
		if head, err := w.output(ctx, "symbolic-ref", "--quiet", "--short", "refs/remotes/"+remote+"/HEAD"); err == nil {
			names[0] = head
		}
	}
	names = append(names, "main", "master")
	for _, name := range names {
		commit, err := w.Commit(ctx, name)
		if err == nil || !errors.Is(err, ErrRef) {
			return name, commit, err
		}
	}
	return "", "", fmt.Errorf("%s: %w", strings.Join(names, ", "), ErrRef)
}

// Snapshot is the state of a work tree at one moment, as a commit that exists in a mirror alone.
type Snapshot struct {
	Head   string // the commit that is checked out
	Commit string // Head itself, or a commit on top of it with everything that is not committed
}

// Snapshot takes the files of a work tree as they are now, untracked ones included and ignored ones not, into a fresh mirror that borrows
// the objects of w's repository. What it makes is in the mirror alone. Errors: an *UnmergedError, ErrRef when nothing was committed yet.
func (ms *Mirrors) Snapshot(ctx context.Context, w *WorkTree) (*Mirror, Snapshot, error) {
	var s Snapshot
	var err error
	if s.Head, err = w.Commit(ctx, "HEAD"); err != nil {
		return nil, s, err
	}
	if err := w.merged(ctx); err != nil {
		return nil, s, err
	}
	m := ms.Repo("local", w.Root)
	objects, err := m.borrow(ctx, w, s.Head)
	if err != nil {
		return nil, s, fmt.Errorf("take a snapshot: %w", err)
	}
	tree, err := m.taken(ctx, w, objects)
	if err != nil {
		return nil, s, fmt.Errorf("take a snapshot: %w", err)
	}
	committed, err := m.Tree(ctx, s.Head)
	if err != nil {
		return nil, s, err
	}
	if s.Commit = s.Head; tree != committed {
		who := []string{"-c", "user.name=planlatch", "-c", "user.email=planlatch@localhost"}
		id, err := m.output(ctx, append(who, "commit-tree", tree, "-p", s.Head, "-m", "work tree")...)
		if err != nil {
			return nil, s, fmt.Errorf("take a snapshot: %w", err)
		}
		s.Commit = strings.TrimSpace(string(id))
	}
	return m, s, nil
}

// merged says no while somebody has conflicts to resolve.
func (w *WorkTree) merged(ctx context.Context) error {
	out, err := w.output(ctx, "ls-files", "--unmerged", "-z")
	if err != nil {
		return fmt.Errorf("look for conflicts: %w", err)
	}
	var files []string
	for _, entry := range split0([]byte(out)) { // mode id stage, a tab, the path: one for each side
		if _, path, ok := strings.Cut(entry, "\t"); ok && !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	if len(files) > 0 {
		return &UnmergedError{Files: files}
	}
	return nil
}

// borrow makes the mirror, with the objects of a work tree's repository at hand, and returns where those are.
func (m *Mirror) borrow(ctx context.Context, w *WorkTree, head string) (objects string, err error) {
	lock, release, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	if err := m.create(ctx, lock, []string{head}); err != nil {
		return "", err
	}
	if objects, err = w.path(ctx, "objects"); err != nil {
		return "", err
	}
	if strings.ContainsAny(objects, "\n\":") {
		return "", fmt.Errorf("%q: git cannot borrow from a directory with such a name", objects)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "objects", "info", "alternates"), []byte(objects+"\n"), 0o600); err != nil {
		return "", err
	}
	// Where a shallow clone ends.
	shallow, err := w.path(ctx, "shallow")
	if err != nil {
		return "", err
	}
	if err := copyTimed(shallow, filepath.Join(m.dir, "shallow")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return objects, nil
}

// path is where a repository keeps something of its own.
func (w *WorkTree) path(ctx context.Context, name string) (string, error) {
	return w.output(ctx, "rev-parse", "--path-format=absolute", "--git-path", name)
}

// taken writes the files of a work tree into the mirror and returns their tree. A copy of the index says which files have not changed since
// git looked at them last, so that only the others are read.
func (m *Mirror) taken(ctx context.Context, w *WorkTree, objects string) (string, error) {
	index, err := w.path(ctx, "index")
	if err != nil {
		return "", err
	}
	mine := filepath.Join(m.dir, "snapshot-index")
	if err := copyTimed(index, mine); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	env := []string{
		"GIT_INDEX_FILE=" + mine, "GIT_OBJECT_DIRECTORY=" + filepath.Join(m.dir, "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects,
	}
	if _, err := w.with(ctx, env, "-c", "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false", "add", "--all", "--", "."); err != nil {
		return "", err
	}
	return w.with(ctx, env, "write-tree")
}

// copyTimed copies a file with its time of change, by which git tells which entries of an index can be trusted.
func copyTimed(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, content, 0o600), os.Chtimes(to, info.ModTime(), info.ModTime())) //nolint:gosec // a name of our own
}
