package fakehost

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// GET /user
func (s *Server) getUser(c *call) (int, any, error) { return http.StatusOK, s.selfJSON(c.user), nil }

// GET /user/repos: those where a grant of one's own or everywhere gives more than what everyone may.
func (s *Server) listRepos(c *call) (int, any, error) {
	var granted []*repo
	for name, r := range s.repos {
		if name == key(r.name) && (s.permission(r, c.user).rank() > Read.rank() || c.user.everywhere.rank() > 0) {
			granted = append(granted, r)
		}
	}
	slices.SortFunc(granted, func(a, b *repo) int { return cmp.Compare(a.name, b.name) })
	list := make([]object, len(granted))
	for i, r := range granted {
		list[i] = s.repoJSON(r)
	}
	return http.StatusOK, page(s, c, list), nil
}

// GET /orgs/{org}/teams/{team}/memberships/{user}
func (s *Server) getMembership(c *call) (int, any, error) {
	accepted, found := s.membership(c.PathValue("org")+"/"+c.PathValue("team"), c.PathValue("user"))
	if !found {
		return 0, nil, refuse(404, "Not Found")
	}
	state := "active"
	if !accepted {
		state = "pending"
	}
	return http.StatusOK, object{"state": state, "role": "member", "url": s.api() + strings.TrimPrefix(c.URL.Path, "/api/v3")}, nil
}

// GET /repos/{owner}/{repo}
func (s *Server) getRepo(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	rank := s.permission(r, c.user).rank()
	return http.StatusOK, s.with(s.repoJSON(r), object{
		"permissions":   object{"pull": true, "push": rank >= Write.rank(), "admin": rank >= Admin.rank()},
		"network_count": 0, "subscribers_count": 0,
	}), nil
}

// GET /repos/{owner}/{repo}/collaborators/{user}/permission
func (s *Server) getPermission(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	if s.permission(r, c.user).rank() < Write.rank() {
		return 0, nil, refuse(403, "Must have push access to view collaborator permission.")
	}
	u := s.users[key(c.PathValue("user"))]
	if u == nil {
		return 0, nil, refuse(404, "Not Found")
	}
	p := s.permission(r, u)
	return http.StatusOK, object{
		"permission": string(p), "role_name": string(p), "user": s.with(s.accountJSON(u.ID, u.Login, "User"), object{"role_name": string(p)}),
	}, nil
}

// branchOf is the branch of the path and its commit.
func (s *Server) branchOf(c *call, want Permission) (r *repo, branch, sha string, err error) {
	if r, err = s.repo(c, want); err != nil {
		return nil, "", "", err
	}
	branch = c.PathValue("branch")
	if sha = s.tip(r, branch); sha == "" {
		return nil, "", "", refuse(404, "Branch not found")
	}
	return r, branch, sha, nil
}

func (p Protection) asked() bool { return len(p.Checks) > 0 || p.Approvals > 0 || p.Queue || p.Threads }

func (p Protection) checks() object {
	contexts, checks := []string{}, []object{}
	for _, name := range p.Checks {
		var app any
		if id := p.Apps[name]; id != 0 {
			app = id
		}
		contexts, checks = append(contexts, name), append(checks, object{"context": name, "app_id": app})
	}
	return object{"strict": false, "contexts": contexts, "checks": checks}
}

// GET /repos/{owner}/{repo}/branches/{branch}
func (s *Server) getBranch(c *call) (int, any, error) {
	r, branch, sha, err := s.branchOf(c, Read)
	if err != nil {
		return 0, nil, err
	}
	want := r.protected[branch]
	protected := want.asked() && !want.RuleSet
	required := object{"enforcement_level": "off", "contexts": []string{}, "checks": []object{}}
	if protected {
		required = want.checks()
		required["enforcement_level"] = "non_admins"
	}
	tip, err := s.log(r, "-1", sha)
	if err != nil || len(tip) == 0 {
		return 0, nil, fmt.Errorf("read %s: %w", sha, err)
	}
	at := s.api() + "/repos/" + r.name + "/branches/" + branch
	return http.StatusOK, object{
		"name": branch, "commit": s.commitJSON(r, tip[0]), "protected": protected, "protection_url": at + "/protection",
		"protection": object{"enabled": protected, "required_status_checks": required},
		"_links":     object{"self": at, "html": s.URL + "/" + r.name + "/tree/" + branch},
	}, nil
}

