package gitea

import (
	"strings"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"
)

// Repo is a repository on the server.
type Repo struct {
	ID       int64
	Owner    string
	Name     string
	FullName string // owner/name
	CloneURL string
}

// CreateRepo makes an empty private repository of the person, or of an organization where the person may.
func (p *Person) CreateRepo(t testing.TB, owner, name string) Repo {
	t.Helper()
	return p.createRepo(t, owner, sdk.CreateRepoOption{Name: name, Private: true, DefaultBranch: "main"})
}

// CreateRepoWithReadme makes a repository with a first commit on main; it is quicker than a push.
func (p *Person) CreateRepoWithReadme(t testing.TB, owner, name string, private bool) Repo {
	t.Helper()
	return p.createRepo(t, owner, sdk.CreateRepoOption{Name: name, Private: private, DefaultBranch: "main", AutoInit: true, Readme: "Default"})
}

func (p *Person) createRepo(t testing.TB, owner string, opt sdk.CreateRepoOption) Repo {
	t.Helper()
	create := p.api().CreateRepo
	if owner != p.Login {
		create = func(opt sdk.CreateRepoOption) (*sdk.Repository, *sdk.Response, error) {
			return p.api().CreateOrgRepo(owner, opt)
		}
	}
	made, _, err := create(opt)
	check(t, err, "create repository %s/%s", owner, opt.Name)
	return p.server.repo(made)
}

// Repo returns the repository of a full name.
func (s *Server) Repo(t testing.TB, fullName string) Repo {
	t.Helper()
	owner, name, _ := strings.Cut(fullName, "/")
	got, _, err := s.Admin.api().GetRepo(owner, name)
	check(t, err, "read repository %s", fullName)
	return s.repo(got)
}

// Fork copies a repository to the person's account.
func (p *Person) Fork(t testing.TB, r Repo) Repo {
	t.Helper()
	made, _, err := p.api().CreateFork(r.Owner, r.Name, sdk.CreateForkOption{})
	check(t, err, "fork %s", r.FullName)
	return p.server.repo(made)
}

// Rename gives a repository another name; its owner and id stay.
func (p *Person) Rename(t testing.TB, r Repo, name string) Repo {
	t.Helper()
	made, _, err := p.api().EditRepo(r.Owner, r.Name, sdk.EditRepoOption{Name: &name})
	check(t, err, "rename %s to %s", r.FullName, name)
	return p.server.repo(made)
}

// AddWebhook has every event of a repository delivered to url, signed with secret, as JSON.
func (p *Person) AddWebhook(t testing.TB, r Repo, url, secret string) {
	t.Helper()
	_, _, err := p.api().CreateRepoHook(r.Owner, r.Name, sdk.CreateHookOption{
		Type:   sdk.HookTypeGitea,
		Config: map[string]string{"url": url, "content_type": "json", "secret": secret},
		// The two names that are not in the list of what can be chosen on the page stand for what they contain.
		Events: []string{
			"create", "delete", "fork", "push", "issues", "issue_label", "issue_comment", "pull_request", "pull_request_label",
			"pull_request_assign", "pull_request_comment", "pull_request_review", "pull_request_sync", "pull_request_review_request",
			"repository", "release", "status",
		},
		Active: true,
	})
	check(t, err, "add a webhook to %s", r.FullName)
}

// Protection is what a branch asks for before a merge.
type Protection struct {
	Branch         string // name or glob
	Approvals      int64
	Contexts       []string // of commit statuses that must be green; globs
	BlockOnChanges bool     // requested changes block
	BlockOutdated  bool     // a head that lacks commits of the base blocks
	DismissStale   bool     // a push dismisses approvals
}

// ProtectBranch protects a branch.
func (p *Person) ProtectBranch(t testing.TB, r Repo, rule Protection) {
	t.Helper()
	_, _, err := p.api().CreateBranchProtection(r.Owner, r.Name, sdk.CreateBranchProtectionOption{
		RuleName: rule.Branch, RequiredApprovals: rule.Approvals, EnableStatusCheck: len(rule.Contexts) > 0,
		StatusCheckContexts: rule.Contexts, BlockOnRejectedReviews: rule.BlockOnChanges, BlockOnOutdatedBranch: rule.BlockOutdated,
		DismissStaleApprovals: rule.DismissStale, EnablePush: true,
	})
	check(t, err, "protect %s of %s", rule.Branch, r.FullName)
}

// DeleteBranch deletes a branch.
func (p *Person) DeleteBranch(t testing.TB, r Repo, branch string) {
	t.Helper()
	_, _, err := p.api().DeleteRepoBranch(r.Owner, r.Name, branch)
	check(t, err, "delete branch %s of %s", branch, r.FullName)
}

// Branch returns the commit a branch points to.
func (p *Person) Branch(t testing.TB, r Repo, branch string) string {
	t.Helper()
	b, _, err := p.api().GetRepoBranch(r.Owner, r.Name, branch)
	check(t, err, "read branch %s of %s", branch, r.FullName)
	return b.Commit.ID
}

// Status is the latest commit status of one context.
type Status struct {
	Context     string
	State       string
	Description string
	URL         string
	By          string
}

// Statuses returns the latest status of each context of a commit.
func (p *Person) Statuses(t testing.TB, r Repo, sha string) map[string]Status {
	t.Helper()
	latest := map[string]Status{}
	newest := map[string]int64{}
	for page := 1; ; page++ {
		list, _, err := p.api().ListStatuses(r.Owner, r.Name, sha, sdk.ListStatusesOption{ListOptions: sdk.ListOptions{Page: page, PageSize: 50}})
		check(t, err, "read the statuses of %s in %s", sha, r.FullName)
		if len(list) == 0 {
			return latest
		}
		for _, s := range list {
			if s.ID > newest[s.Context] {
				newest[s.Context] = s.ID
				latest[s.Context] = Status{Context: s.Context, State: string(s.State), Description: s.Description, URL: s.TargetURL, By: s.Creator.UserName}
			}
		}
	}
}

// SetStatus sets a commit status as another tool would.
func (p *Person) SetStatus(t testing.TB, r Repo, sha, context, state string) {
	t.Helper()
	_, _, err := p.api().CreateStatus(r.Owner, r.Name, sha, sdk.CreateStatusOption{State: sdk.StatusState(state), Context: context})
	check(t, err, "set status %s of %s", context, sha)
}

func (s *Server) repo(r *sdk.Repository) Repo {
	return Repo{ID: r.ID, Owner: r.Owner.UserName, Name: r.Name, FullName: r.FullName, CloneURL: s.URL + "/" + r.FullName + ".git"}
}

// until repeats ask at the border to the other process until it holds, and ends the test when that takes too long.
func until(t testing.TB, what string, ask func() (bool, error)) {
	t.Helper()
	deadline := time.NewTimer(callWithin)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ask()
		if ok {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("gitea: %s: not within %s: %v", what, callWithin, err)
		case <-tick.C:
		}
	}
}
