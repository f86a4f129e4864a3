package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// descriptionLimit is where GitHub refuses a status, in characters.
const descriptionLimit = 140

// SetStatus sets one status; GitHub shows the latest of a context. It keeps at most 1,000 of one context on a commit and then refuses.
func (h *Host) SetStatus(ctx context.Context, r vcs.Repo, sha string, s vcs.Status) error {
	owner, repo, err := split(r.Name)
	if err != nil {
		return err
	}
	if !commitID.MatchString(sha) {
		return fmt.Errorf("%s: set status %s on %s: commit %q: %w", h.name, s.Context, r.Name, sha, vcs.ErrNotFound)
	}
	state, text := string(s.State), cut(s.Description)
	status := &gh.RepoStatus{State: &state, Context: &s.Context, Description: &text}
	if s.URL != "" {
		status.TargetURL = &s.URL
	}
	_, resp, err := h.api.Repositories.CreateStatus(ctx, owner, repo, sha, status)
	if err = explain(ctx, err); err != nil {
		// GitHub answers 422 for a commit it does not have, as for any other fault of ours: ask which it was.
		if resp != nil && resp.StatusCode == http.StatusUnprocessableEntity {
			if _, _, e := h.api.Git.GetCommit(ctx, owner, repo, sha); errors.Is(explain(ctx, e), vcs.ErrNotFound) {
				err = fmt.Errorf("%w: %w", vcs.ErrNotFound, err)
			}
		}
		return fmt.Errorf("%s: set status %s on %s@%.8s: %w", h.name, s.Context, r.Name, sha, err)
	}
	return nil
}

// cut makes one line of a description, short enough for GitHub.
func cut(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	if runes := []rune(s); len(runes) > descriptionLimit {
		return string(runes[:descriptionLimit-1]) + "…"
	}
	return s
}
