package redteam_test

import (
	"context"
	"time"

	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 8: an approval that was taken back, was given on something else, or by who wrote it.

func approvalAttacks() []attack {
	// proposed is a pull request whose project requires an approval.
	proposed := func(w *world) (pull int, head string) {
		w.onMain(map[string]string{"planlatch.yaml": listing("{dir: guarded, requirements: {add: [approved]}}"), "guarded/main.tf": w.backend()})
		pull, head = w.propose(map[string]string{"guarded/main.tf": w.thing("")})
		w.planned(pull, head)
		return pull, head
	}
	return []attack{
		{
			Row: 8, Name: "an apply after a reviewer approved and then requested changes", Wall: "the last review of a person counts", Without: reviews, Own: true,
			Try: func(w *world) []string {
				pull, head := proposed(w)
				w.reviewed(pull, vcs.ReviewApproved)
				w.reviewed(pull, vcs.ReviewChanges)
				return w.goesAhead(pull, head)
			},
		},
		{
			Row: 8, Name: "an apply of a commit after the one that was approved", Wall: "an approval is of one change and its effect", Without: reviews, Own: true,
			Try: func(w *world) []string {
				pull, _ := proposed(w)
				w.reviewed(pull, vcs.ReviewApproved)
				head := w.mallory.Commit(w, w.repo, vcstest.Change{
					Branch: w.name, Files: w.with(map[string]string{"guarded/more.tf": "resource \"terraform_data\" \"more\" {}\n"}),
				})
				w.planned(pull, head)
				return w.goesAhead(pull, head)
			},
		},
		{
			Row: 8, Name: "an apply with the approval of who wrote a part of it", Wall: "an approval is by somebody else", Without: reviews, Own: true,
			Try: func(w *world) []string {
				pull, _ := proposed(w)
				head := w.bob.Commit(w, w.repo, vcstest.Change{
					Branch: w.name, Files: w.with(map[string]string{"guarded/more.tf": "resource \"terraform_data\" \"more\" {}\n"}),
				})
				w.planned(pull, head)
				w.reviewed(pull, vcs.ReviewApproved)
				return w.goesAhead(pull, head)
			},
		},
	}
}

// reviewed has bob review what he has seen.
func (w *world) reviewed(pull int, says vcs.ReviewState) {
	w.Helper()
	w.later()
	w.bob.Review(w, w.repo, pull, says, "so it is")
}

// believeEverybody has the server take every review as an approval of what is there now, by somebody who did not write it.
func believeEverybody(p *runner.Parts) {
	for name, host := range p.Facts.Hosts {
		p.Facts.Hosts[name] = credulous{host}
	}
}

type credulous struct{ vcs.Host }

func (h credulous) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := h.Host.Pull(ctx, r, number)
	if err != nil {
		return p, err
	}
	p.Author, err = h.Self(ctx)
	p.Contributors = nil
	for n := range p.Reviews {
		p.Reviews[n].State, p.Reviews[n].Commit, p.Reviews[n].At = vcs.ReviewApproved, p.Head.SHA, time.Now()
	}
	return p, err
}
