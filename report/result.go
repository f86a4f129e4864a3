package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// ApplyMarker ends the result comments of a head commit.
func ApplyMarker(head string) string { return marker(applyMarker, head) }

// CallMarker ends the comments that call a person: a merge that waits, an apply that was interrupted.
func CallMarker(head string) string { return marker(callMarker, head) }

func marker(format, head string) string {
	if !hexadecimal.MatchString(head) {
		head = "unknown"
	}
	return fmt.Sprintf(format, head)
}

// Result is the comment about an attempt to apply, in at most limit bytes: what was done, what was not, and how to go on. The view holds
// the projects of the attempt.
func Result(v View, limit int) string {
	ps := v.sorted()
	gs := groups(ps)
	p := &page{limit: limit, marker: ApplyMarker(v.Head), more: v.whole(ps)}
	p.text("### planlatch: " + v.headline(ps))
	p.list(v.unsaved(ps))
	p.list(v.interrupted(ps))
	v.addTable(p, gs)
	v.addFailures(p, gs)
	p.list(v.retries(ps))
	return p.String()
}

// retries says what is left of failed applies and how to go on.
func (v View) retries(ps []Project) []string {
	var out []string
	for _, p := range ps {
		if p.phase() != phaseApplyFailed || len(out) >= listMax {
			continue
		}
		if len(p.Left) > 0 {
			out = append(out, "Not done in "+code(p.Run.Label)+": "+names(p.Left)+".")
		}
		out = append(out, "State is saved; what was done stays done. Say "+v.command("plan -p", p.Run.Label)+" to see what is left, "+
			v.command("apply -p", p.Run.Label)+" to go on.")
	}
	waiting := labels(ps, func(p Project) bool { return p.Run.State == run.Planned || p.Run.State == run.Confirmed })
	if failed := slices.ContainsFunc(ps, in(phaseApplyFailed)); failed && len(waiting) > 0 {
		out = append(out, names(waiting)+" did not start because of the failure.")
	}
	return out
}

// MergeWaits is the comment that calls somebody back: a merged plan needs a person, or an apply that was confirmed found a gate shut when it
// was its turn. It says what differs from the reviewed plan, and what is missing.
func MergeWaits(v View, limit int) string {
	ps := v.sorted()
	gs := groups(ps)
	p := &page{limit: limit, marker: CallMarker(v.Head), more: v.whole(ps)}
	waiting := labels(ps, func(p Project) bool { return p.Run.State == run.Planned })
	verb := "need"
	if len(waiting) == 1 {
		verb = "needs"
	}
	if v.Kind == run.KindMerge {
		p.text(fmt.Sprintf("### planlatch: merged, but %s %s a person before it applies", names(waiting), verb))
	} else {
		p.text(fmt.Sprintf("### planlatch: %s was told to apply and did not: something changed before it started", names(waiting)))
	}
	p.text(called(v.Mention))
	p.list(v.waits(ps))
	p.list(dangers(gs))
	v.addPolicy(p, gs)
	p.list(v.checklist(ps))
	p.text(v.next(ps))
	v.addDetails(p, gs)
	return p.String()
}

// Interrupted is the comment about applies that vanished or were killed.
func Interrupted(v View, limit int) string {
	ps := v.sorted()
	p := &page{limit: limit, marker: CallMarker(v.Head), more: v.whole(ps)}
	p.text(fmt.Sprintf("### planlatch: the apply of %s was interrupted", names(labels(ps, in(phaseInterrupted)))))
	p.text(called(v.Mention))
	p.list(v.interrupted(ps))
	for _, pr := range ps {
		if pr.phase() == phaseInterrupted && v.quotes() && strings.TrimSpace(pr.Failure) != "" {
			lines := strings.Split(strings.TrimSpace(Clean(pr.Failure)), "\n")
			p.add(block{text: "The last it said in " + code(pr.Run.Label) + ":", language: "text", lines: lines[max(0, len(lines)-15):], after: runLinks(pr)})
		}
	}
	return p.String()
}

func called(who string) string {
	if m := mention(who); m != "" {
		return m + ", please look."
	}
	return ""
}
