package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// The bounds of the part of a comment that is read at once.
const (
	rowsMax     = 40
	dangersMax  = 10
	findingsMax = 10
	failuresMax = 5
	excerptSeen = 25 // lines of an error that stand unfolded
	listMax     = 20
)

// Summary is the one comment of a pull request, in at most limit bytes of Markdown. It ends with SummaryMarker.
func Summary(v View, limit int) string {
	ps := v.sorted()
	gs := groups(ps)
	p := &page{limit: limit, marker: SummaryMarker, more: v.whole(ps)}
	p.text("### planlatch: " + v.headline(ps))
	p.list(v.frozen(ps))
	p.list(v.unsaved(ps))
	p.list(v.interrupted(ps))
	v.addProblems(p)
	v.addTable(p, gs)
	p.list(v.rest(ps))
	p.list(dangers(gs))
	v.addFailures(p, gs)
	p.list(v.retries(ps))
	p.list(v.waits(ps))
	v.addPolicy(p, gs)
	p.list(v.checklist(ps))
	p.text(v.next(ps))
	p.list(v.remarks(ps))
	v.addDetails(p, gs)
	return p.String()
}

// whole links to where nothing is cut: the run that most needs to be read.
func (v View) whole(ps []Project) string {
	for _, p := range ps {
		if l := link("full output", p.RunURL); p.RunURL != "" && l != "full output" {
			return l
		}
	}
	return ""
}

func (v View) prefix() string {
	if v.Prefix == "" {
		return "planlatch"
	}
	return v.Prefix
}

// command is a command to copy.
func (v View) command(words ...string) string {
	return code(v.prefix() + " " + strings.Join(words, " "))
}

// names lists labels: all of a few, the first of many.
func names(labels []string) string {
	shown := labels
	if len(labels) > 3 {
		shown = labels[:2]
	}
	var out []string
	for _, l := range shown {
		out = append(out, code(l))
	}
	text := strings.Join(out, ", ")
	if more := len(labels) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %s more", number(more))
	}
	return text
}

func labels(ps []Project, keep func(Project) bool) []string {
	var out []string
	for _, p := range ps {
		if keep(p) && !slices.Contains(out, p.Run.Label) {
			out = append(out, p.Run.Label)
		}
	}
	return out
}

func in(phases ...phase) func(Project) bool {
	return func(p Project) bool { return slices.Contains(phases, p.phase()) }
}

// headline is the answer: what a tired reader needs if it is all that is read.
func (v View) headline(ps []Project) string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, p := range ps {
		if flags := "partial: " + code(strings.Join(p.Run.Settings.Flags, " ")); p.Run.Partial && !slices.Contains(parts, flags) && len(parts) < 3 {
			parts = append(parts, flags)
		}
	}
	if l := labels(ps, in(phaseUnsaved)); len(l) > 0 {
		say("the state of %s was **not saved**", names(l))
	}
	if l := labels(ps, in(phaseInterrupted)); len(l) > 0 {
		say("the apply of %s was **interrupted**", names(l))
	}
	switch {
	case v.Conflict:
		say("conflicts with %s, nothing was planned", code(v.BaseBranch))
		return strings.Join(parts, " · ")
	case len(v.Problems) > 0 && len(ps) == 0:
		say("nothing was planned, %s in the configuration", count(len(v.Problems), "problem", "problems"))
		return strings.Join(parts, " · ")
	case v.Untrusted:
		say("waits for a maintainer: nothing runs before somebody who can write says %s", v.command("plan"))
		return strings.Join(parts, " · ")
	case len(ps) == 0:
		say("no project is touched")
		return strings.Join(parts, " · ")
	}
	tried := slices.ContainsFunc(ps, Project.tried) || len(labels(ps, in(phaseApplying))) > 0
	if tried {
		v.headlineApply(ps, say)
	} else {
		v.headlinePlan(ps, say)
	}
	if len(v.Problems) > 0 {
		say("%s in the configuration", count(len(v.Problems), "problem", "problems"))
	}
	return strings.Join(parts, " · ")
}

