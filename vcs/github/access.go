package github

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// Remote returns the repository's git address and our token, which GitHub takes as the password of any user name.
func (h *Host) Remote(ctx context.Context, r vcs.Repo) (vcs.Remote, error) {
	owner, name, err := split(r.Name)
	if err != nil {
		return vcs.Remote{}, err
	}
	token, err := h.cred.Token(ctx)
	if err != nil {
		return vcs.Remote{}, fmt.Errorf("get token: %w", err)
	}
	return vcs.Remote{URL: h.web.String() + "/" + owner + "/" + name + ".git", Username: "x-access-token", Password: token}, nil
}

// HeadRef is GitHub's own name for the head of a pull request.
func (h *Host) HeadRef(number int) string { return fmt.Sprintf("refs/pull/%d/head", number) }

// Permission asks for the collaborator permission. GitHub answers with the base role of custom roles: maintain is write, triage is read.
func (h *Host) Permission(ctx context.Context, r vcs.Repo, user string) (vcs.Permission, error) {
	owner, name, err := split(r.Name)
	if err != nil {
		return vcs.PermissionNone, err
	}
	if !loginName.MatchString(user) {
		return vcs.PermissionNone, nil // nobody has such a name
	}
	level, _, err := h.api.Repositories.GetPermissionLevel(ctx, owner, name, user)
	err = explain(ctx, err)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return vcs.PermissionNone, nil
	case err != nil:
		return vcs.PermissionNone, fmt.Errorf("%s: permission of %s in %s: %w", h.name, user, r.Name, err)
	}
	switch level.GetPermission() {
	case "admin":
		return vcs.PermissionAdmin, nil
	case "write", "maintain":
		return vcs.PermissionWrite, nil
	case "read", "triage":
		return vcs.PermissionRead, nil
	default:
		return vcs.PermissionNone, nil
	}
}

// Member asks for an active membership; members of child teams count, invitations do not. A team that our token cannot see has no members.
func (h *Host) Member(ctx context.Context, team, user string) (bool, error) {
	org, slug, ok := strings.Cut(team, "/")
	if !ok || !plain(org) || !plain(slug) || !loginName.MatchString(user) {
		return false, nil
	}
	m, _, err := h.api.Teams.GetTeamMembershipBySlug(ctx, org, slug, user)
	err = explain(ctx, err)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: membership of %s in %s: %w", h.name, user, team, err)
	}
	return m.GetState() == "active", nil
}

// Self returns the account of our token. It is asked for once.
func (h *Host) Self(ctx context.Context) (vcs.User, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.self != nil {
		return *h.self, nil
	}
	u, _, err := h.api.Users.Get(ctx, "")
	if err = explain(ctx, err); err != nil {
		return vcs.User{}, fmt.Errorf("%s: who am I: %w", h.name, err)
	}
	self := account(u)
	if self.ID == "" {
		return vcs.User{}, fmt.Errorf("%s: who am I: %w", h.name, &vcs.RetryError{Err: errors.New("the answer names no account")})
	}
	h.self = &self
	return self, nil
}

// account reads an account. A deleted account ("ghost") is null in answers: it becomes the zero User, which is nobody.
func account(u *gh.User) vcs.User {
	if u.GetID() == 0 || u.GetLogin() == "" {
		return vcs.User{}
	}
	return vcs.User{
		ID: strconv.FormatInt(u.GetID(), 10), Login: u.GetLogin(),
		Bot: isBot(u.GetType(), u.GetLogin()),
	}
}

func isBot(kind, login string) bool { return kind == "Bot" || strings.HasSuffix(login, "[bot]") }
