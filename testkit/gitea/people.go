package gitea

import (
	"fmt"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
)

const password = "correct horse battery"

// Person is an account and acts through its own token and password. A method ends the test when the host refuses.
type Person struct {
	Login    string
	Email    string
	Password string
	Token    string // may do all that the account may
	ID       int64

	server *Server
}

// CreateUser makes an account with this login. The login must be free: see [Server.Unique].
func (s *Server) CreateUser(t testing.TB, login string) *Person {
	t.Helper()
	p := &Person{Login: login, Email: login + "@example.test", Password: password, server: s}
	stay := false
	_, _, err := s.Admin.api().AdminCreateUser(sdk.CreateUserOption{
		Username: p.Login, Email: p.Email, Password: p.Password, MustChangePassword: &stay,
	})
	check(t, err, "create user %s", login)
	check(t, p.authenticate(), "create a token of %s", login)
	return p
}

// authenticate gives the person a token for everything.
func (p *Person) authenticate() error {
	basic := p.server.client(sdk.SetBasicAuth(p.Login, p.Password))
	token, _, err := basic.CreateAccessToken(sdk.CreateAccessTokenOption{
		Name: p.server.Unique("token"), Scopes: []sdk.AccessTokenScope{sdk.AccessTokenScopeAll},
	})
	if err != nil {
		return err
	}
	p.Token = token.Token
	me, _, err := p.api().GetMyUserInfo()
	if err != nil {
		return err
	}
	p.ID = me.ID
	return nil
}

// NewToken makes a further token with these scopes: "read:repository", "write:issue", "all" …
func (p *Person) NewToken(t testing.TB, scopes ...string) string {
	t.Helper()
	opt := sdk.CreateAccessTokenOption{Name: p.server.Unique("token")}
	for _, scope := range scopes {
		opt.Scopes = append(opt.Scopes, sdk.AccessTokenScope(scope))
	}
	token, _, err := p.server.client(sdk.SetBasicAuth(p.Login, p.Password)).CreateAccessToken(opt)
	check(t, err, "create a token of %s", p.Login)
	return token.Token
}

// CreateOrg makes an organization that the person owns.
func (p *Person) CreateOrg(t testing.TB, name string) {
	t.Helper()
	_, _, err := p.api().CreateOrg(sdk.CreateOrgOption{Name: name, Visibility: sdk.VisibleTypePublic})
	check(t, err, "create organization %s", name)
}

// CreateTeam makes a team of an organization that sees all its repositories, with permission read, write or admin, and fills it.
func (p *Person) CreateTeam(t testing.TB, org, team, permission string, members ...*Person) {
	t.Helper()
	opt := sdk.CreateTeamOption{Name: team, Permission: sdk.AccessMode(permission), IncludesAllRepositories: true}
	if opt.Permission != sdk.AccessModeAdmin {
		opt.UnitsMap = map[string]string{"repo.code": permission, "repo.issues": permission, "repo.pulls": permission}
	}
	made, _, err := p.api().CreateTeam(org, opt)
	check(t, err, "create team %s/%s", org, team)
	for _, member := range members {
		_, err := p.api().AddTeamMember(made.ID, member.Login)
		check(t, err, "add %s to team %s/%s", member.Login, org, team)
	}
}

// AddCollaborator lets another person read, write or admin a repository.
func (p *Person) AddCollaborator(t testing.TB, r Repo, who *Person, permission string) {
	t.Helper()
	mode := sdk.AccessMode(permission)
	_, err := p.api().AddCollaborator(r.Owner, r.Name, who.Login, sdk.AddCollaboratorOption{Permission: &mode})
	check(t, err, "give %s %s on %s", who.Login, permission, r.FullName)
}

func (p *Person) api() *sdk.Client { return p.server.client(sdk.SetToken(p.Token)) }

// check ends the test when something that a person did was refused.
func check(t testing.TB, err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("gitea: %s: %v", fmt.Sprintf(format, args...), err)
	}
}
