package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// treeFlags are what plan and explain of a work tree have in common.
type treeFlags struct {
	Dirs   []string `arg:"" optional:"" name:"dir" help:"Only the projects in and below these directories, changed or not."`
	Base   string   `placeholder:"REF" help:"Compare with this branch, tag or commit. Default: the default branch of the remote, else main or master."`
	Config string   `placeholder:"FILE" help:"A server.yaml, whose rules, tools, policies, environments and provider configurations count. It needs no vcs."`
	Repo   string   `placeholder:"HOST/OWNER/NAME" help:"The repository as selectors of --config name it. Default: found by the address of the remote."`
	JSON   bool     `help:"Print JSON (docs/plan.md) instead of words."`
	Chdir  string   `short:"C" placeholder:"DIR" help:"Work as if started in this directory."`
}

// tree is a work tree that was looked at: what is compared, and what that selects.
type tree struct {
	cfg      *config.Config
	rules    config.Rules
	repo     run.Repo
	place    string // where the command was started, symbolic links resolved
	root     string
	mirror   *git.Mirror
	snap     git.Snapshot
	branch   string // that is checked out
	baseName string
	base     string   // the merge base
	conflict []string // files that do not merge with the base as it is now
	changed  []project.Change
	sel      project.Selection
	notes    []string
}

// look finds the repository, takes a snapshot of it into dir and selects.
func (f *treeFlags) look(ctx context.Context, t *terminal, dir string) (*tree, error) {
	w := &tree{}
	var err error
	if w.place, err = f.start(); err != nil {
		return nil, err
	}
	if w.cfg, err = f.settings(t.env, w.place, dir); err != nil {
		return nil, err
	}
	mirrors := git.New(git.Options{Dir: filepath.Join(dir, "git")})
	if _, err := mirrors.Check(ctx); err != nil {
		return nil, usage(err)
	}
	clone, err := git.OpenWorkTree(ctx, w.place, pairs(t.env))
	if errors.Is(err, git.ErrNoWorkTree) {
		return nil, usage(fmt.Errorf("%w; start in a clone of the repository, or name one with -C DIR", err))
	}
	if err != nil {
		return nil, err
	}
	w.root = clone.Root
	if err := f.identify(ctx, w, clone); err != nil {
		return nil, err
	}
	if w.mirror, w.snap, err = mirrors.Snapshot(ctx, clone); err != nil {
		return nil, explainSnapshot(err)
	}
	w.branch = clone.Branch(ctx)
	if err := f.compare(ctx, w, clone); err != nil {
		return nil, err
	}
	return w, w.choose(ctx)
}

// settings are those of a server, if one was named, else the defaults with whatever tool this machine has.
func (f *treeFlags) settings(env map[string]string, place, dir string) (*config.Config, error) {
	cfg := config.Default(dir)
	if f.Config == "" {
		cfg.Tools.Default, cfg.Tools.Download = config.Tool{Name: "tofu"}, false
	} else {
		file := f.Config
		if !filepath.IsAbs(file) {
			file = filepath.Join(place, file)
		}
		var err error
		if cfg, err = config.LoadLocal(file, func(name string) (string, bool) { v, ok := env[name]; return v, ok }); err != nil {
			return nil, err
		}
	}
	cfg.Execution.Binds = slices.DeleteFunc(cfg.Execution.Binds, func(b config.Bind) bool {
		_, err := os.Stat(b.Path)
		return err != nil // what a server has need not be here
	})
	cfg.Data = dir // the server's own is not ours to write
	switch cache, home := env["XDG_CACHE_HOME"], env["HOME"]; {
	case filepath.IsAbs(cache):
		cfg.Data = filepath.Join(cache, "planlatch")
	case filepath.IsAbs(home):
		cfg.Data = filepath.Join(home, ".cache", "planlatch")
	}
	return cfg, nil
}

