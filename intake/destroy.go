package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/command"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// destroy plans to destroy what a directory that the pull request deletes, or deleted, has left in its state: with code and rules of the
// base, and never anything else (semantics 7).
func (i *Intake) destroy(ctx context.Context, o order) (answer, error) {
	rev, _, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) || err == nil && o.pull.State == string(vcs.PullClosed) {
		return no(o.refused(report.Nothing)), nil
	}
	if err != nil {
		return answer{}, err
	}
	refuse := func(format string, args ...any) (answer, error) {
		r := o.refused(report.BadArguments)
		r.Detail = fmt.Sprintf(format, args...)
		return no(r), nil
	}
	if o.pull.State == string(vcs.PullOpen) && rev.Head != o.snap.Head.SHA {
		r := o.refused(report.NotSeen)
		r.SHA = o.snap.Head.SHA
		return no(r), nil
	}
	gone := deleted(rev.Selection)
	if len(gone) == 0 {
		return refuse("--destroy is for what a deleted directory has left behind, and this pull request deletes none. Delete the resources from the code instead")
	}
	if !o.cmd.Targeted() {
		return refuse("say which: --destroy -p %s", strings.Join(names(gone), " or -p "))
	}
	chosen, err := project.Pick(gone, o.cmd.Projects, o.cmd.Dirs, o.cmd.Workspace)
	if err != nil {
		return refuse("%v; deleted are %s", err, strings.Join(names(gone), ", "))
	}
	if a, ok, err := i.may(ctx, o, chosen); err != nil || !ok {
		return a, err
	}
	for _, s := range chosen {
		if refused := command.VarFilesInside(s.Dir, o.cmd.Flags); refused != nil {
			return refuse("%v", refused)
		}
		if s.Kept != "" {
			return refuse("the state of %s is in use by %s: there is nothing to destroy", s.Label, s.Kept)
		}
		twin, err := i.twin(ctx, rev, s)
		if err != nil {
			return answer{}, err
		}
		if twin != "" {
			return refuse("%s keeps its state in the same place as %s: destroying it would destroy what %s needs", twin, s.Label, twin)
		}
	}
	return answer{}, i.planDestroy(ctx, o, rev, chosen)
}

// deleted lists the projects whose directories are gone.
func deleted(selection []run.Selected) []run.Selected {
	var gone []run.Selected
	for _, s := range selection {
		if s.Deleted {
			gone = append(gone, s)
		}
	}
	return gone
}

func names(selection []run.Selected) []string {
	labels := make([]string, len(selection))
	for n, s := range selection {
		labels[n] = s.Label
	}
	return labels
}

// twin returns the project, if there is one, that still has its directory and keeps its state where a deleted one did, as their runs found.
func (i *Intake) twin(ctx context.Context, rev run.Revision, gone run.Selected) (string, error) {
	same, err := i.Store.Twins(ctx, gone.Project)
	if err != nil || len(same) == 0 {
		return "", err
	}
	repo, err := i.Store.Repo(ctx, rev.Repo)
	if err != nil {
		return "", err
	}
	mirror := i.Git.Repo(repo.Host, repo.HostID)
	for _, p := range same {
		if p.Repo != rev.Repo {
			return p.Label, nil // of another repository: whether it is still there is not ours to find out
		}
		found, err := mirror.Objects(ctx, rev.Tree, []string{p.Dir})
		if err != nil {
			return "", err
		}
		if found[p.Dir] != "" {
			return p.Label, nil
		}
	}
	return "", nil
}

// planDestroy writes the revision that has the base's tree, with a run for each project.
func (i *Intake) planDestroy(ctx context.Context, o order, of run.Revision, chosen []run.Selected) error {
	repo := o.repo
	tree, err := i.Git.Repo(repo.Host, repo.HostID).Tree(ctx, of.Base)
	if err != nil {
		return fmt.Errorf("read the base: %w", err)
	}
	rev := run.Revision{
		Repo: of.Repo, Pull: of.Pull, Branch: of.Branch, Head: of.Head, Base: of.Base, Tree: tree, Kind: run.KindDestroy, Selection: chosen, Known: of.Known,
	}
	var runs []run.Run
	for n, s := range chosen {
		settings := s.Settings
		settings.Destroy, settings.After = true, nil
		if settings.Apply != run.ApplyOff {
			settings.Apply = run.ApplyBeforeMerge // when told, and never by itself
		}
		runs = append(runs, run.Run{
			Repo: of.Repo, Pull: of.Pull, Project: s.Project, Label: s.Label, Dir: s.Dir, Work: s.Workspace, Kind: run.KindDestroy,
			Cause: o.cause, Actor: o.by.Login, Ordinal: n, Settings: settings, State: run.Queued,
		})
	}
	_, err = i.write(ctx, o.place, rev, runs, request{cause: o.cause, actor: o.by.Login, why: "planned again for " + o.by.Login})
	return err
}
