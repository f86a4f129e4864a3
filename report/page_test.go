package report_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// checkPage asserts what holds for every comment: it fits, its fences and folds are closed, its marker stands once, at the end.
func checkPage(t testing.TB, body string, limit int, marker string) {
	t.Helper()
	if len(body) > limit {
		t.Errorf("%d bytes, limit %d", len(body), limit)
	}
	if !strings.HasSuffix(body, marker) || strings.Count(body, "<!-- planlatch:") != 1 {
		t.Errorf("marker %s is not at the end exactly once:\n%s", marker, body)
	}
	open, folds := "", 0
	for l := range strings.SplitSeq(body, "\n") {
		ticks := l[:len(l)-len(strings.TrimLeft(l, "`"))]
		switch {
		case open == "" && len(ticks) >= 3 && !strings.Contains(l[len(ticks):], "`"):
			open = ticks
		case open != "" && len(ticks) >= len(open) && strings.TrimSpace(l) == ticks:
			open = ""
		case open == "" && strings.HasPrefix(l, "<details>"):
			folds++
		case open == "" && strings.HasPrefix(l, "</details>"):
			folds--
		}
		if open == "" && strings.HasPrefix(strings.TrimSpace(l), "/") {
			t.Errorf("a line outside a fence begins with a slash: %q", l)
		}
	}
	if open != "" || folds != 0 {
		t.Errorf("fence %q open, %d folds open:\n%s", open, folds, body)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