func (v View) headlineApply(ps []Project, say func(string, ...any)) {
	concerned := labels(ps, func(p Project) bool { return p.changes() || !p.Run.State.Final() })
	applied := labels(ps, in(phaseApplied))
	failed := labels(ps, in(phaseApplyFailed))
	switch {
	case len(applied) == len(concerned) && len(applied) == 1:
		say("applied %s", names(applied))
	case len(applied) == len(concerned) && len(applied) > 1:
		say("applied all %s projects", number(len(applied)))
	case len(applied) > 0:
		say("applied %s of %s", number(len(applied)), number(len(concerned)))
	case len(failed) == 0 && len(labels(ps, in(phaseApplying))) == 0 && len(labels(ps, in(phaseUnsaved, phaseInterrupted))) == 0:
		say("nothing applied yet")
	}
	if n := len(labels(ps, in(phaseApplying))); n > 0 {
		say("applying %s", names(labels(ps, in(phaseApplying))))
	}
	if len(failed) == 1 {
		say("%s failed%s", names(failed), afterWords(ps[slices.IndexFunc(ps, in(phaseApplyFailed))]))
	} else if len(failed) > 1 {
		say("%s failed", names(failed))
	}
	if l := labels(ps, in(phasePlanFailed)); len(l) > 0 {
		say("%s failed", count(len(l), "plan", "plans"))
	}
	if l := labels(ps, in(phaseBlocked, phaseHeld, phaseDestroys, phaseChanges)); len(l) > 0 {
		say("%s waiting", number(len(l)))
	}
}

// afterWords tells how far a failed apply came: " after 1 of 2 changes".
func afterWords(p Project) string {
	if all := total(p.Plan.Counts); all > 0 && p.Run.Counts != p.Plan.Counts {
		return fmt.Sprintf(" after %s of %s", number(total(p.Run.Counts)), count(all, "change", "changes"))
	}
	return ""
}

func (v View) headlinePlan(ps []Project, say func(string, ...any)) {
	all := max(v.Known, len(labels(ps, func(Project) bool { return true })))
	failed := labels(ps, in(phasePlanFailed))
	going := labels(ps, in(phasePlanning, phaseQueued))
	changed := labels(ps, Project.changes)
	if len(failed) > 0 {
		switch stopped := len(labels(ps, Project.stopped)); {
		case stopped == 1 && len(failed) == 1:
			say("policy **stopped** %s before anything ran", names(failed))
		case stopped == len(failed):
			say("policy **stopped** %s before anything ran", count(stopped, "project", "projects"))
		case len(failed) == len(ps) && len(ps) == 1:
			say("the plan of %s **failed**", names(failed))
		default:
			say("%s **failed**", count(len(failed), "plan", "plans"))
		}
	}
	if len(going) > 0 {
		say("planning, %s of %s done", number(len(ps)-len(going)), number(len(ps)))
	}
	switch {
	case len(changed) == 1 && len(failed)+len(going) == 0:
		say("%s changes: %s", names(changed), planWords(ps[slices.IndexFunc(ps, Project.changes)].Run.Counts))
	case len(changed) > 0:
		say("%s of %s change%s", number(len(changed)), count(all, "project", "projects"), verbS(len(changed)))
	case len(failed) == 0 && len(going) == 0 && len(labels(ps, in(phaseUnchanged))) > 0:
		say("no changes in %s", count(len(ps), "project", "projects"))
	case len(labels(ps, in(phaseCanceled))) > 0:
		say("canceled")
	case len(failed) == 0 && len(going) == 0:
		say("superseded")
	}
	v.headlineDanger(ps, len(changed), say)
	if len(going) == 0 && len(changed) > 0 && !v.local {
		v.headlineNext(ps, len(failed) > 0, say)
	}
}

// headlineDanger says what is lost, of plans in which so many projects change.
func (v View) headlineDanger(ps []Project, changed int, say func(string, ...any)) {
	var lost, gone int
	for _, p := range ps {
		switch {
		case !p.destroys() || !p.changes():
		case slices.ContainsFunc(p.Plan.Changes, func(c Change) bool { return (c.Kind == Delete || c.Kind == Replace && !c.Keeps) && c.stateful() }):
			lost++
		default:
			gone++
		}
	}
	if changed == 1 && lost == 1 {
		say("**destroys data**")
	} else if lost > 0 {
		say("**%s destroy%s data**", number(lost), verbS(lost))
	}
	if gone > 0 && changed > 1 {
		say("%s replace%s or destroy%s resources", number(gone), verbS(gone), verbS(gone))
	}
}

