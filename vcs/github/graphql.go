package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/planlatch/planlatch/vcs"
)

// look is what only GraphQL tells of a pull request, to a token without administration.
type look struct {
	seen       []report
	hidden     bool        // some checks, or rules, were kept from us
	protection *protection // the base's own, as far as we may see it
	decision   string      // APPROVED, CHANGES_REQUESTED, REVIEW_REQUIRED; empty: nobody asks for reviews, or GitHub does not say
	resolved   bool        // every review conversation is
}

// protection is a branch's own. GitHub shows refUpdateRule to those who may push, branchProtectionRule to administrators.
type protection struct {
	Approvals        int      `json:"requiredApprovingReviewCount"`
	Contexts         []string `json:"requiredStatusCheckContexts"`
	Owners           bool     `json:"requiresCodeOwnerReviews"`
	Threads          bool     `json:"requiresConversationResolution"`
	Signatures       bool     `json:"requiresSignatures"`
	CommitSignatures bool     `json:"requiresCommitSignatures"`
	Lock             bool     `json:"lockBranch"`
	Deployments      bool     `json:"requiresDeployments"`
	LastPush         bool     `json:"requireLastPushApproval"`
}

// pullQuery asks for a page of the checks, and beside it for what is needed once.
const pullQuery = `query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    reviewDecision
    baseRef {
      refUpdateRule {
        requiredApprovingReviewCount requiredStatusCheckContexts requiresCodeOwnerReviews requiresConversationResolution requiresSignatures
      }
      branchProtectionRule {
        requiredApprovingReviewCount requiredStatusCheckContexts requiresCodeOwnerReviews requiresConversationResolution
        requiresCommitSignatures lockBranch requiresDeployments requireLastPushApproval
      }
    }
    reviewThreads(first: 100) { pageInfo { hasNextPage } nodes { isResolved } }
    commits(last: 1) { nodes { commit { oid statusCheckRollup { contexts(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes {
        ... on StatusContext { context state isRequired(pullRequestNumber: $number) }
        ... on CheckRun { name status conclusion isRequired(pullRequestNumber: $number) checkSuite { app { databaseId } } }
      }
    } } } } }
  } }
}`

// pullAnswer is the answer to it. Everything may be null: what the token may not see, or what failed inside GitHub.
type pullAnswer struct {
	Repository *struct {
		PullRequest *pullNode `json:"pullRequest"`
	} `json:"repository"`
}

type pullNode struct {
	ReviewDecision string `json:"reviewDecision"`
	BaseRef        *struct {
		Update     *protection `json:"refUpdateRule"`
		Protection *protection `json:"branchProtectionRule"`
	} `json:"baseRef"`
	ReviewThreads *struct {
		PageInfo pageInfo `json:"pageInfo"`
		Nodes    []struct {
			Resolved bool `json:"isResolved"`
		} `json:"nodes"`
	} `json:"reviewThreads"`
	Commits struct {
		Nodes []struct {
			Commit struct {
				OID    string `json:"oid"`
				Rollup *struct {
					Contexts *contexts `json:"contexts"`
				} `json:"statusCheckRollup"`
			} `json:"commit"`
		} `json:"nodes"`
	} `json:"commits"`
}

type contexts struct {
	PageInfo pageInfo       `json:"pageInfo"`
	Nodes    []*contextNode `json:"nodes"`
}

type pageInfo struct {
	More bool   `json:"hasNextPage"`
	End  string `json:"endCursor"`
}

