package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// descriptionMax is what the strictest host takes in the description of a status.
const descriptionMax = 140

// Statuses are the commit statuses of a view: one for plan, policy and apply each, and one per project while there are no more than
// perProject. Projects in shadow mode report under their own contexts, so that no rule of the host can depend on them by accident.
func Statuses(v View, perProject int) []vcs.Status {
	var live, trial []Project
	for _, p := range v.sorted() {
		if p.Run.Settings.Apply == run.ApplyOff {
			trial = append(trial, p)
		} else {
			live = append(live, p)
		}
	}
	var out []vcs.Status
	if len(live) > 0 || len(trial) == 0 && v.Mode != run.ApplyOff {
		out = append(out, v.statuses("planlatch", live)...)
	}
	if len(trial) > 0 || len(live) == 0 && v.Mode == run.ApplyOff {
		out = append(out, v.statuses("planlatch-trial", trial)...)
	}
	if len(v.Projects) > perProject {
		return out
	}
	for _, p := range slices.Concat(live, trial) {
		prefix := "planlatch"
		if p.Run.Settings.Apply == run.ApplyOff {
			prefix = "planlatch-trial"
		}
		state, text := v.planOf(p)
		out = append(out, status(prefix+"/plan: "+line(p.Run.Label), state, text, p.RunURL))
	}
	return out
}

// Worst joins the statuses of several views of one commit, such as a head that is in two open pull requests: for each context the worst,
// and of equals the first. Contexts keep their order.
func Worst(lists ...[]vcs.Status) []vcs.Status {
	rank := map[vcs.StatusState]int{vcs.StatusSuccess: 0, vcs.StatusPending: 1, vcs.StatusFailure: 2, vcs.StatusError: 3}
	var out []vcs.Status
	for _, s := range slices.Concat(lists...) {
		i := slices.IndexFunc(out, func(o vcs.Status) bool { return o.Context == s.Context })
		switch {
		case i < 0:
			out = append(out, s)
		case rank[s.State] > rank[out[i].State]:
			out[i] = s
		}
	}
	return out
}

func status(context string, state vcs.StatusState, text, url string) vcs.Status {
	text = line(text)
	if runes := []rune(text); len(runes) > descriptionMax {
		text = string(runes[:descriptionMax-1]) + "…"
	}
	if !usable.MatchString(url) {
		url = ""
	}
	return vcs.Status{Context: context, State: state, Description: text, URL: url}
}

func (v View) statuses(prefix string, ps []Project) []vcs.Status {
	url := v.URL
	if len(ps) > 0 {
		url = ps[0].RunURL // the worst comes first
	}
	planState, planText := v.planStatus(ps)
	policyState, policyText := v.policyStatus(ps)
	applyState, applyText := v.applyStatus(ps)
	return []vcs.Status{
		status(prefix+"/plan", planState, planText, url),
		status(prefix+"/policy", policyState, policyText, url),
		status(prefix+"/apply", applyState, applyText, url),
	}
}

// broken says why nothing could be planned at all.
func (v View) broken() (string, bool) {
	switch {
	case v.Conflict:
		return "conflicts with " + v.BaseBranch, true
	case len(v.Problems) > 0:
		p := v.Problems[0]
		text := p.Message
		if at := where(p); at != "" {
			text = at + ": " + text
		}
		if more := len(v.Problems) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		return text, true
	}
	return "", false
}

func (v View) planStatus(ps []Project) (vcs.StatusState, string) {
	if why, ok := v.broken(); ok {
		return vcs.StatusFailure, why
	}
	if v.Untrusted {
		return vcs.StatusPending, v.maintainer()
	}
	if len(ps) == 0 {
		return vcs.StatusSuccess, "no project is touched"
	}
	failed := labels(ps, in(phasePlanFailed))
	canceled := labels(ps, in(phaseCanceled))
	going := labels(ps, in(phasePlanning, phaseQueued))
	switch {
	case len(failed) == 1 && len(labels(ps, Project.stopped)) == 1:
		return vcs.StatusFailure, failed[0] + ": policy stopped it before anything ran"
	case len(failed) == 1:
		return vcs.StatusFailure, "the plan of " + failed[0] + " failed"
	case len(failed) > 1:
		return vcs.StatusFailure, fmt.Sprintf("%d plans failed", len(failed))
	case len(going) > 0:
		return vcs.StatusPending, fmt.Sprintf("%d of %d planned", len(ps)-len(going), len(ps))
	case len(canceled) > 0:
		return vcs.StatusFailure, "the plan of " + strings.Join(canceled[:1], "") + " was canceled; say " + v.prefix() + " plan"
	}
	changed := slices.DeleteFunc(slices.Clone(ps), func(p Project) bool { return !p.changes() })
	switch len(changed) {
	case 0:
		if p := ps[0]; p.phase() == phaseSuperseded {
			return vcs.StatusSuccess, superseded(p)
		}
		return vcs.StatusSuccess, "no changes in " + count(len(ps), "project", "projects")
	case 1:
		return vcs.StatusSuccess, changed[0].Run.Label + ": " + planWords(planned(changed[0]))
	}
	return vcs.StatusSuccess, fmt.Sprintf("%d of %s change", len(changed), count(len(ps), "project", "projects"))
}

