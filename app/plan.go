package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
)

type planCmd struct {
	treeFlags

	Project   []string `short:"p" placeholder:"NAME" help:"Only this project, changed or not; may be repeated."`
	Workspace string   `short:"w" placeholder:"NAME" help:"Only projects of this workspace."`
	Policies  []string `placeholder:"SOURCE" help:"Judge with this policy set too: a directory of .rego files, or builtin:baseline; may be repeated."`
	Level     string   `default:"hard" enum:"advisory,hard" help:"Level of --policies: hard stops the plan, advisory only tells."`
	Env       []string `placeholder:"NAME" help:"Hand over this variable, too; may be repeated."`
	Bind      []string `placeholder:"PATH[:rw]" help:"Let plans see this path, and with :rw write it; may be repeated. HOME is yours once something in it is shown."`
	Sandbox   string   `default:"auto" enum:"required,auto,off" help:"required: every wall or no plan; auto: what this machine gives; off: none."`
	Workers   int      `placeholder:"N" help:"Plan so many projects at once. Default: the number of CPUs."`
}

// Help is the long text of --help.
func (*planCmd) Help() string {
	return `The files as they are now are planned, committed or not, untracked ones too, ignored ones not; in a copy, so that your files and your .terraform
are never touched. Selection, steps, policy and words are those of the server.

Plans begin with an empty environment. Handed over from yours are ` + strings.Join(passedNames, ", ") + `
and what --env names. Your home, and with it ~/.aws or ~/.config/gcloud, is not visible: show what is needed with --bind. What is handed over
and not plainly harmless (a region, a path) is withheld from the output.

It exits with 0 when everything is planned, with and without changes, 1 when a plan failed or policy stops it, 2 when something has to be
corrected first, and 3 when something broke.`
}

// Run plans and prints. Nothing of it is left when it returns.
func (c *planCmd) Run(ctx context.Context, t *terminal) (err error) {
	surviveReaders()
	dir, err := os.MkdirTemp(t.env["TMPDIR"], "planlatch-plan-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && ctx.Err() != nil { // what broke, broke because of it
			err = errors.New("interrupted")
		}
		err = errors.Join(err, removeAll(dir))
	}()
	w, err := c.look(ctx, t, dir)
	if err != nil {
		return err
	}
	p := &preview{c: c, t: t, w: w, dir: dir}
	if p.chosen, err = c.pick(w); err != nil {
		return err
	}
	if len(w.sel.Problems) == 0 && len(w.conflict) == 0 {
		if err := p.plan(ctx); err != nil {
			return err
		}
	}
	if err := p.print(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.verdict()
}

// pick narrows what is planned to what was asked for.
func (c *planCmd) pick(w *tree) ([]run.Selected, error) {
	if len(w.sel.Problems) > 0 {
		return nil, nil
	}
	from := w.sel.Projects
	if len(c.Dirs)+len(c.Project) > 0 {
		from = nil
		named, err := project.Pick(w.sel.All, c.Project, nil, "")
		if err != nil {
			return nil, usage(err)
		}
		dirs, err := c.dirs(w)
		if err != nil {
			return nil, err
		}
		for _, s := range w.sel.All {
			asked := len(c.Project) > 0 && slices.ContainsFunc(named, func(n run.Selected) bool { return n.Label == s.Label })
			if asked || slices.ContainsFunc(dirs, func(d string) bool { return under(s, d) }) {
				if i := slices.IndexFunc(w.sel.Projects, func(t run.Selected) bool { return t.Label == s.Label }); i >= 0 {
					s = w.sel.Projects[i] // which knows what it comes after
				}
				from = append(from, s)
			}
		}
	}
	if c.Workspace == "" {
		return from, nil
	}
	if _, err := project.Pick(w.sel.All, nil, nil, c.Workspace); err != nil {
		return nil, usage(err)
	}
	return slices.DeleteFunc(slices.Clone(from), func(s run.Selected) bool { return s.Workspace != c.Workspace }), nil
}

