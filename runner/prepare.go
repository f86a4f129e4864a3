package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
)

// The files of an execution, relative to the project directory.
const (
	filePlan     = "tfplan"
	filePlanJSON = "plan.json"
	fileLock     = project.LockFile
	fileBackend  = ".terraform/terraform.tfstate" // where init writes the backend it resolved
	fileErrored  = "errored.tfstate"              // where the tool leaves a state it could not save
)

// ground is what both phases of a run stand on: its place in the world, its source and its tool.
type ground struct {
	run       run.Run
	repo      run.Repo
	rev       run.Revision
	tree      string // extracted source on this machine
	tool      tool.Tool
	providers provider.View // set for an execution alone
	grant     Grant         // of one phase; empty until entitle
	hidden    []string      // what nobody may read of it, nor of the server
}

// prepareGround fetches what is missing and resolves the tool. Errors that the project can mend are refusals.
func (r *Runner) prepareGround(ctx context.Context, of run.Run) (ground, error) {
	g, err := r.stand(ctx, of)
	if err != nil {
		return g, err
	}
	return r.equip(ctx, g)
}

// stand finds the source of a run, and nothing that could run.
func (r *Runner) stand(ctx context.Context, of run.Run) (ground, error) {
	g := ground{run: of}
	var err error
	if g.repo, err = r.Store.Repo(ctx, of.Repo); err != nil {
		return g, err
	}
	if g.rev, err = r.Store.Revision(ctx, of.Revision); err != nil {
		return g, err
	}
	g.tree, err = r.source(ctx, g.repo, g.rev)
	return g, err
}

// equip finds the tool that a run needs besides its source.
func (r *Runner) equip(ctx context.Context, g ground) (ground, error) {
	of := g.run
	err := dropped(of.Settings)
	if err != nil {
		return g, err
	}
	want := tool.Want{Name: of.Settings.Tool, Version: of.Settings.Version, Required: of.Settings.Required}
	if of.Tool != "" { // an apply runs the very tool that planned
		if want, err = exactly(of.Tool); err != nil {
			return g, err
		}
	}
	if g.tool, err = r.Tools.Resolve(ctx, want); err != nil {
		r.Log.Warn("a run asks for a tool that cannot be had", "run", of.ID, "error", err) // with paths of this machine, which a pull request need not know
		return g, noTool(want, err)
	}
	return g, nil
}

// provide has the locked providers of a project where its execution finds them. lock is its lock file, which comes back with what the tool
// found to be right besides; nil if there is none.
func (r *Runner) provide(ctx context.Context, g *ground, lock []byte) ([]byte, error) {
	only, err := r.allowedProviders(*g)
	if err != nil {
		return nil, err
	}
	if g.providers, err = r.Providers.View(ctx, g.tool.Name, g.tool.Path, lock, only); err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	if g.providers.Lock != nil {
		return g.providers.Lock, nil
	}
	return lock, nil
}

// lockFile reads the lock file that a project has in its tree; nil if it has none.
func lockFile(g ground) ([]byte, error) {
	root, err := os.OpenRoot(g.tree)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // read only
	f, err := root.Open(path.Join(g.run.Dir, fileLock))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, refuse("its %s cannot be read: it must be a file of the repository", fileLock)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLockFile {
		return nil, refuse("its %s is not a file of at most %d bytes", fileLock, maxLockFile)
	}
	return io.ReadAll(f)
}

const maxLockFile = 1 << 20

// noTool tells the pull request which tool is missing, what it could ask for instead, and who can help.
func noTool(want tool.Want, err error) error {
	name := want.Name
	if name == "" {
		name = "OpenTofu"
	}
	asked := strings.Join(slices.DeleteFunc(append([]string{want.Version}, want.Required...), func(s string) bool { return s == "" }), ", ")
	if asked != "" {
		asked = " that fits " + asked
	}
	instead := "ask for a version that it has"
	if have := tool.Have(err); len(have) > 0 {
		instead = "it has " + strings.Join(have, ", ") + ": ask for one of these"
	}
	switch {
	case errors.Is(err, tool.ErrNotFound):
		return refuse("the server has no %s%s; %s, or its operator to install one", name, asked, instead)
	case errors.Is(err, tool.ErrDownload):
		return refuse("the server has no %s%s and could not download one, as its log says; plan again later, or %s", name, asked, instead)
	case errors.Is(err, tool.ErrNotAllowed), errors.Is(err, tool.ErrInvalid):
		return refuse("%v", err)
	}
	return err
}

// exactly reads back the tool a plan was made with: "tofu 1.12.6".
func exactly(label string) (tool.Want, error) {
	var w tool.Want
	if n, err := fmt.Sscanf(label, "%s %s", &w.Name, &w.Version); n != 2 || err != nil {
		return w, refuse("the plan does not say which tool made it: %q", label)
	}
	return w, nil
}

