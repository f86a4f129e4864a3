package gitea

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	sdk "code.gitea.io/sdk/gitea"
	"github.com/gobwas/glob"

	"github.com/planlatch/planlatch/vcs"
)

// rules are what the protection of a branch asks for before a merge. The zero value asks for nothing.
type rules struct {
	approvals  int64
	checks     bool     // commit statuses must be green:
	contexts   []string // those that match one of these, each of which must match; all where there are none
	ignoreOld  bool     // an approval from before the last change does not count
	changes    bool     // requested changes block
	requested  bool     // open requests for official reviews block
	outdated   bool     // a head that lacks commits of the base blocks
	incomplete bool     // our account may not read the rest
}

// rules reads the branch, which tells everybody the number of approvals and the statuses, and for the rest the rule that covers it, which
// Gitea tells administrators only.
func (h *Host) rules(ctx context.Context, owner, repo, branch string) (rules, error) {
	b, resp, err := h.api(ctx).GetRepoBranch(owner, repo, branch)
	err = explain(ctx, resp, err)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return rules{}, nil // a deleted branch asks for nothing, and nothing can be merged into it
	case err != nil:
		return rules{}, err
	case b == nil || !b.Protected:
		return rules{}, nil
	}
	// Old approvals: without the rule we cannot know, and then they do not count.
	out := rules{approvals: b.RequiredApprovals, checks: b.EnableStatusCheck, contexts: b.StatusCheckContexts, ignoreOld: true, incomplete: true}
	if b.EffectiveBranchProtectionName == "" {
		return out, nil
	}
	var all []struct {
		Name      string `json:"rule_name"`
		IgnoreOld bool   `json:"ignore_stale_approvals"`
		Changes   bool   `json:"block_on_rejected_reviews"`
		Requested bool   `json:"block_on_official_review_requests"`
		Outdated  bool   `json:"block_on_outdated_branch"`
	}
	resp, err = h.get(ctx, fmt.Sprintf("/repos/%s/%s/branch_protections", owner, repo), nil, &all)
	err = explain(ctx, resp, err)
	switch {
	case errors.Is(err, vcs.ErrNotFound), errors.Is(err, vcs.ErrDenied):
		return out, nil
	case err != nil:
		return rules{}, err
	}
	for _, rule := range all {
		if rule.Name == b.EffectiveBranchProtectionName {
			out.ignoreOld, out.changes, out.requested, out.outdated = rule.IgnoreOld, rule.Changes, rule.Requested, rule.Outdated
			out.incomplete = false
		}
	}
	return out, nil
}

// judge says which of the checks are required, and adds those that nobody reported yet.
func (r rules) judge(seen []vcs.Check) []vcs.Check {
	if !r.checks {
		return seen
	}
	for _, pattern := range r.contexts {
		matches, err := glob.Compile(pattern) // without separators, as Gitea has it: * also matches a slash
		met := false
		for i := range seen {
			if seen[i].Context == pattern || err == nil && matches.Match(seen[i].Context) {
				seen[i].Required, met = true, true
			}
		}
		if !met {
			seen = append(seen, vcs.Check{Context: pattern, State: vcs.StatusPending, Required: true})
		}
	}
	if len(r.contexts) == 0 {
		for i := range seen {
			seen[i].Required = true
		}
	}
	sort.Slice(seen, func(i, j int) bool { return seen[i].Context < seen[j].Context })
	return seen
}

// block says in words why the protection keeps a pull request from being merged, its statuses aside: those are [vcs.Pull.Checks], because
// our own are among them. Protected files and required signatures are not judged, Gitea does not tell how they stand.
func (r rules) block(got *sdk.PullRequest, base string, reviews []*sdk.PullReview) string {
	var approvals int64
	var changes, requested bool
	for _, v := range reviews {
		if !v.Official || v.Dismissed {
			continue
		}
		switch v.State {
		case sdk.ReviewStateApproved:
			if !v.Stale || !r.ignoreOld {
				approvals++
			}
		case sdk.ReviewStateRequestChanges:
			changes = true
		case sdk.ReviewStateRequestReview:
			requested = true
		default: // a comment, or pending: neither for nor against
		}
	}
	switch {
	case r.changes && changes:
		return "changes were requested, which the protection of " + base + " does not let pass"
	case approvals < r.approvals:
		return fmt.Sprintf("has %d of %d approvals that the protection of %s asks for", approvals, r.approvals, base)
	case r.requested && requested:
		return "a review was requested and not yet given, which the protection of " + base + " waits for"
	case r.outdated && got.MergeBase != got.Base.Sha:
		return "lacks commits of " + base + ", whose protection wants the branch to be updated first"
	}
	return ""
}

// refusal is one question that Gitea answers with "unmergeable" both before and after it has looked for conflicts.
type refusal struct {
	repo       int64
	number     int64
	head, base string
}

// How long Gitea may take to look for conflicts before its answer is believed, and how many answers are remembered.
const (
	checkTime    = 10 * time.Second
	refusalLimit = 1000
)

// mergeable says whether the host would merge. The host's own word is no conflict and no draft; the protection is judged here.
func (h *Host) mergeable(got *sdk.PullRequest, p vcs.Pull, r rules, reviews []*sdk.PullReview) (vcs.Tri, string) {
	switch {
	case p.State != vcs.PullOpen:
		return vcs.No, "is " + string(p.State)
	case p.Draft:
		return vcs.No, "is a draft"
	}
	if why := r.block(got, p.Base.Branch, reviews); why != "" {
		return vcs.No, why
	}
	if got.Mergeable {
		h.mu.Lock()
		delete(h.refused, refusalOf(got))
		h.mu.Unlock()
		return vcs.Yes, ""
	}
	if h.mayBeChecking(got) {
		return vcs.Unknown, "the host is still looking for conflicts with " + p.Base.Branch
	}
	return vcs.No, "conflicts with " + p.Base.Branch
}

// mayBeChecking says whether Gitea calls an open pull request unmergeable so recently that it may still be looking. Gitea looks again when
// head or base moves, and after a long rest when somebody asks; we just did.
func (h *Host) mayBeChecking(got *sdk.PullRequest) bool {
	if got == nil || got.Mergeable || got.HasMerged || got.Draft || got.State != sdk.StateOpen || got.Head == nil || got.Base == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := refusalOf(got)
	first, ok := h.refused[key]
	if !ok {
		if len(h.refused) >= refusalLimit {
			clear(h.refused) // costs those pull requests another wait, no more
		}
		first = h.now()
		h.refused[key] = first
	}
	return h.now().Sub(first) < checkTime
}

func refusalOf(got *sdk.PullRequest) refusal {
	return refusal{repo: got.Base.RepoID, number: got.Index, head: got.Head.Sha, base: got.Base.Ref + "@" + got.Base.Sha}
}
