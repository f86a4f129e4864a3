package gitea

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
)

func (h *Host) reviews(ctx context.Context, owner, repo string, number int) ([]*sdk.PullReview, error) {
	got, err := pages(ctx, func(o sdk.ListOptions) ([]*sdk.PullReview, *sdk.Response, error) {
		return h.api(ctx).ListPullReviews(owner, repo, int64(number), sdk.ListPullReviewsOptions{ListOptions: o})
	})
	if err != nil {
		return nil, err
	}
	kept := got[:0]
	for _, r := range got {
		if r != nil {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// codeComments is how many comments on lines the reviews hold.
func codeComments(reviews []*sdk.PullReview) int {
	n := 0
	for _, r := range reviews {
		n += max(r.CodeCommentsCount, 0)
	}
	return n
}

// lastWords keeps one review per person: the last that approves, asks for changes or was dismissed; a comment only where there is no
// other. A dismissed review keeps its place in time, so that an older approval does not come back to life. To ask somebody to review
// again voids their approval, as it does for Gitea, but not their request for changes: else its target could wipe it away.
func lastWords(reviews []*sdk.PullReview, events []event) []vcs.Review {
	submitted := map[int64]time.Time{}
	for _, e := range events {
		if e.Type == "review" && e.ReviewID != 0 {
			submitted[e.ReviewID] = e.Created.UTC()
		}
	}
	reviews = append([]*sdk.PullReview(nil), reviews...)
	sort.SliceStable(reviews, func(i, j int) bool { return reviews[i].ID < reviews[j].ID })
	type word struct {
		vcs.Review
		said *sdk.PullReview
	}
	last := map[string]*word{}
	for _, r := range reviews {
		who := person(r.Reviewer)
		if who.ID == "" { // a team that was asked, or a deleted account
			continue
		}
		earlier := last[who.ID]
		if r.State == sdk.ReviewStateRequestReview {
			if earlier != nil {
				earlier.State = askedAgain(earlier.State, earlier.said, r)
			}
			continue
		}
		state, ok := reviewState(r)
		remark := r.State == sdk.ReviewStateComment
		if !ok || remark && earlier != nil && earlier.said.State != sdk.ReviewStateComment {
			continue
		}
		at, ok := submitted[r.ID]
		if !ok {
			at = r.Submitted.UTC() // of a review begun and sent later this is when it was begun
		}
		last[who.ID] = &word{Review: vcs.Review{Author: who, State: state, Commit: r.CommitID, At: at}, said: r}
	}
	out := make([]vcs.Review, 0, len(last))
	for _, w := range last {
		out = append(out, w.Review)
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].At.Equal(out[j].At) {
			return out[i].At.Before(out[j].At)
		}
		return out[i].Author.ID < out[j].Author.ID
	})
	return out
}

// askedAgain is what a review still says once its author was asked for another. Gitea takes "official" from the review and gives it to
// the request, so the request tells whether the review counted.
func askedAgain(state vcs.ReviewState, said, request *sdk.PullReview) vcs.ReviewState {
	switch {
	case said.State == sdk.ReviewStateApproved:
		return vcs.ReviewDismissed
	case said.State == sdk.ReviewStateRequestChanges && !said.Dismissed && request.Official:
		return vcs.ReviewChanges
	}
	return state
}

// reviewState reads a review. One that is not official came from somebody who may not write, or whom the branch's rule does not name:
// it is an opinion, neither approval nor veto. Gitea takes "official" from a person's earlier reviews when they review again, and that
// does no harm, because only the last one is read.
func reviewState(r *sdk.PullReview) (vcs.ReviewState, bool) {
	switch r.State {
	case sdk.ReviewStateApproved, sdk.ReviewStateRequestChanges:
		switch {
		case r.Dismissed:
			return vcs.ReviewDismissed, true
		case r.State == sdk.ReviewStateRequestChanges && r.Official:
			return vcs.ReviewChanges, true
		case r.Official:
			return vcs.ReviewApproved, true
		}
		return vcs.ReviewCommented, true
	case sdk.ReviewStateComment:
		return vcs.ReviewCommented, true
	default:
		return "", false // pending, or a word we do not know
	}
}

// reviewID names the body of a review. Gitea's delivery of a review does not tell its id, so it is made of what both the delivery and
// the timeline tell: the how-manieth it is, who wrote it and what.
func reviewID(ordinal int, author vcs.User, body string) string {
	sum := sha256.Sum256([]byte(author.ID + "\n" + body))
	return fmt.Sprintf("%s%d-%s", reviewPrefix, ordinal, hex.EncodeToString(sum[:6]))
}

const reviewPrefix = "review-"
