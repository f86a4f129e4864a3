package app

import (
	"slices"
	"testing"
)

func TestWhatCanBeGuessedIsNotWithheldFromRuns(t *testing.T) {
	t.Parallel()
	const (
		token   = "0123456789abcdef"
		address = "postgres://planlatch:0123456789abcdef@db/planlatch"
	)
	got := unguessable([]string{token, "planlatch-2026", address, "postgres://planlatch:planlatch@db.example.com/planlatch", "https://hooks.example.com/services/x"})
	if want := []string{token, address, "https://hooks.example.com/services/x"}; !slices.Equal(got, want) {
		t.Errorf("unguessable() = %q, want %q", got, want)
	}
}
