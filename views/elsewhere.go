package views

import (
	"context"
	"fmt"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// elsewhere tells of each project of a view what other merges and pull requests have left: merges that are not applied yet, so that a plan
// has their changes in it (semantics 26), and an apply that was never merged, so that what is live is not what the branch says (27).
func (v *Viewer) elsewhere(ctx context.Context, view *report.View) error {
	var ids []run.ProjectID
	for _, p := range view.Projects {
		if p.Run.State != run.Applied || view.Pull.State == string(vcs.PullClosed) {
			ids = append(ids, p.Run.Project)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	unapplied, err := v.Store.Newest(ctx, run.Filter{Kind: run.KindMerge, States: []run.State{
		run.Queued, run.Planning, run.Planned, run.Confirmed, run.Applying, run.Applied, run.Unchanged, run.Failed, run.Interrupted, run.Canceled,
	}}, ids...)
	if err != nil {
		return err
	}
	live, err := v.Store.Newest(ctx, run.Filter{States: []run.State{run.Applied}}, ids...)
	if err != nil {
		return err
	}
	for i := range view.Projects {
		p := &view.Projects[i]
		merge, ok := unapplied[p.Run.Project]
		if ok && merge.Revision != p.Run.Revision && merge.State != run.Applied && merge.State != run.Unchanged {
			p.PRs = append(p.PRs, v.origin(ctx, merge))
		}
		if applied, ok := live[p.Run.Project]; ok {
			if p.Unmerged, err = v.unmerged(ctx, view.Pull, applied); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmerged names the pull request that applied a project and will not be merged as things stand: it was closed, or given up its hold.
func (v *Viewer) unmerged(ctx context.Context, of run.Pull, applied run.Run) (string, error) {
	if applied.Kind != run.KindChange || applied.Pull == 0 {
		return "", nil
	}
	pull, err := v.Store.Pull(ctx, applied.Pull)
	if err != nil {
		return "", err
	}
	switch pull.State {
	case string(vcs.PullMerged):
		return "", nil
	case string(vcs.PullOpen):
		if pull.ID == of.ID {
			return "", nil // it says itself what it applied
		}
		holds, err := v.Store.Holds(ctx, applied.Repo)
		if err != nil || holds[applied.Project] == pull.ID {
			return "", err // the hold tells
		}
	}
	return fmt.Sprintf("#%d", pull.Number), nil
}

// origin is how people call what a merge run belongs to.
func (v *Viewer) origin(ctx context.Context, r run.Run) string {
	if r.Pull != 0 {
		if pull, err := v.Store.Pull(ctx, r.Pull); err == nil {
			return fmt.Sprintf("#%d", pull.Number)
		}
	}
	return "a push to the branch"
}
