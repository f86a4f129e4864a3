package gitea

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"
)

// Verdict is what a review says.
type Verdict string

// The verdicts of a review.
const (
	Approve        Verdict = "APPROVED"
	RequestChanges Verdict = "REQUEST_CHANGES"
	Remark         Verdict = "COMMENT"
)

// Style is how a pull request is merged.
type Style string

// The styles of merging.
const (
	MergeCommit Style = "merge"
	Squash      Style = "squash"
	Rebase      Style = "rebase"
	FastForward Style = "fast-forward-only"
)

const draftPrefix = "WIP: "

// OpenPull opens a pull request of head into base and returns its number. A head in a fork is written "owner:branch".
func (p *Person) OpenPull(t testing.TB, r Repo, head, base, title string) int {
	t.Helper()
	made, _, err := p.api().CreatePullRequest(r.Owner, r.Name, sdk.CreatePullRequestOption{Head: head, Base: base, Title: title})
	check(t, err, "open a pull request of %s into %s of %s", head, base, r.FullName)
	return int(made.Index)
}

// Comment is a comment on a pull request.
type Comment struct {
	ID      int64
	By      string
	Body    string
	Created time.Time
	Edited  time.Time // equal to Created until somebody edits it
}

// Comments returns the comments of a pull request, oldest first.
func (p *Person) Comments(t testing.TB, r Repo, number int) []Comment {
	t.Helper()
	list, _, err := p.api().ListIssueComments(r.Owner, r.Name, int64(number), sdk.ListIssueCommentOptions{})
	check(t, err, "read the comments of %s#%d", r.FullName, number)
	comments := make([]Comment, 0, len(list))
	for _, c := range list {
		comments = append(comments, Comment{ID: c.ID, By: c.Poster.UserName, Body: c.Body, Created: c.Created, Edited: c.Updated})
	}
	return comments
}

// Comment writes a comment and returns its id.
func (p *Person) Comment(t testing.TB, r Repo, number int, body string) int64 {
	t.Helper()
	made, _, err := p.api().CreateIssueComment(r.Owner, r.Name, int64(number), sdk.CreateIssueCommentOption{Body: body})
	check(t, err, "comment on %s#%d", r.FullName, number)
	return made.ID
}

// EditComment changes a comment.
func (p *Person) EditComment(t testing.TB, r Repo, id int64, body string) {
	t.Helper()
	_, _, err := p.api().EditIssueComment(r.Owner, r.Name, id, sdk.EditIssueCommentOption{Body: body})
	check(t, err, "edit comment %d of %s", id, r.FullName)
}

// DeleteComment deletes a comment.
func (p *Person) DeleteComment(t testing.TB, r Repo, id int64) {
	t.Helper()
	_, err := p.api().DeleteIssueComment(r.Owner, r.Name, id)
	check(t, err, "delete comment %d of %s", id, r.FullName)
}

// Reactions returns the reactions on a comment as "login:reaction".
func (p *Person) Reactions(t testing.TB, r Repo, id int64) []string {
	t.Helper()
	list, _, err := p.api().GetIssueCommentReactions(r.Owner, r.Name, id)
	check(t, err, "read the reactions on comment %d of %s", id, r.FullName)
	var all []string
	for _, reaction := range list {
		all = append(all, reaction.User.UserName+":"+reaction.Reaction)
	}
	return all
}

// OpenIssue opens a plain issue and returns its number.
func (p *Person) OpenIssue(t testing.TB, r Repo, title string) int {
	t.Helper()
	made, _, err := p.api().CreateIssue(r.Owner, r.Name, sdk.CreateIssueOption{Title: title})
	check(t, err, "open an issue in %s", r.FullName)
	return int(made.Index)
}

// Review reviews a pull request as it is now and returns the review's id.
func (p *Person) Review(t testing.TB, r Repo, number int, says Verdict, body string) int64 {
	t.Helper()
	made, _, err := p.api().CreatePullReview(r.Owner, r.Name, int64(number), sdk.CreatePullReviewOptions{State: sdk.ReviewStateType(says), Body: body})
	check(t, err, "review %s#%d", r.FullName, number)
	return made.ID
}

// DismissReview voids somebody's last review.
func (p *Person) DismissReview(t testing.TB, r Repo, number int, of *Person) {
	t.Helper()
	list, _, err := p.api().ListPullReviews(r.Owner, r.Name, int64(number), sdk.ListPullReviewsOptions{ListOptions: sdk.ListOptions{PageSize: 50}})
	check(t, err, "read the reviews of %s#%d", r.FullName, number)
	var last int64
	for _, review := range list {
		if review.Reviewer.UserName == of.Login {
			last = max(last, review.ID)
		}
	}
	_, err = p.api().DismissPullReview(r.Owner, r.Name, int64(number), last, sdk.DismissPullReviewOptions{Message: "no longer holds"})
	check(t, err, "dismiss review %d of %s#%d", last, r.FullName, number)
}

