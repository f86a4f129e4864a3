package vcs_test

import (
	"context"
	"errors"
	"testing"

	"github.com/planlatch/planlatch/vcs"
)

func TestOnlyWhoMayWriteSaysMoreThanARemark(t *testing.T) {
	t.Parallel()
	broken := errors.New("no answer")
	for name, c := range map[string]struct {
		state vcs.ReviewState
		bot   bool
		level vcs.Permission
		err   error
		want  vcs.ReviewState
	}{
		"Writes":                {state: vcs.ReviewApproved, level: vcs.PermissionWrite, want: vcs.ReviewApproved},
		"ReadsAndApproves":      {state: vcs.ReviewApproved, level: vcs.PermissionRead, want: vcs.ReviewCommented},
		"ReadsAndObjects":       {state: vcs.ReviewChanges, level: vcs.PermissionRead, want: vcs.ReviewCommented},
		"NobodyTellsOfApproval": {state: vcs.ReviewApproved, level: vcs.PermissionWrite, err: vcs.ErrDenied, want: vcs.ReviewCommented},
		"NobodyTellsOfVeto":     {state: vcs.ReviewChanges, err: vcs.ErrDenied, want: vcs.ReviewChanges},
		"NoAnswer":              {state: vcs.ReviewApproved, level: vcs.PermissionWrite, err: broken},
		"ARobotObjects":         {state: vcs.ReviewChanges, bot: true, err: broken, want: vcs.ReviewChanges},
		"ARemarkAsksNothing":    {state: vcs.ReviewCommented, err: broken, want: vcs.ReviewCommented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reviews := []vcs.Review{{State: c.state, Author: vcs.User{ID: "1", Bot: c.bot}}}
			err := vcs.Weigh(t.Context(), reviews, func(context.Context, vcs.User) (vcs.Permission, error) { return c.level, c.err })
			if c.want == "" {
				if !errors.Is(err, c.err) {
					t.Errorf("Weigh() = %v, want %v", err, c.err)
				}
				return
			}
			if err != nil || reviews[0].State != c.want {
				t.Errorf("Weigh() made it %q, %v, want %q", reviews[0].State, err, c.want)
			}
		})
	}
}
