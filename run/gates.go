package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

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
	GateHead      GateName = "head"
	GateMode      GateName = "apply_mode"
	GateBackend   GateName = "backend"
	GatePolicy    GateName = "policy"
	GateApproved  GateName = "approved"
	GateMergeable GateName = "mergeable"
	GateUpToDate  GateName = "up_to_date"
	GateHold      GateName = "hold"
	GateSaved     GateName = "state_saved"
	GatePaused    GateName = "paused"
	GateDepends   GateName = "depends_on"
	GateBranch    GateName = "on_branch"
	GateOwner     GateName = "state_owner"
)

// Moment is everything gates are judged on, taken once. The zero value of each fact is the one that keeps its gate shut.
type Moment struct {
	Now       time.Time
	Run       Run
	Findings  []Finding
	Overrides []Override
	Known     bool            // Pull was read from the host, or frozen at merge
	Pull      vcs.Pull        // the snapshot
	SameDiff  map[string]bool // commits whose own change is the head's (git patch-id)
	Shown     []Shown         // the reports of this project that people could see, oldest first
	Head      vcs.Tri         // the plan is of the head and base branch that the pull request has now; merges and pushes have none
	Fresh     vcs.Tri         // the base has not changed the project's inputs since the plan; of a merge run: its commit is still on the branch
	Merged    bool            // judged as it was at the merge: the merge stands for mergeable, equal effect for up to date
	HeldBy    string          // who else holds the project: "#12"; empty if nobody
	Unsaved   bool            // an earlier apply could not save its state
	Pause     *Pause
	Owner     string // the project whose state this one's plan is of, if that is another one; empty if it is its own
	Pending   []Run  // of the projects it depends on: those whose changes its plan does not know, see Pending
}

// Shown is a report that stood on the host: the head and effect of a plan, and since when.
type Shown struct {
	Head    string
	Effect  string
	Deletes bool // it deletes or replaces something
	At      time.Time
}

// Gates judges every gate of a run. It is the one function that report, checklist, confirm and the claim of an apply share.
func Gates(m Moment) []Gate {
	gates := []Gate{planned(m), mode(m), backend(m), policy(m)}
	switch m.Run.Kind {
	case KindMerge:
		gates = append(gates, onBranch(m))
	case KindChange, KindDestroy:
		if g := atHead(m); !m.Merged && !g.Holds { // whatever is required: nobody reviewed what is not there
			gates = append(gates, g)
		}
	default: // never applied
	}
	for _, requirement := range m.Run.Settings.Requirements {
		switch requirement {
		case "approved":
			gates = append(gates, approved(m))
		case "mergeable":
			gates = append(gates, mergeable(m))
		case "up_to_date":
			gates = append(gates, upToDate(m))
		case "policies": // always judged
		default:
			gates = append(gates, Gate{GateName(requirement), false, fmt.Sprintf("unknown requirement %q in the configuration", requirement)})
		}
	}
	if m.HeldBy != "" {
		gates = append(gates, Gate{GateHold, false, fmt.Sprintf("%s is held by %s until that is merged, closed or unlocked", m.Run.Label, m.HeldBy)})
	}
	if m.Unsaved {
		gates = append(gates, Gate{GateSaved, false, fmt.Sprintf("an earlier apply of %s could not save its state: repair it first", m.Run.Label)})
	}
	if m.Owner != "" {
		gates = append(gates, Gate{GateOwner, false, fmt.Sprintf("its state belongs to %s: change its backend, or remove the other from the branch first", m.Owner)})
	}
	if len(m.Pending) > 0 {
		gates = append(gates, depends(m.Pending))
	}
	if m.Pause != nil {
		gates = append(gates, PauseGate(*m.Pause))
	}
	return gates
}

// Hold says whether all gates hold. No gates at all is a no.
func Hold(gates []Gate) bool {
	return len(gates) > 0 && !slices.ContainsFunc(gates, func(g Gate) bool { return !g.Holds })
}

func planned(m Moment) Gate {
	switch m.Run.State {
	case Planned, Confirmed:
		return Gate{GatePlanned, true, fmt.Sprintf("planned at %s", short(m.Pull.Head.SHA))}
	case Queued, Planning:
		return Gate{GatePlanned, false, "the plan is not finished"}
	default:
		return Gate{GatePlanned, false, fmt.Sprintf("there is no plan to apply: the run is %s", m.Run.State)}
	}
}

