package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// descriptionLimit is what GitLab takes, in characters.
const descriptionLimit = 255

var states = map[vcs.StatusState]string{
	vcs.StatusPending: "pending", vcs.StatusSuccess: "success", vcs.StatusFailure: "failed", vcs.StatusError: "failed",
}

// statusIn is what a status is set with.
type statusIn struct {
	State       string `json:"state"`
	Name        string `json:"name"`
	Ref         string `json:"ref,omitempty"`
	TargetURL   string `json:"target_url,omitempty"`
	Description string `json:"description"`
}

// SetStatus sets one status. A status of GitLab is a job in a pipeline, with a state machine of its own that refuses to go where it is
// or was: a pending one cannot become pending again, and then its description stays as it was.
func (h *Host) SetStatus(ctx context.Context, r vcs.Repo, sha string, s vcs.Status) error {
	if err := h.setStatus(ctx, r, sha, s); err != nil {
		return fmt.Errorf("%s: set status %s on %s@%.8s: %w", h.name, s.Context, r.Name, sha, err)
	}
	return nil
}

func (h *Host) setStatus(ctx context.Context, r vcs.Repo, sha string, s vcs.Status) error {
	id, err := project(r)
	if err != nil {
		return err
	}
	if !commitID.MatchString(sha) {
		return fmt.Errorf("commit %q: %w", sha, vcs.ErrNotFound)
	}
	state, ok := states[s.State]
	if !ok {
		return fmt.Errorf("state %q is none of pending, success, failure, error", s.State)
	}
	in := statusIn{State: state, Name: s.Context, TargetURL: s.URL, Description: wire.Line(s.Description, descriptionLimit)}
	err = h.postStatus(ctx, id, sha, in)
	if errors.Is(err, vcs.ErrNotFound) {
		// GitLab looks for a branch or pipeline to hang the status on. The head of a fork is in none of the project's branches.
		if in.Ref, err = h.mergeRequestRef(ctx, id, sha, err); err != nil {
			return err
		}
		err = h.postStatus(ctx, id, sha, in)
	}
	if refusedTransition(err) && in.State == "pending" {
		// It is pending or running. Running is a state further on in which the words are ours again.
		in.State = "running"
		err = h.postStatus(ctx, id, sha, in)
	}
	if refusedTransition(err) {
		return h.already(ctx, id, sha, s, err)
	}
	return err
}

func (h *Host) postStatus(ctx context.Context, id, sha string, in statusIn) error {
	_, err := h.call(ctx, http.MethodPost, []string{"projects", id, "statuses", sha}, in, nil)
	if wire.Status(err) == http.StatusConflict { // another update of it is in progress
		return &vcs.RetryError{Err: err}
	}
	return err
}

// refusedTransition says whether GitLab answered "Cannot transition status via :run from :running" or the like.
func refusedTransition(err error) bool {
	a, ok := errors.AsType[*wire.Answer](err)
	return ok && a.Code == http.StatusBadRequest && strings.Contains(strings.ToLower(a.Words), "cannot transition")
}

// mergeRequestRef is the ref of the open merge request that has a commit as its head.
func (h *Host) mergeRequestRef(ctx context.Context, id, sha string, otherwise error) (string, error) {
	found, err := list[*mergeRequest](ctx, h, filter{}, "projects", id, "repository", "commits", sha, "merge_requests")
	if err != nil {
		return "", err
	}
	for _, m := range found {
		if m != nil && m.SHA == sha && m.IID > 0 {
			return h.HeadRef(int(m.IID)), nil
		}
	}
	return "", otherwise
}

// already is no error if the status is what it was to become.
func (h *Host) already(ctx context.Context, id, sha string, s vcs.Status, refused error) error {
	all, err := list[status](ctx, h, filter{}, "projects", id, "repository", "commits", sha, "statuses")
	if err != nil {
		return err
	}
	for _, c := range checks(all, &repository{}) {
		if c.Context == s.Context && states[c.State] == states[s.State] {
			return nil
		}
	}
	return refused
}
