package facts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// owner names the project whose state a run's plan is of, if it is not the run's own: one that applied to that state last of all it applied to, and
// that is still there, while the run's project never did. So neither a directory whose backend names the state of another one nor a copied
// backend block escapes what guards that state. What cannot be found out counts as there.
func (b *base) owner(ctx context.Context, r run.Run, appliers []run.Project) string {
	if slices.ContainsFunc(appliers, func(p run.Project) bool { return p.ID == r.Project }) {
		return ""
	}
	rev, err := b.revision(ctx, r)
	for _, p := range appliers {
		label := p.Label
		if p.Repo != r.Repo {
			label = "a project of another repository" // what it is called may be nobody's business here
		}
		gone := err == nil && rev.MovedFrom(r.Dir, r.Work) == p.Dir && p.Repo == r.Repo
		if err == nil && !gone {
			gone, err = b.gone(ctx, rev, p)
		}
		if err != nil {
			b.g.Log.Warn("whether a project that has the same state is still there could not be found out", "run", r.ID, "project", p.ID, "error", err)
		}
		if !gone {
			return label
		}
	}
	return ""
}

// gone says whether a project's directory is no longer there: neither in the revision nor on its branch, or of another repository not on its default
// branch. A repository that its host does not show us any more has none.
func (b *base) gone(ctx context.Context, rev run.Revision, p run.Project) (bool, error) {
	branch := rev.Branch
	if p.Repo != b.repo.ID {
		other, err := b.g.Store.Repo(ctx, p.Repo)
		if err != nil {
			return false, err
		}
		b, branch, rev = &base{g: b.g, repo: other}, other.DefaultBranch, run.Revision{}
	}
	if err := b.look(ctx, branch); errors.Is(err, vcs.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if err := b.fetch(ctx, branch); err != nil {
		return false, err
	}
	for _, treeish := range []string{rev.Tree, b.tip} {
		if there, err := b.has(ctx, treeish, p.Dir); there || err != nil {
			return false, err
		}
	}
	return true, nil
}

// has says whether a tree of the repository has a directory that may be planned.
func (b *base) has(ctx context.Context, treeish, dir string) (bool, error) {
	if treeish == "" {
		return false, nil
	}
	source, err := b.g.Git.Repo(b.repo.Host, b.repo.HostID).FS(ctx, treeish)
	if err != nil {
		return false, err
	}
	defer func() { _ = source.Close() }() // what was read is whole, or there was an error
	entries, err := source.ReadDir(path.Clean(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", dir, err)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return isProject(dir, e) }), nil
}

// isProject says whether an entry makes its directory one that may be planned. What a step makes code from can be any file; but every
// repository's root has some.
func isProject(dir string, e fs.DirEntry) bool {
	return !e.IsDir() && (dir != "." || slices.ContainsFunc([]string{".tf", ".tofu", ".tf.json", ".tofu.json"}, func(end string) bool {
		return strings.HasSuffix(e.Name(), end)
	}))
}