// start is the directory that the command is about.
func (f *treeFlags) start() (string, error) {
	place, err := filepath.Abs(f.Chdir)
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	actual, err := filepath.EvalSymlinks(place)
	if err != nil {
		return "", usage(fmt.Errorf("-C %s: %w", f.Chdir, err))
	}
	return actual, nil
}

// surviveReaders lets a command end in order, and clean up, when whoever reads its output goes away (planlatch plan | head): what it writes
// fails then, where else the process would be killed. It holds until the process ends, which may have more to say.
func surviveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

func pairs(env map[string]string) []string {
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// identify says which repository it is for those who wrote selectors.
func (f *treeFlags) identify(ctx context.Context, w *tree, clone *git.WorkTree) error {
	if f.Repo != "" {
		host, name, ok := strings.Cut(f.Repo, "/")
		if !ok || !strings.Contains(name, "/") {
			return usage(fmt.Errorf("--repo %s: write HOST/OWNER/NAME, with the name that server.yaml gives the host", f.Repo))
		}
		w.repo.Host, w.repo.Name = host, name
	} else if f.Config != "" {
		_, address, err := clone.Remote(ctx)
		if err != nil {
			return err
		}
		if w.repo.Host, w.repo.Name = hostOf(w.cfg, address); w.repo.Host == "" {
			w.notes = append(w.notes, "no host of "+f.Config+" has this repository, so what it says of single repositories does not count; say which it is with --repo")
		}
	}
	w.rules = w.cfg.Rules(w.repo.Host, w.repo.Name)
	return nil
}

// hostOf finds the host of a remote's address, and the name of the repository there.
func hostOf(cfg *config.Config, address string) (host, name string) {
	server, full := "", ""
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		server, full = u.Hostname(), u.Path
	} else if at, rest, ok := strings.Cut(address, ":"); ok { // git@host:owner/name.git
		server, full = at[strings.LastIndexByte(at, '@')+1:], rest
	}
	full = strings.TrimSuffix(strings.Trim(full, "/"), ".git")
	for _, h := range cfg.VCS {
		u, err := url.Parse(h.URL)
		if err != nil || !strings.EqualFold(u.Hostname(), server) {
			continue
		}
		if name, ok := strings.CutPrefix("/"+full, strings.TrimSuffix(u.Path, "/")+"/"); ok && strings.Contains(name, "/") {
			return h.Name, name
		}
	}
	return "", ""
}

// explainSnapshot says what to do about a work tree that cannot be taken.
func explainSnapshot(err error) error {
	unmerged := (*git.UnmergedError)(nil)
	switch {
	case errors.As(err, &unmerged):
		return usage(fmt.Errorf("%w; resolve them and say git add, or git merge --abort", err))
	case errors.Is(err, git.ErrRef):
		return usage(errors.New("nothing was committed here yet, so there is nothing to compare with; commit once, or fetch and check out a branch"))
	}
	return err
}

// compare finds the base and what changed since.
func (f *treeFlags) compare(ctx context.Context, w *tree, clone *git.WorkTree) error {
	var tip string
	var err error
	if w.baseName = f.Base; f.Base != "" {
		if tip, err = clone.Commit(ctx, f.Base); errors.Is(err, git.ErrRef) {
			return usage(fmt.Errorf("--base %s: there is no such branch, tag or commit in this clone; git fetch it, or name another", f.Base))
		}
	} else if w.baseName, tip, err = clone.Base(ctx); errors.Is(err, git.ErrRef) {
		return usage(fmt.Errorf("no branch to compare with: %w; name one with --base REF", err))
	}
	if err != nil {
		return err
	}
	w.base, err = w.mirror.MergeBase(ctx, tip, w.snap.Commit)
	if errors.Is(err, git.ErrUnrelated) {
		return usage(fmt.Errorf("%s and what is checked out have no common history; name another with --base, or say git fetch --unshallow if this clone is shallow", w.baseName))
	}
	if err != nil {
		return err
	}
	if w.base != tip {
		merged, err := w.mirror.Merge(ctx, tip, w.snap.Commit)
		if err != nil {
			return err
		}
		w.conflict = merged.Conflicts
		w.notes = append(w.notes, w.baseName+" has moved on; the pull request is planned on top of it, this is planned as it is")
	}
	w.changed, err = w.mirror.ChangedBetween(ctx, w.base, w.snap.Commit)
	return err
}

