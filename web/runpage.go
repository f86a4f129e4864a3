package web

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// runView is the page of one run: the answer first, danger before detail.
type runView struct {
	Now      time.Time
	ID       run.ID
	State    badge
	RawState run.State
	Project  string
	Repo     string
	Pull     int
	PullURL  string
	Title    string
	Headline []chip // numbers of the plan, or of what was done
	Answer   string // one sentence on where it stands
	Why      string
	Notices  []notice
	Differs  []template.HTML // what the merged plan does that the reviewed one did not
	Gates    []run.Gate
	Open     int // gates that do not hold
	Next     string
	Command  string // to copy
	Findings []findingView
	Policy   string // when there is no finding
	Failure  string
	Left     []string
	Plan     *planView
	Logs     []logView
	LogHref  string
	Live     string // address of the live log; empty when the run has ended
	Timeline []event
	Facts    []fact
	Digests  []fact
	HeadSHA  string

	Acknowledge string // where the form goes that settles an interrupted run
}

// notice is something that stands on top because it is urgent. Class is bad, warn or info.
type notice struct {
	Class, Title, Text string
	List               []string
	Command            string
}

type findingView struct {
	run.Finding
	Class      string
	Place      string
	Overridden []run.Override
	Accepted   bool
	Owners     string
	Command    string
}

type logView struct {
	Phase, Title string
	HTML         template.HTML
	Cut          bool
	Live         bool
	Open         bool
}

type event struct {
	Name, Note, Age string
	At              time.Time
	Class           string
}

type fact struct {
	Name, Value string
	Code        bool
}

// GET /runs/{id}: state, plan, findings, checklist and log of a run.
func (h *Handler) runPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	view, late, err := h.known.get(ctx, rn)
	if err != nil {
		return err
	}
	v := h.newRunView(view, rn, visitorOf(r))
	if late {
		v.Notices = append(v.Notices, notice{Class: "warn", Title: "The VCS host does not answer",
			Text: "What must hold before an apply cannot be told right now. Plan, findings and log are shown as they were stored."})
	}
	v.Notices = append(v.Notices, removals(rn)...)
	if v.Logs, err = h.logs(ctx, rn); err != nil {
		return err
	}
	title := v.Project + " · " + v.State.Text
	return h.render(w, r, http.StatusOK, "run", title, v)
}

func (h *Handler) newRunView(view report.View, r run.Run, who visitor) runView {
	p := report.Project{Run: r}
	if len(view.Projects) > 0 {
		p = view.Projects[0]
	}
	query := ""
	if who.grant != "" {
		query = "?" + url.Values{grantParam: {who.grant}}.Encode()
	}
	v := runView{
		Now: h.Now(), ID: r.ID, State: badgeOf(r), RawState: r.State, Project: label(r), Repo: view.Repo.Name, Pull: view.Pull.Number,
		PullURL: outside(view.Pull.URL), Title: view.Pull.Title, Why: r.Reason, Gates: p.Gates, HeadSHA: view.Head,
		LogHref: h.base + runPath(r.ID) + "/log" + query, Left: p.Left,
	}
	if !r.State.Final() {
		v.Live = h.base + runPath(r.ID) + "/log/live" + query
	}
	if r.State == run.Interrupted {
		v.Acknowledge = h.base + runPath(r.ID) + "/acknowledge"
	}
	if !r.Planned.IsZero() {
		v.Headline = chips(r.Counts)
	}
	for _, g := range p.Gates {
		if !g.Holds {
			v.Open++
		}
	}
	v.Answer = answer(p, v.Open)
	v.Notices = notices(view, p)
	v.Next, v.Command = next(view, p)
	v.Findings = findings(view, p)
	v.Policy = policyWords(p)
	if r.State == run.Failed || r.State == run.Interrupted {
		v.Failure = report.Excerpt(p.Failure)
	}
	if p.Reviewed != nil && r.State == run.Planned && p.Reviewed.Run.EffectDigest != r.EffectDigest {
		for _, d := range report.Differences(p.Reviewed.Plan, p.Plan, true) {
			v.Differs = append(v.Differs, inline(d))
		}
	}
	if len(p.Plan.Changes)+len(p.Plan.Outputs) > 0 {
		plan := planOf(p.Plan)
		v.Plan = &plan
	}
	v.Timeline = timeline(v.Now, p)
	v.Facts, v.Digests = factsOf(view, p, who)
	return v
}

