package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// request says why a pull request is looked at again, and for which projects.
type request struct {
	cause string
	actor string                                           // who asked; empty for ourselves
	why   string                                           // told of the runs that are replaced
	idle  bool                                             // nobody asked: planned when nobody else waits
	waits bool                                             // nothing may execute before a maintainer says plan
	pick  func(all []run.Selected) ([]run.Selected, error) // the projects a command named; nil: those the change touches
	flags []string                                         // of the tool
	check func(runs []run.Run) error                       // whether these may be planned at all; nil: they may
}

// revise looks at head on base and writes what it found: a revision with its problems, or with its projects and their runs.
func (i *Intake) revise(ctx context.Context, p place, q request) (string, error) {
	mirror := i.Git.Repo(p.repo.Host, p.repo.HostID)
	base, err := i.fetch(ctx, p, mirror)
	if err != nil {
		return "", err
	}
	rev := run.Revision{
		Repo: p.repo.ID, Pull: p.pull.ID, Branch: p.snap.Base.Branch, Head: p.snap.Head.SHA, Base: base, Kind: run.KindChange,
	}
	merged, err := mirror.Merge(ctx, base, rev.Head)
	if problem, ok := beyond(err); ok {
		rev.Problems = []run.Problem{problem}
		return i.write(ctx, p, rev, nil, q)
	}
	if err != nil {
		return "", fmt.Errorf("merge %s and %s: %w", short(rev.Head), rev.Branch, err)
	}
	if len(merged.Conflicts) > 0 {
		rev.Problems = []run.Problem{{
			Key: views.ConflictKey, Message: fmt.Sprintf("conflicts with %s: %s", rev.Branch, strings.Join(some(merged.Conflicts, 5), ", ")),
			Fix: fmt.Sprintf("merge or rebase onto %s", rev.Branch),
		}}
		return i.write(ctx, p, rev, nil, q)
	}
	rev.Tree = merged.Tree
	if err := i.overtaken(ctx, p, mirror, rev); err != nil {
		return "", err
	}
	changed, err := mirror.Changed(ctx, base, rev.Head)
	if problem, ok := beyond(err); ok {
		rev.Problems = []run.Problem{problem}
		return i.write(ctx, p, rev, nil, q)
	}
	if err != nil {
		return "", err
	}
	selection, err := i.selection(ctx, p, mirror, rev, changed)
	if err != nil {
		return "", err
	}
	return i.chosen(ctx, p, rev, selection, q)
}

// overtaken is an error if a pull request that adds nothing to its base is no longer what it was: it was merged while we looked, so its change
// would be looked for on a base that has it already, and found to touch nothing.
func (i *Intake) overtaken(ctx context.Context, p place, mirror *git.Mirror, rev run.Revision) error {
	base, err := mirror.Tree(ctx, rev.Base)
	if err != nil || base != rev.Tree {
		return err
	}
	now, err := p.host.Pull(ctx, vcsRepo(p.repo), p.snap.Number)
	if err != nil {
		return fmt.Errorf("look at pull request #%d again: %w", p.snap.Number, err)
	}
	if now.State != p.snap.State {
		return &vcs.RetryError{After: time.Second, Err: fmt.Errorf("pull request #%d became %s meanwhile", p.snap.Number, now.State)}
	}
	return nil
}

// fetch brings the base branch and the head of a pull request into the mirror and returns the tip of the base.
func (i *Intake) fetch(ctx context.Context, p place, mirror *git.Mirror) (string, error) {
	remote, err := p.host.Remote(ctx, vcsRepo(p.repo))
	if err != nil {
		return "", fmt.Errorf("ask for access: %w", err)
	}
	branch := "refs/heads/" + p.snap.Base.Branch
	if err := mirror.Fetch(ctx, remote, branch, p.host.HeadRef(p.snap.Number)); err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	if ok, err := mirror.Has(ctx, p.snap.Head.SHA); err != nil || !ok {
		return "", &vcs.RetryError{After: 2 * time.Second, Err: errors.Join(fmt.Errorf("head %s is not there yet", short(p.snap.Head.SHA)), err)}
	}
	return mirror.Resolve(ctx, branch)
}

