package gitea

import (
	"context"
	"errors"
	"fmt"
	"sort"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// descriptionLimit is what fits on Gitea's page, in characters; it would store more.
const descriptionLimit = 255

// SetStatus sets one status; Gitea shows the latest of a context.
func (h *Host) SetStatus(ctx context.Context, r vcs.Repo, sha string, s vcs.Status) error {
	err := h.writing(ctx, r, func(owner, repo string) error { return h.setStatus(ctx, owner, repo, sha, s) })
	if err != nil {
		return fmt.Errorf("%s: set status %s on %s@%.8s: %w", h.name, s.Context, r.Name, sha, err)
	}
	return nil
}

func (h *Host) setStatus(ctx context.Context, owner, repo, sha string, s vcs.Status) error {
	if !commitID.MatchString(sha) {
		return fmt.Errorf("commit %q: %w", sha, vcs.ErrNotFound)
	}
	state, ok := states[s.State]
	if !ok {
		return fmt.Errorf("state %q is none of pending, success, failure, error", s.State)
	}
	_, resp, err := h.api(ctx).CreateStatus(owner, repo, sha, sdk.CreateStatusOption{
		State: state, TargetURL: s.URL, Description: wire.Line(s.Description, descriptionLimit), Context: s.Context,
	})
	if err = explain(ctx, resp, err); err == nil || wire.Status(err) < 500 {
		return err
	}
	// For a commit that it does not have Gitea is "ill", and would be for ever.
	_, resp, look := h.api(ctx).GetSingleCommit(owner, repo, sha)
	if look = explain(ctx, resp, look); errors.Is(look, vcs.ErrNotFound) {
		return look
	}
	return err
}

var states = map[vcs.StatusState]sdk.StatusState{
	vcs.StatusPending: sdk.StatusPending, vcs.StatusSuccess: sdk.StatusSuccess, vcs.StatusFailure: sdk.StatusFailure, vcs.StatusError: sdk.StatusError,
}

// statuses reads the latest status of each context. The library's call for this ends at the first page, and the total that Gitea tells
// here is not the number of contexts, so only an empty page is the end.
func (h *Host) statuses(ctx context.Context, owner, repo, sha string) ([]vcs.Check, error) {
	seen := map[string]bool{}
	var out []vcs.Check
	for page := 1; page <= pageLimit; page++ {
		var combined struct {
			Statuses []*sdk.Status `json:"statuses"`
		}
		resp, err := h.get(ctx, fmt.Sprintf("/repos/%s/%s/commits/%s/status", owner, repo, sha), paged(page), &combined)
		if err = explain(ctx, resp, err); err != nil {
			return nil, err
		}
		if len(combined.Statuses) == 0 {
			sort.Slice(out, func(i, j int) bool { return out[i].Context < out[j].Context })
			return out, nil
		}
		for _, s := range combined.Statuses {
			if s != nil && s.Context != "" && !seen[s.Context] {
				seen[s.Context] = true
				out = append(out, vcs.Check{Context: s.Context, State: stateOf(s.State)})
			}
		}
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}

// stateOf reads a state as Gitea's own merge box does: a warning fails, what was skipped passes.
func stateOf(s sdk.StatusState) vcs.StatusState {
	switch s {
	case sdk.StatusSuccess, "skipped":
		return vcs.StatusSuccess
	case sdk.StatusPending:
		return vcs.StatusPending
	case sdk.StatusFailure, sdk.StatusWarning:
		return vcs.StatusFailure
	default:
		return vcs.StatusError
	}
}
