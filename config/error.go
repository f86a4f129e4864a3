package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Error is everything that is wrong with a configuration, in the order of the file. It prints one fault per line.
type Error struct{ Problems []run.Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = line(p)
	}
	return strings.Join(lines, "\n")
}

// line writes file:line:column: key: message; fix.
func line(p run.Problem) string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	for _, part := range []string{p.Key, p.Message} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if p.Fix != "" {
		b.WriteString("; ")
		b.WriteString(p.Fix)
	}
	return b.String()
}

func sortProblems(ps []run.Problem) {
	slices.SortStableFunc(ps, func(a, b run.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
