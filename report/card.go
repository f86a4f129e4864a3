package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Card is a view for chat: the answer in one line, a few lines below it, what it waits for, and where to read on. Its texts are raw data
// and words of ours mixed; a channel writes each span with an escape of its own.
type Card struct {
	Symbol   string
	Headline string   // words of ours: "apply failed"
	Ref      string   // acme/infra #214, or acme/infra main at a1b2c3d
	Title    string   // of the pull request
	URL      string   // of the pull request; empty for a push
	Author   string   // empty for a push
	Lines    [][]Span // worst first
	More     string   // what has no line: "12 without changes"
	Waiting  []string // what must hold before an apply, and does not
	Quote    []string // what the tool said, redacted
	Links    []Link   // to the pull request and to the run that most needs to be read
}

// Span is a piece of a line. Code is an identifier or a command; Bold is emphasis.
type Span struct {
	Text string
	Code bool
	Bold bool
}

// Link is an address of ours or of the VCS host. Addresses that hold anything odd do not become links.
type Link struct{ Text, URL string }

// The bounds of a card. Channels cut further where they must.
const (
	cardLines  = 12
	cardLosses = 4 // per project
	cardQuote  = 15
	cardWaits  = 8
)

// ChatCard is the card of a view as it stands.
func ChatCard(v View) Card {
	ps := v.sorted()
	c := Card{Ref: v.ref(), Title: v.Pull.Title, Author: v.Pull.Author}
	if usable.MatchString(v.Pull.URL) {
		c.URL = v.Pull.URL
		c.Links = append(c.Links, Link{"Pull request", v.Pull.URL})
	}
	for _, p := range ps {
		if usable.MatchString(p.RunURL) {
			c.Links = append(c.Links, Link{"Run", p.RunURL})
			break
		}
	}
	c.Symbol, c.Headline = v.cardHeadline(ps)
	if p := v.Pause; p != nil {
		c.Lines = append(c.Lines, []Span{{Text: "⏸️ applies are paused by " + p.Actor + ": " + shorten(p.Reason, textMax)}})
	}
	v.cardProblems(&c)
	v.cardRows(&c, ps)
	needs, _ := v.needs(ps)
	for _, n := range needs {
		if !n.gate.Holds && len(c.Waiting) < cardWaits && !v.over() {
			c.Waiting = append(c.Waiting, n.gate.Text)
		}
	}
	c.Quote = v.quote(ps)
	return c
}

// over says whether the pull request has been closed without a merge.
func (v View) over() bool { return v.Pull.State == "closed" }

func (v View) ref() string {
	if v.Pull.Number != 0 {
		return fmt.Sprintf("%s #%d", v.Repo.Name, v.Pull.Number)
	}
	return fmt.Sprintf("%s %s at %s", v.Repo.Name, v.BaseBranch, v.Head[:min(7, len(v.Head))])
}

// cardHeadline is the answer: where the worst of the projects stands.
func (v View) cardHeadline(ps []Project) (symbol, text string) {
	switch {
	case v.Conflict:
		return "❌", "conflicts with its base"
	case len(ps) == 0 && len(v.Problems) > 0:
		return "❌", "nothing could be planned"
	case len(ps) == 0:
		return "✅", "touches no project"
	}
	worst := ps[0]
	switch worst.phase() {
	case phaseUnsaved:
		return "🛑", "STATE NOT SAVED"
	case phaseInterrupted:
		return "🛑", "apply interrupted"
	case phaseApplyFailed:
		return "❌", "apply failed"
	case phasePlanFailed:
		return "❌", "plan failed"
	default:
	}
	if v.over() {
		return "◻️", "closed"
	}
	if slices.ContainsFunc(ps, in(phaseApplying)) {
		return "⏳", "applying"
	}
	if going := len(labels(ps, in(phasePlanning, phaseQueued))); going > 0 && worst.phase() > phaseHeld {
		return "⏳", fmt.Sprintf("planning, %s of %s done", number(len(ps)-going), number(len(ps)))
	}
	switch worst.phase() {
	case phaseBlocked:
		return "⛔", "blocked by policy"
	case phaseHeld:
		return "⛔", "needs a policy owner"
	case phaseDestroys, phaseChanges:
		return v.plannedHeadline(ps, worst)
	case phaseConfirmed:
		return "⏳", "waits to apply"
	case phaseCanceled:
		return "◻️", "canceled"
	case phaseSuperseded:
		return "◻️", "superseded"
	case phaseApplied:
		return "✅", "applied"
	default:
		return "✅", "no changes"
	}
}

