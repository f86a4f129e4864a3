package fakehost

import (
	"crypto/rand"
	"regexp"
	"strconv"
	"strings"
)

// Permission is what a person may do in a repository, in GitHub's words.
type Permission string

// The base permissions.
const (
	None  Permission = "none"
	Read  Permission = "read"
	Write Permission = "write"
	Admin Permission = "admin"
)

func (p Permission) rank() int {
	switch p {
	case Read:
		return 1
	case Write:
		return 2
	case Admin:
		return 3
	default:
		return 0
	}
}

// User is an account. A login that ends in "[bot]" is a bot's.
type User struct {
	ID    int64
	Login string
	Name  string
	Email string // of the commits
	Token string // opens the API and git
}

type user struct {
	User
	everywhere Permission
}

func (u *user) bot() bool { return strings.HasSuffix(u.Login, "[bot]") }

var loginForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,38}(\[bot\])?$`)

// CreateUser makes an account that has permission p in every repository, unless SetPermission says otherwise. In a public repository
// everyone may read.
func (s *Server) CreateUser(login string, p Permission) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !loginForm.MatchString(login) {
		return User{}, refuse(422, "login %q is not letters, digits and hyphens", login)
	}
	if s.users[key(login)] != nil {
		return User{}, refuse(422, "login %s is already taken", login)
	}
	id := s.id()
	email := strconv.FormatInt(id, 10) + "+" + login + "@users.noreply.github.com"
	if s.options.GitLab {
		email = login + "@people.example.com"
	}
	u := &user{everywhere: p, User: User{
		ID: id, Login: login, Name: strings.ToUpper(login[:1]) + login[1:],
		Email: email, Token: "ghp_" + rand.Text(),
	}}
	s.users[key(login)] = u
	s.tokens[u.Token] = u
	return u.User, nil
}

// SetPermission gives a user a permission of their own in one repository.
func (s *Server) SetPermission(repo, login string, p Permission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, u, err := s.in(repo, login)
	if err != nil {
		return err
	}
	r.permissions[key(u.Login)] = p
	return nil
}

// team is a group of people in an organisation. Whoever is in a team is in its parents too.
type team struct {
	parent  string          // "org/team", lower case; empty: none
	members map[string]bool // lower-case login → accepted the invitation
}

// CreateTeam makes a team, written "org/team", or adds members to it.
func (s *Server) CreateTeam(name string, logins ...string) error { return s.join(name, true, logins) }

// InviteToTeam invites people who have not accepted yet, which makes them no members.
func (s *Server) InviteToTeam(name string, logins ...string) error {
	return s.join(name, false, logins)
}

func (s *Server) join(name string, accepted bool, logins []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Count(name, "/") != 1 && !s.options.GitLab {
		return refuse(422, "team %q is not written org/team", name)
	}
	if s.teams[key(name)] == nil {
		s.teams[key(name)] = &team{members: map[string]bool{}}
	}
	for _, l := range logins {
		if s.users[key(l)] == nil {
			return refuse(404, "no user %s", l)
		}
		s.teams[key(name)].members[key(l)] = accepted
	}
	return nil
}

// NestTeam puts a team below another.
func (s *Server) NestTeam(child, parent string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.teams[key(child)] == nil || s.teams[key(parent)] == nil {
		return refuse(404, "no team %s or %s", child, parent)
	}
	for up := key(parent); up != ""; up = s.teams[up].parent {
		if up == key(child) {
			return refuse(422, "%s is above %s", child, parent)
		}
	}
	s.teams[key(child)].parent = key(parent)
	return nil
}

// membership says whether somebody is in a team or one below it, and whether the invitation was accepted.
func (s *Server) membership(name, login string) (accepted, found bool) {
	for at, t := range s.teams {
		state, in := t.members[key(login)]
		if !in {
			continue
		}
		for up := at; up != ""; up = s.teams[up].parent {
			if up == key(name) {
				accepted, found = accepted || state, true
			}
		}
	}
	return accepted, found
}

// permission is what u may do in r: their own grant, ownership, the grant everywhere, and reading what is public.
func (s *Server) permission(r *repo, u *user) Permission {
	if p := s.granted(r, u); p.rank() > 0 {
		return p
	}
	if r.private {
		return None
	}
	return Read
}

// granted is permission without what everybody may.
func (s *Server) granted(r *repo, u *user) Permission {
	p := u.everywhere
	if own, ok := r.permissions[key(u.Login)]; ok {
		p = own
	} else if owner, _, _ := strings.Cut(r.name, "/"); key(owner) == key(u.Login) {
		p = Admin
	}
	return p
}

// in finds a repository and a user who acts in it.
func (s *Server) in(name, login string) (*repo, *user, error) {
	r := s.repos[key(name)]
	if r == nil {
		return nil, nil, refuse(404, "no repository %s", name)
	}
	u := s.users[key(login)]
	if u == nil {
		return nil, nil, refuse(404, "no user %s", login)
	}
	return r, u, nil
}

// may is in, for someone who needs a permission.
func (s *Server) may(name, login string, p Permission) (*repo, *user, error) {
	r, u, err := s.in(name, login)
	if err != nil {
		return nil, nil, err
	}
	if s.permission(r, u).rank() < p.rank() {
		return nil, nil, refuse(403, "%s may not: it takes %s permission in %s", login, p, r.name)
	}
	return r, u, nil
}
