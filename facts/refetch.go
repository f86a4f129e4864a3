package facts

import (
	"context"
	"errors"
	"fmt"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// ErrLost says that what a revision was made of cannot be had any more.
var ErrLost = errors.New("its source is lost")

// Refetch brings what a revision was made of into this machine's mirror: another replica looked at it, or the mirror was lost. Error: ErrLost.
func (g *Gatherer) Refetch(ctx context.Context, repo run.Repo, rev run.Revision) error {
	host, ok := g.Hosts[repo.Host]
	if !ok {
		return fmt.Errorf("host %q is not configured any more: %w", repo.Host, ErrLost)
	}
	remote, err := host.Remote(ctx, VCS(repo))
	if err != nil {
		return fmt.Errorf("ask for access to %s: %w", repo.Name, err)
	}
	refs := []string{"refs/heads/" + rev.Branch}
	if rev.Pull != 0 {
		pull, err := g.Store.Pull(ctx, rev.Pull)
		if err != nil {
			return err
		}
		refs = append(refs, host.HeadRef(pull.Number))
	}
	m := g.Git.Repo(repo.Host, repo.HostID)
	if err := m.Fetch(ctx, remote, refs...); err != nil {
		return fmt.Errorf("fetch %s: %w", repo.Name, err)
	}
	if rev.Kind != run.KindChange { // the tree of a commit as it is
		return nil
	}
	merged, err := m.Merge(ctx, rev.Base, rev.Head)
	if err != nil {
		return fmt.Errorf("merge %s into %s again: %w", rev.Head, rev.Base, err)
	}
	if merged.Tree != rev.Tree {
		return fmt.Errorf("the merge of %s into %s gives another tree than before: %w", rev.Head, rev.Base, ErrLost)
	}
	return nil
}

// compare says whether the base branch still gives a run the inputs that it was planned from. What another replica planned may not be in this
// machine's mirror yet.
func (b *base) compare(ctx context.Context, r run.Run) (vcs.Tri, error) {
	fresh, err := b.compared(ctx, r)
	if !errors.Is(err, git.ErrObject) {
		return fresh, err
	}
	rev, err := b.revision(ctx, r)
	if err != nil {
		return vcs.Unknown, err
	}
	if err := b.g.Refetch(ctx, b.repo, rev); err != nil {
		return vcs.Unknown, err
	}
	return b.compared(ctx, r)
}