// RequestReview asks people to review, again if they already did.
func (p *Person) RequestReview(t testing.TB, r Repo, number int, from ...*Person) {
	t.Helper()
	var opt sdk.PullReviewRequestOptions
	for _, who := range from {
		opt.Reviewers = append(opt.Reviewers, who.Login)
	}
	_, err := p.api().CreateReviewRequests(r.Owner, r.Name, int64(number), opt)
	check(t, err, "request reviews of %s#%d", r.FullName, number)
}

// Merge merges a pull request and returns the commit that the base branch then points to. It presses the button again while Gitea still
// checks for conflicts.
func (p *Person) Merge(t testing.TB, r Repo, number int, style Style) string {
	t.Helper()
	until(t, fmt.Sprintf("merge %s#%d by %s", r.FullName, number, style), func() (bool, error) {
		ok, resp, err := p.api().MergePullRequest(r.Owner, r.Name, int64(number), sdk.MergePullRequestOption{Style: sdk.MergeStyle(style)})
		if err == nil && !ok {
			err = errors.New(resp.Status)
		}
		if resp != nil && resp.StatusCode == http.StatusForbidden {
			t.Fatalf("gitea: merge %s#%d: %s is not allowed to", r.FullName, number, p.Login)
		}
		return ok, err
	})
	merged, _, err := p.api().GetPullRequest(r.Owner, r.Name, int64(number))
	check(t, err, "read %s#%d", r.FullName, number)
	if merged.MergedCommitID == nil {
		t.Fatalf("gitea: merge %s#%d: the host names no merge commit", r.FullName, number)
	}
	return *merged.MergedCommitID
}

// TryMerge presses the merge button once and says whether the host did it.
func (p *Person) TryMerge(t testing.TB, r Repo, number int, style Style) bool {
	t.Helper()
	ok, _, err := p.api().MergePullRequest(r.Owner, r.Name, int64(number), sdk.MergePullRequestOption{Style: sdk.MergeStyle(style)})
	check(t, err, "merge %s#%d", r.FullName, number)
	return ok
}

// Close closes a pull request.
func (p *Person) Close(t testing.TB, r Repo, number int) {
	t.Helper()
	p.setState(t, r, number, sdk.StateClosed)
}

// Reopen opens a closed pull request again.
func (p *Person) Reopen(t testing.TB, r Repo, number int) {
	t.Helper()
	p.setState(t, r, number, sdk.StateOpen)
}

func (p *Person) setState(t testing.TB, r Repo, number int, state sdk.StateType) {
	t.Helper()
	_, _, err := p.api().EditPullRequest(r.Owner, r.Name, int64(number), sdk.EditPullRequestOption{State: &state})
	check(t, err, "set %s#%d to %s", r.FullName, number, state)
}

// SetTitle changes the title of a pull request.
func (p *Person) SetTitle(t testing.TB, r Repo, number int, title string) {
	t.Helper()
	_, _, err := p.api().EditPullRequest(r.Owner, r.Name, int64(number), sdk.EditPullRequestOption{Title: title})
	check(t, err, "set the title of %s#%d", r.FullName, number)
}

// SetDraft turns a pull request into a draft or makes it ready, which on Gitea is a prefix of its title.
func (p *Person) SetDraft(t testing.TB, r Repo, number int, draft bool) {
	t.Helper()
	now, _, err := p.api().GetPullRequest(r.Owner, r.Name, int64(number))
	check(t, err, "read %s#%d", r.FullName, number)
	title := strings.TrimPrefix(now.Title, draftPrefix)
	if draft {
		title = draftPrefix + title
	}
	p.SetTitle(t, r, number, title)
}

// SetDescription changes the text of a pull request.
func (p *Person) SetDescription(t testing.TB, r Repo, number int, text string) {
	t.Helper()
	_, _, err := p.api().EditPullRequest(r.Owner, r.Name, int64(number), sdk.EditPullRequestOption{Body: &text})
	check(t, err, "set the description of %s#%d", r.FullName, number)
}

// ChangeBase points a pull request at another branch.
func (p *Person) ChangeBase(t testing.TB, r Repo, number int, base string) {
	t.Helper()
	_, _, err := p.api().EditPullRequest(r.Owner, r.Name, int64(number), sdk.EditPullRequestOption{Base: base})
	check(t, err, "point %s#%d at %s", r.FullName, number, base)
}
