package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
)

// phase is where a project stands for people, worst first: the order in which projects are listed.
type phase int

const (
	phaseUnsaved phase = iota
	phaseInterrupted
	phaseApplyFailed
	phasePlanFailed
	phaseBlocked // a hard finding
	phaseHeld    // a soft finding
	phaseDestroys
	phaseChanges
	phaseApplying
	phaseConfirmed
	phasePlanning
	phaseQueued
	phaseCanceled
	phaseSuperseded
	phaseApplied
	phaseUnchanged
)

func (p Project) phase() phase {
	r := p.Run
	switch {
	case r.Unsaved:
		return phaseUnsaved
	case r.State == run.Interrupted:
		return phaseInterrupted
	case r.State == run.Failed && !r.ApplyStarted.IsZero():
		return phaseApplyFailed
	case r.State == run.Failed:
		return phasePlanFailed
	}
	switch r.State {
	case run.Planned:
		switch p.verdict() {
		case run.VerdictHard:
			return phaseBlocked
		case run.VerdictSoft:
			return phaseHeld
		default: // passed
		}
		if p.destroys() {
			return phaseDestroys
		}
		return phaseChanges
	case run.Applying:
		return phaseApplying
	case run.Confirmed:
		return phaseConfirmed
	case run.Planning:
		return phasePlanning
	case run.Canceled:
		return phaseCanceled
	case run.Superseded:
		return phaseSuperseded
	case run.Applied:
		return phaseApplied
	case run.Unchanged:
		return phaseUnchanged
	default:
		return phaseQueued
	}
}

func (p Project) verdict() run.Verdict { return run.Judge(p.Run, p.Findings, p.Overrides) }

// stopped says whether policy kept it from running at all.
func (p Project) stopped() bool { return run.Stopped(p.Run, p.Findings) }

func (p Project) destroys() bool { return p.Run.Counts.Destroy+p.Run.Counts.Replace > 0 }

// judged says whether there is a plan that changes something.
func (p Project) changes() bool {
	switch p.Run.State {
	case run.Planned, run.Confirmed, run.Applying, run.Applied, run.Interrupted:
		return true
	case run.Failed:
		return !p.Run.Planned.IsZero() && !p.stopped()
	default:
		return false
	}
}

// tried says whether an apply was begun.
func (p Project) tried() bool { return !p.Run.ApplyStarted.IsZero() || p.Run.State == run.Applied }

// sorted returns the projects of a view, worst first, then by label.
func (v View) sorted() []Project {
	out := slices.Clone(v.Projects)
	for i := range out {
		if out[i].Run.Label == "" {
			out[i].Run.Label = out[i].Run.Dir
		}
	}
	slices.SortStableFunc(out, func(a, b Project) int {
		return cmp.Or(cmp.Compare(a.phase(), b.phase()), cmp.Compare(a.Run.Label, b.Run.Label), cmp.Compare(a.Run.ID, b.Run.ID))
	})
	return out
}

// group is projects that stand in the same place with the same diff.
type group struct {
	Project           // the first
	others  []Project // the rest
	names   []string  // labels of all
	same    string    // label of an earlier group with the same diff, if this one was kept apart
}

// groupMin is how many projects with one diff become one row. Fewer stay apart, since people look for their name.
const groupMin = 4

func groups(projects []Project) []group {
	byKey := map[string][]Project{}
	var keys []string
	for _, p := range projects {
		k := p.key()
		if len(byKey[k]) == 0 {
			keys = append(keys, k)
		}
		byKey[k] = append(byKey[k], p)
	}
	var out []group
	for _, k := range keys {
		ps := byKey[k]
		if len(ps) < groupMin {
			for i, p := range ps {
				g := group{Project: p, names: []string{p.Run.Label}}
				if i > 0 && p.changes() {
					g.same = ps[0].Run.Label
				}
				out = append(out, g)
			}
			continue
		}
		g := group{Project: ps[0], others: ps[1:]}
		for _, p := range ps {
			g.names = append(g.names, p.Run.Label)
		}
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.phase(), b.phase()), cmp.Compare(a.Run.Label, b.Run.Label))
	})
	return out
}