// selection finds the projects of a revision, with the settings they are planned with. What is wrong with its tree is a problem of it.
func (i *Intake) selection(ctx context.Context, p place, mirror *git.Mirror, rev run.Revision, changed []project.Change) (project.Selection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	head, err := mirror.FS(ctx, rev.Tree)
	if err != nil {
		return project.Selection{}, err
	}
	defer head.Close()
	base, err := mirror.FS(ctx, rev.Base)
	if err != nil {
		return project.Selection{}, err
	}
	defer base.Close()
	choose := i.Select
	if choose == nil {
		choose = project.Select
	}
	sel := choose(ctx, project.Input{Head: head, Base: base, Changed: changed, Rules: ProjectRules(i.Config, p.rules)})
	late := sel.Err != nil && errors.Is(context.Cause(ctx), errPatience)
	if problem, ok := beyond(sel.Err); ok || late { // git, which was ended for it, says so in many ways
		if late {
			problem, _ = beyond(errPatience)
		}
		return project.Selection{Problems: []run.Problem{problem}}, nil
	}
	if sel.Err != nil {
		return sel, fmt.Errorf("select projects: %w", sel.Err)
	}
	return sel, nil
}

// ProjectRules are the server's rules about a repository as project wants them.
func ProjectRules(cfg *config.Config, rules config.Rules) project.Rules {
	return project.Rules{
		Settings: run.Settings{
			Apply: rules.Apply, Requirements: rules.Requirements.Apply, Lock: rules.Lock, OnFailure: rules.OnFailure,
			EffectIgnore: rules.EffectIgnore, Parallel: rules.Parallel, Steps: run.Steps(rules.Steps),
		},
		AllowRepoConfig: rules.AllowRepoConfig,
		ToolsAllow:      cfg.Tools.Allow,
		DefaultTool:     cfg.Tools.Default.Name,
	}
}

// chosen saves the projects of a selection and writes revision and runs.
func (i *Intake) chosen(ctx context.Context, p place, rev run.Revision, sel project.Selection, q request) (string, error) {
	rev.Problems, rev.Notes, rev.Known = sel.Problems, sel.Notes, len(sel.All)
	last, err := i.Store.LatestRevision(ctx, p.pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return "", err
	}
	if last.Head == rev.Head && last.Base == rev.Base && last.Branch == rev.Branch {
		rev.ID = last.ID
	}
	var named []run.Selected
	if q.pick != nil && len(sel.Problems) == 0 {
		if named, err = q.pick(sel.All); err != nil {
			return "", err
		}
	}
	if rev.Selection, err = i.save(ctx, p, union(sel.Projects, named)); err != nil {
		return "", err
	}
	var runs []run.Run
	if len(rev.Problems) == 0 {
		runs = i.runs(p, rev, rev.Selection, q)
	}
	if len(named) > 0 {
		runs = only(runs, named, rev.ID != 0)
	}
	if q.check != nil {
		if err := q.check(runs); err != nil {
			return "", err
		}
	}
	if q.waits && len(runs) > 0 {
		rev.Notes = append(rev.Notes, views.WaitsNote)
		runs = nil
	}
	return i.write(ctx, p, rev, runs, q)
}

// union is what a change touches and what a command named besides.
func union(a, b []run.Selected) []run.Selected {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(a, func(t run.Selected) bool { return t.Dir == s.Dir && t.Workspace == s.Workspace }) {
			all = append(all, s)
		}
	}
	return all
}

// only keeps the runs of named projects. At a revision that is new the others are planned too, without the command's flags, because their
// plans were made from an older base.
func only(runs []run.Run, named []run.Selected, known bool) []run.Run {
	var kept []run.Run
	for _, r := range runs {
		switch {
		case slices.ContainsFunc(named, func(s run.Selected) bool { return s.Dir == r.Dir && s.Workspace == r.Work }):
			kept = append(kept, r)
		case !known:
			r.Settings.Flags = nil
			kept = append(kept, r)
		}
	}
	return kept
}

// save gives the selected projects their rows and environments.
func (i *Intake) save(ctx context.Context, p place, selected []run.Selected) ([]run.Selected, error) {
	rows := make([]run.Project, len(selected))
	for n, s := range selected {
		rows[n] = run.Project{Repo: p.repo.ID, Dir: s.Dir, Workspace: s.Workspace, Label: s.Label}
	}
	rows, err := i.Store.SaveProjects(ctx, rows)
	if err != nil {
		return nil, fmt.Errorf("save projects: %w", err)
	}
	out := slices.Clone(selected)
	for n := range out {
		out[n].Project = rows[n].ID
		if out[n].Settings.Environment == "" {
			out[n].Settings.Environment = i.Config.EnvironmentOf(target(p.repo, out[n]))
		}
	}
	return out, nil
}