// maintainer says what an untrusted pull request waits for.
func (v View) maintainer() string { return "waits for a maintainer to say " + v.prefix() + " plan" }

func superseded(p Project) string {
	if p.Run.Reason == "" {
		return "superseded"
	}
	return "superseded: " + p.Run.Reason
}

// planned are the counts of the plan, also when the run's own say by now what was done.
func planned(p Project) run.Counts {
	if p.tried() && p.Plan.Counts != (run.Counts{}) {
		return p.Plan.Counts
	}
	return p.Run.Counts
}

// planOf is the status of one project's plan.
func (v View) planOf(p Project) (vcs.StatusState, string) {
	partial := ""
	if p.Run.Partial {
		partial = "partial: "
	}
	switch p.phase() {
	case phasePlanFailed:
		if p.Run.Reason != "" {
			return vcs.StatusFailure, p.Run.Reason
		}
		return vcs.StatusFailure, "the plan failed"
	case phasePlanning:
		return vcs.StatusPending, "planning"
	case phaseQueued:
		if p.Waits != "" {
			return vcs.StatusPending, "queued, waits: " + p.Waits
		}
		if p.Position > 0 {
			return vcs.StatusPending, fmt.Sprintf("queued, %d ahead", p.Position)
		}
		return vcs.StatusPending, "queued"
	case phaseCanceled:
		return vcs.StatusFailure, "canceled"
	case phaseSuperseded:
		return vcs.StatusSuccess, superseded(p)
	case phaseUnchanged:
		return vcs.StatusSuccess, partial + "no changes"
	default: // planned
	}
	if text := planWords(planned(p)); text != "" {
		return vcs.StatusSuccess, partial + text
	}
	return vcs.StatusSuccess, partial + "planned"
}

func (v View) policyStatus(ps []Project) (vcs.StatusState, string) {
	if _, ok := v.broken(); ok {
		return vcs.StatusFailure, "nothing was planned"
	}
	if v.Untrusted {
		return vcs.StatusPending, v.maintainer()
	}
	if len(ps) == 0 {
		return vcs.StatusSuccess, "no project is touched"
	}
	var hard, soft, warned, unjudged int
	judged, none := 0, true
	for _, p := range ps {
		if !p.changes() && !p.stopped() {
			continue
		}
		judged++
		none = none && p.NoPolicy
		switch {
		case p.verdict() == run.VerdictHard:
			hard++
		case p.verdict() == run.VerdictSoft:
			soft++
		case p.Run.PolicyDigest == "":
			unjudged++
		case p.verdict() == run.VerdictWarn:
			warned++
		}
	}
	failed := labels(ps, in(phasePlanFailed))
	going := labels(ps, in(phasePlanning, phaseQueued))
	canceled := labels(ps, in(phaseCanceled))
	switch {
	case hard > 0:
		return vcs.StatusFailure, fmt.Sprintf("hard failure in %s", count(hard, "project", "projects"))
	case soft > 0:
		return vcs.StatusFailure, fmt.Sprintf("%s a fix or an owner's override", map[bool]string{true: "1 project needs", false: fmt.Sprintf("%d projects need", soft)}[soft == 1])
	case len(failed)+len(canceled) > 0:
		return vcs.StatusFailure, "not judged: there is no plan of " + append(failed, canceled...)[0]
	case len(going) > 0:
		return vcs.StatusPending, "waits for the plans"
	case unjudged > 0:
		return vcs.StatusFailure, "not judged"
	case warned > 0:
		return vcs.StatusSuccess, fmt.Sprintf("pass, with advice or overrides in %s", count(warned, "project", "projects"))
	case judged == 0:
		return vcs.StatusSuccess, "nothing to judge"
	case none:
		return vcs.StatusSuccess, "no policy configured"
	}
	return vcs.StatusSuccess, "pass"
}

