package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// addFailures shows what the tool said, for plans and applies that failed; the same error of several projects once.
func (v View) addFailures(p *page, gs []group) {
	shown := 0
	for _, g := range gs {
		phase := g.phase()
		if phase != phasePlanFailed && phase != phaseApplyFailed && phase != phaseUnsaved {
			continue
		}
		if shown++; shown > failuresMax {
			continue
		}
		v.addFailure(p, g)
	}
	if shown > failuresMax {
		p.text(fmt.Sprintf("… and %s more failed in other ways; the table links them.", number(shown-failuresMax)))
	}
}

func (v View) addFailure(p *page, g group) {
	what := "the plan of "
	if g.tried() {
		what = "the apply of "
	}
	title := "**" + strings.ToUpper(what[:1]) + what[1:] + names(g.names) + " failed**"
	if g.stopped() {
		p.text("**Nothing of " + names(g.names) + " was run**: " + prose(g.Run.Reason))
		return
	}
	if lock, ok := g.BackendLock(); ok {
		p.text(title + ": " + v.lockWords(lock, g.Project))
		return
	}
	if g.Run.Reason != "" {
		title += ": " + prose(g.Run.Reason)
	}
	links := runLinks(g.Project)
	excerpt := Excerpt(g.Failure)
	if !v.quotes() || strings.TrimSpace(excerpt) == "" {
		p.text(strings.TrimSpace(title + "\n" + links))
		return
	}
	lines := strings.Split(excerpt, "\n")
	if more := len(lines) - excerptSeen; more > 0 {
		lines = append(lines[:excerptSeen:excerptSeen], "… "+count(more, "more line", "more lines"))
	}
	p.add(block{text: title, language: "text", lines: lines, after: links})
}

// BackendLock is the backend lock that stopped a run.
func (p Project) BackendLock() (LockInfo, bool) {
	if p.Lock != nil {
		return *p.Lock, true
	}
	if p.Run.State != run.Failed {
		return LockInfo{}, false
	}
	return LockError(p.Failure)
}

// lockWords says who holds a backend's lock, for how long, and the way out.
func (v View) lockWords(l LockInfo, p Project) string {
	if strings.HasSuffix(strings.ToLower(l.Who), "@planlatch-"+strings.ToLower(string(p.Run.ID))) {
		l = LockInfo{Message: l.Message, Session: l.Session} // the backend told of our own attempt, not of the holder
	}
	text := "its state is locked"
	if l.Session {
		return text + " by another PostgreSQL session, which the backend does not name. If its holder is still at work, wait and say " +
			v.command("plan -p", p.Run.Label) + ". The lock ends with that session: find it in " + code("pg_locks") + " (advisory) and " + code("pg_stat_activity") + "."
	}
	if l.Ours != "" {
		text += " by " + prose(l.Ours)
	}
	switch {
	case l.Who != "" && l.Ours != "":
		text += " (" + code(l.Who) + ")"
	case l.Who != "":
		text += " by " + code(l.Who)
	}
	if !l.Created.IsZero() {
		text += " since " + l.Created.UTC().Format("2006-01-02 15:04:05 UTC")
		if age := duration(l.Created, p.Run.Finished); age != "" {
			text += ", " + age + " before this run gave up"
		}
	}
	if op, ok := strings.CutPrefix(l.Operation, "OperationType"); ok && op != "" {
		text += " (" + code(strings.ToLower(op)) + ")"
	}
	text += "."
	if l.Who == "" && l.Message != "" && v.quotes() {
		text += " The backend says: " + prose(l.Message) + "."
	}
	if !lockID(l.ID) {
		return text + " The backend names no id: wait until its holder is done, or free it with the backend's own means."
	}
	free := code(p.tool()+" force-unlock "+l.ID) + " in the project"
	if !v.local { // only where there is a pull request to say it on
		free = v.command("unlock --state", l.ID, "-p", p.Run.Label) + ", or " + free
	}
	again := ", then " + v.command("plan -p", p.Run.Label)
	if l.Ours != "" {
		return text + " Nothing of it runs any more. Free it with " + free + again
	}
	return text + " If its holder is still at work, wait and say " + v.command("plan -p", p.Run.Label) + ". If nothing of it runs any more: " + free + again
}

// tool is the program a project runs: tofu or terraform.
func (p Project) tool() string {
	if name, _, _ := strings.Cut(p.Run.Tool, " "); name == "terraform" || name == "" && p.Run.Settings.Tool == "terraform" {
		return "terraform"
	}
	return "tofu"
}

// lockID says whether an id can be part of a command to copy: it comes from a log.
func lockID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.HasPrefix(id, "-") &&
		!strings.ContainsFunc(id, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./:=+", r))
		})
}

// runLinks are the links that belong to one run.
func runLinks(p Project) string {
	var parts []string
	if l := link("full output", p.RunURL); l != "full output" {
		parts = append(parts, l)
	}
	if l := link("log", p.LogURL); l != "log" {
		parts = append(parts, l)
	}
	if !p.Run.Planned.IsZero() {
		took := duration(p.Run.Started, p.Run.Planned)
		if took != "" && p.Run.Tool != "" {
			parts = append(parts, "planned in "+took+" with "+toolName(p.Run.Tool))
		}
	}
	return strings.Join(parts, " · ")
}