// dirs are the directories of the repository that were named. Each holds a project.
func (c *planCmd) dirs(w *tree) ([]string, error) {
	var dirs []string
	for _, name := range c.Dirs {
		dir, err := w.inside(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(w.sel.All, func(s run.Selected) bool { return under(s, dir) }) {
			fix := "planlatch explain " + name + " says why"
			if outer := w.around(dir); outer != "" {
				fix = "it belongs to the project in " + outer
			}
			return nil, usage(fmt.Errorf("there is no project in %s; %s", name, fix))
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// preview is one run of the command.
type preview struct {
	c      *planCmd
	t      *terminal
	w      *tree
	dir    string
	chosen []run.Selected
	handed handed
	binds  []executor.Bind

	mu       sync.Mutex
	projects map[string]*report.Project // by label
	done     map[string]chan struct{}   // by label: closed once it is planned
}

// plannable are the chosen projects that have code to plan.
func (p *preview) plannable() []run.Selected {
	return slices.DeleteFunc(slices.Clone(p.chosen), func(s run.Selected) bool { return s.Deleted || s.Skipped != "" })
}

// plan plans what was chosen, side by side.
func (p *preview) plan(ctx context.Context) error {
	work := p.plannable()
	p.projects, p.done = map[string]*report.Project{}, map[string]chan struct{}{}
	for _, s := range work {
		p.done[s.Label] = make(chan struct{})
	}
	if len(work) == 0 {
		return nil
	}
	r, err := p.runner(ctx, work)
	if err != nil {
		return err
	}
	source := filepath.Join(p.dir, "source")
	treeID, err := p.w.mirror.Tree(ctx, p.w.snap.Commit)
	if err != nil {
		return err
	}
	if err := p.w.mirror.Export(ctx, treeID, source); err != nil {
		return err
	}
	p.say("planning %s against %s", several(len(work), "project"), p.w.between())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.workers())
	stem := "local-" + strings.Trim(notInNames.ReplaceAllString(p.t.env["USER"], "-"), "-") + "-" + randomText(6)
	for i, s := range work { // dependencies come first, so nobody waits for what has no worker
		group.Go(func() error {
			return p.one(ctx, r, s, run.Run{
				ID: run.ID(stem), Label: s.Label, Dir: s.Dir, Work: s.Workspace, Kind: run.KindChange, Settings: s.Settings,
				Execution: run.PlanName(run.ID(fmt.Sprintf("%s-%d", stem, i+1)), 1),
			}, source)
		})
	}
	return group.Wait()
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (p *preview) workers() int {
	if p.c.Workers > 0 {
		return p.c.Workers
	}
	return runtime.NumCPU()
}

// one plans one project.
func (p *preview) one(ctx context.Context, r *runner.Runner, s run.Selected, of run.Run, source string) error {
	defer close(p.done[s.Label])
	for _, label := range s.After {
		if done := p.done[label]; done != nil { // it is planned, too
			<-done
		}
	}
	begun := time.Now()
	shown, err := r.Preview(ctx, runner.Preview{Repo: p.w.repo, Run: of, Tree: source})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, label := range s.After {
		if dep := p.projects[label]; dep != nil && dep.Run.State != run.Unchanged {
			shown.After = label
			break
		}
	}
	p.projects[s.Label] = &shown
	p.say("  %s: %s in %s", s.Label, shown.Run.State, report.Took(time.Since(begun)))
	return nil
}

// say tells people of the progress.
func (p *preview) say(format string, args ...any) {
	fmt.Fprintf(p.t.err, format+"\n", args...)
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// runner builds what plans, as a server would with these settings on this machine.
func (p *preview) runner(ctx context.Context, work []run.Selected) (*runner.Runner, error) {
	cfg, env := p.w.cfg, p.t.env
	var err error
	if p.handed, err = handOver(env, slices.Concat(p.c.Env, presentIn(env, cfg.Execution.Environment))); err != nil {
		return nil, err
	}
	if p.binds, err = bindsOf(p.c.Bind, env["HOME"], p.w.place); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(p.t.err, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: timeless}))
	executions, err := local.New(local.Options{Dir: filepath.Join(p.dir, "executions"), Sandbox: local.Sandbox(p.c.Sandbox), Log: log})
	if err != nil {
		return nil, err
	}
	// Each of these waits for other processes or compiles; together they take as long as the longest.
	var finder *tool.Finder
	var engine *policy.Engine
	providers, err := openProviders(cfg, executions, passed(cfg, env), log)
	if err != nil {
		return nil, usage(err)
	}
	var group errgroup.Group
	group.Go(func() (err error) {
		finder, err = p.tools(ctx, work)
		return err
	})
	group.Go(func() (err error) {
		if engine, err = p.policies(ctx); err != nil {
			return usage(err)
		}
		return nil
	})
	group.Go(func() error {
		if err := executions.Refusal(ctx); err != nil {
			return usage(fmt.Errorf("%w (here it is --sandbox)", err))
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if p.c.Sandbox != string(local.SandboxOff) {
		for _, note := range p.handed.unseen(p.binds) {
			p.say("note: %s", note)
		}
	}
	return runner.New(runner.Parts{Exec: executions, Tools: finder, Providers: providers, Policy: engine, Log: log}, p.options(log)), nil
}

func timeless(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func presentIn(env map[string]string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, ok := env[name]; return !ok })
}

func (p *preview) options(log *slog.Logger) runner.Options {
	cfg, x := p.w.cfg, p.w.cfg.Execution
	given := newCredentials(cfg, p.t.env, log)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	home := ""
	if at := p.t.env["HOME"]; filepath.IsAbs(at) && slices.ContainsFunc(p.binds, func(b executor.Bind) bool { return below(b.Path, at) }) {
		home = at
	}
	return runner.Options{
		Workers: 1, Dir: filepath.Join(p.dir, "work"), PlanTimeout: x.PlanTimeout, PlanGrace: x.CancelGrace.Plan, NodeTimeout: x.NodeTimeout, LockTimeout: x.LockTimeout,
		Limits: limits(cfg), Network: network(cfg), Home: home, EffectKey: key,
		Grants: func(ctx context.Context, t selector.Target, phase string, _ run.ID) (runner.Grant, error) {
			g, err := given.grant(ctx, t, phase, "local")
			if err != nil {
				return g, err
			}
			set := map[string]bool{}
			for _, pair := range slices.Concat(g.Values, g.Secrets.Env) {
				name, _, _ := strings.Cut(pair, "=")
				set[name] = true
			}
			for _, f := range g.Secrets.Files {
				set[f.Variable] = true
			}
			mine := p.handed.without(set)
			g.Values, g.Secrets.Env = append(g.Values, mine.values...), append(g.Secrets.Env, mine.secrets...)
			return g, nil
		},
		Binds: func(t selector.Target, phase string) []executor.Bind {
			binds := slices.Clone(p.binds)
			for _, b := range cfg.BindsFor(t, config.Phase(phase)) {
				binds = append(binds, executor.Bind{Path: b.Path, Write: b.Write})
			}
			return binds
		},
	}
}

// tools finds what the projects ask for, so that a machine without it says so once and before anything runs.
func (p *preview) tools(ctx context.Context, work []run.Selected) (*tool.Finder, error) {
	finder, err := openTools(p.w.cfg, p.t.env)
	if err != nil {
		return nil, usage(err)
	}
	for _, s := range work {
		want := tool.Want{Name: s.Settings.Tool, Version: s.Settings.Version, Required: s.Settings.Required}
		if _, err := finder.Resolve(ctx, want); err != nil {
			return nil, usage(fmt.Errorf("%s: %w, or name a binary in PLANLATCH_TOFU or PLANLATCH_TERRAFORM", s.Label, err))
		}
	}
	return finder, nil
}

// policies are those of the server that was named, and of the command line.
func (p *preview) policies(ctx context.Context) (*policy.Engine, error) {
	cfg := *p.w.cfg
	cfg.Policies = slices.Clone(cfg.Policies)
	for _, source := range p.c.Policies {
		if !strings.Contains(source, ":") && !filepath.IsAbs(source) {
			source = filepath.Join(p.w.place, source)
		}
		cfg.Policies = append(cfg.Policies, config.Policy{Name: source, Source: source, Level: run.Level(p.c.Level), Projects: selector.List{mustSelect("//**")}, Rego: "v1"})
	}
	return loadPolicies(ctx, &cfg)
}

// view is what is printed.
func (p *preview) view() report.View {
	v := p.w.view()
	v.Selection = p.chosen
	if len(p.c.Dirs)+len(p.c.Project) > 0 || p.c.Workspace != "" {
		v.Known = 0 // nobody asked for the others
	}
	for _, s := range p.plannable() {
		if shown := p.projects[s.Label]; shown != nil {
			v.Projects = append(v.Projects, *shown)
		}
	}
	return v
}

// print prints the report, or its JSON, without any secret that was handed over.
func (p *preview) print() error {
	var secrets []string
	for _, pair := range p.handed.secrets {
		_, value, _ := strings.Cut(pair, "=")
		secrets = append(secrets, value)
	}
	clean := redact.String(secrets)
	if p.c.JSON {
		return encode(p.t.out, p.json(), clean)
	}
	text := report.Terminal(p.view(), isTerminal(p.t.out) && p.t.env["NO_COLOR"] == "")
	if len(p.chosen)+len(p.w.sel.Problems)+len(p.w.conflict) == 0 {
		text = p.nothing() + "\n"
		if notes := p.view().Notes; len(notes) > 0 {
			text += "- " + strings.Join(notes, "\n- ") + "\n"
		}
	}
	_, err := io.WriteString(p.t.out, clean(text))
	return err
}

// nothing is the one line of a change that touches no project.
func (p *preview) nothing() string {
	what := several(len(p.w.changed), "file") + " changed since "
	if len(p.w.changed) == 0 {
		what = "nothing changed since "
	}
	return "no project is touched: " + what + p.w.baseName + " at " + p.w.base[:7]
}

// stops says whether policy would stop an apply.
func stops(p report.Project) bool {
	v := run.Judge(p.Run, p.Findings, nil)
	return p.Run.State == run.Planned && v != run.VerdictPass && v != run.VerdictWarn
}

// verdict is how the command ends.
func (p *preview) verdict() error {
	var failed, stopped []string
	for _, s := range p.plannable() {
		switch shown := p.projects[s.Label]; {
		case shown == nil:
		case shown.Run.State == run.Failed:
			failed = append(failed, s.Label)
		case stops(*shown):
			stopped = append(stopped, s.Label)
		}
	}
	var said []string
	if len(failed) > 0 {
		said = append(said, "the plan of "+strings.Join(failed, ", ")+" failed")
	}
	if len(stopped) > 0 {
		said = append(said, "policy stops "+strings.Join(stopped, ", "))
	}
	switch problems := p.w.sel.Problems; {
	case len(p.w.conflict) > 0:
		return &coded{exitNo, fmt.Errorf("conflicts with %s in %s; merge or rebase it first", p.w.baseName, strings.Join(p.w.conflict, ", "))}
	case slices.ContainsFunc(problems, func(q run.Problem) bool { return q.File == project.ConfigFile }):
		return usage(fmt.Errorf("nothing was planned: %s in the configuration", several(len(problems), "problem")))
	case len(problems) > 0:
		return &coded{exitNo, fmt.Errorf("nothing was planned: %s in the code", several(len(problems), "problem"))}
	case len(said) > 0:
		return &coded{exitNo, errors.New(strings.Join(said, "; "))}
	}
	return nil
}
