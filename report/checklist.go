package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// need is one gate of one or many projects.
type need struct {
	gate   run.Gate
	labels []string
}

// waiting says whether a project has a plan that has not begun to apply, so that its gates matter.
func (p Project) waiting() bool {
	return p.Run.State == run.Planned && p.After == "" && p.Run.Settings.Apply != run.ApplyOff
}

// needs merges the gates of all waiting projects. What the sentence about the apply mode says already is left out.
func (v View) needs(ps []Project) (out []need, waiting int) {
	for _, p := range ps {
		if !p.waiting() {
			continue
		}
		waiting++
		for _, g := range p.Gates {
			if g.Name == run.GateMode || g.Holds && slices.Contains(untold, g.Name) {
				continue
			}
			i := slices.IndexFunc(out, func(n need) bool { return n.gate == g })
			if i < 0 {
				out = append(out, need{gate: g})
				i = len(out) - 1
			}
			if !slices.Contains(out[i].labels, p.Run.Label) {
				out[i].labels = append(out[i].labels, p.Run.Label)
			}
		}
	}
	// What holds for some and not for others is only told where it is missing.
	out = slices.DeleteFunc(out, func(n need) bool {
		return n.gate.Holds && slices.ContainsFunc(out, func(o need) bool { return o.gate.Name == n.gate.Name && !o.gate.Holds })
	})
	slices.SortStableFunc(out, func(a, b need) int { return boolRank(a.gate.Holds) - boolRank(b.gate.Holds) })
	return out, waiting
}

// untold are gates that nobody needs to hear of while they hold.
var untold = []run.GateName{run.GatePlanned, run.GateBackend, run.GateHold, run.GateSaved, run.GatePaused, run.GateBranch}

func (v View) openGates(ps []Project) int {
	needs, _ := v.needs(ps)
	open := 0
	for _, n := range needs {
		if !n.gate.Holds {
			open++
		}
	}
	return open
}

// checklist is what must hold before an apply, said once for all projects.
func (v View) checklist(ps []Project) []string {
	needs, waiting := v.needs(ps)
	if waiting == 0 || len(needs) == 0 {
		return nil
	}
	out := []string{"**Before it can apply**"}
	if v.Head != "" {
		on := ""
		if v.Base != "" {
			on = " on top of " + code(v.BaseBranch) + " at " + short(v.Base)
		}
		out = append(out, "- [x] planned at "+short(v.Head)+on)
	}
	for i, n := range needs {
		if i == listMax {
			out = append(out, fmt.Sprintf("- … and %s more", number(len(needs)-i)))
			break
		}
		out = append(out, gateLine(n, waiting))
	}
	return out
}

func gateLine(n need, of int) string {
	box := "- [ ] "
	if n.gate.Holds {
		box = "- [x] "
	}
	text := box + prose(n.gate.Text)
	if len(n.labels) < of {
		text += " (" + names(n.labels) + ")"
	}
	return text
}

// next says how the plans come to be applied.
func (v View) next(ps []Project) string {
	byMode := map[run.ApplyMode][]string{}
	var partial []string
	for _, p := range ps {
		if p.Run.State != run.Planned || p.After != "" {
			continue
		}
		if p.Run.Partial {
			partial = append(partial, p.Run.Label)
		}
		byMode[p.Run.Settings.Apply] = append(byMode[p.Run.Settings.Apply], p.Run.Label)
	}
	merged := v.Kind == run.KindMerge
	one := len(byMode) == 1
	var out []string
	for _, mode := range []run.ApplyMode{run.ApplyBeforeMerge, run.ApplyAfterMerge, run.ApplyManual, run.ApplyOff} {
		l := byMode[mode]
		if len(l) == 0 {
			continue
		}
		what := sentence(mode, len(l) == 1)
		if merged && mode != run.ApplyOff {
			what = "wait" + verbS(len(l)) + " for a person: " + v.command("apply -p", l[0])
			if len(l) > 1 {
				what = "wait for a person: " + v.command("apply")
			}
		} else if mode == run.ApplyBeforeMerge {
			what = "appl" + map[bool]string{true: "ies", false: "y"}[len(l) == 1] + " before the merge, when told: " + v.command("apply")
			if len(l) < len(ps) {
				what += " or one at a time with " + v.command("apply -p", l[0])
			}
		}
		subject := names(l)
		if one {
			subject = map[bool]string{true: "It", false: "They"}[len(l) == 1]
		}
		out = append(out, subject+" "+what+".")
	}
	if len(partial) > 0 && !merged {
		out = append(out, fmt.Sprintf("%s planned in part only, which is never what a merge compares with. Plan whole with %s.", names(partial)+was(len(partial)), v.command("plan -p", partial[0])))
	}
	return strings.Join(out, "  \n")
}

