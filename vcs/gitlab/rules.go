package gitlab

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// waits are the words of GitLab that mean "I do not know yet".
var waits = map[string]bool{"": true, "unchecked": true, "checking": true, "preparing": true, "approvals_syncing": true, "cannot_be_merged_rechecking": true}

// blocks are GitLab's words for what keeps a merge request from being merged, in ours; %s is the base.
var blocks = map[string]string{
	"conflict": "conflicts with %s", "broken_status": "conflicts with %s", "draft_status": "is a draft", "not_open": "is not open",
	"discussions_not_resolved": "has threads that are not resolved", "need_rebase": "lacks commits of %s and must be rebased first",
	"requested_changes": "changes were requested", "not_approved": "lacks approvals that the rules of %s ask for",
	"merge_request_blocked": "another merge request must be merged first", "blocked_status": "another merge request must be merged first",
	"status_checks_must_pass": "an external status check has not passed", "external_status_checks": "an external status check has not passed",
	"commits_status":  "its source branch is gone or has no commits",
	"policies_denied": "a security policy does not let it pass", "security_policy_violations": "a security policy does not let it pass",
	"security_policy_pipeline_check": "a security policy waits for its pipeline",
	"jira_association_missing":       "its title or description names no Jira issue", "locked_paths": "files of it are locked by somebody else",
	"locked_lfs_files": "files of it are locked by somebody else", "merge_time": "may not be merged before its time",
	"title_regex": "its title is not of the form that the project asks for", "title_not_matching": "its title is not of the form that the project asks for",
}

// mergeable reads GitLab's verdict. Any word we do not know is no: it may be a check of a later version.
//
// GitLab looks at pipelines last, so "ci_must_pass" and "ci_still_running" mean that all else is met. Our own statuses are part of that
// pipeline, and an apply before the merge could never get past them. So the pipeline counts as met when only ours are missing; what
// others must report is in the checks.
func mergeable(g *mergeRequest, p vcs.Pull, a approvals) (vcs.Tri, string) {
	base := p.Base.Branch
	switch {
	case p.State != vcs.PullOpen:
		return vcs.No, "is " + string(p.State)
	case p.Draft:
		return vcs.No, "is a draft"
	case g.State == "locked":
		return vcs.Unknown, "is being merged"
	case a.Left > 0, g.Status == "not_approved" && a.Required > 0:
		return vcs.No, missing(a, base)
	case waits[g.Status]:
		return vcs.Unknown, "the host is still looking at it"
	case g.Status == "mergeable" && g.Conflicts:
		return vcs.Unknown, "the host contradicts itself about conflicts with " + base
	case g.Status == "mergeable":
		return vcs.Yes, ""
	case g.Status == "ci_must_pass", g.Status == "ci_still_running":
		return pipeline(g, p)
	}
	why, ok := blocks[g.Status]
	if !ok {
		return vcs.No, "the host says " + wire.OneLine(strings.ReplaceAll(g.Status, "_", " "))
	}
	if strings.Contains(why, "%s") {
		why = fmt.Sprintf(why, base)
	}
	return vcs.No, why
}

func missing(a approvals, base string) string {
	why := fmt.Sprintf("has %d of %d approvals that the rules of %s ask for", max(a.Required-a.Left, 0), max(a.Required, a.Left), base)
	var names []string
	for _, rule := range a.Rules {
		if name := wire.OneLine(rule.Name); name != "" {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		why += ": " + strings.Join(names, ", ")
	}
	return why
}

func pipeline(g *mergeRequest, p vcs.Pull) (vcs.Tri, string) {
	if g.Pipeline != nil && g.Pipeline.Errors != "" {
		return vcs.No, "its pipeline has errors: " + wire.OneLine(g.Pipeline.Errors)
	}
	onlyOurs := false
	for _, c := range p.Checks {
		if !c.Required || c.State == vcs.StatusSuccess {
			continue
		}
		if !ours(c.Context) {
			return vcs.No, "its pipeline has not passed: " + wire.OneLine(c.Context) + " is " + string(c.State)
		}
		onlyOurs = true
	}
	if !onlyOurs {
		return vcs.No, "a pipeline must pass before it is merged"
	}
	return vcs.Yes, ""
}

// ours says whether a context is one that planlatch sets itself.
func ours(context string) bool {
	return strings.HasPrefix(context, "planlatch/") || strings.HasPrefix(context, "planlatch-trial/")
}

// checks are the newest status of each name. GitLab has no required names: either the whole pipeline must pass, but for what may fail,
// or nothing must.
func checks(all []status, of *repository) []vcs.Check {
	newest := map[string]status{}
	for _, s := range all {
		if s.Name != "" && s.ID >= newest[s.Name].ID {
			newest[s.Name] = s
		}
	}
	var out []vcs.Check
	for name, s := range newest {
		out = append(out, vcs.Check{Context: name, State: stateOf(s.Status, of.SkippedPasses), Required: of.PipelineNeeded && !s.AllowFailure})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Context < out[j].Context })
	return out
}

// stateOf reads the state of a status, a job or a pipeline. What was skipped passes only where the project says so.
func stateOf(word string, skippedPasses bool) vcs.StatusState {
	switch word {
	case "success":
		return vcs.StatusSuccess
	case "failed":
		return vcs.StatusFailure
	case "skipped":
		if skippedPasses {
			return vcs.StatusSuccess
		}
		return vcs.StatusFailure
	case "canceled":
		return vcs.StatusError
	case "created", "waiting_for_resource", "waiting_for_callback", "preparing", "pending", "running", "canceling", "manual", "scheduled":
		return vcs.StatusPending
	default:
		return vcs.StatusError
	}
}

// externalChecks are what services outside must say, where the project asks for them.
func (h *Host) externalChecks(ctx context.Context, at []string) ([]vcs.Check, error) {
	got, err := list[struct {
		Name   string `json:"name"`
		Status string `json:"status"`
	}](ctx, h, filter{}, at...)
	if errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrDenied) {
		return nil, nil // GitLab's own verdict knows them
	}
	var out []vcs.Check
	for _, c := range got {
		state := vcs.StatusPending
		switch c.Status {
		case "passed":
			state = vcs.StatusSuccess
		case "failed":
			state = vcs.StatusFailure
		}
		out = append(out, vcs.Check{Context: c.Name, State: state, Required: true})
	}
	return out, err
}