// choose selects as the server would, with the merge base in the place of the base.
func (w *tree) choose(ctx context.Context) error {
	head, err := w.mirror.FS(ctx, w.snap.Commit)
	if err != nil {
		return err
	}
	defer head.Close()
	base, err := w.mirror.FS(ctx, w.base)
	if err != nil {
		return err
	}
	defer base.Close()
	w.sel = project.Select(ctx, project.Input{Head: head, Base: base, Changed: w.changed, Rules: intake.ProjectRules(w.cfg, w.rules)})
	if w.sel.Err != nil {
		return fmt.Errorf("select projects: %w", w.sel.Err)
	}
	if len(w.sel.All) == 0 && len(w.sel.Problems) == 0 {
		return usage(fmt.Errorf("%s has no project: no directory with .tf or .tofu files, or none that %s lists; start in another repository, or list the projects",
			w.root, project.ConfigFile))
	}
	for i, s := range w.sel.All {
		if s.Settings.Environment == "" {
			w.sel.All[i].Settings.Environment = w.cfg.EnvironmentOf(w.target(s))
		}
	}
	for i, s := range w.sel.Projects {
		if s.Settings.Environment == "" {
			w.sel.Projects[i].Settings.Environment = w.cfg.EnvironmentOf(w.target(s))
		}
	}
	return nil
}

func (w *tree) target(s run.Selected) selector.Target {
	return selector.Target{Host: w.repo.Host, Repo: w.repo.Name, Dir: s.Dir, Workspace: s.Workspace}
}

// inside turns a directory as people give it into one of the repository.
func (w *tree) inside(dir string) (string, error) {
	full := dir
	if !filepath.IsAbs(full) {
		full = filepath.Join(w.place, dir)
	}
	if actual, err := filepath.EvalSymlinks(full); err == nil {
		full = actual
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", usage(fmt.Errorf("%s: %w", dir, err))
	}
	rel, err := filepath.Rel(w.root, full)
	if err != nil || !filepath.IsLocal(rel) {
		return "", usage(fmt.Errorf("%s is outside of the repository %s", dir, w.root))
	}
	if info, err := os.Stat(full); err == nil && !info.IsDir() {
		rel = filepath.Dir(rel)
	}
	return filepath.ToSlash(rel), nil
}

// under says whether a project lies in a directory of the repository or below it.
func under(s run.Selected, dir string) bool {
	return dir == "." || s.Dir == dir || strings.HasPrefix(s.Dir, dir+"/")
}

// around is the project whose directory a directory lies in; empty when there is none.
func (w *tree) around(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if slices.ContainsFunc(w.sel.All, func(s run.Selected) bool { return s.Dir == dir }) {
			return dir
		}
	}
	return ""
}

// view is what a report knows of a work tree before anything is planned.
func (w *tree) view() report.View {
	return report.View{
		Pull: run.Pull{HeadBranch: w.branch, BaseBranch: w.baseName}, Repo: w.repo, Kind: run.KindChange, Head: w.snap.Head, Base: w.base, BaseBranch: w.baseName,
		Known: len(w.sel.All), Problems: w.sel.Problems, Conflict: len(w.conflict) > 0, Notes: slices.Concat(w.sel.Notes, w.notes),
	}
}

// between says what is compared, for the progress on stderr.
func (w *tree) between() string {
	text := w.baseName + " at " + w.base[:7]
	if w.snap.Commit != w.snap.Head {
		text += ", with what is not committed"
	}
	return text
}