func was(n int) string {
	if n == 1 {
		return " was"
	}
	return " were"
}

func sentence(mode run.ApplyMode, one bool) string {
	switch {
	case mode == run.ApplyAfterMerge && one:
		return "applies by itself after merge, if the merged plan has the same effect"
	case mode == run.ApplyAfterMerge:
		return "apply by themselves after merge, if the merged plans have the same effect"
	case mode == run.ApplyManual && one:
		return "is planned again after merge and waits for a person"
	case mode == run.ApplyManual:
		return "are planned again after merge and wait for a person"
	case one:
		return "is in shadow mode: nothing ever applies"
	}
	return "are in shadow mode: nothing ever applies"
}

// waits says why merged plans need a person: what differs from what was reviewed.
func (v View) waits(ps []Project) []string {
	var out []string
	for _, p := range ps {
		if p.Run.Kind != run.KindMerge || p.Run.State != run.Planned {
			continue
		}
		if len(out) == listMax {
			out = append(out, "… and more")
			break
		}
		text := "**" + code(p.Run.Label) + " waits for a person**" + because(p.Run)
		if p.Reviewed != nil && p.Reviewed.Run.EffectDigest != p.Run.EffectDigest {
			text += "\nIt differs from what was reviewed:"
			for _, d := range Differences(p.Reviewed.Plan, p.Plan, v.quotes()) {
				text += "\n- " + d
			}
		}
		out = append(out, text, "")
	}
	return out
}

// differencesMax bounds how many differences are listed.
const differencesMax = 10

// Differences says in Markdown what a merged plan does that the reviewed one did not, and the other way round. Without values it names
// objects and attributes only. It is never empty: plans that read the same differ in something that is not shown.
func Differences(reviewed, merged Plan, values bool) []string {
	type id struct{ address, deposed string }
	before := map[id]Change{}
	for _, c := range reviewed.Changes {
		before[id{c.Address, c.Deposed}] = c
	}
	var out []string
	for _, c := range merged.Changes {
		b, known := before[id{c.Address, c.Deposed}]
		delete(before, id{c.Address, c.Deposed})
		switch {
		case !known:
			out = append(out, "now it also "+verb(c.Kind)+" "+code(c.Address))
		case b.Kind != c.Kind:
			out = append(out, "it "+verb(c.Kind)+" "+code(c.Address)+"; reviewed: it "+verb(b.Kind)+" it")
		default:
			out = append(out, attrDifferences(code(c.Address), b.Attrs, c.Attrs, values)...)
		}
	}
	for _, c := range reviewed.Changes {
		if _, missing := before[id{c.Address, c.Deposed}]; missing {
			out = append(out, "it no longer "+verb(c.Kind)+" "+code(c.Address))
		}
	}
	outputs := func(p Plan) (attrs []Attr) {
		for _, o := range p.Outputs {
			attrs = append(attrs, o.Attrs...)
		}
		return attrs
	}
	out = append(out, attrDifferences("output", outputs(reviewed), outputs(merged), values)...)
	if len(out) == 0 {
		out = append(out, "in something that is not shown: a sensitive or a very long value")
	}
	if more := len(out) - differencesMax; more > 0 {
		out = append(out[:differencesMax], fmt.Sprintf("… and %s more", number(more)))
	}
	return out
}

func verb(k ChangeKind) string {
	return map[ChangeKind]string{Create: "creates", Update: "changes", Replace: "replaces", Delete: "destroys", Import: "imports", Move: "moves",
		Forget: "forgets", Read: "reads"}[k]
}

