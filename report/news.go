package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Event is something that chat channels and webhooks are told of. The names are part of server.yaml and of the webhook's body.
type Event string

// The events, worst first: of those that come together, people are told the first.
const (
	EventStateNotSaved Event = "state_not_saved"
	EventInterrupted   Event = "interrupted"
	EventApplyFailed   Event = "apply_failed"
	EventApplied       Event = "applied"
	EventMergeDiffers  Event = "merge_differs"
	EventPlanFailed    Event = "plan_failed"
	EventPolicyFailed  Event = "policy_failed"
	EventNeedsApproval Event = "needs_approval"
)

// PlanEvents lists what the plans of a view come to, worst first; nothing while any of them can still change by itself. known says that the
// pull request could be read from its host: without it, nobody is called to approve.
func PlanEvents(v View, known bool) []Event {
	if v.over() || v.Conflict || slices.ContainsFunc(v.Projects, Project.going) {
		return nil
	}
	var out []Event
	some := func(e Event, is func(Project) bool) {
		if slices.ContainsFunc(v.Projects, is) {
			out = append(out, e)
		}
	}
	if len(v.Problems) > 0 && len(v.Projects) == 0 {
		out = append(out, EventPlanFailed)
	}
	some(EventPlanFailed, in(phasePlanFailed))
	if v.Kind == run.KindMerge {
		return out // a merged plan that waits has a call of its own
	}
	some(EventPolicyFailed, func(p Project) bool { return in(phaseBlocked, phaseHeld)(p) || p.stopped() })
	if known && v.Pull.State == "open" && !v.Pull.Draft {
		some(EventNeedsApproval, Project.needsApproval)
	}
	return out
}

// going says whether a plan is under way. One that waits for something of another pull request is not: that may take days.
func (p Project) going() bool {
	return p.Run.State == run.Planning || p.Run.State == run.Queued && p.HeldBy == ""
}

// ApplyEvents lists what became of the runs of a view that were to apply, worst first.
func ApplyEvents(v View) []Event {
	var out []Event
	some := func(e Event, is func(Project) bool) {
		if slices.ContainsFunc(v.Projects, is) {
			out = append(out, e)
		}
	}
	some(EventStateNotSaved, in(phaseUnsaved))
	some(EventInterrupted, in(phaseInterrupted))
	some(EventApplyFailed, in(phaseApplyFailed))
	some(EventApplied, in(phaseApplied))
	if v.Kind == run.KindMerge {
		some(EventMergeDiffers, func(p Project) bool { return p.Run.State == run.Planned })
	}
	return out
}

// Substance is what an event is about: as long as it is the same, the event is not told again.
func Substance(v View, e Event) string {
	var parts []string
	for _, p := range v.sorted() {
		what := ""
		switch r := p.Run; e {
		case EventPlanFailed:
			if p.phase() == phasePlanFailed {
				what = r.Reason
			}
		case EventPolicyFailed:
			for _, f := range p.Findings {
				if f.Level != run.Advisory && !run.Overridden(r, f, p.Overrides) {
					what += fmt.Sprintf("%s/%s/%s/%s ", f.Set, f.Rule, f.Resource, f.Value)
				}
			}
		case EventNeedsApproval, EventMergeDiffers:
			if r.State == run.Planned {
				what = r.EffectDigest
			}
		case EventApplied, EventApplyFailed, EventInterrupted, EventStateNotSaved:
			what = string(r.ID) + " " + string(r.State)
		}
		if what != "" {
			parts = append(parts, fmt.Sprintf("%d %s", p.Run.Project, what))
		}
	}
	for _, p := range v.Problems {
		parts = append(parts, where(p)+" "+p.Message)
	}
	slices.Sort(parts)
	return string(e) + "\n" + strings.Join(parts, "\n")
}

// News is an event for programs. docs/notify.md documents its JSON; fields are added, never renamed. Text in it is data as it came:
// whoever shows it escapes it.
type News struct {
	Event      Event         `json:"event"`
	Summary    string        `json:"summary"` // the answer in a few words: "apply failed"
	Repository NewsRepo      `json:"repository"`
	Pull       *NewsPull     `json:"pull_request"` // null for a push
	Revision   NewsRevision  `json:"revision"`
	Waiting    []string      `json:"waiting_for"`
	Problems   []string      `json:"problems"` // of the configuration, when nothing could be planned
	Projects   []NewsProject `json:"projects"` // worst first
	More       int           `json:"more_projects"`
}

// NewsRepo is a repository.
type NewsRepo struct {
	Host string `json:"host"` // its name in server.yaml
	Name string `json:"name"`
}

// NewsPull is a pull request.
type NewsPull struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	URL    string `json:"url"`
	Author string `json:"author"`
	State  string `json:"state"`
}

// NewsRevision is the commit that was looked at.
type NewsRevision struct {
	Kind   run.Kind `json:"kind"` // change before the merge, merge after it
	Branch string   `json:"branch"`
	Head   string   `json:"head"`
	Base   string   `json:"base"`
}

// NewsProject is a project with its latest run.
type NewsProject struct {
	Name      string      `json:"name"`
	Dir       string      `json:"dir"`
	Workspace string      `json:"workspace"`
	Run       run.ID      `json:"run"`
	URL       string      `json:"url"`
	State     run.State   `json:"state"`
	Reason    string      `json:"reason"`
	Phase     string      `json:"phase"`  // plan, or apply once one was begun
	Policy    run.Verdict `json:"policy"` // empty before the plan
	Unsaved   bool        `json:"state_not_saved"`
	Changes   NewsCounts  `json:"changes"`
}

// NewsCounts are the numbers of a plan, or of what an apply did.
type NewsCounts struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Replace int `json:"replace"`
	Destroy int `json:"destroy"`
}

const newsProjects = 100

// NewsOf tells an event of a view to a program.
func NewsOf(v View, e Event) News {
	card := ChatCard(v)
	n := News{
		Event: e, Summary: card.Headline, Repository: NewsRepo{v.Repo.Host, v.Repo.Name},
		Revision: NewsRevision{v.Kind, v.BaseBranch, v.Head, v.Base},
		Waiting:  append([]string{}, card.Waiting...), Problems: []string{}, Projects: []NewsProject{},
	}
	if p := v.Pull; p.Number != 0 {
		n.Pull = &NewsPull{p.Number, p.Title, p.URL, p.Author, p.State}
	}
	for _, p := range v.Problems {
		n.Problems = append(n.Problems, strings.TrimSpace(where(p)+" "+p.Message))
	}
	for i, p := range v.sorted() {
		if i == newsProjects {
			n.More = len(v.Projects) - i
			break
		}
		r := p.Run
		np := NewsProject{
			Name: r.Label, Dir: r.Dir, Workspace: r.Work, Run: r.ID, URL: p.RunURL, State: r.State, Reason: r.Reason, Phase: "plan", Unsaved: r.Unsaved,
			Changes: NewsCounts{r.Counts.Add, r.Counts.Change, r.Counts.Replace, r.Counts.Destroy},
		}
		if p.tried() {
			np.Phase = "apply"
		}
		if p.changes() {
			np.Policy = p.verdict()
		}
		n.Projects = append(n.Projects, np)
	}
	return n
}