// contextNode is a status, which has a context, or a check run, which has a name.
type contextNode struct {
	Context    string `json:"context"`
	State      string `json:"state"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	Required   bool   `json:"isRequired"`
	CheckSuite struct {
		App *struct {
			ID int64 `json:"databaseId"`
		} `json:"app"`
	} `json:"checkSuite"`
}

// look reads checks, reviews and protection of a pull request whose head is known. A head that moved in between is "try again".
func (h *Host) look(ctx context.Context, owner, repo string, number int, head string) (look, error) {
	var l look
	vars := map[string]any{"owner": owner, "name": repo, "number": number, "after": nil}
	for range pageLimit {
		var a pullAnswer
		hidden, err := h.query(ctx, pullQuery, vars, &a)
		switch {
		case err != nil:
			return look{}, err
		case hidden:
			l.hidden = true
		}
		next, err := l.read(a, head)
		if err != nil || next == "" {
			return l, err
		}
		vars["after"] = next
	}
	return look{}, fmt.Errorf("the list is longer than %d pages", pageLimit)
}

// read takes one page and returns where the next begins, or "".
func (l *look) read(a pullAnswer, head string) (next string, err error) {
	if a.Repository == nil || a.Repository.PullRequest == nil || len(a.Repository.PullRequest.Commits.Nodes) != 1 {
		l.hidden = true
		return "", nil
	}
	p := a.Repository.PullRequest
	commit := p.Commits.Nodes[0].Commit
	if commit.OID != head {
		return "", &vcs.RetryError{Err: fmt.Errorf("the head moved from %.8s to %.8s while it was read", head, commit.OID)}
	}
	l.decision = p.ReviewDecision
	if b := p.BaseRef; b != nil {
		l.protection = b.Protection
		if b.Update != nil {
			l.protection = b.Update
		}
	}
	if t := p.ReviewThreads; t != nil {
		l.resolved = !t.PageInfo.More
		for _, one := range t.Nodes {
			l.resolved = l.resolved && one.Resolved
		}
	}
	if commit.Rollup == nil {
		return "", nil // nothing reported
	}
	c := commit.Rollup.Contexts
	if c == nil {
		l.hidden = true
		return "", nil
	}
	for _, n := range c.Nodes {
		l.add(n)
	}
	if c.PageInfo.More && c.PageInfo.End == "" {
		return "", &vcs.RetryError{Err: errors.New("a list of checks ends in the middle")}
	}
	if !c.PageInfo.More {
		return "", nil
	}
	return c.PageInfo.End, nil
}

func (l *look) add(n *contextNode) {
	switch {
	case n == nil || n.Context == "" && n.Name == "":
		l.hidden = true
	case n.Context != "":
		l.seen = append(l.seen, report{context: n.Context, state: statusState(n.State), required: n.Required})
	default:
		r := report{context: n.Name, state: checkState(n.Status, n.Conclusion), required: n.Required}
		if n.CheckSuite.App != nil {
			r.app = n.CheckSuite.App.ID
		}
		l.seen = append(l.seen, r)
	}
}

// query asks one GraphQL query. hidden says that GitHub kept a part of the answer from us, which is then null; a server that does not
// know a field keeps all of it. An answer that fails otherwise is "try again".
func (h *Host) query(ctx context.Context, text string, vars map[string]any, into any) (hidden bool, err error) {
	req, err := h.api.NewRequest(http.MethodPost, h.graph, map[string]any{"query": text, "variables": vars})
	if err != nil {
		return false, fmt.Errorf("address %q: %w", h.graph, err)
	}
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Type       string `json:"type"`
			Message    string `json:"message"`
			Extensions struct {
				Code string `json:"code"`
			} `json:"extensions"`
		} `json:"errors"`
	}
	resp, err := h.api.Do(ctx, req, &answer)
	if err = explain(ctx, err); err != nil {
		if absent(err) {
			return true, nil
		}
		return false, err
	}
	for _, e := range answer.Errors {
		problem := fmt.Errorf("%s: %s", e.Type, e.Message)
		switch {
		case e.Type == "RATE_LIMITED" || e.Type == "RATE_LIMIT":
			return false, &vcs.RetryError{After: wait(resp.Header), Err: problem}
		case e.Type == "FORBIDDEN" || e.Type == "NOT_FOUND" || e.Extensions.Code != "":
			hidden = true
		case len(answer.Data) == 0 || string(answer.Data) == "null":
			return false, &vcs.RetryError{Err: problem}
		default:
			hidden = true
		}
	}
	if len(answer.Data) == 0 || string(answer.Data) == "null" {
		if hidden {
			return true, nil
		}
		return false, &vcs.RetryError{Err: errors.New("the answer has no data")}
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		return false, &vcs.RetryError{Err: fmt.Errorf("read answer: %w", err)}
	}
	return hidden, nil
}