// addDetails folds one diff per group.
func (v View) addDetails(p *page, gs []group) {
	var advice []string
	for _, g := range gs {
		if !g.changes() || g.phase() == phaseApplied || g.same != "" {
			continue
		}
		lines := diffLines(g.Plan, v.quotes())
		if len(lines) == 0 {
			continue
		}
		title := "<b>" + summaryText(g.Run.Label) + "</b>"
		if len(g.others) > 0 {
			title += " and " + number(len(g.others)) + " more"
		}
		if g.Run.Partial {
			title += " (partial)"
		}
		title += ": " + doneWords(g.Plan.Counts)
		p.add(block{title: title, language: "diff", lines: lines, after: strings.Join(append(planNotes(g.Plan, v.quotes()), runLinks(g.Project)), "\n")})
		if len(g.others) > 0 {
			p.add(block{title: "the " + number(len(g.names)) + " projects with this diff: " + summaryText(g.names[0]) + " …", language: "text", lines: g.names})
		}
	}
	for _, f := range mergeFindings(gs) {
		if f.Level == run.Advisory && len(advice) < listMax {
			advice = append(advice, "- "+v.findingLine(f))
		}
	}
	if len(advice) > 0 {
		p.add(block{title: "advice from policy, blocking nothing", text: strings.Join(advice, "\n"), after: ""})
	}
}

// planNotes is what a plan says besides its changes. Warnings may quote values.
func planNotes(p Plan, values bool) []string {
	var out []string
	if n := len(p.Warnings); n > 0 && !values {
		out = append(out, "- ⚠️ "+count(n, "warning", "warnings")+", see the full output")
		p.Warnings = nil
	}
	for i, w := range p.Warnings {
		if i == findingsMax {
			out = append(out, fmt.Sprintf("- … and %s more warnings", number(len(p.Warnings)-i)))
			break
		}
		out = append(out, "- ⚠️ "+prose(w))
	}
	if n := len(p.Drift); n > 0 {
		out = append(out, fmt.Sprintf("- changed outside of the code since the last apply: %s", names(p.Drift)))
	}
	if p.Reads > 0 {
		out = append(out, "- "+count(p.Reads, "data source is", "data sources are")+" read during the apply")
	}
	if len(out) > 0 {
		out = append(out, "")
	}
	return out
}

// mergedFinding is one finding of one or many projects.
type mergedFinding struct {
	run.Finding
	run       run.Run
	overrides []run.Override
	labels    []string
}

func mergeFindings(gs []group) []mergedFinding {
	var out []mergedFinding
	for _, g := range gs {
		if !g.changes() && !g.stopped() || g.tried() {
			continue
		}
		for _, p := range append([]Project{g.Project}, g.others...) {
			for _, f := range p.Findings {
				i := slices.IndexFunc(out, func(m mergedFinding) bool {
					return m.Set == f.Set && m.Rule == f.Rule && m.Level == f.Level && m.Resource == f.Resource && m.Message == f.Message &&
						run.Overridden(m.run, m.Finding, m.overrides) == run.Overridden(p.Run, f, p.Overrides)
				})
				if i < 0 {
					out = append(out, mergedFinding{Finding: f, run: p.Run, overrides: p.Overrides, labels: []string{p.Run.Label}})
					continue
				}
				if !slices.Contains(out[i].labels, p.Run.Label) {
					out[i].labels = append(out[i].labels, p.Run.Label)
				}
			}
		}
	}
	return out
}

// addPolicy shows what policy holds against the change, and who accepted what.
func (v View) addPolicy(p *page, gs []group) {
	var out []string
	more := 0
	all := mergeFindings(gs)
	slices.SortStableFunc(all, func(a, b mergedFinding) int {
		return boolRank(a.Level == run.Hard) - boolRank(b.Level == run.Hard)
	})
	for _, f := range all {
		if f.Level == run.Advisory {
			continue
		}
		if len(out) == findingsMax {
			more++
			continue
		}
		out = append(out, v.findingBlock(f))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("… and %s more findings.", number(more)))
	}
	p.text(strings.Join(out, "\n\n"))
}

func boolRank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// findingLine is one finding in one line: rule, level, where, what.
func (v View) findingLine(f mergedFinding) string {
	text := code(f.Rule) + " (" + words(string(f.Level)) + ")"
	if f.Resource != "" {
		text += " on " + code(f.Resource)
	}
	text += " in " + names(f.labels)
	if v.quotes() { // a message may quote the plan
		text += ": " + prose(f.Message)
	}
	if at := place(f.File, f.Line); at != "" {
		text += " (" + code(at) + ")"
	}
	return text
}

func (v View) findingBlock(f mergedFinding) string {
	lines := []string{"**Policy** · " + v.findingLine(f)}
	if f.Fix != "" && v.quotes() {
		lines = append(lines, "Fix: "+prose(f.Fix))
	}
	given := run.Covers(f.run, f.Finding, f.overrides)
	for _, o := range f.overrides {
		if run.Binds(f.run, f.Finding, o) {
			lines = append(lines, "Overridden by "+code(o.Actor)+": "+prose(o.Reason))
		}
	}
	if f.Level == run.Soft && !run.Overridden(f.run, f.Finding, f.overrides) {
		owners := owners(f.Owners)
		if owners == "" {
			owners = "nobody is configured"
		}
		text := "Owners: " + owners + "."
		if need := max(1, f.Owners.Approvals); need > 1 {
			text += fmt.Sprintf(" %d of %d have accepted.", given, need)
		}
		if v.local {
			return strings.Join(append(lines, text+" They can override it on the pull request."), "  \n")
		}
		lines = append(lines, text+" Override: "+v.command("approve -p", f.labels[0], `--reason "…"`))
	}
	return strings.Join(lines, "  \n")
}

// owners are called by name: they come from the server's configuration.
func owners(o run.Owners) string {
	var out []string
	for _, name := range slices.Concat(o.Teams, o.Users) {
		if at := "@" + strings.TrimPrefix(name, "@"); account.MatchString(at) {
			out = append(out, at)
		} else {
			out = append(out, code(name))
		}
	}
	return strings.Join(out, ", ")
}