func (v View) plannedHeadline(ps []Project, worst Project) (symbol, text string) {
	symbol = "✏️"
	if worst.phase() == phaseDestroys {
		symbol = "⚠️"
	}
	switch {
	case v.all(ps, run.ApplyOff):
		return symbol, "planned, in shadow mode"
	case v.Kind == run.KindMerge:
		return "✋", "merged, waits for a person"
	case slices.ContainsFunc(ps, Project.needsApproval):
		return symbol, "needs approval"
	case v.openGates(ps) > 0:
		return symbol, "planned, not ready"
	case v.all(ps, run.ApplyAfterMerge):
		return symbol, "applies after merge"
	case v.all(ps, run.ApplyBeforeMerge):
		return symbol, "ready to apply"
	}
	return symbol, "planned"
}

// needsApproval says whether a plan waits for somebody's approval or override, and for nothing that its author must do first.
func (p Project) needsApproval() bool {
	if !p.waiting() || p.Run.Partial || p.verdict() == run.VerdictHard {
		return false
	}
	return p.verdict() == run.VerdictSoft || slices.ContainsFunc(p.Gates, func(g run.Gate) bool { return g.Name == run.GateApproved && !g.Holds })
}

func (v View) cardProblems(c *Card) {
	for i, p := range v.Problems {
		if i == 3 {
			c.Lines = append(c.Lines, []Span{{Text: fmt.Sprintf("… and %s more problems", number(len(v.Problems)-i))}})
			break
		}
		var spans []Span
		if at := where(p); at != "" {
			spans = append(spans, Span{Text: at, Code: true}, Span{Text: " "})
		}
		c.Lines = append(c.Lines, append(spans, Span{Text: shorten(p.Message, textMax)}))
	}
}

// cardRows says something of every project that is not merely unchanged, as far as there is room.
func (v View) cardRows(c *Card, ps []Project) {
	var quiet, hidden int
	for _, g := range groups(ps) {
		if g.phase() == phaseUnchanged {
			quiet += len(g.names)
			continue
		}
		if len(c.Lines) >= cardLines {
			hidden += len(g.names)
			continue
		}
		c.Lines = append(c.Lines, v.cardRow(g))
		c.Lines = append(c.Lines, v.cardFindings(g)...)
	}
	var more []string
	if hidden > 0 {
		more = append(more, "… and "+count(hidden, "more project", "more projects"))
	}
	if quiet > 0 {
		more = append(more, number(quiet)+" without changes")
	}
	c.More = strings.Join(more, ", ")
}

