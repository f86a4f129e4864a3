package run

// Gate is one thing that must hold before an apply. Text says what holds, or what is missing and how to get it, in a few words.
type Gate struct {
	Name  GateName
	Holds bool
	Text  string
}

// GateName names a gate.
type GateName string

// The gates.
const (
	GatePlanned   GateName = "planned"
	GateBackend   GateName = "backend"
	GatePolicy    GateName = "policy"
	GateApproved  GateName = "approved"
	GateMergeable GateName = "mergeable"
	GateUpToDate  GateName = "up_to_date"
	GateHold      GateName = "hold"
	GatePaused    GateName = "paused"
	GateUnsaved   GateName = "state_saved"
	GateMode      GateName = "apply_mode"
)
