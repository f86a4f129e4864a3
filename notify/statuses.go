package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// statuses sets what differs of a commit's statuses. A commit that is no longer looked at keeps none pending.
func (n *Notifier) statuses(ctx context.Context, p run.Posting, to address) (run.Posting, run.Shows, error) {
	if p.Pull == 0 {
		if err := n.tellPush(ctx, p); err != nil {
			return p, run.Shows{}, err
		}
	}
	set := map[string]vcs.Status{} // what the host shows, by context
	if p.External != "" {
		if err := json.Unmarshal([]byte(p.External), &set); err != nil {
			return p, run.Shows{}, fmt.Errorf("read the posted statuses: %w", err)
		}
	}
	wanted, err := n.wanted(ctx, p, to, set)
	if err != nil {
		return p, run.Shows{}, err
	}
	for _, s := range wanted {
		if set[s.Context] == s {
			continue
		}
		if err := to.host.SetStatus(ctx, to.repo, p.Key, s); err != nil {
			return p, run.Shows{}, fmt.Errorf("set status %s: %w", s.Context, err)
		}
		set[s.Context] = s
	}
	posted, err := json.Marshal(set)
	if err != nil {
		return p, run.Shows{}, err
	}
	p.External = string(posted)
	return p, run.Shows{}, nil
}

// wanted lists the statuses that a commit should have now: the worst of every pull request that it is the head of (semantics 42).
func (n *Notifier) wanted(ctx context.Context, p run.Posting, to address, set map[string]vcs.Status) ([]vcs.Status, error) {
	var pulls []run.Pull
	var lists [][]vcs.Status
	if to.pull.ID != 0 {
		pulls = append(pulls, to.pull)
	} else if view, err := n.Views.Commit(ctx, p.Repo, p.Key); err == nil {
		lists = append(lists, report.Statuses(view, n.Views.Look(view.Repo.Host, view.Repo.Name).Statuses))
	} else if !errors.Is(err, views.ErrNothing) {
		return nil, err
	}
	at, err := n.Store.PullsAt(ctx, p.Repo, p.Key)
	if err != nil {
		return nil, err
	}
	for _, other := range at {
		if other.ID != to.pull.ID {
			pulls = append(pulls, other)
		}
	}
	for _, pull := range pulls {
		statuses, err := n.of(ctx, p, pull, set)
		if err != nil {
			return nil, err
		}
		lists = append(lists, statuses)
	}
	return report.Worst(lists...), nil
}

// of lists the statuses that one pull request gives a commit.
func (n *Notifier) of(ctx context.Context, p run.Posting, pull run.Pull, set map[string]vcs.Status) ([]vcs.Status, error) {
	view, _, err := n.Views.Pull(ctx, pull.ID)
	if errors.Is(err, views.ErrNothing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	look := n.Views.Look(view.Repo.Host, view.Repo.Name)
	statuses := report.Statuses(view, look.Statuses)
	switch p.Key {
	case view.Head:
		return statuses, nil
	case pull.HeadSHA: // merged: what the merge commit's apply came to shows on the merged head too
		var apply []vcs.Status
		for _, s := range statuses {
			if isApply(s.Context) {
				apply = append(apply, s)
			}
		}
		return append(apply, passed(set, apply, "merged")...), nil
	}
	return passed(set, nil, "superseded by "+pull.HeadSHA[:min(7, len(pull.HeadSHA))]), nil
}

// passed ends what is still pending on a commit that is no longer looked at.
func passed(set map[string]vcs.Status, but []vcs.Status, why string) []vcs.Status {
	var out []vcs.Status
	for context, s := range set {
		covered := false
		for _, b := range but {
			covered = covered || b.Context == context
		}
		if s.State == vcs.StatusPending && !covered {
			s.State, s.Description = vcs.StatusError, why
			out = append(out, s)
		}
	}
	return out
}

// isApply says whether a context is about applies, in shadow mode too.
func isApply(context string) bool {
	return strings.HasPrefix(context, "planlatch") && strings.HasSuffix(context, "/apply")
}