// key is equal for projects that need not be told apart: same phase, same effect as people read it, same findings.
func (p Project) key() string {
	type finding struct{ Set, Rule, Resource string }
	var findings []finding
	for _, f := range p.Findings {
		findings = append(findings, finding{f.Set, f.Rule, f.Resource})
	}
	changes := slices.Clone(p.Plan.Changes)
	for i := range changes {
		changes[i].File, changes[i].Line = "", 0
	}
	failure := ""
	if p.phase() == phasePlanFailed || p.phase() == phaseApplyFailed {
		failure = Excerpt(p.Failure) + p.Run.Reason
	}
	b, err := json.Marshal([]any{p.phase(), p.Run.Counts, changes, p.Plan.Outputs, findings, p.Run.Partial, p.Run.NoBackend, p.HeldBy, p.After, failure})
	if err != nil {
		return p.Run.Label
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}

// title names a group: its label, and how many more.
func (g group) title() string {
	if len(g.others) == 0 {
		return "**" + code(g.Run.Label) + "**"
	}
	return fmt.Sprintf("**%s** and %s more", code(g.Run.Label), number(len(g.others)))
}

// planWords tells what a plan will do: "1 to replace, 2 to add".
func planWords(c run.Counts) string {
	return countWords(c, []string{"to replace", "to destroy", "to add", "to change", "to import", "to forget", "to move"}, "to change")
}

// doneWords tells what an apply did: "2 added, 1 changed".
func doneWords(c run.Counts) string {
	return countWords(c, []string{"replaced", "destroyed", "added", "changed", "imported", "forgotten", "moved"}, "changed")
}

// countWords tells each number that is not zero with its verb, the gravest first. What happens to outputs comes last.
func countWords(c run.Counts, verbs []string, outputs string) string {
	var parts []string
	for i, n := range []int{c.Replace, c.Destroy, c.Add, c.Change, c.Import, c.Forget, c.Move} {
		if n > 0 {
			parts = append(parts, number(n)+" "+verbs[i])
		}
	}
	if c.Outputs > 0 {
		parts = append(parts, count(c.Outputs, "output", "outputs")+" "+outputs)
	}
	return strings.Join(parts, ", ")
}

// total counts the objects of a plan that an apply works on.
func total(c run.Counts) int { return c.Add + c.Change + c.Replace + c.Destroy }

// duration writes the time between two moments; empty when one is not known.
func duration(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return ""
	}
	return Took(to.Sub(from))
}

// Took writes how long something lasted: "14 s", "2 min 5 s", "1 h 3 min", "3 days".
func Took(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Second:
		return "under 1 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second), " 0 s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute), " 0 min")
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}

// toolName writes "OpenTofu 1.12.6" for "tofu 1.12.6".
func toolName(tool string) string {
	name, version, _ := strings.Cut(tool, " ")
	switch name {
	case "tofu":
		name = "OpenTofu"
	case "terraform":
		name = "Terraform"
	default:
		return words(tool)
	}
	return strings.TrimSpace(name + " " + words(version))
}

// stateful are parts of the types of resources whose loss is a loss of data. It changes a sentence, never a gate.
var stateful = []string{
	"_db_", "database", "rds", "_bucket", "dynamodb", "_disk", "volume", "filesystem", "file_system", "efs", "elasticache", "redis",
	"elasticsearch", "opensearch", "_sql", "cosmosdb", "spanner", "bigtable", "bigquery", "storage_account", "kms_key", "crypto_key", "key_vault",
	"kafka", "msk_", "_queue", "secret", "ebs_", "snapshot", "backup",
}

func (c Change) stateful() bool {
	return slices.ContainsFunc(stateful, func(part string) bool { return strings.Contains(c.Type, part) })
}

// place says where a change is written: main.tf:14.
func place(file string, row int) string {
	if file == "" || row <= 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, row)
}
