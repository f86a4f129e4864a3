package fakehost

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// object is one JSON object in GitHub's words.
type object = map[string]any

// stamp writes a time as GitHub does, in whole seconds; a zero time is null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// text is a string that is null when empty.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// node is the id that GraphQL knows a thing by.
func node(kind string, id int64) string { return fmt.Sprintf("%s_%d", kind, id) }

// with adds the fields of more to o.
func (s *Server) with(o object, more object) object {
	maps.Copy(o, more)
	return o
}

func actionsBot() *user {
	return &user{User: User{ID: 41898282, Login: "github-actions[bot]", Name: "GitHub Actions"}}
}

func (s *Server) api() string { return s.URL + "/api/v3" }

func (s *Server) userJSON(u *user) any {
	if u == nil {
		return nil
	}
	kind := "User"
	if u.bot() {
		kind = "Bot"
	}
	return s.accountJSON(u.ID, u.Login, kind)
}

func (s *Server) accountJSON(id int64, login, kind string) object {
	at := s.api() + "/users/" + login
	return object{
		"id": id, "node_id": node("U", id), "login": login, "type": kind, "site_admin": false, "user_view_type": "public", "gravatar_id": "",
		"avatar_url": fmt.Sprintf("%s/avatars/u/%d", s.URL, id), "html_url": s.URL + "/" + login, "url": at, "followers_url": at + "/followers",
		"following_url": at + "/following{/other_user}", "gists_url": at + "/gists{/gist_id}", "starred_url": at + "/starred{/owner}{/repo}",
		"subscriptions_url": at + "/subscriptions", "organizations_url": at + "/orgs", "repos_url": at + "/repos",
		"events_url": at + "/events{/privacy}", "received_events_url": at + "/received_events",
	}
}

// selfJSON is what an account sees of itself.
func (s *Server) selfJSON(u *user) object {
	kind := "User"
	if u.bot() {
		kind = "Bot"
	}
	return s.with(s.accountJSON(u.ID, u.Login, kind), object{
		"name": u.Name, "email": u.Email, "company": nil, "blog": nil, "location": nil, "hireable": nil, "bio": nil, "user_view_type": "private",
		"followers": 0, "following": 0, "public_repos": 0, "public_gists": 0, "private_gists": 0, "total_private_repos": 0,
		"owned_private_repos": 0, "disk_usage": 0, "collaborators": 0, "two_factor_authentication": true,
		"created_at": stamp(s.now()), "updated_at": stamp(s.now()),
	})
}

// ownerJSON is the account before the slash, which need not be a user of ours.
func (s *Server) ownerJSON(r *repo) object {
	owner, _, _ := strings.Cut(r.name, "/")
	if u := s.users[key(owner)]; u != nil {
		return s.accountJSON(u.ID, u.Login, "User")
	}
	return s.organizationJSON(r)
}

func (s *Server) organizationJSON(r *repo) object {
	owner, _, _ := strings.Cut(r.name, "/")
	return s.accountJSON(r.id+1_000_000, owner, "Organization")
}

// repoLinks are the addresses below a repository: field without "_url", and what follows the repository's own address.
var repoLinks = map[string]string{
	"archive": "/{archive_format}{/ref}", "assignees": "/assignees{/user}", "blobs": "/git/blobs{/sha}", "branches": "/branches{/branch}",
	"collaborators": "/collaborators{/collaborator}", "comments": "/comments{/number}", "commits": "/commits{/sha}",
	"compare": "/compare/{base}...{head}", "contents": "/contents/{+path}", "contributors": "/contributors", "deployments": "/deployments",
	"downloads": "/downloads", "events": "/events", "forks": "/forks", "git_commits": "/git/commits{/sha}", "git_refs": "/git/refs{/sha}",
	"git_tags": "/git/tags{/sha}", "hooks": "/hooks", "issue_comment": "/issues/comments{/number}", "issue_events": "/issues/events{/number}",
	"issues": "/issues{/number}", "keys": "/keys{/key_id}", "labels": "/labels{/name}", "languages": "/languages", "merges": "/merges",
	"milestones": "/milestones{/number}", "notifications": "/notifications{?since,all,participating}", "pulls": "/pulls{/number}",
	"releases": "/releases{/id}", "stargazers": "/stargazers", "statuses": "/statuses/{sha}", "subscribers": "/subscribers",
	"subscription": "/subscription", "tags": "/tags", "teams": "/teams", "trees": "/git/trees{/sha}",
}

// minimalRepoJSON is a repository as it is shown beside other things.
func (s *Server) minimalRepoJSON(r *repo) object {
	_, short, _ := strings.Cut(r.name, "/")
	at := s.api() + "/repos/" + r.name
	o := object{
		"id": r.id, "node_id": node("R", r.id), "name": short, "full_name": r.name, "owner": s.ownerJSON(r), "private": r.private,
		"fork": r.parent != nil, "description": nil, "html_url": s.URL + "/" + r.name, "url": at,
	}
	for name, path := range repoLinks {
		o[name+"_url"] = at + path
	}
	return o
}

func (s *Server) repoJSON(r *repo) object {
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	clone := s.Clone(r.name)
	return s.with(s.minimalRepoJSON(r), object{
		"visibility": visibility, "default_branch": r.branch, "archived": false, "disabled": false, "is_template": false,
		"clone_url": clone, "git_url": strings.Replace(clone, "http://", "git://", 1), "svn_url": s.URL + "/" + r.name,
		"ssh_url": "git@localhost:" + r.name + ".git", "mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "topics": []string{},
		"forks": 0, "forks_count": 0, "open_issues": 0, "open_issues_count": 0, "size": 0, "stargazers_count": 0, "watchers": 0,
		"watchers_count": 0, "has_discussions": false, "has_downloads": true, "has_issues": true, "has_pages": false, "has_projects": true,
		"has_wiki": true, "allow_forking": true, "web_commit_signoff_required": false,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(r.created),
	})
}