// GET /repos/{owner}/{repo}/rules/branches/{branch}
func (s *Server) getRules(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	rules := []object{}
	if want := r.protected[c.PathValue("branch")]; want.RuleSet {
		checks := []object{}
		for _, name := range want.Checks {
			check := object{"context": name}
			if id := want.Apps[name]; id != 0 {
				check["integration_id"] = id
			}
			checks = append(checks, check)
		}
		rules = append(rules,
			object{"type": "required_status_checks", "parameters": object{
				"required_status_checks": checks, "strict_required_status_checks_policy": false,
			}},
			object{"type": "pull_request", "parameters": object{
				"required_approving_review_count": want.Approvals, "require_code_owner_review": false, "require_last_push_approval": false,
				"required_review_thread_resolution": want.Threads, "dismiss_stale_reviews_on_push": false,
			}},
		)
		if want.Queue {
			rules = append(rules, object{"type": "merge_queue", "parameters": object{
				"check_response_timeout_minutes": 60, "grouping_strategy": "ALLGREEN", "max_entries_to_build": 5, "max_entries_to_merge": 1,
				"merge_method": "MERGE", "min_entries_to_merge": 1, "min_entries_to_merge_wait_minutes": 5,
			}})
		}
	}
	return http.StatusOK, page(s, c, rules), nil
}

// GET /repos/{owner}/{repo}/git/ref/{ref}
func (s *Server) getRef(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	branch, ok := strings.CutPrefix(c.PathValue("ref"), "heads/")
	sha := ""
	if ok {
		sha = s.tip(r, branch)
	}
	if sha == "" {
		return 0, nil, refuse(404, "Not Found")
	}
	at := s.api() + "/repos/" + r.name + "/git/"
	return http.StatusOK, object{
		"ref": "refs/heads/" + branch, "node_id": "REF_" + sha, "url": at + "refs/heads/" + branch,
		"object": object{"type": "commit", "sha": sha, "url": at + "commits/" + sha},
	}, nil
}

// GET /repos/{owner}/{repo}/git/commits/{sha}
func (s *Server) getCommit(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	sha := c.PathValue("sha")
	if !s.known(r, sha) {
		return 0, nil, refuse(404, "Not Found")
	}
	one, err := s.log(r, "-1", sha)
	if err != nil || len(one) == 0 {
		return 0, nil, fmt.Errorf("read %s: %w", sha, err)
	}
	return http.StatusOK, s.gitCommitJSON(r, one[0]), nil
}

// GET /repos/{owner}/{repo}/compare/{base}...{head}
func (s *Server) compare(c *call) (int, any, error) {
	r, err := s.repo(c, Read)
	if err != nil {
		return 0, nil, err
	}
	base, head, ok := strings.Cut(c.PathValue("range"), "...")
	if !ok || !s.known(r, base) || !s.known(r, head) {
		return 0, nil, refuse(404, "Not Found")
	}
	log, err := s.log(r, base+".."+head)
	if err != nil {
		return 0, nil, err
	}
	behind, err := s.log(r, head+".."+base)
	if err != nil {
		return 0, nil, err
	}
	fork, err := s.run(r.dir, "", nil, "merge-base", base, head)
	if err != nil {
		return 0, nil, refuse(404, "No common ancestor between %s and %s.", base, head)
	}
	ends, err := s.log(r, "--no-walk=unsorted", base, fork)
	if err != nil || len(ends) == 0 {
		return 0, nil, fmt.Errorf("compare %s and %s: %w", base, head, err)
	}
	commits := []object{}
	for _, one := range page(s, c, log) {
		commits = append(commits, s.commitJSON(r, one))
	}
	status := map[[2]bool]string{{true, true}: "diverged", {true, false}: "ahead", {false, true}: "behind"}[[2]bool{len(log) > 0, len(behind) > 0}]
	at := s.URL + "/" + r.name + "/compare/" + c.PathValue("range")
	return http.StatusOK, object{
		"url": s.api() + "/repos/" + r.name + "/compare/" + c.PathValue("range"), "html_url": at, "permalink_url": at, "diff_url": at + ".diff",
		"patch_url": at + ".patch", "base_commit": s.commitJSON(r, ends[len(ends)-1]), "merge_base_commit": s.commitJSON(r, ends[0]),
		"status": cmp.Or(status, "identical"), "ahead_by": len(log), "behind_by": len(behind), "total_commits": len(log), "commits": commits,
		"files": []object{},
	}, nil
}

// POST /repos/{owner}/{repo}/statuses/{sha}
func (s *Server) postStatus(c *call) (int, any, error) {
	r, err := s.repo(c, Write)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		State       string `json:"state"`
		Context     string `json:"context"`
		Description string `json:"description"`
		TargetURL   string `json:"target_url"`
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	if in.TargetURL != "" && !strings.HasPrefix(in.TargetURL, "http://") && !strings.HasPrefix(in.TargetURL, "https://") {
		return 0, nil, refuse(422, "Target url must use http(s) scheme")
	}
	sha := c.PathValue("sha")
	made, err := s.setStatus(r.name, c.user.Login, sha, Status{Context: in.Context, State: in.State, Description: in.Description, URL: in.TargetURL})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, s.statusJSON(r, sha, made), nil
}
