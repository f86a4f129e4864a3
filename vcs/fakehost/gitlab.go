package fakehost

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A host with Options.GitLab is a GitLab on the same model: people, repositories, git, pull requests. What differs is in these files: the
// REST API v4, below /api/v4; webhooks; refs/merge-requests/N/head; projects in sub-groups; and its rules. A review is no thing of its
// own there: it is an approval or a request for changes, and what was said is a comment. A commit status is a job with a state machine.
// A team, "group/sub", is a group whose members are those of the groups below it, too. The merge methods are those of a
// project: with a squash the one commit is put on the base, to rebase is to merge semi-linearly, a fast-forward rebases where it must.

// noteLimit is how many characters a comment of GitLab may have.
const noteLimit = 1_000_000

// headRef is where git finds the head of a pull request.
func (s *Server) headRef(number int) string {
	if s.options.GitLab {
		return fmt.Sprintf("refs/merge-requests/%d/head", number)
	}
	return fmt.Sprintf("refs/pull/%d/head", number)
}

// othersWords is what it takes to change the comments of others.
func (s *Server) othersWords() Permission {
	if s.options.GitLab {
		return Admin
	}
	return Write
}

func (s *Server) gitlabRoutes() map[string]handler {
	const project, request = "/projects/{project}", "/projects/{project}/merge_requests/{number}"
	return map[string]handler{
		"GET /user":                              func(c *call) (int, any, error) { return http.StatusOK, s.gitlabUser(c.user), nil },
		"GET /users":                             s.gitlabUsers,
		"GET /groups/{group}/members/all/{user}": s.gitlabGroupMember,
		"GET /projects":                          s.gitlabProjects,
		"GET " + project:                         s.gitlabProject,
		"GET " + project + "/members/all/{user}": s.gitlabMember,
		"GET " + project + "/repository/branches/{branch}":            s.gitlabBranch,
		"GET " + project + "/repository/commits/{sha}/statuses":       s.gitlabStatuses,
		"GET " + project + "/repository/commits/{sha}/merge_requests": s.gitlabCommitRequests,
		"POST " + project + "/statuses/{sha}":                         s.gitlabPostStatus,
		"GET " + project + "/merge_requests":                          s.gitlabRequests,
		"GET " + request:                                              s.gitlabRequest,
		"GET " + request + "/approvals":                               s.gitlabApprovals,
		"GET " + request + "/reviewers":                               s.gitlabReviewers,
		"GET " + request + "/commits":                                 s.gitlabCommits,
		"GET " + request + "/notes":                                   s.gitlabNotes,
		"POST " + request + "/notes":                                  s.gitlabPostNote,
		"GET " + request + "/notes/{note}":                            s.gitlabNote,
		"PUT " + request + "/notes/{note}":                            s.gitlabPutNote,
		"DELETE " + request + "/notes/{note}":                         s.gitlabDeleteNote,
		"GET " + request + "/notes/{note}/award_emoji":                s.gitlabAwards,
		"POST " + request + "/notes/{note}/award_emoji":               s.gitlabAward,
	}
}