func target(repo run.Repo, s run.Selected) selector.Target {
	return selector.Target{Host: repo.Host, Repo: repo.Name, Dir: s.Dir, Workspace: s.Workspace}
}

// runs makes a queued run for each project that can be planned.
func (i *Intake) runs(p place, rev run.Revision, chosen []run.Selected, q request) []run.Run {
	var runs []run.Run
	for ordinal, s := range chosen {
		if s.Skipped != "" || s.Deleted {
			continue
		}
		settings := s.Settings
		settings.Flags, settings.After = q.flags, after(s, chosen)
		runs = append(runs, run.Run{
			Repo: p.repo.ID, Pull: p.pull.ID, Project: s.Project, Label: s.Label, Dir: s.Dir, Work: s.Workspace, Kind: rev.Kind,
			Cause: q.cause, Actor: q.actor, Ordinal: ordinal, Idle: q.idle, Settings: settings, State: run.Queued,
		})
	}
	return runs
}

// after are the ids of the chosen projects that one depends on.
func after(s run.Selected, chosen []run.Selected) []run.ProjectID {
	var ids []run.ProjectID
	for _, other := range chosen {
		if slices.Contains(s.After, other.Label) && other.Skipped == "" && !other.Deleted {
			ids = append(ids, other.Project)
		}
	}
	return ids
}

// write stores a revision of a pull request with its runs and ends what they replace. A cause that was handled before changes nothing.
func (i *Intake) write(ctx context.Context, p place, rev run.Revision, runs []run.Run, q request) (string, error) {
	err := i.advance(ctx, p, run.Scope{Pull: p.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		c, err := run.Revise(s, rev, runs, q.why)
		c.Pull = &p.pull
		if q.actor != "" {
			c.Audit = append(c.Audit, run.Audit{Actor: q.actor, Action: "plan", Repo: p.repo.ID, Pull: p.pull.ID, Outcome: "done", Detail: labels(runs)})
		}
		return c, err
	})
	switch {
	case errors.Is(err, run.ErrExists):
		return "handled before", nil
	case err != nil:
		return "", fmt.Errorf("write the revision: %w", err)
	case len(rev.Problems) > 0:
		return "cannot be planned: " + rev.Problems[0].Message, nil
	}
	return fmt.Sprintf("%d projects queued", len(runs)), nil
}

func labels(runs []run.Run) string {
	names := make([]string, len(runs))
	for n, r := range runs {
		names[n] = r.Label
	}
	return strings.Join(some(names, 20), ", ")
}

func some(all []string, most int) []string {
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
}

// reviseMerge plans the merge commit: the projects that the pull request's own change touches, but those that were applied before the merge.
func (i *Intake) reviseMerge(ctx context.Context, p place) (string, error) {
	commit := p.snap.MergeCommit
	mirror, err := i.fetchRefs(ctx, p, "refs/heads/"+p.snap.Base.Branch, p.host.HeadRef(p.snap.Number))
	if err != nil {
		return "", err
	}
	last, runs, err := i.lastChange(ctx, p)
	if err != nil {
		return "", err
	}
	rev := run.Revision{Repo: p.repo.ID, Pull: p.pull.ID, Branch: p.snap.Base.Branch, Head: commit, Kind: run.KindMerge}
	if rev.Tree, err = mirror.Tree(ctx, commit); err != nil {
		return "", fmt.Errorf("read the merge commit: %w", err)
	}
	if rev.Base, err = mirror.Resolve(ctx, commit+"^1"); err != nil {
		return "", fmt.Errorf("read the parent of the merge commit: %w", err)
	}
	changed, err := i.ownChange(ctx, p, mirror, last, rev)
	sel := project.Selection{}
	if problem, ok := beyond(err); ok {
		sel.Problems = []run.Problem{problem}
	} else if err != nil {
		return "", err
	} else if sel, err = i.selection(ctx, p, mirror, rev, changed); err != nil {
		return "", err
	}
	rev.Problems, rev.Notes, rev.Known = sel.Problems, sel.Notes, len(sel.All)
	if rev.Selection, err = i.save(ctx, p, sel.Projects); err != nil {
		return "", err
	}
	var fresh []run.Run
	for _, r := range i.runs(p, rev, rev.Selection, request{cause: "merge:" + commit}) {
		reviewed, applied := reviewedBy(runs, r.Project)
		if !applied && r.Settings.Apply != run.ApplyOff { // in shadow mode nothing would ever come of it
			r.Reviewed = reviewed
			fresh = append(fresh, r)
		}
	}
	if len(rev.Problems) > 0 {
		fresh = nil
	}
	if err := i.inOrder(ctx, mirror, rev, fresh); err != nil {
		return "", err
	}
	err = i.advance(ctx, p, run.Scope{Pull: p.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		return run.Merge(s, p.pull, rev, fresh)
	})
	if errors.Is(err, run.ErrExists) {
		return "handled before", nil
	}
	if err != nil {
		return "", fmt.Errorf("write the merge: %w", err)
	}
	return fmt.Sprintf("merged: %d projects queued", len(fresh)), nil
}

