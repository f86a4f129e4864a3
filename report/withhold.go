package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Withhold returns a view without any value of a plan, word of a tool or sentence of a policy, unless its style is to show them. What people
// choose by stays: names, addresses, counts, rules, and what planlatch says itself. Whatever leaves for a VCS host, a chat or a webhook is
// rendered from what it returns, so that no rendering can forget to leave something out.
func Withhold(v View) View {
	if v.quotes() {
		return v
	}
	h := hidden{}
	v.Projects = slices.Clone(v.Projects)
	for i := range v.Projects {
		h.project(&v.Projects[i])
	}
	return v
}

// quotes says whether values of plans and words of tools may leave.
func (v View) quotes() bool { return v.Style == StyleFull || v.Style == "" }

// hidden has a stand-in for each text that it took out: texts that differ stay apart, and nothing else is told of them.
type hidden map[string]string

func (h hidden) text(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	if h[s] == "" {
		h[s] = fmt.Sprintf("(withheld %d)", len(h)+1)
	}
	return h[s]
}

func (h hidden) project(p *Project) {
	if lock, ok := p.BackendLock(); ok { // before the log it may be read from is gone
		lock.Message, lock.Path, lock.Version = "", "", ""
		lock.Ours, _, _ = strings.Cut(lock.Ours, ": ")
		p.Lock = &lock
	}
	p.Failure = h.text(p.Failure)
	p.Run.Reason = ownReason(p.Run)
	h.plan(&p.Plan)
	if p.Reviewed != nil {
		reviewed := *p.Reviewed
		reviewed.Run.Reason = ownReason(reviewed.Run)
		h.plan(&reviewed.Plan)
		p.Reviewed = &reviewed
	}
	p.Findings = slices.Clone(p.Findings)
	for i := range p.Findings {
		p.Findings[i].Message, p.Findings[i].Fix = "", ""
	}
}

func (h hidden) plan(p *Plan) {
	p.Warnings = make([]string, len(p.Warnings)) // their number is told
	p.Changes = slices.Clone(p.Changes)
	for i := range p.Changes {
		c := &p.Changes[i]
		c.Attrs = h.attrs(c.Attrs)
		if c.Import != "" {
			c.Import = "an object that exists"
		}
		switch {
		case strings.HasSuffix(c.Reason, " forces it"), strings.HasSuffix(c.Reason, " force it"):
			var forcing []string
			for _, a := range c.Attrs {
				if a.Forces {
					forcing = append(forcing, a.Path)
				}
			}
			c.Reason = reason("", *c, forcing)
		case strings.HasPrefix(c.Reason, "["): // the tool's word for an action that we do not know
			c.Reason = ""
		}
	}
	p.Outputs = slices.Clone(p.Outputs)
	for i := range p.Outputs {
		p.Outputs[i].Attrs = h.attrs(p.Outputs[i].Attrs)
	}
}

// attrs leaves one attribute of each name that a schema has: what is below it, such as the keys of a map, is of the plan.
func (h hidden) attrs(all []Attr) []Attr {
	var names []string
	byName := map[string][]Attr{}
	for _, a := range all {
		name := attrName(a.Path)
		if len(byName[name]) == 0 {
			names = append(names, name)
		}
		byName[name] = append(byName[name], a)
	}
	var out []Attr
	for _, name := range names {
		of := byName[name]
		whole, err := json.Marshal(of)
		if err != nil {
			whole = []byte(name) // never: they are plain data
		}
		out = append(out, Attr{Path: name, After: h.text(string(whole)), Forces: slices.ContainsFunc(of, func(a Attr) bool { return a.Forces })})
	}
	return out
}

// attrName is the name that a path begins with: "policy" of jsondecode(policy).Statement[0].
func attrName(path string) string {
	for strings.HasPrefix(path, "jsondecode(") {
		path = strings.TrimPrefix(path, "jsondecode(")
	}
	if at := strings.IndexAny(path, ".[)"); at >= 0 {
		path = path[:at]
	}
	if !identifier.MatchString(path) {
		return "…"
	}
	return path
}

// elsewhere stands for a reason that is not shown.
const elsewhere = "its page says why"

// ownWords are reasons of a failure that planlatch made alone. Any other may quote a tool, or the error of a file that a tool wrote.
var ownWords = regexp.MustCompile(`^(?:(?:state not saved: |nothing was applied: |everything was applied, but )*(?:` + strings.Join([]string{
	`[a-zA-Z0-9_./+-]{1,40}(?: [a-zA-Z0-9_./+-]{1,40})? failed \(exit code -?\d+\)`,
	`its executor vanished(?:; nobody knows how far it came)?`,
	`it ended before its last step`,
	`the [a-z ]{0,40}limit of [0-9a-zA-Z. ]{1,60} was reached(?: \([a-zA-Z0-9 .,:-]{1,80}\))?`,
	`the execution was killed from outside`,
	`node [a-zA-Z0-9_.-]{1,80} is unreachable; the apply may still run there`,
	`canceled`,
	`a wrapper stands in the place of the tool: free the lock with the wrapper's own command`,
	`its server was stopped; the tool (?:did not end within its grace and was killed|was interrupted and ended by itself)`,
}, "|") + `))$`)

// ownReason is the reason of a run as far as it quotes nobody.
func ownReason(r run.Run) string {
	failed := r.State == run.Failed || r.State == run.Interrupted || r.Unsaved
	switch {
	case !failed || r.Reason == "", ownWords.MatchString(r.Reason):
		return r.Reason
	case r.StopWhy != "" && strings.HasPrefix(strings.TrimPrefix(r.Reason, "state not saved: "), r.StopWhy): // then how it ended
		return r.Reason
	case r.ApplyStarted.IsZero() && strings.HasPrefix(r.Reason, stoppedWords): // by names of rules
		return r.Reason
	}
	return elsewhere
}

// stoppedWords begin the reason of a run that policy stopped.
const stoppedWords = "policy stopped it before anything ran"
