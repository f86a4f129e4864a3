package redteam_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// attack is one way to harm somebody, and what stops it.
type attack struct {
	Row  int    // of the threat table in docs/redteam.md
	Name string // what the attacker does
	Wall string // what stops it, in a few words
	// Try plays it against a repository of its own on a server, and returns what the attacker got: nothing when the wall holds.
	Try func(w *world) (loot []string)
	// On is where it is tried: on a server with small limits, for instance. Empty: like everywhere.
	On wall
	// Without is the wall that is taken away to show that Try can succeed.
	Without wall
	// Own attacks have a repository of their own; others a directory in one that many share.
	Own bool
	// Quick attacks are shown to succeed in "make test", too.
	Quick bool
}

// attacks are all there are, by row. A new one joins by a line in its row's file.
func attacks() []attack {
	var all []attack
	for _, row := range [][]attack{
		readingAttacks(), networkAttacks(), credentialAttacks(), secretAttacks(), toolAttacks(), bombAttacks(), commandAttacks(),
		pathAttacks(), doorAttacks(), attributeAttacks(), textAttacks(),
		neighbourAttacks(), staleAttacks(), productAttacks(), answerAttacks(),
		ruleAttacks(), overrideAttacks(), approvalAttacks(), policyAttacks(), renameAttacks(),
	} {
		all = append(all, row...)
	}
	slices.SortStableFunc(all, func(a, b attack) int { return a.Row - b.Row })
	return all
}

// TestAttacks plays every attack against the walls, and against a server without the one that stops it.
func TestAttacks(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	table := &table{}
	t.Cleanup(func() { table.print(t) })
	t.Run("all", func(t *testing.T) { // returns when the parallel ones below have ended
		for _, a := range attacks() {
			name := fmt.Sprintf("row %02d/%s", a.Row, a.Name)
			t.Run(name+"/held", func(t *testing.T) {
				t.Parallel()
				loot := a.Try(e.world(t, a, a.On))
				for _, l := range loot {
					t.Errorf("%s got through %q: %s", a.Name, a.Wall, l)
				}
				table.note(a, func(r *result) { r.Held = answer(!t.Failed()) })
			})
			if !whole() && !a.Quick {
				continue
			}
			t.Run(name+"/without", func(t *testing.T) {
				t.Parallel()
				loot := a.Try(e.world(t, a, a.Without))
				if len(loot) == 0 {
					t.Errorf("%s gets nothing although there is no %q: the attack proves nothing", a.Name, a.Without)
				} else {
					t.Logf("without %q the attacker gets: %s", a.Without, loot[0])
				}
				table.note(a, func(r *result) { r.Shown = answer(!t.Failed()) })
			})
		}
	})
	t.Run("nothing else left the server", func(t *testing.T) { e.sweep(t) })
}

// whole says whether every attack is to be shown to succeed without its wall.
func whole() bool { return os.Getenv(asWhole) == "whole" } //nolint:forbidigo // of the tests, not of the product

// result is a line of the table.
type result struct {
	attack
	Held, Shown string
}

type table struct {
	mu    sync.Mutex
	lines []result
}

func (l *table) note(a attack, set func(*result)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.lines, func(r result) bool { return r.Row == a.Row && r.Name == a.Name })
	if at < 0 {
		at = len(l.lines)
		l.lines = append(l.lines, result{attack: a, Held: "-", Shown: "-"})
	}
	set(&l.lines[at])
}

func (l *table) print(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.lines, func(a, b result) int { return a.Row - b.Row })
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ROW\tATTACK\tWALL\tHELD\tSUCCEEDS WITHOUT IT")
	for _, r := range l.lines {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", r.Row, r.Name, r.Wall, r.Held, r.Shown)
	}
	_ = tw.Flush() // into memory
	t.Logf("as uid %d:\n%s", os.Getuid(), text.String())
}

func answer(yes bool) string {
	if yes {
		return "yes"
	}
	return "NO"
}
