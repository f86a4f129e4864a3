package app

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/web"
)

// The JSON of plan and explain. docs/plan.md shows both with an example; a test keeps them in step.

// encode prints JSON as people can read it, too.
func encode(out io.Writer, v any, clean func(string) string) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, clean(string(text))+"\n")
	return err
}

// treeJSON is what plan and explain say of what is compared.
type treeJSON struct {
	Version int         `json:"version"`
	Base    commitJSON  `json:"base"`
	Head    commitJSON  `json:"head"`
	Dirty   bool        `json:"dirty"` // there is something that is not committed
	Changed int         `json:"changed"`
	Problem []issueJSON `json:"problems"`
	Notes   []string    `json:"notes"`
}

type commitJSON struct {
	Name   string `json:"name"`
	Commit string `json:"commit"`
}

type issueJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Key     string `json:"key"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

func (w *tree) json() treeJSON {
	j := treeJSON{
		Version: 1, Base: commitJSON{w.baseName, w.base}, Head: commitJSON{w.branch, w.snap.Head}, Dirty: w.snap.Commit != w.snap.Head,
		Changed: len(w.changed), Problem: []issueJSON{}, Notes: append(append([]string{}, w.sel.Notes...), w.notes...),
	}
	for _, p := range w.sel.Problems {
		j.Problem = append(j.Problem, issueJSON(p))
	}
	if len(w.conflict) > 0 {
		j.Problem = append(j.Problem, issueJSON{
			Key: "conflict", Message: "conflicts with " + w.baseName + ": " + strings.Join(w.conflict, ", "), Fix: "merge or rebase onto " + w.baseName,
		})
	}
	return j
}

type planJSON struct {
	treeJSON

	Outcome  string        `json:"outcome"`
	Projects []web.Preview `json:"projects"`
}

func (p *preview) json() planJSON {
	j := planJSON{treeJSON: p.w.json(), Outcome: p.outcome(), Projects: []web.Preview{}}
	for _, s := range p.chosen {
		j.Projects = append(j.Projects, web.NewPreview(s, p.projects[s.Label]))
	}
	return j
}

// The outcomes, worst last.
const (
	outcomeUntouched = "untouched"
	outcomePassed    = "passed"
	outcomeStopped   = "stopped" // by policy
	outcomeFailed    = "failed"
	outcomeInvalid   = "invalid" // nothing could be planned
	outcomeCanceled  = "canceled"
)

func (p *preview) outcome() string {
	if len(p.w.sel.Problems)+len(p.w.conflict) > 0 {
		return outcomeInvalid
	}
	out := outcomeUntouched
	for _, s := range p.plannable() {
		shown := p.projects[s.Label]
		switch {
		case shown == nil || shown.Run.State == run.Canceled:
			return outcomeCanceled
		case shown.Run.State == run.Failed:
			out = outcomeFailed
		case out == outcomeFailed:
		case stops(*shown):
			out = outcomeStopped
		case out == outcomeUntouched:
			out = outcomePassed
		}
	}
	return out
}
