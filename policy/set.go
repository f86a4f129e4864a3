package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// Set is one policy set as the server configures it.
type Set struct {
	Name     string         // unique; findings and overrides carry it
	Source   string         // "builtin:baseline", or a directory of .rego files
	Level    run.Level      // of its findings; a rule may be softer than its set, never harder
	Projects []string       // selectors of the projects it judges; empty: all
	Owners   run.Owners     // who may override it; required when Level is soft
	Rego     string         // language version: "v1" (also when empty) or "v0"
	Settings map[string]any // what its rules read as data.settings
	On       Stage          // what it judges; empty: the plan, and of builtin:sources the source
}

// Stage is what a set judges.
type Stage string

// The stages.
const (
	OnPlan   Stage = "plan"
	OnSource Stage = "source" // the code of a project, before anything of it runs
)

// stage is what a set judges when it does not say.
func (s Set) stage() Stage {
	switch {
	case s.On != "":
		return s.On
	case s.Source == builtinPrefix+builtinSources:
		return OnSource
	}
	return OnPlan
}

// builtinSources is the shipped set that judges the source.
const builtinSources = "sources"

// Options are the limits of an evaluation. The zero value is documented per field.
type Options struct {
	Timeout  time.Duration // of one set on one plan; 0: 10 s
	Memory   int64         // bytes the process may grow by while it judges one plan; 0: 2 GiB
	Parallel int           // sets judged at once for one plan; 0: the number of CPUs
}

// Target says which project is judged, for the selectors of sets.
type Target = selector.Target

// Input is what is judged: one plan of one project, and what is known around it, taken once.
type Input struct {
	Target  Target
	Also    []Target        // further identities of the same project: sets that match any of them judge it
	Plan    json.RawMessage // what `tofu show -json` printed
	Source  json.RawMessage // an inventory.Inventory, for JudgeSource and Explain
	Context Context
}

// Context is what rules may know beside the plan: input.planlatch in Rego. A field that is empty is absent there, but lists
// are always lists.
type Context struct {
	Pull        *Pull         // nil without a pull request
	Approvers   []string      // logins whose approval counts
	Environment string        // of the project
	Kind        run.Kind      // of the run
	Project     string        // label of the project
	Previous    []run.Finding // of the project's last judged plan in this pull request
	Now         time.Time     // when it is judged: the only clock that rules have
}

// Pull is the pull request of a run, as rules see it.
type Pull struct {
	Number int
	Author string
	Title  string
	Labels []string
	Draft  bool
}

// Judgement is what the sets that apply to a project said about a plan, or about its source.
type Judgement struct {
	Findings []run.Finding // hardest first, then by set, rule, resource
	Digest   string        // sha256 over the sets that apply, those on plans and on sources: code, settings, level, owners
	Sets     []string      // names of the sets that judged, sorted; empty when none is configured for the project
	Note     string        // told to people: "no policy configured"; empty when sets judged
	Warnings []string      // for whoever runs the server or writes the rules: built-in functions that could not work with what they got, panics
}

// Fault is one reason why a set cannot be used.
type Fault struct {
	Set     string
	File    string // empty when about the set itself
	Line    int    // from 1; 0 when about the whole file
	Column  int
	Message string
}

func (f Fault) String() string {
	place := "policy set " + f.Set
	if f.File != "" {
		place += ": " + f.File
		if f.Line > 0 {
			place += fmt.Sprintf(":%d:%d", f.Line, f.Column)
		}
	}
	return place + ": " + f.Message
}

// LoadError lists everything that is wrong with the sets given to Load.
type LoadError struct{ Faults []Fault }

func (e *LoadError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}
