package views

import (
	"context"
	"fmt"

	"github.com/planlatch/planlatch/run"
)

// keeps says how many runs are ahead of a waiting one, and in a few words what else keeps it; empty if only its turn and a worker do.
func (v *Viewer) keeps(ctx context.Context, repo run.Repo, r run.Run) (ahead int, what string, err error) {
	w, err := v.Store.Waits(ctx, r.ID)
	if err != nil {
		return 0, "", err
	}
	switch {
	case w.Run != "":
		by, err := v.Store.Run(ctx, w.Run)
		if err != nil {
			return 0, "", err
		}
		return w.Ahead, v.behind(ctx, repo, r, by), nil
	case w.Pull != 0:
		return w.Ahead, v.called(ctx, repo, run.Run{Repo: repo.ID, Pull: w.Pull}), nil
	case w.Full > 0:
		return w.Ahead, fmt.Sprintf("other projects of this pull request (parallel: %d)", w.Full), nil
	}
	return w.Ahead, "", nil
}

// behind says which run a waiting one is behind, and in which state that is.
func (v *Viewer) behind(ctx context.Context, repo run.Repo, r, by run.Run) string {
	doing := string(by.State)
	if by.Unsaved {
		doing = "state not saved"
	}
	switch {
	case by.Project == r.Project && by.Pull == r.Pull && r.Pull != 0:
		return fmt.Sprintf("an earlier run of this pull request (%s)", doing)
	case by.Project != r.Project && by.Revision == r.Revision && by.Repo == r.Repo:
		return fmt.Sprintf("%s (%s)", by.Label, doing)
	case by.Repo != r.Repo:
		return fmt.Sprintf("a project of another repository (%s), which has the same state", doing)
	case by.Project != r.Project:
		return fmt.Sprintf("%s (%s in %s, which has the same state)", v.called(ctx, repo, by), doing, by.Dir)
	}
	return fmt.Sprintf("%s (%s)", v.called(ctx, repo, by), doing)
}

// called is how people call where a run comes from, from the repository they look at.
func (v *Viewer) called(ctx context.Context, here run.Repo, r run.Run) string {
	pull, err := v.Store.Pull(ctx, r.Pull)
	if err != nil {
		return "a push to the branch"
	}
	if pull.Repo != here.ID {
		return "a pull request of another repository" // what it is called may be nobody's business here
	}
	return fmt.Sprintf("#%d", pull.Number)
}
