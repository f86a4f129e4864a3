package web

import (
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// Preview is the JSON of a plan that no server knows, with the names that the API has for the same things.
type Preview struct {
	Project   string        `json:"project"`
	Dir       string        `json:"dir"`
	Workspace string        `json:"workspace"`
	Reasons   []string      `json:"reasons"` // why it was selected
	State     run.State     `json:"state"`   // planned, unchanged, failed, canceled; empty: not planned
	Reason    string        `json:"reason"`  // why it failed, or is not planned
	After     string        `json:"after"`
	Tool      string        `json:"tool"`
	Seconds   float64       `json:"seconds"`
	Verdict   run.Verdict   `json:"verdict"`
	NoPolicy  bool          `json:"no_policy"`
	NoBackend bool          `json:"no_backend"`
	Counts    countsJSON    `json:"counts"`
	Findings  []findingJSON `json:"findings"`
	Plan      *planJSON     `json:"plan"`
	Failure   string        `json:"failure"`
}

// NewPreview is the JSON of a planned project, and of one that is not planned, of which only the selection is known.
func NewPreview(s run.Selected, p *report.Project) Preview {
	j := Preview{
		Project: s.Label, Dir: s.Dir, Workspace: s.Workspace, Reasons: list(s.Reasons), Reason: s.Skipped, Findings: []findingJSON{},
	}
	if s.Deleted && j.Reason == "" {
		j.Reason = "its directory is deleted"
	}
	if p == nil {
		return j
	}
	r := p.Run
	j.State, j.Reason, j.After, j.Tool, j.NoPolicy, j.NoBackend, j.Counts = r.State, r.Reason, p.After, r.Tool, p.NoPolicy, r.NoBackend, countsJSON(r.Counts)
	j.Seconds = r.Finished.Sub(r.Started).Seconds()
	switch r.State {
	case run.Planned, run.Unchanged:
		j.Verdict, j.Plan = run.Judge(r, p.Findings, nil), newPlanJSON(p.Plan)
	case run.Failed:
		j.Failure = report.Excerpt(p.Failure)
	default: // nothing was found out
	}
	for _, f := range p.Findings {
		j.Findings = append(j.Findings, findingJSON{
			Set: f.Set, Rule: f.Rule, Level: f.Level, Resource: f.Resource, Message: f.Message, Fix: f.Fix, File: f.File, Line: f.Line,
		})
	}
	return j
}