// headlineNext says what the plans wait for.
func (v View) headlineNext(ps []Project, failed bool, say func(string, ...any)) {
	planned := slices.ContainsFunc(ps, func(p Project) bool { return p.Run.State == run.Planned })
	switch open := v.openGates(ps); {
	case open > 0:
		say("waiting for %s", count(open, "thing", "things"))
	case v.Pause != nil:
		say("paused")
	case failed:
	case v.all(ps, run.ApplyOff):
		say("shadow mode")
	case !planned && len(labels(ps, in(phaseConfirmed))) > 0:
		say("about to apply")
	case v.Kind == run.KindMerge:
		say("waiting for a person")
	case v.all(ps, run.ApplyAfterMerge):
		say("applies after merge")
	case v.all(ps, run.ApplyBeforeMerge):
		say("ready to apply")
	}
}

func verbS(n int) string {
	if n == 1 {
		return "s"
	}
	return ""
}

// all says whether every project that changes applies in this mode.
func (v View) all(ps []Project, mode run.ApplyMode) bool {
	return !slices.ContainsFunc(ps, func(p Project) bool { return p.changes() && p.Run.Settings.Apply != mode })
}

func (v View) unsaved(ps []Project) []string {
	var out []string
	for _, p := range ps {
		if p.phase() == phaseUnsaved && len(out) < listMax {
			out = append(out, fmt.Sprintf("> [!CAUTION]\n> The state of %s was **not saved** after its apply. The only copy is kept with the run%s; "+
				"until it is pushed back, this project applies nothing.\n> Repair: %s. By hand: %s, in the project %s, then %s.", code(p.Run.Label), here(p),
				code("planlatch state push "+string(p.Run.ID)+" -p "+p.Run.Label), code("planlatch state pull "+string(p.Run.ID)+" > errored.tfstate"), code("tofu state push errored.tfstate"), v.command("unlock", "-p", p.Run.Label)))
		}
	}
	return out
}

func (v View) interrupted(ps []Project) []string {
	var out []string
	for _, p := range ps {
		if p.phase() != phaseInterrupted || len(out) >= listMax {
			continue
		}
		text := fmt.Sprintf("> [!CAUTION]\n> The apply of %s was **interrupted** and nobody knows how far it came%s.", code(p.Run.Label), here(p))
		if p.Run.Reason != "" {
			text += " Reason: " + prose(p.Run.Reason) + "."
		}
		if told := progressWords(p); told != "" {
			text += "\n> " + told
		}
		out = append(out, text+fmt.Sprintf("\n> It keeps its lock. Look at the log and at the real objects; once nothing of it runs any more, say %s: that plans again and shows what is left.",
			v.command("unlock -p", p.Run.Label)))
	}
	return out
}

// progressWords says how far the log of an interrupted apply has come.
func progressWords(p Project) string {
	if p.Progress == nil {
		return ""
	}
	var out []string
	say := func(what string, addresses []string) {
		if len(addresses) > 0 {
			out = append(out, what+" "+names(addresses)+".")
		}
	}
	say("Its log says done:", p.Progress.Done)
	say("Begun, and perhaps half done:", p.Progress.Begun)
	say("Not seen to begin:", p.Progress.Rest)
	if len(p.Progress.Done)+len(p.Progress.Begun) == 0 {
		out = append([]string{"Its log shows nothing that was begun."}, out...)
	}
	return strings.Join(out, " ")
}

// here links to a run in passing.
func here(p Project) string {
	if l := link("run", p.RunURL); l != "run" {
		return " (" + l + ")"
	}
	return ""
}

// frozen says who paused applies, and what becomes of those that wait.
func (v View) frozen(ps []Project) []string {
	if v.Pause == nil {
		return nil
	}
	text := "> ⏸️ Applies are paused by " + words(v.Pause.Actor)
	if !v.Pause.At.IsZero() {
		text += " since " + v.Pause.At.UTC().Format("2 January 2006 15:04 UTC")
	}
	out := []string{text + ": " + prose(v.Pause.Reason)}
	if l := labels(ps, in(phaseConfirmed)); len(l) > 0 {
		out = append(out, "> Confirmed and waiting: "+names(l)+". What waits goes on by itself when applies are resumed; after 24 hours it must be confirmed again.")
	}
	return []string{strings.Join(out, "  \n")} // two spaces: a line of its own, also where a single newline does not break
}

