package vcs

import (
	"context"
	"errors"
	"fmt"
)

// Weigh takes what reviews say for a remark where their author may not write to the repository now: on a public one anybody can say "approved",
// and who left keeps their word on the host. may is asked once for each person whose word would count. Where the host does not tell our account, an
// approval is a remark and a veto stands. A bot's veto stands; its approval is for the gates to judge.
func Weigh(ctx context.Context, reviews []Review, may func(ctx context.Context, who User) (Permission, error)) error {
	for n, r := range reviews {
		if r.State != ReviewApproved && r.State != ReviewChanges || r.Author.Bot {
			continue
		}
		level, err := may(ctx, r.Author)
		switch {
		case errors.Is(err, ErrDenied) && r.State == ReviewChanges:
			continue
		case err != nil && !errors.Is(err, ErrDenied):
			return fmt.Errorf("whether the review of %s counts: %w", r.Author.Login, err)
		}
		if err != nil || level < PermissionWrite {
			reviews[n].State = ReviewCommented
		}
	}
	return nil
}
