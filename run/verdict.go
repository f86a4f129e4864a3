package run

import "slices"

// Verdict is what policy says of a run.
type Verdict string

// The verdicts, from best to worst.
const (
	VerdictPass Verdict = "pass"
	VerdictWarn Verdict = "warn"
	VerdictSoft Verdict = "soft_fail" // an owner may override
	VerdictHard Verdict = "hard_fail"
)

// Bound is what the override of a finding is bound to besides the finding itself: the effect of the plan, or, where nothing has run yet,
// everything that the plan would be made from.
func Bound(r Run, f Finding) string {
	if f.Source {
		return "source:" + r.InputsDigest
	}
	return r.EffectDigest
}

// Binds says whether an override is bound to exactly this finding of this run.
func Binds(r Run, f Finding, o Override) bool {
	return o.Project == r.Project && o.Set == f.Set && o.Rule == f.Rule && o.Resource == f.Resource && o.Value == f.Value &&
		o.Effect == Bound(r, f) && o.Policy == r.PolicyDigest && !(f.Source && r.InputsDigest == "")
}

// Covers counts the distinct people whose override is bound to exactly this finding of this run.
func Covers(r Run, f Finding, overrides []Override) int {
	people := map[string]bool{}
	for _, o := range overrides {
		if Binds(r, f, o) {
			people[o.Actor] = true
		}
	}
	return len(people)
}

// Stopped says whether a run ended because of what policy found in its source, so that nothing of it ever ran.
func Stopped(r Run, findings []Finding) bool {
	return r.State == Failed && r.ApplyStarted.IsZero() && r.PlanDigest == "" &&
		slices.ContainsFunc(findings, func(f Finding) bool { return f.Source && f.Level != Advisory })
}

// Overridden says whether enough owners accepted a soft finding. Without a number one is enough.
func Overridden(r Run, f Finding, overrides []Override) bool {
	return f.Level == Soft && Covers(r, f, overrides) >= max(1, f.Owners.Approvals)
}

// Judge is the verdict on a run: its worst finding that is not overridden. A level it does not know is hard.
func Judge(r Run, findings []Finding, overrides []Override) Verdict {
	verdict := VerdictPass
	for _, f := range findings {
		switch {
		case f.Level == Advisory, Overridden(r, f, overrides):
			if verdict == VerdictPass {
				verdict = VerdictWarn
			}
		case f.Level == Soft:
			verdict = VerdictSoft
		default:
			return VerdictHard
		}
	}
	return verdict
}
