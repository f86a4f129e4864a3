package web

import (
	"context"
	"errors"
	"fmt"

	"github.com/planlatch/planlatch/run"
)

// names looks repositories, pull requests and revisions up, each once. It serves one request.
type names struct {
	store run.Store
	repos map[run.RepoID]run.Repo
	pulls map[run.PullID]run.Pull
	revs  map[run.RevisionID]run.Revision
}

func (h *Handler) names() *names {
	return &names{h.Store, map[run.RepoID]run.Repo{}, map[run.PullID]run.Pull{}, map[run.RevisionID]run.Revision{}}
}

func (n *names) repo(ctx context.Context, id run.RepoID) (run.Repo, error) {
	return look(ctx, n.repos, id, n.store.Repo)
}

func (n *names) pull(ctx context.Context, id run.PullID) (run.Pull, error) {
	return look(ctx, n.pulls, id, n.store.Pull)
}

func (n *names) revision(ctx context.Context, id run.RevisionID) (run.Revision, error) {
	return look(ctx, n.revs, id, n.store.Revision)
}

// look returns what has this id; the zero value for id 0 and for what does not exist any more.
func look[K ~int64, V any](ctx context.Context, known map[K]V, id K, get func(context.Context, K) (V, error)) (V, error) {
	v, ok := known[id]
	if ok || id == 0 {
		return v, nil
	}
	v, err := get(ctx, id)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return v, fmt.Errorf("look up %d: %w", id, err)
	}
	known[id] = v
	return v, nil
}

// place is a run that waits, and how many are ahead of it.
type place struct {
	run   run.Run
	ahead int
}

// queueMax bounds how many waiting runs are listed.
const queueMax = 200

// queue lists the runs that wait for a worker, next first; more says how many are left out.
func (h *Handler) queue(ctx context.Context) (waiting []place, more int, err error) {
	runs, more, err := h.Store.Waiting(ctx, queueMax)
	for n, r := range runs {
		waiting = append(waiting, place{r, n})
	}
	return waiting, more, err
}
