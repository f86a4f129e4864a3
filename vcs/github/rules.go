package github

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// rules are what GitHub asks for before it merges into a branch: the branch's own protection and the rule sets that cover it.
type rules struct {
	tip       string // the commit of the branch, or ""
	known     bool   // the required checks below are all there are
	protected bool   // the branch has a protection of its own
	required  []requirement
	approvals int  // asked for by rule sets
	other     bool // a rule set asks for something that we cannot judge
}

// requirement is one check that must be green.
type requirement struct {
	context string
	app     int64 // the only app whose result counts; 0: anyone's
}

// state is the state of the requirement as far as seen shows: the worst under its name, of its app if there is one. A commit status does
// not tell its app, so it counts where the app reported nothing.
func (q requirement) state(seen []report) vcs.StatusState {
	found, worst := false, vcs.StatusSuccess
	for _, fromApp := range []bool{true, false} {
		for _, s := range seen {
			if s.context != q.context || q.app != 0 && fromApp != (s.app == q.app) || q.app != 0 && !fromApp && s.app != 0 {
				continue
			}
			found = true
			if rank(s.state) > rank(worst) {
				worst = s.state
			}
		}
		if found {
			return worst
		}
	}
	return vcs.StatusPending
}

// proven is stricter: a status that anyone with write permission could have set does not stand for an app's check.
func (q requirement) proven(seen []report) bool {
	if q.state(seen) != vcs.StatusSuccess {
		return false
	}
	if q.app == 0 {
		return true
	}
	for _, s := range seen {
		if s.context == q.context && s.app == q.app {
			return true
		}
	}
	return false
}

// rule is one rule of a rule set. It is not go-github's, which fails on every kind it does not know, and GitHub invents new ones.
type rule struct {
	Type       string          `json:"type"`
	Parameters json.RawMessage `json:"parameters"`
}

// rules reads the branch, whose short form of the protection every token that may push can see, and the rule sets.
func (h *Host) rules(ctx context.Context, owner, repo, branch string) (rules, error) {
	var b struct {
		Commit struct {
			SHA string `json:"sha"`
		} `json:"commit"`
		Protected  *bool `json:"protected"`
		Protection *struct {
			Checks *gh.RequiredStatusChecks `json:"required_status_checks"`
		} `json:"protection"`
	}
	at := "repos/" + owner + "/" + repo
	_, err := h.fetch(ctx, at+"/branches/"+url.PathEscape(branch), nil, &b)
	if err = explain(ctx, err); err != nil {
		if absent(err) {
			return rules{}, nil
		}
		return rules{}, err
	}
	if b.Protected == nil {
		return rules{tip: b.Commit.SHA}, nil
	}
	r := rules{tip: b.Commit.SHA, known: true, protected: *b.Protected}
	switch {
	case b.Protection != nil && b.Protection.Checks != nil:
		r.require(b.Protection.Checks)
	case r.protected && b.Protection == nil:
		r.known = false
	}
	sets, err := pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]rule, *gh.Response, error) {
		var got []rule
		resp, err := h.fetch(ctx, at+"/rules/branches/"+url.PathEscape(branch), url.Values{
			"per_page": {strconv.Itoa(o.PerPage)}, "page": {strconv.Itoa(o.Page)},
		}, &got)
		return got, resp, err
	})
	switch {
	case errors.Is(err, vcs.ErrNotFound): // the branch is readable, so this server is older than rule sets
	case errors.Is(err, vcs.ErrDenied):
		r.known, r.other = false, true
	case err != nil:
		return rules{}, err
	}
	for _, s := range sets {
		r.add(s)
	}
	return r, nil
}

func (r *rules) require(c *gh.RequiredStatusChecks) {
	bound := map[string]bool{}
	if c.Checks != nil {
		for _, k := range *c.Checks {
			if k == nil {
				continue
			}
			q := requirement{context: k.Context}
			if k.AppID != nil && *k.AppID > 0 { // -1: anyone
				q.app = *k.AppID
			}
			bound[k.Context] = true
			r.required = append(r.required, q)
		}
	}
	if c.Contexts != nil {
		for _, name := range *c.Contexts {
			if !bound[name] {
				r.required = append(r.required, requirement{context: name})
			}
		}
	}
}

