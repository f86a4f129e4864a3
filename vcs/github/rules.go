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
	protected bool   // the branch has a protection of its own
	listed    bool   // and its checks are in required
	told      bool   // and what else it asks for is below
	sets      bool   // the rule sets are read
	required  []requirement
	reviews   bool // reviews are asked for
	threads   bool // conversations must be resolved
	other     bool // something is asked for that we cannot judge
}

// known says whether the required checks are all there are.
func (r rules) known() bool { return r.listed && r.sets }

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
	r := rules{tip: b.Commit.SHA, protected: *b.Protected, listed: !*b.Protected || b.Protection != nil, sets: true}
	if b.Protection != nil && b.Protection.Checks != nil {
		r.require(b.Protection.Checks)
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
		r.sets = false
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

// add takes one rule of a rule set. Rules about pushes and names do not concern a merge by the host's button,
// and a merge queue asks about its own commits.
func (r *rules) add(s rule) {
	switch s.Type {
	case "":
		r.sets = false
	case "required_status_checks":
		var p gh.RequiredStatusChecksRuleParameters
		if json.Unmarshal(s.Parameters, &p) != nil {
			r.sets = false
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
		if json.Unmarshal(s.Parameters, &p) != nil || p.LastPush {
			r.other = true
		}
		r.reviews, r.threads = r.reviews || p.Approvals > 0 || p.Owners, r.threads || p.Threads
	case "creation", "deletion", "non_fast_forward", "required_linear_history", "branch_name_pattern", "merge_queue":
	default:
		r.other = true
	}
}

// take adds what the branch's own protection says to those who may not administer it, or what administrators see.
func (r *rules) take(p *protection) {
	if p == nil {
		return // it may have one all the same: GitHub shows each form to some
	}
	if !r.listed {
		r.listed = true
		for _, name := range p.Contexts {
			r.required = append(r.required, requirement{context: name})
		}
	}
	r.told = true
	r.reviews = r.reviews || p.Approvals > 0 || p.Owners
	r.threads = r.threads || p.Threads
	r.other = r.other || p.Signatures || p.CommitSignatures || p.Lock || p.Deployments || p.LastPush
}

// onlyOursMissing says whether a blocked pull request waits for nothing but our own statuses: all rules can be read, every foreign
// required check is green, one of ours is not, and GitHub is content with the reviews and conversations if it asks for them.
func (r rules) onlyOursMissing(l look) bool {
	if !r.known() || r.other || r.protected && !r.told || l.hidden {
		return false
	}
	if l.decision != "APPROVED" && (r.reviews || l.decision != "") || r.threads && !l.resolved {
		return false
	}
	missing := false
	for _, q := range r.required {
		switch {
		case ours(q.context):
			missing = missing || q.state(l.seen) != vcs.StatusSuccess
		case !q.proven(l.seen):
			return false
		}
	}
	for _, s := range l.seen {
		switch {
		case !s.required || s.state == vcs.StatusSuccess:
		case ours(s.context):
			missing = true
		default:
			return false
		}
	}
	return missing
}
