package github

import (
	"context"
	"sort"
	"strconv"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// reviews returns the last word of each person.
func (h *Host) reviews(ctx context.Context, owner, repo string, number int) ([]vcs.Review, error) {
	got, err := h.allReviews(ctx, owner, repo, number)
	if err != nil {
		return nil, err
	}
	return lastWords(got), nil
}

func (h *Host) allReviews(ctx context.Context, owner, repo string, number int) ([]*gh.PullRequestReview, error) {
	return pages(ctx, func(ctx context.Context, o gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return h.api.PullRequests.ListReviews(ctx, owner, repo, number, &o)
	})
}

// lastWords keeps one review per person: the last that approves, asks for changes or was dismissed; a comment only where there is no
// other. A dismissed review keeps its place in time, so a person whose last such review was dismissed has no approval, even an older one.
// Reviews of deleted accounts and states we do not know count for nobody.
func lastWords(got []*gh.PullRequestReview) []vcs.Review {
	type word struct {
		review vcs.Review
		order  int
	}
	sort.SliceStable(got, func(i, j int) bool { return got[i].GetSubmittedAt().Before(got[j].GetSubmittedAt().Time) })
	last := map[string]word{}
	for i, g := range got {
		who := account(g.GetUser())
		state, ok := reviewState(g.GetState())
		if who.ID == "" || !ok {
			continue
		}
		if earlier, had := last[who.ID]; had && state == vcs.ReviewCommented && earlier.review.State != vcs.ReviewCommented {
			continue
		}
		last[who.ID] = word{order: i, review: vcs.Review{
			Author: who, State: state, Commit: g.GetCommitID(), At: g.GetSubmittedAt().UTC(),
		}}
	}
	words := make([]word, 0, len(last))
	for _, w := range last {
		words = append(words, w)
	}
	sort.Slice(words, func(i, j int) bool { return words[i].order < words[j].order })
	var out []vcs.Review
	for _, w := range words {
		out = append(out, w.review)
	}
	return out
}

// reviewState reads GitHub's word, which is upper case in the API and lower case in webhooks. PENDING is a draft nobody else sees.
func reviewState(s string) (vcs.ReviewState, bool) {
	switch s {
	case "APPROVED", "approved":
		return vcs.ReviewApproved, true
	case "CHANGES_REQUESTED", "changes_requested":
		return vcs.ReviewChanges, true
	case "COMMENTED", "commented":
		return vcs.ReviewCommented, true
	case "DISMISSED", "dismissed":
		return vcs.ReviewDismissed, true
	}
	return "", false
}

// reviewID is the id under which a review's body is a comment: reviews and comments are numbered apart, so a bare number could be both.
func reviewID(id int64) string { return reviewPrefix + strconv.FormatInt(id, 10) }

const reviewPrefix = "review-"
