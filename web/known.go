package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// The bounds of what is remembered of runs.
const (
	knownFor   = 10 * time.Second
	knownMax   = 256
	hostWaits  = 8 * time.Second // how long a page waits for what a VCS host is asked
	hostsWaits = time.Minute     // how long such a question may go on for the next page
)

// known remembers the views of runs for a moment. What a page shows of a run that has not ended is asked of the VCS host, and whoever has
// a link may reload it as often as they like: so many questions to the host must not follow.
type known struct {
	views Viewer
	store run.Store
	now   func() time.Time
	ask   singleflight.Group
	done  <-chan struct{} // closed when the handler is

	mu  sync.Mutex
	all map[run.ID]knownView
}

type knownView struct {
	view  report.View
	epoch int64
	at    time.Time
}

func newKnown(o Options, done <-chan struct{}) *known {
	return &known{views: o.Views, store: o.Store, now: o.Now, done: done, all: map[run.ID]knownView{}}
}

// get returns the view of a run. late says that the host did not answer in time, and that the view has only what is stored.
func (k *known) get(ctx context.Context, r run.Run) (view report.View, late bool, err error) {
	k.mu.Lock()
	old, ok := k.all[r.ID]
	k.mu.Unlock()
	if ok && old.epoch == r.Epoch && k.now().Sub(old.at) < knownFor {
		return old.view, false, nil
	}
	answer := k.ask.DoChan(string(r.ID), func() (any, error) {
		// The answer serves every page that waits for it, so it does not end with the first one.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hostsWaits)
		defer cancel()
		go func() { // ends with ctx
			select {
			case <-k.done:
				cancel()
			case <-ctx.Done():
			}
		}()
		v, err := k.views.Run(ctx, r.ID)
		if err == nil {
			k.remember(r, v)
		}
		return v, err
	})
	patience := time.NewTimer(hostWaits)
	defer patience.Stop()
	select {
	case res := <-answer:
		if res.Err != nil {
			return report.View{}, false, res.Err
		}
		v, ok := res.Val.(report.View)
		if !ok {
			return report.View{}, false, errors.New("a view is of another type")
		}
		return v, false, nil
	case <-patience.C:
		view, err = k.stored(ctx, r)
		return view, true, err
	case <-ctx.Done():
		return report.View{}, false, ctx.Err()
	}
}

func (k *known) remember(r run.Run, v report.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) >= knownMax {
		for id, old := range k.all {
			if k.now().Sub(old.at) >= knownFor {
				delete(k.all, id)
			}
		}
		if len(k.all) >= knownMax {
			clear(k.all)
		}
	}
	k.all[r.ID] = knownView{view: v, epoch: r.Epoch, at: k.now()}
}

// stored is the view of a run without asking its host.
func (k *known) stored(ctx context.Context, r run.Run) (report.View, error) {
	repo, err := k.store.Repo(ctx, r.Repo)
	if err != nil {
		return report.View{}, err
	}
	view := report.View{Repo: repo}
	p := report.Project{Run: r}
	if r.Pull != 0 {
		if view.Pull, err = k.store.Pull(ctx, r.Pull); err != nil {
			return report.View{}, err
		}
		if p.Overrides, err = k.store.Overrides(ctx, r.Pull); err != nil {
			return report.View{}, err
		}
	}
	found, err := k.store.Findings(ctx, r.ID)
	if err != nil {
		return report.View{}, err
	}
	kept, err := k.views.Read(ctx, r, views.KeptPlan)
	if err != nil {
		return report.View{}, err
	}
	p.Findings, p.Plan, p.NoPolicy = found[r.ID], kept.Plan, kept.NoPolicy
	view.Projects = []report.Project{p}
	return view, nil
}