func (v View) addProblems(p *page) {
	if v.Conflict {
		p.text(fmt.Sprintf("%s and %s do not merge without conflicts, so there is nothing to plan. Merge or rebase %s, resolve them and push.",
			code(v.Pull.HeadBranch), code(v.BaseBranch), code(v.BaseBranch)))
	}
	var out []string
	for i, problem := range v.Problems {
		if i == listMax {
			out = append(out, fmt.Sprintf("- … and %s more", number(len(v.Problems)-i)))
			break
		}
		out = append(out, "- "+problemLine(problem))
	}
	p.list(out)
}

// where is the place of a problem: planlatch.yaml:7:5.
func where(pr run.Problem) string {
	at := place(pr.File, pr.Line)
	if pr.File != "" && pr.Line > 0 && pr.Column > 0 {
		at += fmt.Sprintf(":%d", pr.Column)
	}
	return at
}

func problemLine(pr run.Problem) string {
	at := where(pr)
	var b strings.Builder
	if at != "" {
		b.WriteString(code(at) + " ")
	}
	if pr.Key != "" {
		b.WriteString(code(pr.Key) + ": ")
	}
	b.WriteString(prose(pr.Message))
	if pr.Fix != "" {
		b.WriteString("  \n  Fix: " + prose(pr.Fix))
	}
	return b.String()
}

// rest tells about the projects that have no row, in numbers.
func (v View) rest(ps []Project) []string {
	var parts []string
	if n := len(labels(ps, in(phaseUnchanged))); n > 0 && n < len(ps) {
		parts = append(parts, fmt.Sprintf("%s planned without changes", count(n, "project", "projects")))
	} else if n > 0 {
		parts = append(parts, "Planned, and there is nothing to do")
	}
	all := labels(ps, func(Project) bool { return true })
	if n := v.Known - len(all); n > 0 && len(all) > 0 {
		parts = append(parts, number(n)+" not touched by this change")
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{strings.Join(parts, ", ") + "."}
}

// dangers names what is lost, and why.
func dangers(gs []group) []string {
	var out []string
	more := 0
	for _, g := range gs {
		if !g.changes() || g.tried() || g.same != "" {
			continue
		}
		if twice := g.Plan.Twice; len(twice) > 0 {
			out = append(out, fmt.Sprintf("> %s creates **a second time** what the interrupted apply has created, as its log shows, and the state does not know: %s. "+
				"Import it into the state first, or delete it.", names(g.names), names(twice)))
		}
		for _, c := range g.Plan.Changes {
			if c.Kind != Delete && c.Kind != Replace || c.Keeps {
				continue
			}
			if len(out) == dangersMax {
				more += len(g.names)
				continue
			}
			out = append(out, "> "+lossOf(g, c))
		}
		if left := g.Run.Counts.Destroy + g.Run.Counts.Replace; len(g.Plan.Changes) == 0 && left > 0 {
			out = append(out, fmt.Sprintf("> %s replaces or destroys %s.", names(g.names), count(left, "resource", "resources")))
		}
	}
	if len(out) == 0 {
		return nil
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("> … and %s more replaced or destroyed.", number(more)))
	}
	// Two spaces: one line each, also where a single newline does not break.
	return []string{"> [!CAUTION]", strings.Join(out, "  \n")}
}

func lossOf(g group, c Change) string {
	verb := "destroys"
	if c.Kind == Replace {
		verb = "replaces"
	}
	if len(g.names) > 1 {
		verb = strings.TrimSuffix(verb, "s")
	}
	text := fmt.Sprintf("%s **%s** %s", names(g.names), verb, code(c.Address))
	var forcing []string
	for _, a := range c.Attrs {
		if a.Forces && len(forcing) < 3 {
			forcing = append(forcing, code(a.Path))
		}
	}
	switch {
	case c.Kind == Replace && len(forcing) == 1:
		text += " because " + forcing[0] + " changes"
	case c.Kind == Replace && len(forcing) > 1:
		text += " because " + strings.Join(forcing, ", ") + " change"
	case c.Reason != "":
		_, why, ok := strings.Cut(c.Reason, ": ")
		if !ok {
			why = c.Reason
		}
		text += ": " + prose(why)
	}
	if at := place(c.File, c.Line); at != "" {
		text += " (" + code(at) + ")"
	}
	text += "."
	if c.stateful() {
		text += " Its data goes with it."
	}
	return text
}
