package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/run"
)

// Apply confirms a plan that no pull request can confirm, because it was made of a push to the branch. Every gate is judged as for a comment,
// and again when the apply is claimed. Errors: a [*Fault] that says what is missing, run.ErrMoved.
func Apply(ctx context.Context, s run.Store, f *facts.Gatherer, r run.Run, actor string) error {
	switch {
	case r.Pull != 0:
		return &Fault{"this plan belongs to a pull request: say `planlatch apply` there, where its gates and its reviewers are"}
	case f == nil:
		return &Fault{"this server cannot judge gates"}
	case r.State != run.Planned:
		return &Fault{fmt.Sprintf("the run is %s: there is no plan to apply", r.State)}
	}
	r.ConfirmedBy = actor
	moments, err := f.Moments(ctx, time.Now(), run.Pull{}, nil, []run.Run{r})
	if err != nil {
		return err
	}
	var missing []string
	gates := run.Gates(moments[0])
	for _, g := range gates {
		if !g.Holds {
			missing = append(missing, g.Text)
		}
	}
	if !run.Hold(gates) {
		return &Fault{"not applied, because this is missing: " + strings.Join(missing, "; ")}
	}
	_, err = s.Advance(ctx, run.Scope{Runs: []run.At{{ID: r.ID, Epoch: r.Epoch}}}, func(snap run.Snapshot) (run.Change, error) {
		return run.Confirm(snap, []run.ID{r.ID}, actor)
	})
	return err
}