func mode(m Moment) Gate {
	if m.Run.Kind == KindQueue {
		return Gate{GateMode, false, "a plan of the merge queue is never applied"}
	}
	switch m.Run.Settings.Apply {
	case ApplyBeforeMerge, ApplyManual:
		return Gate{GateMode, true, "applies when told"}
	case ApplyAfterMerge:
		if m.Merged || m.Run.Kind == KindMerge {
			return Gate{GateMode, true, "applies after merge"}
		}
		return Gate{GateMode, false, "it applies by itself after the merge"}
	case ApplyOff:
		return Gate{GateMode, false, "applies are off here (apply: off)"}
	default:
		return Gate{GateMode, false, fmt.Sprintf("unknown apply mode %q", m.Run.Settings.Apply)}
	}
}

func backend(m Moment) Gate {
	if m.Run.NoBackend {
		return Gate{GateBackend, false, "no backend: nothing would remember what was created; add a backend block"}
	}
	return Gate{GateBackend, true, "state is kept by its backend"}
}

func policy(m Moment) Gate {
	var open []string
	for _, f := range m.Findings {
		if f.Level != Advisory && !Overridden(m.Run, f, m.Overrides) && !slices.Contains(open, f.Rule) {
			open = append(open, f.Rule)
		}
	}
	switch Judge(m.Run, m.Findings, m.Overrides) {
	case VerdictPass, VerdictWarn:
		if m.Run.PolicyDigest == "" {
			return Gate{GatePolicy, false, "policy has not judged this plan"}
		}
		return Gate{GatePolicy, true, "policy passes"}
	case VerdictSoft:
		return Gate{GatePolicy, false, fmt.Sprintf("policy %s fixed, or overridden by an owner", strings.Join(open, ", "))}
	default:
		return Gate{GatePolicy, false, fmt.Sprintf("policy %s fixed", strings.Join(open, ", "))}
	}
}

func mergeable(m Moment) Gate {
	no := func(text string) Gate { return Gate{GateMergeable, false, text} }
	switch {
	case m.Merged && m.Known:
		return Gate{GateMergeable, true, "merged"}
	case !m.Known:
		return no("the pull request could not be read")
	case m.Pull.State != vcs.PullOpen:
		return no(fmt.Sprintf("the pull request is %s", m.Pull.State))
	case m.Pull.Draft:
		return no("it is a draft: mark it ready for review")
	case m.Pull.Mergeable == vcs.No:
		if m.Pull.MergeBlocked != "" {
			return no("mergeable: " + m.Pull.MergeBlocked)
		}
		return no("it conflicts with " + m.Pull.Base.Branch)
	case m.Pull.Mergeable != vcs.Yes:
		return no("whether it can be merged is not known yet")
	}
	for _, c := range m.Pull.Checks {
		if c.Required && c.State != vcs.StatusSuccess && !strings.HasPrefix(c.Context, "planlatch/") {
			return no(fmt.Sprintf("required check %s is %s", c.Context, c.State))
		}
	}
	return Gate{GateMergeable, true, "mergeable"}
}

func upToDate(m Moment) Gate {
	switch {
	case m.Merged:
		return Gate{GateUpToDate, true, "planned on the merge commit"}
	case m.Fresh == vcs.Yes:
		return Gate{GateUpToDate, true, "up to date with " + m.Pull.Base.Branch}
	case m.Fresh == vcs.No:
		return Gate{GateUpToDate, false, m.Pull.Base.Branch + " has changed what this plan was made from: plan again"}
	default:
		return Gate{GateUpToDate, false, "whether the plan is up to date could not be found out"}
	}
}

// atHead keeps a plan of an older commit, or of another base branch, from being applied.
func atHead(m Moment) Gate {
	switch m.Head {
	case vcs.Yes:
		return Gate{GateHead, true, "planned at " + short(m.Pull.Head.SHA)}
	case vcs.No:
		return Gate{GateHead, false, fmt.Sprintf("the plan is not of %s on %s, which is what the pull request is now", short(m.Pull.Head.SHA), m.Pull.Base.Branch)}
	default:
		return Gate{GateHead, false, "whether the plan is of the pull request's last commit could not be found out"}
	}
}

