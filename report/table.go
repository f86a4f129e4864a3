package report

import (
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// addTable lists the projects that are not merely unchanged: before an apply with what will happen, afterwards with what did.
func (v View) addTable(p *page, gs []group) {
	var shown []group
	result := false
	for _, g := range gs {
		if g.phase() == phaseUnchanged && !g.Run.Partial {
			continue
		}
		shown = append(shown, g)
		result = result || g.tried()
	}
	if len(shown) == 0 {
		return
	}
	rows := []string{"| | project | add | change | replace | destroy | state |", "|---|---|--:|--:|--:|--:|---|"}
	if result {
		rows = []string{"| | project | result | took |", "|---|---|---|--:|"}
	}
	for i, g := range shown {
		if i == rowsMax && len(shown) > rowsMax+1 {
			left := 0
			for _, g := range shown[i:] {
				left += len(g.names)
			}
			row := fmt.Sprintf("| | … and %s more", number(left))
			rows = append(rows, row+strings.Repeat(" |", strings.Count(rows[0], "|")-2))
			break
		}
		if result {
			rows = append(rows, v.resultRow(g))
		} else {
			rows = append(rows, v.planRow(g))
		}
	}
	p.list(rows)
}

func (v View) planRow(g group) string {
	n := func(count int, loud bool) string {
		switch {
		case count == 0 || !g.changes():
			return ""
		case loud:
			return "**" + number(count) + "**"
		}
		return number(count)
	}
	c := g.Run.Counts
	symbol, words := v.standing(g.Project)
	notes := []string{words}
	if extra := doneWords(run.Counts{Import: c.Import, Forget: c.Forget, Move: c.Move, Outputs: c.Outputs}); extra != "" && g.changes() {
		notes = append(notes, extra)
	}
	notes = append(notes, v.rowNotes(g)...)
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |", symbol, cell(g.title()), n(c.Add, false), n(c.Change, false), n(c.Replace, true),
		n(c.Destroy, true), cell(strings.Join(notes, " · ")))
}

func (v View) rowNotes(g group) []string {
	var notes []string
	if g.Run.Partial {
		notes = append(notes, "partial: "+code(strings.Join(g.Run.Settings.Flags, " ")))
	}
	if g.After != "" {
		notes = append(notes, "preview: planned again after "+code(g.After))
	}
	if g.Run.Kind == run.KindDestroy {
		notes = append(notes, "destroys what the deleted directory left")
	}
	if g.Run.NoBackend {
		notes = append(notes, "no backend")
	}
	switch {
	case g.same != "":
		notes = append(notes, "same diff as "+code(g.same))
	case len(g.others) > 0 && g.changes():
		notes = append(notes, "same diff: "+gist(g.Plan))
	}
	return notes
}

// gist tells a plan in one phrase, for a row that stands for many projects.
func gist(p Plan) string {
	if len(p.Changes) == 0 {
		return "outputs only"
	}
	c := p.Changes[0]
	what := map[ChangeKind]string{Create: "adds", Update: "changes", Replace: "replaces", Delete: "destroys", Import: "imports", Move: "moves", Forget: "forgets"}[c.Kind]
	text := what + " " + code(c.Address)
	if c.Kind == Update && len(c.Attrs) > 0 {
		text = "changes " + code(c.Attrs[0].Path) + " of " + code(c.Address)
	}
	if more := len(p.Changes) + p.More - 1; more > 0 {
		text += fmt.Sprintf(" and %s more", number(more))
	}
	return text
}