func attrDifferences(what string, reviewed, merged []Attr, values bool) []string {
	read := func(a Attr) string {
		return strings.TrimSpace(strings.Join(a.render("!", 0), "\n"))
	}
	before := map[string]Attr{}
	for _, a := range reviewed {
		before[a.Path] = a
	}
	var out []string
	for _, a := range merged {
		b, known := before[a.Path]
		delete(before, a.Path)
		if known && read(a) == read(b) {
			continue
		}
		text := what + " " + code(a.Path) + " becomes something else"
		if values && len(a.Lines) == 0 {
			text = what + " " + code(a.Path) + " becomes " + attrWords(a)
			if known && len(b.Lines) == 0 {
				text += "; reviewed: " + attrWords(b)
			} else if !known {
				text += "; it was not in the reviewed plan"
			}
		}
		out = append(out, text)
	}
	for _, a := range reviewed {
		if _, missing := before[a.Path]; missing {
			out = append(out, what+" "+code(a.Path)+" no longer changes")
		}
	}
	return out
}

func attrWords(a Attr) string {
	switch {
	case a.Sensitive:
		return "(sensitive)"
	case a.Unknown:
		return "(known after apply)"
	case a.After == "":
		return "unset"
	}
	return code(a.After)
}

// remarks are notes that block nothing: about the revision, about directories that are not planned, about single projects.
func (v View) remarks(ps []Project) []string {
	var out []string
	for _, n := range v.Notes {
		out = append(out, "- "+prose(n))
	}
	for _, s := range v.Selection {
		switch {
		case s.Deleted && s.Kept != "":
			out = append(out, "- "+code(s.Dir)+" is deleted: "+prose(s.Skipped))
		case s.Deleted && slices.ContainsFunc(ps, func(p Project) bool { return p.Run.Project == s.Project && p.Run.Kind == run.KindDestroy }):
			// its own row tells
		case s.Deleted && v.Kind == run.KindMerge:
			out = append(out, "- **Orphan**: "+code(s.Dir)+" is gone from "+code(v.BaseBranch)+", what its state holds stays. Destroy it with "+
				v.command("plan --destroy -p", s.Label))
		case s.Deleted:
			out = append(out, "- "+code(s.Dir)+" is deleted; what its state holds stays until somebody says "+v.command("plan --destroy -p", s.Label))
		case s.Skipped != "":
			out = append(out, "- "+code(s.Dir)+" is not planned: "+prose(s.Skipped))
		}
	}
	var bare []string
	ignored := map[string][]string{}
	var patterns []string
	for _, p := range ps {
		if p.Run.NoBackend && p.changes() {
			bare = append(bare, p.Run.Label)
		}
		if p.Unmerged != "" {
			out = append(out, "- ⚠️ "+code(p.Run.Label)+": live differs from "+code(v.BaseBranch)+" since "+prose(p.Unmerged)+", which was applied and not merged")
		}
		if len(p.Beside) > 0 {
			out = append(out, "- ⚠️ "+code(p.Run.Label)+" keeps its state where "+names(p.Beside)+" does: they never run at once, and each destroys what only the other has. "+
				"Look for a copied backend block.")
		}
		if len(p.PRs) > 0 {
			out = append(out, "- the plan of "+code(p.Run.Label)+" includes unapplied changes of "+names(p.PRs))
		}
		if key := strings.Join(p.Run.Settings.EffectIgnore, ", "); key != "" && p.changes() {
			if len(ignored[key]) == 0 {
				patterns = append(patterns, key)
			}
			ignored[key] = append(ignored[key], p.Run.Label)
		}
	}
	if len(bare) > 0 {
		out = append(out, "- ⚠️ "+names(bare)+": no backend, so nothing would remember what was created and apply is refused. Add a backend block.")
	}
	for _, key := range patterns {
		out = append(out, "- not compared after the merge (`effect_ignore`), "+names(ignored[key])+": "+code(key))
	}
	if more := len(out) - listMax; more > 0 {
		out = append(out[:listMax], fmt.Sprintf("- … and %s more", number(more)))
	}
	return out
}
