package report

import (
	"slices"
	"strings"
)

// focus cuts two long texts down to where they differ.
func focus(before, after string) (string, string) {
	b, a := []rune(before), []rune(after)
	if len(b) <= valueMax && len(a) <= valueMax {
		return before, after
	}
	head := 0
	for head < min(len(b), len(a)) && b[head] == a[head] {
		head++
	}
	tail := 0
	for tail < min(len(b), len(a))-head && b[len(b)-1-tail] == a[len(a)-1-tail] {
		tail++
	}
	cut := func(r []rune) string {
		if len(r) <= valueMax {
			return string(r)
		}
		from, to := max(0, head-20), min(len(r), len(r)-tail+20)
		s := shorten(string(r[from:to]), valueMax)
		if from > 0 {
			s = "…" + s
		}
		if to < len(r) {
			s += "…"
		}
		return s
	}
	return cut(b), cut(a)
}

// lineDiff compares two texts line by line; what stays is left out.
func lineDiff(before, after string) []string {
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	}
	b, a := split(before), split(after)
	var out, added []string
	next := pair{}
	for _, p := range align(b, a) {
		if p.before > next.before || p.after > next.after { // something between stayed
			out, added = append(out, added...), nil
			out = append(out, "  …")
		}
		// Removals of one block come before its additions, as people read them.
		if p.before >= 0 {
			out = append(out, "- "+shorten(b[p.before], valueMax))
			next.before = p.before + 1
		}
		if p.after >= 0 {
			added = append(added, "+ "+shorten(a[p.after], valueMax))
			next.after = p.after + 1
		}
	}
	out = append(out, added...)
	if len(out) == 0 {
		out = append(out, "  the last line ends differently")
	}
	if more := len(out) - linesMax; more > 0 {
		out = append(out[:linesMax], "  … "+count(more, "more line", "more lines"))
	}
	return out
}

// pair says which elements stand for each other; -1 where one side has none.
type pair struct{ before, after int }

// alignMax bounds the table of align; longer lists are compared place by place.
const alignMax = 1 << 20

// align pairs what differs between two lists. Elements of the longest common subsequence are left out; what lies between two of them is
// paired in order.
func align(before, after []string) []pair {
	head := 0
	for head < min(len(before), len(after)) && before[head] == after[head] {
		head++
	}
	b, a := before[head:], after[head:]
	for len(b) > 0 && len(a) > 0 && b[len(b)-1] == a[len(a)-1] {
		b, a = b[:len(b)-1], a[:len(a)-1]
	}
	var pairs []pair
	gap := func(b0, b1, a0, a1 int) {
		for b0 < b1 || a0 < a1 {
			p := pair{-1, -1}
			if b0 < b1 {
				p.before = head + b0
				b0++
			}
			if a0 < a1 {
				p.after = head + a0
				a0++
			}
			pairs = append(pairs, p)
		}
	}
	if (len(b)+1)*(len(a)+1) > alignMax {
		gap(0, len(b), 0, len(a))
		return pairs
	}
	longest := make([][]int32, len(b)+1)
	for i := range longest {
		longest[i] = make([]int32, len(a)+1)
	}
	for i, line := range slices.Backward(b) {
		for j := len(a) - 1; j >= 0; j-- {
			if line == a[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	i, j, i0, j0 := 0, 0, 0, 0
	for i < len(b) && j < len(a) {
		switch {
		case b[i] == a[j]:
			gap(i0, i, j0, j)
			i, j = i+1, j+1
			i0, j0 = i, j
		case longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			j++
		}
	}
	gap(i0, len(b), j0, len(a))
	return pairs
}
