package gitlab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/planlatch/planlatch/vcs"
)

// Remote returns the repository's git address and our token, which GitLab takes as the password of any user name.
func (h *Host) Remote(_ context.Context, r vcs.Repo) (vcs.Remote, error) {
	if !path(r.Name, 2) {
		return vcs.Remote{}, fmt.Errorf("%s: repository %q: want group/project: %w", h.name, r.Name, vcs.ErrNotFound)
	}
	return vcs.Remote{URL: h.base.String() + "/" + r.Name + ".git", Username: "oauth2", Password: h.token}, nil
}

// HeadRef is GitLab's own name for the head of a merge request.
func (h *Host) HeadRef(number int) string { return fmt.Sprintf("refs/merge-requests/%d/head", number) }

// The roles of GitLab that matter to us. A guest does not see the code of a private project.
const (
	guest      = 10
	reporter   = 20
	developer  = 30
	maintainer = 40
)

// member is somebody in a project or group.
type member struct {
	ID         int64  `json:"id"`
	State      string `json:"state"`            // of the account
	Membership string `json:"membership_state"` // awaiting: not let in yet
	Level      int    `json:"access_level"`
}

func (m member) level() int {
	if m.ID <= 0 || m.State != "" && m.State != "active" || m.Membership != "" && m.Membership != "active" {
		return 0
	}
	return m.Level
}

// Permission reads the role of one person, with what they inherit from groups and from groups that were invited.
func (h *Host) Permission(ctx context.Context, r vcs.Repo, login string) (vcs.Permission, error) {
	level, err := h.permission(ctx, r, login)
	if err != nil {
		return vcs.PermissionNone, fmt.Errorf("%s: permission of %s in %s: %w", h.name, login, r.Name, err)
	}
	return level, nil
}

func (h *Host) permission(ctx context.Context, r vcs.Repo, login string) (vcs.Permission, error) {
	id, err := project(r)
	if err != nil {
		return vcs.PermissionNone, err
	}
	of, err := get[*repository](ctx, h, nil, "projects", id)
	if err != nil {
		return vcs.PermissionNone, err
	}
	who, err := h.user(ctx, login)
	if errors.Is(err, vcs.ErrNotFound) {
		return vcs.PermissionNone, nil
	}
	if err != nil {
		return vcs.PermissionNone, err
	}
	level, err := h.role(ctx, id, who)
	if level < vcs.PermissionRead && err == nil && of != nil && (of.Visibility == "public" || of.Visibility == "internal") {
		level = vcs.PermissionRead
	}
	return level, err
}

// role is what an account may do as a member of a project.
func (h *Host) role(ctx context.Context, project, who string) (vcs.Permission, error) {
	m, err := get[member](ctx, h, nil, "projects", project, "members", "all", who)
	if err != nil && !errors.Is(err, vcs.ErrNotFound) {
		return vcs.PermissionNone, err
	}
	switch level := m.level(); {
	case level >= maintainer:
		return vcs.PermissionAdmin, nil
	case level >= developer:
		return vcs.PermissionWrite, nil
	case level >= reporter:
		return vcs.PermissionRead, nil
	}
	return vcs.PermissionNone, nil
}

// user finds the id of an active account by its name.
func (h *Host) user(ctx context.Context, login string) (string, error) {
	if !plain(login) {
		return "", fmt.Errorf("user %q: %w", login, vcs.ErrNotFound)
	}
	found, err := list[*account](ctx, h, filter{Username: login}, "users")
	if err != nil {
		return "", fmt.Errorf("look for user %s: %w", login, err)
	}
	for _, a := range found {
		if a != nil && a.ID > 0 && strings.EqualFold(a.Username, login) && (a.State == "" || a.State == "active") {
			return strconv.FormatInt(a.ID, 10), nil
		}
	}
	return "", fmt.Errorf("user %q: %w", login, vcs.ErrNotFound)
}

// Member says whether a user is in a group, by its path. Members of the groups above are members of it, as everywhere in GitLab. A group
// that does not exist, or that our account may not see, has no members.
func (h *Host) Member(ctx context.Context, team, login string) (bool, error) {
	if !path(team, 1) {
		return false, nil
	}
	who, err := h.user(ctx, login)
	var m member
	if err == nil {
		m, err = get[member](ctx, h, nil, "groups", team, "members", "all", who)
	}
	if errors.Is(err, vcs.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: membership of %s in %s: %w", h.name, login, team, err)
	}
	return m.level() >= guest, nil
}

// Self returns the account of our token. It is asked for once.
func (h *Host) Self(ctx context.Context) (vcs.User, error) {
	h.mu.Lock()
	self := h.self
	h.mu.Unlock()
	if self != nil {
		return *self, nil
	}
	got, err := get[*account](ctx, h, nil, "user")
	if err == nil && got.user().ID == "" {
		err = &vcs.RetryError{Err: errors.New("the answer has no id or name")}
	}
	if err != nil {
		return vcs.User{}, fmt.Errorf("%s: who am I: %w", h.name, err)
	}
	me := got.user()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.self = &me
	return me, nil
}
