package run

import (
	"errors"
	"fmt"
)

// ErrIllegal says that an action is not possible in the state a run is in; the error text names both.
var ErrIllegal = errors.New("not possible in this state")

// transitions is the whole life of a run; what is not here is illegal. docs/state-machine.md draws it and a test keeps the two in step.
var transitions = map[State]map[Action]State{
	Queued: {
		ActClaimPlan: Planning,
		ActCancel:    Canceled,
		ActSupersede: Superseded,
	},
	Planning: {
		ActPlanned:   Planned,
		ActUnchanged: Unchanged,
		ActFail:      Failed,
		ActRequeue:   Queued,
		ActCancel:    Canceled,   // once its execution has ended
		ActSupersede: Superseded, // once its execution has ended
		ActAdopt:     Planning,
	},
	Planned: {
		ActConfirm:   Confirmed,
		ActCancel:    Canceled,
		ActSupersede: Superseded,
		ActRejudge:   Planned,
	},
	Confirmed: {
		ActClaimApply: Applying,
		ActUnconfirm:  Planned,
		ActCancel:     Canceled,
		ActSupersede:  Superseded,
	},
	Applying: {
		ActApplied:   Applied,
		ActFail:      Failed,
		ActInterrupt: Interrupted,
		ActSupersede: Superseded, // the tool itself refused the plan as stale: nothing was done
		ActAdopt:     Applying,
	},
	Interrupted: {
		ActApplied:     Applied, // a late result
		ActFail:        Failed,
		ActSupersede:   Superseded,
		ActAcknowledge: Failed, // a person looked
	},
}

// Next returns the state that an action leads to. Error: ErrIllegal.
func Next(from State, by Action) (State, error) {
	to, ok := transitions[from][by]
	if !ok {
		return "", fmt.Errorf("%s a run that is %s: %w", by, from, ErrIllegal)
	}
	return to, nil
}

// step moves a copy of r by one action, with the reason why.
func step(r Run, by Action, reason string) (Run, error) {
	to, err := Next(r.State, by)
	if err != nil {
		return Run{}, err
	}
	r.State, r.Reason = to, reason
	return r, nil
}