// logs are the ends of the logs that are whole; the one being written comes live.
func (h *Handler) logs(ctx context.Context, r run.Run) ([]logView, error) {
	logs := []logView{{Phase: phasePlan, Title: "Plan", Live: r.State == run.Queued || r.State == run.Planning}}
	if !r.ApplyStarted.IsZero() || r.State == run.Confirmed {
		logs = append(logs, logView{Phase: phaseApply, Title: "Apply", Live: r.State == run.Applying || r.State == run.Interrupted || r.State == run.Confirmed})
	}
	for i := range logs {
		l := &logs[i]
		l.Open = l.Live || i == len(logs)-1 && (r.State == run.Failed || r.State == run.Applied)
		if l.Live {
			continue
		}
		text, _, cut, err := h.tail(ctx, r.ID, l.Phase)
		if err != nil {
			return nil, err
		}
		var p painter
		l.HTML, l.Cut = template.HTML(p.paint(text, true)), cut //nolint:gosec // paint escapes all but its own spans
	}
	return slices.DeleteFunc(logs, func(l logView) bool { return !l.Live && l.HTML == "" }), nil
}

// timeline tells what happened, in order.
func timeline(now time.Time, p report.Project) []event {
	r := p.Run
	var out []event
	add := func(name string, at time.Time, note, class string) {
		if !at.IsZero() {
			out = append(out, event{Name: name, At: at, Age: ago(now, at), Note: note, Class: class})
		}
	}
	by := ""
	if r.Actor != "" {
		by = "asked by " + r.Actor
	}
	add("Queued", r.Created, by, "")
	add("Planning", r.Started, again(r), "")
	if !r.Planned.IsZero() {
		name, class := "Planned", "ok"
		if r.State == run.Failed && r.ApplyStarted.IsZero() {
			name, class = "Plan failed", "bad"
		}
		add(name, r.Planned, "in "+report.Took(r.Planned.Sub(r.Started)), class)
	}
	for _, o := range p.Overrides {
		if slices.ContainsFunc(p.Findings, func(f run.Finding) bool { return covers(r, f, o) }) {
			add("Override", o.At, o.Actor+" accepted "+o.Rule, "warn")
		}
	}
	add("Confirmed", r.Confirmed, "by "+r.ConfirmedBy, "")
	add("Applying", r.ApplyStarted, "", "")
	if end := badgeOf(r); r.State.Final() && !(r.Finished.Equal(r.Planned) && r.State == run.Failed) {
		note := ""
		if !r.ApplyStarted.IsZero() {
			note = "after " + report.Took(r.Finished.Sub(r.ApplyStarted))
		}
		add(strings.ToUpper(end.Text[:1])+end.Text[1:], r.Finished, note, end.Class)
	}
	slices.SortStableFunc(out, func(a, b event) int { return a.At.Compare(b.At) })
	return out
}

func again(r run.Run) string {
	if r.Attempt > 1 {
		return fmt.Sprintf("attempt %d", r.Attempt)
	}
	return ""
}

// factsOf are what a run was made of.
func factsOf(view report.View, p report.Project, who visitor) (out, digests []fact) {
	r := p.Run
	add := func(name, value string, code bool) {
		if value != "" {
			out = append(out, fact{name, value, code})
		}
	}
	add("Directory", r.Dir, true)
	if r.Work != "default" {
		add("Workspace", r.Work, true)
	}
	kind := map[run.Kind]string{run.KindChange: "pull request", run.KindMerge: "merge", run.KindDestroy: "destroy", run.KindDrift: "drift", run.KindManual: "manual"}
	add("Kind", kind[r.Kind], false)
	add("Author", view.Pull.Author, false)
	add("Head", short(view.Head), true)
	base := short(view.Base)
	if view.BaseBranch != "" {
		base = strings.TrimSpace(view.BaseBranch + " " + base)
	}
	add("Base", base, true)
	add("Tool", r.Tool, false)
	add("Backend", r.Settings.Backend, false)
	add("Environment", r.Settings.Environment, false)
	add("Applies", string(r.Settings.Apply), true)
	add("Flags", strings.Join(r.Settings.Flags, " "), true)
	add("Not compared", strings.Join(r.Settings.EffectIgnore, ", "), true)
	if who.member { // names of machines are for those who run them
		add("Node", r.Node, true)
		add("Execution", r.Execution, true)
	}
	add("Run", string(r.ID), true)
	for _, d := range []fact{{"Plan", r.PlanDigest, true}, {"Effect", r.EffectDigest, true}, {"Inputs", r.InputsDigest, true}, {"Policy", r.PolicyDigest, true}} {
		if d.Value != "" {
			digests = append(digests, d)
		}
	}
	return out, digests
}