// standing says in a symbol and in words where a project stands.
func (v View) standing(p Project) (symbol, text string) {
	r := p.Run
	switch p.phase() {
	case phaseUnsaved:
		return "🛑", "**state not saved**"
	case phaseInterrupted:
		return "🛑", "**interrupted**"
	case phaseApplyFailed:
		return "❌", "apply failed"
	case phasePlanFailed:
		if _, ok := p.BackendLock(); ok {
			return "🔒", "**plan failed**: state is locked"
		}
		if p.stopped() {
			return "⛔", "**stopped before anything ran**, " + v.policyWords(p)
		}
		return "❌", "**plan failed**"
	case phaseBlocked, phaseHeld:
		return "⛔", v.policyWords(p)
	case phaseDestroys:
		return "⚠️", v.policyWords(p)
	case phaseChanges:
		return "✏️", v.policyWords(p)
	case phaseApplying:
		return "⏳", "applying"
	case phaseConfirmed:
		return "⏳", "apply confirmed" + waitWords(p)
	case phasePlanning:
		return "⏳", "planning"
	case phaseQueued:
		return "⏳", "queued" + waitWords(p)
	case phaseCanceled:
		return "◻️", "canceled" + because(r)
	case phaseSuperseded:
		return "◻️", "superseded" + because(r)
	case phaseApplied:
		return "✅", "applied"
	default:
		return "✅", "no changes"
	}
}

func because(r run.Run) string {
	if r.Reason == "" {
		return ""
	}
	return ": " + prose(r.Reason)
}

func waitWords(p Project) string {
	text := ""
	switch {
	case p.HeldBy != "":
		text = ", waits for " + words(p.HeldBy)
	case p.Waits != "":
		text = ", waits: " + prose(p.Waits)
	case p.Position > 0:
		text = fmt.Sprintf(", %s ahead", number(p.Position))
	case p.Run.State == run.Queued || p.Run.State == run.Confirmed:
		text = ", next"
	}
	return text
}

// policyWords is the verdict in words.
func (v View) policyWords(p Project) string {
	var soft, hard, advisory, overridden int
	for _, f := range p.Findings {
		switch {
		case run.Overridden(p.Run, f, p.Overrides):
			overridden++
		case f.Level == run.Advisory:
			advisory++
		case f.Level == run.Soft:
			soft++
		default:
			hard++
		}
	}
	var parts []string
	if hard > 0 {
		parts = append(parts, "**"+count(hard, "hard failure", "hard failures")+"**")
	}
	if soft > 0 {
		parts = append(parts, "**"+count(soft, "soft failure", "soft failures")+"**")
	}
	if overridden > 0 {
		parts = append(parts, count(overridden, "finding", "findings")+" overridden")
	}
	if advisory > 0 {
		parts = append(parts, count(advisory, "advice", "pieces of advice"))
	}
	switch {
	case len(parts) > 0:
		return "policy: " + strings.Join(parts, ", ")
	case p.NoPolicy:
		return "no policy configured"
	case p.Run.PolicyDigest == "":
		return "policy has not judged"
	}
	return "policy: pass"
}

func (v View) resultRow(g group) string {
	symbol, text := v.standing(g.Project)
	r := g.Run
	took := ""
	switch g.phase() {
	case phaseApplied:
		text, took = doneWords(r.Counts), duration(r.ApplyStarted, r.Finished)
		if text == "" {
			text = "applied"
		}
	case phaseApplyFailed, phaseUnsaved, phaseInterrupted:
		took = duration(r.ApplyStarted, r.Finished)
		if r.Counts != g.Plan.Counts && total(g.Plan.Counts) > 0 {
			if done := doneWords(r.Counts); done != "" {
				text += ": " + done
			}
			if left := total(g.Plan.Counts) - total(r.Counts); left > 0 {
				text += fmt.Sprintf(", %s **not done**", number(left))
			}
		}
	case phaseBlocked, phaseHeld, phaseDestroys, phaseChanges:
		if g.verdict() == run.VerdictPass || g.verdict() == run.VerdictWarn {
			symbol, text = "⏸️", "not started"
		}
		if planned := planWords(r.Counts); planned != "" {
			text += ": " + planned
		}
	case phaseApplying, phaseConfirmed:
		if planned := planWords(r.Counts); planned != "" {
			text += ": " + planned
		}
	default: // it stands as it says
	}
	notes := append([]string{text}, v.rowNotes(g)...)
	return fmt.Sprintf("| %s | %s | %s | %s |", symbol, cell(g.title()), cell(strings.Join(notes, " · ")), took)
}