// cardRow is a project, or several with one diff, in one line.
func (v View) cardRow(g group) []Span {
	name := g.Run.Label
	spans := []Span{{Text: name, Code: true, Bold: true}}
	if n := len(g.others); n > 0 {
		spans = append(spans, Span{Text: " and " + number(n) + " more"})
	}
	say := func(text string) { spans = append(spans, Span{Text: text}) }
	command := func(words ...string) {
		spans = append(spans, Span{Text: v.prefix() + " " + strings.Join(append(words, "-p", name), " "), Code: true})
	}
	reason := ""
	if g.Run.Reason != "" {
		reason = ": " + shorten(g.Run.Reason, textMax)
	}
	switch g.phase() {
	case phaseUnsaved:
		say(": the state was not saved after its apply. The only copy is kept with the run; nothing of it applies before it is pushed back")
	case phaseInterrupted:
		say(": interrupted, nobody knows how far it came" + reason + ". It keeps its lock; look, then ")
		command("unlock")
	case phaseApplyFailed:
		say(": failed" + afterWords(g.Project) + reason + ". What was done stays done; see what is left with ")
		command("plan")
	case phasePlanFailed:
		say(": the plan failed" + reason)
	case phaseApplied:
		say(": " + cmp.Or(doneWords(g.Run.Counts), "applied"))
	case phaseApplying:
		say(": applying " + planWords(g.Run.Counts))
	case phasePlanning:
		say(": planning")
	case phaseQueued, phaseConfirmed:
		say(": queued" + waitRaw(g.Project))
	case phaseCanceled, phaseSuperseded:
		say(": " + string(g.Run.State) + reason)
	default:
		say(": " + cmp.Or(planWords(g.Run.Counts), "changes"))
		if g.Run.Kind == run.KindMerge && g.Run.Reason != "" {
			say(" (" + shorten(g.Run.Reason, textMax) + ")")
		}
		spans = append(spans, losses(g)...)
	}
	return spans
}

func waitRaw(p Project) string {
	switch {
	case p.HeldBy != "":
		return ", waits for " + p.HeldBy
	case p.Waits != "":
		return ", waits: " + p.Waits
	case p.Position > 0:
		return fmt.Sprintf(", %s ahead", number(p.Position))
	}
	return ""
}

// losses names what a plan destroys or replaces.
func losses(g group) []Span {
	var spans []Span
	n := 0
	for _, ch := range g.Plan.Changes {
		if ch.Kind != Delete && ch.Kind != Replace || ch.Keeps {
			continue
		}
		if n++; n > cardLosses {
			continue
		}
		lead := " · "
		if n > 1 {
			lead = ", "
		}
		spans = append(spans, Span{Text: lead}, Span{Text: verb(ch.Kind), Bold: true}, Span{Text: " "}, Span{Text: ch.Address, Code: true})
	}
	if n > cardLosses {
		spans = append(spans, Span{Text: fmt.Sprintf(" and %s more", number(n-cardLosses))})
	}
	return spans
}

// cardFindings are what policy holds against a plan that has not been applied yet.
func (v View) cardFindings(g group) [][]Span {
	if p := g.phase(); p != phaseBlocked && p != phaseHeld {
		return nil
	}
	var lines [][]Span
	for _, f := range g.Findings {
		if f.Level == run.Advisory || run.Overridden(g.Run, f, g.Overrides) {
			continue
		}
		if len(lines) == 3 {
			lines = append(lines, []Span{{Text: "… and more findings"}})
			break
		}
		spans := []Span{{Text: "policy "}, {Text: f.Rule, Code: true}, {Text: " (" + string(f.Level) + ")"}}
		if f.Resource != "" {
			spans = append(spans, Span{Text: " on "}, Span{Text: f.Resource, Code: true})
		}
		if v.quotes() {
			spans = append(spans, Span{Text: ": " + shorten(f.Message, textMax)})
		}
		if who := slices.Concat(f.Owners.Teams, f.Owners.Users); f.Level == run.Soft && len(who) > 0 {
			spans = append(spans, Span{Text: " · owners: " + strings.Join(who, ", ")})
		}
		lines = append(lines, spans)
	}
	return lines
}

// quote is what the tool said of the first failure.
func (v View) quote(ps []Project) []string {
	if !v.quotes() {
		return nil
	}
	for _, p := range ps {
		switch p.phase() {
		case phaseUnsaved, phaseApplyFailed, phasePlanFailed, phaseInterrupted:
		default:
			continue
		}
		text := strings.TrimSpace(Excerpt(p.Failure))
		if text == "" {
			continue
		}
		lines := strings.Split(text, "\n")
		if more := len(lines) - cardQuote; more > 0 {
			lines = append(lines[:cardQuote:cardQuote], "… "+count(more, "more line", "more lines"))
		}
		return lines
	}
	return nil
}
