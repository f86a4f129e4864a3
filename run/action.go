package run

// JobStale is the kind of job that looks whether the plans of a pull request still are of what it and its base are now, and plans again what
// is not. Its key is the pull's id.
const JobStale = "stale"

// Action names one kind of step in the life of a run or pull: the name of its kill points, of its audit rows and of its row in the
// transition table.
type Action string

// The actions.
const (
	ActRevise      Action = "revise"     // a new revision or command makes runs and supersedes older ones
	ActClaimPlan   Action = "claim_plan" // a node takes a queued run
	ActPlanned     Action = "planned"    // the plan settled with changes
	ActUnchanged   Action = "unchanged"  // the plan settled without changes
	ActFail        Action = "fail"       // plan or apply settled as failed
	ActRequeue     Action = "requeue"    // a lost plan is planned again
	ActConfirm     Action = "confirm"    // every gate holds and somebody, or the merge, said apply
	ActClaimApply  Action = "claim_apply"
	ActApplied     Action = "applied"
	ActInterrupt   Action = "interrupt"   // an apply vanished or was killed
	ActAcknowledge Action = "acknowledge" // a person settled an interrupted run
	ActCancel      Action = "cancel"
	ActSupersede   Action = "supersede"
	ActAdopt       Action = "adopt"     // another life of the node takes a running run over
	ActUnconfirm   Action = "unconfirm" // a gate closed between confirm and claim, or the confirmation expired
	ActLook        Action = "look"      // the host was asked and told nothing that changes a run
	ActClose       Action = "close"     // the pull request closed: holds and waiting runs go
	ActMerge       Action = "merge"     // the pull request merged: its review is frozen
	ActOverride    Action = "override"
	ActUnlock      Action = "unlock"
	ActRejudge     Action = "rejudge" // policy changed: the stored plan was judged again
	ActRecheck     Action = "recheck" // the base moved while a plan is being made: look again when it has settled
	ActPause       Action = "pause"   // an operator froze applies
	ActResume      Action = "resume"
	ActStatePush   Action = "state_push" // the state that an apply could not save was written to its backend
)