// source returns the extracted tree of a revision, shared by all its runs.
func (r *Runner) source(ctx context.Context, repo run.Repo, rev run.Revision) (string, error) {
	r.trees.RLock()
	defer r.trees.RUnlock()
	m := r.Git.Repo(repo.Host, repo.HostID)
	dir := filepath.Join(r.o.Dir, dirTrees, rev.Tree)
	err := m.Export(ctx, rev.Tree, dir)
	if errors.Is(err, git.ErrObject) { // the mirror was lost, or lives on another node: fetch and merge again
		err = r.Facts.Refetch(ctx, repo, rev)
		if errors.Is(err, facts.ErrLost) {
			return "", refuse("%v", err)
		}
		if err != nil {
			return "", err
		}
		err = m.Export(ctx, rev.Tree, dir)
	}
	if limit, ok := errors.AsType[*git.LimitError](err); ok {
		return "", refuse("its source cannot be extracted: %v; %s", limit, limit.Fix)
	}
	if err != nil {
		return "", fmt.Errorf("extract the source: %w", err)
	}
	return dir, nil
}

// base is the part of a Spec that both phases share.
func (r *Runner) base(g ground, phase string) executor.Spec {
	target := facts.Target(g.repo, g.run)
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + cmp.Or(r.o.Home, "/tmp"), "TMPDIR=/tmp", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1",
		"TF_CLI_CONFIG_FILE=" + g.providers.Config,
	}
	if g.run.Work != "default" {
		env = append(env, "TF_WORKSPACE="+g.run.Work)
	}
	if steps := g.run.Settings.Steps; !steps.Empty() {
		facts := stepFacts(g, phase)
		env = append(env, facts.Env()...)
		if wraps(steps) { // where init of a wrapper resolves the backend, and where show finds the providers
			env = append(env, "TF_DATA_DIR="+path.Join(facts.Dir, ".terraform"))
		}
	}
	env = append(env, r.o.Environment...)
	env = append(env, g.grant.Values...)
	network := r.o.Network
	if r.o.Networks != nil {
		network = r.o.Networks(target)
	}
	binds := append([]executor.Bind{{Path: g.tool.Path}}, g.providers.Binds...)
	return executor.Spec{
		Name:    executor.Name(g.run.Execution),
		Source:  executor.Source{Dir: g.tree, Work: g.run.Dir},
		Env:     env,
		Binds:   append(binds, r.o.Binds(target, phase)...),
		Network: network,
		Lends:   g.grant.Lends,
		Limits:  r.o.Limits,
	}
}

// initStep is the tool's own init. It does not hear of the workspace: it would refuse one that the backend does not have yet beside others,
// and plan and apply make it. In remote and cloud the workspace is part of what is initialised.
func initStep(g ground) executor.Step {
	argv := []string{g.tool.Path, "init", "-input=false", "-no-color"}
	for _, c := range g.run.Settings.BackendConfig {
		argv = append(argv, "-backend-config="+c)
	}
	s := executor.Step{Label: "init", Argv: argv, Lent: true} // the one step that fetches modules
	if kind := g.run.Settings.Backend; kind != "remote" && kind != "cloud" {
		s.Without = []string{"TF_WORKSPACE"}
	}
	return s
}

// lockTimeout is how long a step waits for the backend's own lock.
func (r *Runner) lockTimeout() string { return "-lock-timeout=" + r.o.LockTimeout.String() }

// planStep is the tool's own plan. It is well with a plan that found changes (2) and one that found none (0) alike.
func (r *Runner) planStep(g ground, planfile string) executor.Step {
	plan := []string{g.tool.Path, "plan", "-input=false", "-no-color", "-detailed-exitcode", r.lockTimeout(), "-out=" + planfile}
	for _, f := range g.run.Settings.VarFiles {
		plan = append(plan, "-var-file="+f)
	}
	if g.run.Settings.Destroy {
		plan = append(plan, "-destroy")
	}
	return executor.Step{Label: "plan", Argv: append(plan, g.run.Settings.Flags...), OK: []int{0, 2}}
}

// planSpec is init, plan and show in one execution.
func (r *Runner) planSpec(g ground) executor.Spec {
	s := r.base(g, "plan")
	s.Steps = r.sequence(g, "plan")
	s.Outputs = []string{filePlan, filePlanJSON, fileLock, fileBackend}
	s.Limits.Wall, s.Grace, s.Unattended = r.o.PlanTimeout, r.o.PlanGrace, r.unattended()
	return s
}

// applySpec is init and apply of the stored plan file, and nothing else.
func (r *Runner) applySpec(g ground, inputs []executor.File) executor.Spec {
	s := r.base(g, "apply")
	s.Inputs = inputs
	s.Steps = r.sequence(g, "apply")
	s.Outputs = []string{erroredFile(g.run.Settings.Steps)}
	s.Limits.Wall, s.Grace = r.o.ApplyTimeout, r.o.ApplyGrace
	return s
}

// target is what selectors match a run by.
func (r *Runner) target(ctx context.Context, of run.Run) (selector.Target, error) {
	repo, err := r.Store.Repo(ctx, of.Repo)
	if err != nil {
		return selector.Target{}, err
	}
	return facts.Target(repo, of), nil
}

// locate finds where resources stand in the source, as report wants it.
func locate(tree, dir string) func(address string) (string, int, bool) {
	positions, err := project.Positions(os.DirFS(tree), dir)
	if err != nil {
		return nil // a plan is worth reading without line numbers
	}
	return func(address string) (string, int, bool) {
		p, ok := positions[address]
		return path.Clean(p.File), p.Line, ok
	}
}