// add takes one rule of a rule set. Rules about pushes and names do not concern a merge by the host's button.
func (r *rules) add(s rule) {
	switch s.Type {
	case "":
		r.known, r.other = false, true
	case "required_status_checks":
		var p gh.RequiredStatusChecksRuleParameters
		if json.Unmarshal(s.Parameters, &p) != nil {
			r.known, r.other = false, true
			return
		}
		for _, c := range p.RequiredStatusChecks {
			q := requirement{context: c.Context}
			if c.IntegrationID != nil && *c.IntegrationID > 0 {
				q.app = *c.IntegrationID
			}
			r.required = append(r.required, q)
		}
	case "pull_request":
		var p struct {
			Approvals int  `json:"required_approving_review_count"`
			Owners    bool `json:"require_code_owner_review"`
			LastPush  bool `json:"require_last_push_approval"`
			Threads   bool `json:"required_review_thread_resolution"`
		}
		if json.Unmarshal(s.Parameters, &p) != nil || p.Owners || p.LastPush || p.Threads {
			r.other = true
		}
		r.approvals = max(r.approvals, p.Approvals)
	case "creation", "deletion", "non_fast_forward", "required_linear_history", "branch_name_pattern":
	default:
		r.other = true
	}
}

// onlyOursMissing says whether a blocked pull request waits for nothing but our own statuses: all rules can be read, every foreign
// required check is green, one of ours is not, and there are as many approvals of people with write permission as asked for.
func (h *Host) onlyOursMissing(ctx context.Context, r vcs.Repo, p vcs.Pull, rs rules, seen []report) (bool, error) {
	if !rs.known || rs.other {
		return false, nil
	}
	missing := false
	for _, q := range rs.required {
		switch {
		case ours(q.context):
			missing = missing || q.state(seen) != vcs.StatusSuccess
		case !q.proven(seen):
			return false, nil
		}
	}
	if !missing {
		return false, nil
	}
	needed := rs.approvals
	if rs.protected {
		n, ok, err := h.protectionApprovals(ctx, r, p.Base.Branch)
		if err != nil || !ok {
			return false, err
		}
		needed = max(needed, n)
	}
	return h.approvedBy(ctx, r, p.Reviews, needed)
}

// protectionApprovals reads the long form of a branch's protection, which takes the administration permission. ok is false if it cannot
// be read or asks for more than checks and a number of approvals.
func (h *Host) protectionApprovals(ctx context.Context, r vcs.Repo, branch string) (n int, ok bool, err error) {
	owner, repo, err := split(r.Name)
	if err != nil {
		return 0, false, err
	}
	var p gh.Protection
	_, err = h.fetch(ctx, "repos/"+owner+"/"+repo+"/branches/"+url.PathEscape(branch)+"/protection", nil, &p)
	if err = explain(ctx, err); err != nil {
		if absent(err) {
			return 0, false, nil
		}
		return 0, false, err
	}
	if p.Restrictions != nil || p.GetRequiredSignatures().GetEnabled() || p.GetLockBranch().GetEnabled() ||
		p.RequiredConversationResolution != nil && p.RequiredConversationResolution.Enabled {
		return 0, false, nil
	}
	if w := p.RequiredPullRequestReviews; w != nil {
		if w.RequireCodeOwnerReviews || w.RequireLastPushApproval {
			return 0, false, nil
		}
		n = w.RequiredApprovingReviewCount
	}
	return n, true, nil
}

// approvedBy counts approvals as GitHub does: of people who may write, and none while one of them asks for changes.
func (h *Host) approvedBy(ctx context.Context, r vcs.Repo, reviews []vcs.Review, needed int) (bool, error) {
	for _, w := range reviews {
		if needed <= 0 && w.State != vcs.ReviewChanges || w.State != vcs.ReviewApproved && w.State != vcs.ReviewChanges {
			continue
		}
		level, err := h.Permission(ctx, r, w.Author.Login)
		switch {
		case err != nil:
			return false, err
		case level < vcs.PermissionWrite:
		case w.State == vcs.ReviewChanges:
			return false, nil
		default:
			needed--
		}
	}
	return needed <= 0, nil
}
