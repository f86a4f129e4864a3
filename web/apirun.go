package web

import (
	"net/http"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// runDetailJSON is one run with all that its page shows.
type runDetailJSON struct {
	runJSON
	Ahead    int           `json:"ahead"`
	HeldBy   string        `json:"held_by"`
	Gates    []gateJSON    `json:"gates"`
	Findings []findingJSON `json:"findings"`
	Plan     *planJSON     `json:"plan"`
	Failure  string        `json:"failure"`
	NotDone  []string      `json:"not_done"`
	Digests  digestsJSON   `json:"digests"`
	LogURL   string        `json:"log_url"`
	Removed  []string      `json:"removed"` // what retention took, in words
	Waits    string        `json:"waits"`   // why nothing of the queue starts
}

type gateJSON struct {
	Name  run.GateName `json:"name"`
	Holds bool         `json:"holds"`
	Text  string       `json:"text"`
}

type findingJSON struct {
	Set        string    `json:"set"`
	Rule       string    `json:"rule"`
	Level      run.Level `json:"level"`
	Resource   string    `json:"resource"`
	Message    string    `json:"message"`
	Fix        string    `json:"fix"`
	File       string    `json:"file"`
	Line       int       `json:"line"`
	Overridden bool      `json:"overridden"`
}

type planJSON struct {
	Changes     []changeJSON `json:"changes"`
	MoreChanges int          `json:"more_changes"`
	Outputs     []outputJSON `json:"outputs"`
	Drift       []string     `json:"drift"`
	Warnings    []string     `json:"warnings"`
}

type changeJSON struct {
	Address        string            `json:"address"`
	Type           string            `json:"type"`
	Kind           report.ChangeKind `json:"kind"`
	Reason         string            `json:"reason"`
	Deposed        string            `json:"deposed"`
	MovedFrom      string            `json:"moved_from"`
	ImportID       string            `json:"import_id"`
	File           string            `json:"file"`
	Line           int               `json:"line"`
	Attributes     []attributeJSON   `json:"attributes"`
	MoreAttributes int               `json:"more_attributes"`
}

type attributeJSON struct {
	Path              string   `json:"path"`
	Before            string   `json:"before"`
	After             string   `json:"after"`
	Lines             []string `json:"lines"`
	KnownAfterApply   bool     `json:"known_after_apply"`
	Sensitive         bool     `json:"sensitive"`
	ForcesReplacement bool     `json:"forces_replacement"`
}

type outputJSON struct {
	Name       string            `json:"name"`
	Kind       report.ChangeKind `json:"kind"`
	Attributes []attributeJSON   `json:"attributes"`
}

type digestsJSON struct {
	Inputs string `json:"inputs"`
	Plan   string `json:"plan"`
	Effect string `json:"effect"`
	Policy string `json:"policy"`
}

// GET /api/v1/runs/{id}: one run with plan, findings and gates.
func (h *Handler) apiRun(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := h.filter(ctx, r.URL.Query()); err != nil {
		return err
	}
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	view, _, err := h.known.get(ctx, rn)
	if err != nil {
		return err
	}
	p := report.Project{Run: rn}
	if len(view.Projects) > 0 {
		p = view.Projects[0]
	}
	j := runDetailJSON{
		Ahead: p.Position, HeldBy: p.HeldBy, Gates: []gateJSON{}, Findings: []findingJSON{}, NotDone: list(p.Left),
		Digests: digestsJSON{Inputs: rn.InputsDigest, Plan: rn.PlanDigest, Effect: rn.EffectDigest, Policy: rn.PolicyDigest},
	}
	if j.runJSON, err = h.runJSON(ctx, h.names(), rn); err != nil {
		return err
	}
	j.LogURL, j.Removed, j.Waits = j.URL+"/log", []string{}, p.Waits
	for _, n := range removals(rn) {
		j.Removed = append(j.Removed, n.Text)
	}
	for _, g := range p.Gates {
		j.Gates = append(j.Gates, gateJSON(g))
	}
	for _, f := range p.Findings {
		j.Findings = append(j.Findings, findingJSON{
			Set: f.Set, Rule: f.Rule, Level: f.Level, Resource: f.Resource, Message: f.Message, Fix: f.Fix, File: f.File, Line: f.Line,
			Overridden: run.Overridden(rn, f, p.Overrides),
		})
	}
	if rn.State == run.Failed || rn.State == run.Interrupted {
		j.Failure = report.Excerpt(p.Failure)
	}
	if !rn.Planned.IsZero() && rn.LogGone.IsZero() {
		j.Plan = newPlanJSON(p.Plan)
	}
	return send(w, j)
}

func newPlanJSON(p report.Plan) *planJSON {
	j := planJSON{Changes: []changeJSON{}, Outputs: []outputJSON{}, MoreChanges: p.More, Drift: list(p.Drift), Warnings: list(p.Warnings)}
	for _, c := range p.Changes {
		j.Changes = append(j.Changes, changeJSON{
			Address: c.Address, Type: c.Type, Kind: c.Kind, Reason: c.Reason, Deposed: c.Deposed, MovedFrom: c.Previous, ImportID: c.Import, File: c.File,
			Line: c.Line, Attributes: attributes(c.Attrs), MoreAttributes: c.More + c.Unknown,
		})
	}
	for _, o := range p.Outputs {
		j.Outputs = append(j.Outputs, outputJSON{Name: o.Name, Kind: o.Kind, Attributes: attributes(o.Attrs)})
	}
	return &j
}

func attributes(attrs []report.Attr) []attributeJSON {
	out := []attributeJSON{}
	for _, a := range attrs {
		out = append(out, attributeJSON{
			Path: a.Path, Before: a.Before, After: a.After, Lines: list(a.Lines), KnownAfterApply: a.Unknown, Sensitive: a.Sensitive, ForcesReplacement: a.Forces,
		})
	}
	return out
}

// list is never null in JSON.
func list(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
