package web

import (
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/report"
)

// planView is a plan as people read it: one block per object, dangerous ones first, as report ordered them.
type planView struct {
	Changes  []changeView
	More     int
	Outputs  []changeView
	Warnings []string
	Drift    []string
	Reads    int
}

type changeView struct {
	Sign    string
	Class   string // add, change, destroy, replace, other
	Address string
	What    string   // what happens and why, in words
	Notes   []string // moved from, imported from
	Place   string   // file:line
	Attrs   []attrView
	More    int // attributes that are not listed
	Unknown int // attributes known only after apply that are not listed
	Open    bool
}

type attrView struct {
	Path   string
	Before string // "" if it was unset
	After  string // "" if it becomes unset
	Arrow  bool   // both sides are told
	Lines  []lineView
	Forces bool
}

type lineView struct{ Class, Text string }

// The bounds of what is unfolded at once: a page with a thousand changes stays readable.
const (
	openChanges = 40
	openAttrs   = 30
)

func planOf(p report.Plan) planView {
	v := planView{More: p.More, Warnings: p.Warnings, Drift: p.Drift, Reads: p.Reads}
	for i, c := range p.Changes {
		change := changeOf(c)
		change.Open = i < openChanges && len(c.Attrs) <= openAttrs && c.Kind != report.Delete
		v.Changes = append(v.Changes, change)
	}
	for _, o := range p.Outputs {
		change := changeView{Address: o.Name, Open: true}
		change.Sign, change.Class, change.What = words(o.Kind)
		for _, a := range o.Attrs {
			change.Attrs = append(change.Attrs, attrOf(a, o.Kind))
		}
		v.Outputs = append(v.Outputs, change)
	}
	return v
}

// words are the sign, colour and verb of a kind of change.
func words(k report.ChangeKind) (sign, class, what string) {
	switch k {
	case report.Create:
		return "+", "add", "created"
	case report.Update:
		return "~", "change", "changed"
	case report.Replace:
		return "-/+", "replace", "replaced"
	case report.Delete:
		return "-", "destroy", "destroyed"
	case report.Import:
		return "→", "other", "imported"
	case report.Move:
		return "→", "other", "moved"
	case report.Forget:
		return "·", "change", "leaves the state, the object stays"
	case report.Read:
		return "·", "other", "read"
	}
	return "?", "other", string(k)
}

func changeOf(c report.Change) changeView {
	v := changeView{Address: c.Address, More: c.More, Unknown: c.Unknown}
	v.Sign, v.Class, v.What = words(c.Kind)
	if c.Reason != "" {
		v.What = c.Reason
	}
	if c.First {
		v.Notes = append(v.Notes, "the new one first")
	}
	if c.Keeps {
		v.Notes = append(v.Notes, "the old one stays, forgotten")
	}
	if c.Deposed != "" {
		v.Notes = append(v.Notes, "deposed object "+c.Deposed)
	}
	if c.Previous != "" {
		v.Notes = append(v.Notes, "moved from "+c.Previous)
	}
	if c.Import != "" {
		v.Notes = append(v.Notes, "imported from "+c.Import)
	}
	if c.File != "" {
		v.Place = c.File
		if c.Line > 0 {
			v.Place = fmt.Sprintf("%s:%d", c.File, c.Line)
		}
	}
	for _, a := range c.Attrs {
		v.Attrs = append(v.Attrs, attrOf(a, c.Kind))
	}
	return v
}

func attrOf(a report.Attr, kind report.ChangeKind) attrView {
	v := attrView{Path: a.Path, Before: a.Before, After: a.After, Forces: a.Forces}
	if a.Unknown {
		v.After = "(known after apply)"
	}
	if a.Sensitive {
		v.After = "(sensitive)"
		if a.Unknown {
			v.After = "(sensitive, known after apply)"
		}
		v.Before = ""
	}
	for _, l := range a.Lines {
		class := ""
		switch {
		case strings.HasPrefix(l, "+"):
			class = "add"
		case strings.HasPrefix(l, "-"):
			class = "destroy"
		}
		v.Lines = append(v.Lines, lineView{class, l})
	}
	switch {
	case a.Sensitive || len(a.Lines) > 0 || kind == report.Create && v.Before == "" || kind == report.Delete:
	default:
		v.Arrow = true
	}
	return v
}
