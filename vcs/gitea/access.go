package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// Remote returns the repository's git address and our token, which Gitea takes as the password of any user name.
func (h *Host) Remote(_ context.Context, r vcs.Repo) (vcs.Remote, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return vcs.Remote{}, fmt.Errorf("%s: %w", h.name, err)
	}
	return vcs.Remote{URL: h.base.String() + "/" + owner + "/" + repo + ".git", Username: "oauth2", Password: h.token}, nil
}

// HeadRef is Gitea's own name for the head of a pull request.
func (h *Host) HeadRef(number int) string { return fmt.Sprintf("refs/pull/%d/head", number) }

// Permission asks for the permission of one person, and then for the teams of an organization's repository: Gitea's own answer leaves out
// what a team may do by its units, which is all that a team may do unless it administers. Gitea answers administrators of the repository
// only, and about teams its owners and members.
func (h *Host) Permission(ctx context.Context, r vcs.Repo, login string) (vcs.Permission, error) {
	level, err := h.permission(ctx, r, login)
	if err != nil {
		return vcs.PermissionNone, fmt.Errorf("%s: permission of %s in %s: %w", h.name, login, r.Name, err)
	}
	return level, nil
}

func (h *Host) permission(ctx context.Context, r vcs.Repo, login string) (vcs.Permission, error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return vcs.PermissionNone, err
	}
	if !plain(login) {
		return vcs.PermissionNone, nil // nobody has such a name
	}
	got, resp, err := h.api(ctx).CollaboratorPermission(owner, repo, login)
	err = explain(ctx, resp, err)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		// The person, or the repository: the second is an error.
		_, err = h.Repo(ctx, r.Name)
		return vcs.PermissionNone, err
	case errors.Is(err, vcs.ErrDenied):
		return vcs.PermissionNone, fmt.Errorf("make our account an administrator of the repository, Gitea tells nobody else: %w", err)
	case err != nil:
		return vcs.PermissionNone, err
	}
	level := levelOf(string(got.Permission))
	if level == vcs.PermissionAdmin {
		return level, nil
	}
	return h.throughTeams(ctx, owner, repo, login, level)
}

// throughTeams raises level by what the teams that login is in may do in the repository.
func (h *Host) throughTeams(ctx context.Context, owner, repo, login string, level vcs.Permission) (vcs.Permission, error) {
	teams, resp, err := h.api(ctx).GetRepoTeams(owner, repo)
	if err = explain(ctx, resp, err); err != nil {
		if wire.Status(err) == http.StatusMethodNotAllowed { // the owner is no organization
			return level, nil
		}
		return vcs.PermissionNone, fmt.Errorf("teams: %w", err)
	}
	for _, t := range teams {
		if t == nil {
			continue
		}
		gives := max(levelOf(string(t.Permission)), levelOf(t.UnitsMap[string(sdk.RepoUnitCode)]))
		if gives <= level {
			continue
		}
		in, err := h.inTeam(ctx, t.ID, login)
		if err != nil {
			return vcs.PermissionNone, fmt.Errorf("team %s: make our account an owner of the organization: %w", t.Name, err)
		}
		if in {
			level = gives
		}
	}
	return level, nil
}

func levelOf(word string) vcs.Permission {
	switch sdk.AccessMode(word) {
	case sdk.AccessModeOwner, sdk.AccessModeAdmin:
		return vcs.PermissionAdmin
	case sdk.AccessModeWrite:
		return vcs.PermissionWrite
	case sdk.AccessModeRead:
		return vcs.PermissionRead
	default:
		return vcs.PermissionNone
	}
}

// Member asks for the membership in a team. A team or organization that does not exist has no members; one that our account is neither
// in nor owns is an error, because Gitea tells outsiders nothing.
func (h *Host) Member(ctx context.Context, team, login string) (bool, error) {
	org, name, ok := strings.Cut(team, "/")
	if !ok || !plain(org) || !plain(name) || !plain(login) {
		return false, nil
	}
	is, err := h.member(ctx, org, name, login)
	if errors.Is(err, vcs.ErrDenied) {
		err = fmt.Errorf("make our account an owner of the organization or a member of the team, Gitea tells nobody else: %w", err)
	}
	if err != nil {
		return false, fmt.Errorf("%s: membership of %s in %s: %w", h.name, login, team, err)
	}
	return is, nil
}

func (h *Host) member(ctx context.Context, org, name, login string) (bool, error) {
	teams, err := pages(ctx, func(o sdk.ListOptions) ([]*sdk.Team, *sdk.Response, error) {
		return h.api(ctx).ListOrgTeams(org, sdk.ListTeamsOptions{ListOptions: o})
	})
	if errors.Is(err, vcs.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, t := range teams {
		if t == nil || !strings.EqualFold(t.Name, name) {
			continue
		}
		return h.inTeam(ctx, t.ID, login)
	}
	return false, nil
}

// inTeam asks for one member. Gitea also answers "not found" about a team that our account may not look into.
func (h *Host) inTeam(ctx context.Context, team int64, login string) (bool, error) {
	who, resp, err := h.api(ctx).GetTeamMember(team, login)
	err = explain(ctx, resp, err)
	if err == nil {
		return who != nil && strings.EqualFold(who.UserName, login), nil
	}
	if !errors.Is(err, vcs.ErrNotFound) {
		return false, err
	}
	_, resp, err = h.api(ctx).GetTeam(team)
	if err = explain(ctx, resp, err); errors.Is(err, vcs.ErrNotFound) {
		err = fmt.Errorf("%w: the team is hidden from our account", vcs.ErrDenied)
	}
	return false, err
}

// Self returns the account of our token. It is asked for once.
func (h *Host) Self(ctx context.Context) (vcs.User, error) {
	me, err := h.me(ctx)
	if err != nil {
		return vcs.User{}, fmt.Errorf("%s: who am I: %w", h.name, err)
	}
	return person(me), nil
}

func (h *Host) me(ctx context.Context) (*sdk.User, error) {
	h.mu.Lock()
	me := h.self
	h.mu.Unlock()
	if me != nil {
		return me, nil
	}
	me, resp, err := h.api(ctx).GetMyUserInfo()
	if err = explain(ctx, resp, err); err != nil {
		return nil, err
	}
	if person(me).ID == "" {
		return nil, &vcs.RetryError{Err: errors.New("the answer names no account")}
	}
	h.mu.Lock()
	h.self = me
	h.mu.Unlock()
	return me, nil
}
