package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of one change as it is shown.
const (
	shownUpdate  = 40
	shownCreate  = 12
	shownDelete  = 4
	shownUnknown = 5
	padMax       = 44
)

// telling are attributes that tell people which object is destroyed.
var telling = []string{"id", "name", "arn", "bucket", "identifier", "self_link", "input"}

// diffLines renders a plan for a diff fence: raw data, one line each. Without values it names objects only.
func diffLines(p Plan, values bool) []string {
	width := 0
	for _, c := range p.Changes {
		width = max(width, min(padMax, utf8.RuneCountInString(c.Address)))
	}
	var out []string
	for _, c := range p.Changes {
		out = append(out, c.head(width))
		if values {
			out = append(out, c.body()...)
		}
	}
	if p.More > 0 {
		out = append(out, "# … "+count(p.More, "more change", "more changes"))
	}
	for _, o := range p.Outputs {
		if !values {
			out = append(out, sign(o.Kind)+" output "+line(o.Name))
			continue
		}
		for _, a := range o.Attrs {
			out = append(out, a.render(sign(o.Kind)+" output ", 0)...)
		}
	}
	return out
}

func sign(k ChangeKind) string {
	switch k {
	case Create:
		return "+  "
	case Delete:
		return "-  "
	case Replace:
		return "-/+"
	case Import, Move:
		return "#  "
	default:
		return "!  "
	}
}

func (c Change) head(width int) string {
	parts := []string{sign(c.Kind) + " " + pad(line(c.Address), width)}
	if c.Deposed != "" {
		parts = append(parts, "deposed "+line(c.Deposed))
	}
	what := map[ChangeKind]string{Create: "created", Update: "changed", Replace: "replaced", Delete: "destroyed", Import: "imported", Move: "moved",
		Forget: "leaves the state, the object stays"}[c.Kind]
	if c.Reason != "" {
		what = line(c.Reason)
	}
	if c.Previous != "" && c.Kind == Move || c.Import != "" && c.Kind == Import {
		what = "" // told below
	}
	if what != "" {
		parts = append(parts, what)
	}
	if c.First {
		parts = append(parts, "the new one first")
	}
	if c.Keeps {
		parts = append(parts, "the old one stays, forgotten")
	}
	if c.Previous != "" {
		parts = append(parts, "moved from "+line(c.Previous))
	}
	if c.Import != "" {
		parts = append(parts, "imported from "+line(shorten(c.Import, inlineMax)))
	}
	if at := place(c.File, c.Line); at != "" {
		parts = append(parts, line(at))
	}
	return strings.Join(parts, "   ")
}

func (c Change) body() []string {
	prefix, limit, attrs := "!     ", shownUpdate, c.Attrs
	switch c.Kind {
	case Create:
		prefix, limit = "+     ", shownCreate
	case Delete, Forget:
		prefix, limit, attrs = "-     ", shownDelete, nil
		for _, a := range c.Attrs {
			if slices.Contains(telling, a.Path) {
				attrs = append(attrs, a)
			}
		}
	case Move:
		return nil
	default: // as above
	}
	var out []string
	width := 0
	for _, a := range attrs[:min(limit, len(attrs))] {
		width = max(width, min(padMax, utf8.RuneCountInString(a.Path)+1))
	}
	more, later, shown, shownLater := c.More, c.Unknown, 0, 0
	for _, a := range attrs {
		lateOnly := a.Unknown && !a.Forces
		switch {
		case lateOnly && (a.Before == "" || shownLater >= shownUnknown):
			later++
			continue
		case shown >= limit:
			more++
			continue
		case lateOnly:
			shownLater++
		}
		shown++
		out = append(out, a.render(prefix, width)...)
	}
	if c.Kind == Delete || c.Kind == Forget {
		return out
	}
	var rest []string
	if more > 0 {
		rest = append(rest, count(more, "more attribute", "more attributes"))
	}
	if later > 0 {
		rest = append(rest, number(later)+" more known after apply")
	}
	if len(rest) > 0 {
		out = append(out, prefix+"… "+strings.Join(rest, ", "))
	}
	return out
}

// render writes one attribute: one line, or several when its text has several.
func (a Attr) render(prefix string, width int) []string {
	head := prefix + pad(line(a.Path)+":", width) + " "
	tail := ""
	if a.Forces {
		tail = "   forces replacement"
	}
	if len(a.Lines) > 0 {
		out := []string{strings.TrimRight(head, " ") + tail}
		for _, l := range a.Lines {
			sign := " "
			if l != "" && (l[0] == '+' || l[0] == '-') {
				sign = l[:1]
			}
			out = append(out, sign+"         "+line(strings.TrimPrefix(strings.TrimPrefix(l, sign), " ")))
		}
		return out
	}
	after := line(a.After)
	if a.Unknown {
		after = "(known after apply)"
	}
	switch {
	case a.Sensitive && a.Unknown:
		return []string{head + "(sensitive) → (sensitive, known after apply)" + tail}
	case a.Sensitive:
		return []string{head + "(sensitive)" + tail}
	case a.Before == "" && prefix[0] == '!':
		return []string{head + "unset → " + after + tail}
	case a.Before == "":
		return []string{head + after + tail}
	case a.After == "" && !a.Unknown && prefix[0] == '!':
		return []string{head + line(a.Before) + " → unset" + tail}
	case a.After == "" && !a.Unknown:
		return []string{head + line(a.Before) + tail}
	}
	return []string{fmt.Sprintf("%s%s → %s%s", head, line(a.Before), after, tail)}
}

func pad(s string, width int) string {
	if n := utf8.RuneCountInString(s); n < width {
		return s + strings.Repeat(" ", width-n)
	}
	return s
}
