package run

// Verdict is what policy says of a run.
type Verdict string

// The verdicts, from best to worst.
const (
	VerdictPass Verdict = "pass"
	VerdictWarn Verdict = "warn"
	VerdictSoft Verdict = "soft_fail" // an owner may override
	VerdictHard Verdict = "hard_fail"
)

// Covers counts the distinct people whose override is bound to exactly this finding of this run.
func Covers(r Run, f Finding, overrides []Override) int {
	people := map[string]bool{}
	for _, o := range overrides {
		if o.Project == r.Project && o.Set == f.Set && o.Rule == f.Rule && o.Resource == f.Resource && o.Value == f.Value &&
			o.Effect == r.EffectDigest && o.Policy == r.PolicyDigest {
			people[o.Actor] = true
		}
	}
	return len(people)
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