func (v View) applyStatus(ps []Project) (vcs.StatusState, string) {
	if _, ok := v.broken(); ok {
		return vcs.StatusFailure, "nothing was planned"
	}
	if v.Untrusted {
		return vcs.StatusPending, v.maintainer()
	}
	if len(ps) == 0 {
		return vcs.StatusSuccess, "no project is touched"
	}
	first := func(phases ...phase) string {
		if l := labels(ps, in(phases...)); len(l) > 0 {
			return l[0]
		}
		return ""
	}
	if p := first(phaseUnsaved); p != "" {
		return vcs.StatusError, p + ": state not saved"
	}
	if p := first(phaseInterrupted); p != "" {
		return vcs.StatusError, p + ": interrupted, a person must look"
	}
	if p := first(phaseApplyFailed); p != "" {
		return vcs.StatusFailure, "the apply of " + p + " failed"
	}
	if p := first(phasePlanFailed); p != "" {
		if slices.Contains(labels(ps, Project.stopped), p) {
			return vcs.StatusFailure, p + ": policy stopped it before anything ran"
		}
		return vcs.StatusFailure, "the plan of " + p + " failed"
	}
	if p := first(phaseApplying); p != "" { // also while others are paused: what runs goes on
		return vcs.StatusPending, "applying " + p
	}
	if v.Pause != nil && slices.ContainsFunc(ps, func(p Project) bool { return !p.done() }) {
		return vcs.StatusPending, fmt.Sprintf("paused by %s: %s", v.Pause.Actor, v.Pause.Reason)
	}
	if p := first(phaseConfirmed); p != "" {
		return vcs.StatusPending, p + " is confirmed and waits for its turn"
	}
	if first(phasePlanning, phaseQueued) != "" {
		return vcs.StatusPending, "waits for the plans"
	}
	if l := labels(ps, func(p Project) bool { return p.Run.Partial }); len(l) > 0 {
		return vcs.StatusPending, l[0] + " is planned in part only; say " + v.prefix() + " plan"
	}
	if p := first(phaseCanceled); p != "" {
		return vcs.StatusFailure, p + " was canceled"
	}
	return v.waitingStatus(ps)
}

// done says whether nothing of a project is left to apply.
func (p Project) done() bool {
	phase := p.phase()
	return !p.Run.Partial && (phase == phaseApplied || phase == phaseUnchanged || phase == phaseSuperseded)
}

// waitingStatus is the apply status when nothing failed and nothing runs.
func (v View) waitingStatus(ps []Project) (vcs.StatusState, string) {
	open := slices.DeleteFunc(slices.Clone(ps), Project.done)
	if len(open) == 0 {
		if applied := len(labels(ps, in(phaseApplied))); applied > 0 {
			return vcs.StatusSuccess, "applied " + count(applied, "project", "projects")
		}
		return vcs.StatusSuccess, "nothing to apply"
	}
	if v.all(open, run.ApplyOff) {
		return vcs.StatusSuccess, "shadow mode: nothing ever applies"
	}
	if l := labels(open, func(p Project) bool { return p.Run.NoBackend }); len(l) > 0 {
		return vcs.StatusFailure, l[0] + " has no backend and can never apply"
	}
	if v.Kind == run.KindMerge || open[0].Run.Kind == run.KindMerge {
		return vcs.StatusPending, count(len(open), "merged plan waits", "merged plans wait") + " for a person"
	}
	var told []string
	for _, p := range open {
		if p.Run.Settings.Apply != run.ApplyAfterMerge && p.Run.Settings.Apply != run.ApplyManual {
			told = append(told, p.Run.Label)
		}
	}
	switch {
	case len(told) > 0 && v.openGates(open) > 0:
		return vcs.StatusPending, "waits for " + count(v.openGates(open), "thing", "things") + " and for " + v.prefix() + " apply"
	case len(told) > 0:
		return vcs.StatusPending, "waits for " + v.prefix() + " apply"
	case v.all(open, run.ApplyManual):
		return vcs.StatusSuccess, "applies after merge, when told"
	}
	return vcs.StatusSuccess, "applies after merge"
}
