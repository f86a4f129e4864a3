package chaos_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// kills is how often somebody dies in a scenario: PLANLATCH_CHAOS, else few enough for every day.
func kills(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("PLANLATCH_CHAOS") //nolint:forbidigo // a knob of this test
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("PLANLATCH_CHAOS=%q is no number of kills", text)
	}
	return n
}

func TestNothingIsLostAndNothingIsAppliedTwice(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"sqlite":                       {replicas: 1, kills: kills(t, 15), authors: 3, copies: 3},
		"three replicas on postgresql": {replicas: 3, postgres: true, kills: kills(t, 15), authors: 4, copies: 3, machines: true},
	} {
		s.sent = 8 * s.kills
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live(t, s)
		})
	}
}

// live lives a scenario through and checks everything.
func live(t *testing.T, s scenario) {
	t.Helper()
	began := time.Now()
	w := begin(t, s)
	go w.monkey.roam()
	c := w.work()
	w.settle(c)
	all := w.invariants(t.Context(), c)
	text, violations := table(all)
	done := 0
	for _, ch := range c.changes {
		if ch.done {
			done++
		}
	}
	w.door.wait()
	t.Logf("%s\n%s%d pull requests, %d applied and merged; %d webhooks with their copies, %d lost on the way; %s in all",
		text, w.monkey.tells(), len(c.changes), done, w.door.sent, w.door.lost, time.Since(began).Round(time.Second))
	for _, i := range all {
		for _, what := range i.broken {
			t.Errorf("%s: %s", i.name, what)
		}
	}
	if violations > 0 {
		t.Logf("what became of each run:\n%s", w.history)
	} else {
		fmt.Printf("%s: %d kills, no violation\n", t.Name(), w.monkey.total())
	}
}