// gitlabPage cuts a list to the page asked for and tells of the next.
func gitlabPage[T any](c *call, list []T) []T {
	number := func(name string, otherwise, most int) int {
		n, err := strconv.Atoi(c.URL.Query().Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return min(n, most)
	}
	size, at := number("per_page", 20, 100), number("page", 1, 1<<20)
	from := min((at-1)*size, len(list))
	to := min(from+size, len(list))
	next := ""
	if to < len(list) {
		next = strconv.Itoa(at + 1)
	}
	for name, value := range map[string]string{
		"X-Page": strconv.Itoa(at), "X-Per-Page": strconv.Itoa(size), "X-Next-Page": next, "X-Total": strconv.Itoa(len(list)),
	} {
		c.head.Set(name, value)
	}
	return list[from:to]
}

// fine writes a time as GitLab does; a zero time is null.
func fine(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (s *Server) gitlabUser(u *user) any {
	if u == nil {
		return nil
	}
	return s.gitlabUserJSON(u)
}

func (s *Server) gitlabUserJSON(u *user) object {
	return object{
		"id": u.ID, "username": u.Login, "name": u.Name, "state": "active", "bot": strings.Contains(u.Login, "_bot_"), "locked": false,
		"public_email": u.Email, "web_url": s.URL + "/" + u.Login,
	}
}

// GET /users?username= or ?search=
func (s *Server) gitlabUsers(c *call) (int, any, error) {
	name, search := c.URL.Query().Get("username"), c.URL.Query().Get("search")
	out := []object{}
	for login, u := range s.users {
		if name != "" && login == key(name) || search != "" && (strings.EqualFold(u.Email, search) || strings.Contains(login, key(search))) {
			out = append(out, s.gitlabUserJSON(u))
		}
	}
	byID(out)
	return http.StatusOK, gitlabPage(c, out), nil
}

// gitlabWho is the user of a path, by id.
func (s *Server) gitlabWho(c *call) *user {
	for _, u := range s.users {
		if strconv.FormatInt(u.ID, 10) == c.PathValue("user") {
			return u
		}
	}
	return nil
}

func (s *Server) gitlabMemberJSON(u *user, level int) (int, any, error) {
	if u == nil || level == 0 {
		return 0, nil, refuse(404, "404 Not found")
	}
	return http.StatusOK, object{
		"id": u.ID, "username": u.Login, "name": u.Name, "state": "active", "membership_state": "active", "access_level": level, "expires_at": nil,
	}, nil
}

// GET /groups/{group}/members/all/{user}: of the group or one above it.
func (s *Server) gitlabGroupMember(c *call) (int, any, error) {
	name := key(c.PathValue("group"))
	if s.teams[name] == nil {
		return 0, nil, refuse(404, "404 Group Not Found")
	}
	u := s.gitlabWho(c)
	for u != nil && name != "" {
		if t := s.teams[name]; t != nil && t.members[key(u.Login)] {
			return s.gitlabMemberJSON(u, 30)
		}
		name = name[:max(0, strings.LastIndexByte(name, '/'))]
	}
	return s.gitlabMemberJSON(nil, 0)
}

// gitlabRepo is the repository of the path, by id or by name, for who may do as much as want. An old name leads to the new one.
func (s *Server) gitlabRepo(c *call, want Permission) (*repo, error) {
	name := c.PathValue("project")
	r := s.repos[key(name)]
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		for _, one := range s.repos {
			if one.id == id {
				r = one
			}
		}
	} else if r != nil && key(r.name) != key(name) && c.Method == http.MethodGet {
		c.head.Set("Location", fmt.Sprintf("%s/api/v4/projects/%d", s.URL, r.id))
		return nil, refuse(301, "This resource has been moved permanently to %s", r.name)
	}
	switch {
	case r == nil || s.permission(r, c.user).rank() < Read.rank():
		return nil, refuse(404, "404 Project Not Found")
	case s.permission(r, c.user).rank() < want.rank():
		return nil, refuse(403, "403 Forbidden")
	}
	return r, nil
}

func (s *Server) gitlabRepoJSON(r *repo) object {
	visibility, level := "public", 20
	if r.private {
		visibility, level = "private", 0
	}
	namespace, short := r.name[:strings.LastIndexByte(r.name, '/')], r.name[strings.LastIndexByte(r.name, '/')+1:]
	return object{
		"id": r.id, "name": short, "path": short, "path_with_namespace": r.name, "namespace": object{"full_path": namespace, "kind": "group"},
		"default_branch": r.branch, "visibility": visibility, "visibility_level": level, "web_url": s.URL + "/" + r.name,
		"http_url_to_repo": s.Clone(r.name), "archived": false, "created_at": fine(r.created),
		"only_allow_merge_if_pipeline_succeeds": len(r.protected[r.branch].Checks) > 0, "allow_merge_on_skipped_pipeline": false,
		"only_allow_merge_if_all_discussions_are_resolved": false,
	}
}

// GET /projects/{project}
func (s *Server) gitlabProject(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.gitlabRepoJSON(r), nil
}

// GET /projects?membership=true
func (s *Server) gitlabProjects(c *call) (int, any, error) {
	out := []object{}
	for name, r := range s.repos {
		mine := s.granted(r, c.user).rank() > 0
		if name == key(r.name) && (mine || c.URL.Query().Get("membership") != "true" && !r.private) {
			out = append(out, s.gitlabRepoJSON(r))
		}
	}
	byID(out)
	return http.StatusOK, gitlabPage(c, out), nil
}

// gitlabLevels are the roles that stand for our permissions.
var gitlabLevels = map[Permission]int{Read: 20, Write: 30, Admin: 40}

// GET /projects/{project}/members/all/{user}
func (s *Server) gitlabMember(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	u := s.gitlabWho(c)
	if u == nil {
		return 0, nil, refuse(404, "404 Not found")
	}
	return s.gitlabMemberJSON(u, gitlabLevels[s.granted(r, u)])
}

// GET /projects/{project}/repository/branches/{branch}
func (s *Server) gitlabBranch(c *call) (int, any, error) {
	r, err := s.gitlabRepo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	name := c.PathValue("branch")
	sha := s.tip(r, name)
	if sha == "" {
		return 0, nil, refuse(404, "404 Branch Not Found")
	}
	return http.StatusOK, object{"name": name, "commit": object{"id": sha}, "default": name == r.branch, "protected": r.protected[name].asked()}, nil
}