// onBranch keeps a merge that was taken back, by a force push, from being applied (semantics 2).
func onBranch(m Moment) Gate {
	switch m.Fresh {
	case vcs.Yes:
		return Gate{GateBranch, true, "its commit is on the branch"}
	case vcs.No:
		return Gate{GateBranch, false, "its commit is no longer on the branch, so it never applies"}
	default:
		return Gate{GateBranch, false, "whether its commit is still on the branch could not be found out"}
	}
}

// approved holds if one person's last review approves, that person is neither the author nor a contributor, and what they approved is this
// change with this effect (semantics 15).
func approved(m Moment) Gate {
	if !m.Known {
		return Gate{GateApproved, false, "approvals could not be read"}
	}
	if m.Merged && !m.mine(m.Run.ConfirmedBy) { // after the merge, somebody else's word stands for a missing approval
		return Gate{GateApproved, true, "confirmed by " + m.Run.ConfirmedBy}
	}
	missing := "approved by someone other than the author"
	for _, r := range m.Pull.Reviews {
		if r.State == vcs.ReviewChanges && !m.mine(r.Author.Login) {
			return Gate{GateApproved, false, fmt.Sprintf("%s requests changes", r.Author.Login)}
		}
	}
	for _, r := range m.Pull.Reviews {
		if r.State != vcs.ReviewApproved {
			continue
		}
		why := m.void(r)
		if why == "" {
			return Gate{GateApproved, true, "approved by " + r.Author.Login}
		}
		missing = fmt.Sprintf("approved anew: the approval of %s %s", r.Author.Login, why)
	}
	return Gate{GateApproved, false, missing}
}

// Approvers lists who approved in a way that counts, for the question who stands for an automatic apply.
func Approvers(m Moment) []string {
	var people []string
	for _, r := range m.Pull.Reviews {
		if r.State == vcs.ReviewApproved && m.void(r) == "" {
			people = append(people, r.Author.Login)
		}
	}
	return people
}

// mine says whether a person wrote the change.
func (m Moment) mine(login string) bool {
	if login == "" || strings.EqualFold(login, m.Pull.Author.Login) {
		return true
	}
	return slices.ContainsFunc(m.Pull.Contributors, func(c string) bool { return strings.EqualFold(c, login) })
}

// void returns why an approval does not count for this run; empty if it does.
func (m Moment) void(r vcs.Review) string {
	if m.mine(r.Author.Login) {
		return "does not count: they wrote part of the change"
	}
	if r.Author.Bot { // a workflow of the change itself may speak through one
		return "does not count: it is a bot's"
	}
	if r.Commit != "" && r.Commit != m.Pull.Head.SHA && !m.SameDiff[r.Commit] {
		return fmt.Sprintf("was given on %s, and the change is another now", short(r.Commit))
	}
	var seen *Shown
	headSeen := time.Time{}
	for i, s := range m.Shown {
		if s.At.Before(r.At) {
			seen = &m.Shown[i]
		}
		if s.Head == m.Pull.Head.SHA && (headSeen.IsZero() || s.At.Before(headSeen)) {
			headSeen = s.At
		}
	}
	if r.Commit == "" && (headSeen.IsZero() || !headSeen.Before(r.At)) {
		return "may have been given on an older commit"
	}
	switch {
	case seen != nil && m.Run.within(seen.Effect):
		return ""
	case seen != nil:
		return "was given on a plan with another effect"
	case m.Run.Counts.Destroy+m.Run.Counts.Replace > 0:
		return "was given before the plan, which destroys or replaces"
	}
	// Given before any plan: it binds to the first one shown, and this must be that one.
	if len(m.Shown) > 0 && !m.Run.within(m.Shown[0].Effect) {
		return "was given on a plan with another effect"
	}
	return ""
}

// within says whether what a run does is an effect that was seen, or what an apply of that left (semantics 26).
func (r Run) within(effect string) bool {
	return effect == r.EffectDigest || r.RestOf != "" && effect == r.RestOf
}

func short(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}