// ownChange lists what a merged pull request itself changed: everything that its head has and a base from before the merge has not. That base
// is the one it was last looked at on, or the host's; one that has the merge already would show nothing. Without either it is the parent of
// the merge commit, which falls short only of a fast-forward of several commits.
func (i *Intake) ownChange(ctx context.Context, p place, mirror *git.Mirror, last, merge run.Revision) ([]project.Change, error) {
	bases := []string{p.snap.Base.SHA}
	if last.Head == p.snap.Head.SHA {
		bases = []string{last.Base, p.snap.Base.SHA}
	}
	for _, base := range bases {
		if base == "" {
			continue
		}
		before, err := mirror.IsAncestor(ctx, base, merge.Base)
		if err != nil && !errors.Is(err, git.ErrObject) { // a branch that was rewritten has lost it
			return nil, err
		}
		if before {
			return mirror.Changed(ctx, base, p.snap.Head.SHA)
		}
	}
	return mirror.Changed(ctx, merge.Base, p.snap.Head.SHA)
}

// inOrder gives merge runs their place among the merges into the branch. One whose commit a later merge has planned or applied already is
// superseded from the start (semantics 2).
func (i *Intake) inOrder(ctx context.Context, mirror *git.Mirror, rev run.Revision, runs []run.Run) error {
	turn, err := mirror.Turn(ctx, rev.Head)
	if err != nil {
		return err
	}
	projects := make([]run.ProjectID, len(runs))
	for n, r := range runs {
		projects[n] = r.Project
	}
	newest, err := i.Store.Newest(ctx, run.Filter{Kind: run.KindMerge, States: run.Decided()}, projects...)
	if err != nil {
		return err
	}
	for n := range runs {
		runs[n].Turn = turn
		later, ok := newest[runs[n].Project]
		if !ok || later.Turn <= turn {
			continue
		}
		of, err := i.Store.Revision(ctx, later.Revision)
		if err != nil {
			return err
		}
		if of.Branch == rev.Branch {
			runs[n].State, runs[n].Reason = run.Superseded, "contained in "+i.origin(ctx, of)
		}
	}
	return nil
}

// origin is how people call where a revision comes from.
func (i *Intake) origin(ctx context.Context, rev run.Revision) string {
	if rev.Pull != 0 {
		if pull, err := i.Store.Pull(ctx, rev.Pull); err == nil {
			return fmt.Sprintf("#%d", pull.Number)
		}
	}
	return short(rev.Head)
}

// lastChange returns the last revision before the merge with all its runs, newest first; zero when the pull request was never planned.
func (i *Intake) lastChange(ctx context.Context, p place) (run.Revision, []run.Run, error) {
	last, err := i.Store.LatestRevision(ctx, p.pull.ID, run.KindChange)
	if errors.Is(err, run.ErrNotFound) {
		return run.Revision{}, nil, nil
	}
	if err != nil || last.Head != p.snap.Head.SHA {
		return last, nil, err
	}
	runs, err := i.Store.Runs(ctx, run.Filter{Revision: last.ID})
	return last, runs, err
}

// reviewedBy finds the plan of a project that people saw last, and whether it was applied before the merge. Partial plans are never what a
// merge compares with.
func reviewedBy(runs []run.Run, of run.ProjectID) (run.ID, bool) {
	var reviewed run.ID
	for _, r := range runs {
		if r.Project != of || r.Partial {
			continue
		}
		if r.State == run.Applied || r.State == run.Applying {
			return r.ID, true
		}
		if reviewed == "" && r.EffectDigest != "" {
			reviewed = r.ID
		}
	}
	return reviewed, false
}
