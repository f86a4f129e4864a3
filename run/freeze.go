package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPaused says that a confirmed run may not start while applies are paused. It stays confirmed and goes on after the resume.
var ErrPaused = errors.New("applies are paused")

// Freeze pauses applies: none starts until [Resume], what is being applied goes on, and plans are made as ever. Its scope has Pauses set.
// Pausing the same selector again replaces who, why and when.
func Freeze(s Snapshot, p Pause) (Change, error) {
	if strings.TrimSpace(p.Reason) == "" || strings.TrimSpace(p.Match) == "" {
		return Change{}, errors.New("a pause needs a selector and a reason")
	}
	if p.At.IsZero() {
		p.At = s.Now
	}
	return Change{Action: ActPause, Pause: []Pause{p}, Audit: []Audit{{
		Actor: p.Actor, Action: string(ActPause), Outcome: "done", Detail: p.Match + ": " + p.Reason,
	}}}, nil
}

// Resume ends the pause with exactly this selector. Its scope has Pauses set. Error: ErrNotFound, naming the pauses there are.
func Resume(s Snapshot, match, actor string) (Change, error) {
	var there []string
	for _, p := range s.Pauses {
		there = append(there, p.Match)
	}
	if !slices.Contains(there, match) {
		if len(there) == 0 {
			return Change{}, fmt.Errorf("nothing is paused: %w", ErrNotFound)
		}
		return Change{}, fmt.Errorf("no pause of %q, only of %s: %w", match, strings.Join(there, ", "), ErrNotFound)
	}
	return Change{Action: ActResume, Resume: []string{match}, Audit: []Audit{{
		Actor: actor, Action: string(ActResume), Outcome: "done", Detail: match,
	}}}, nil
}

// paused returns the gate that a pause keeps shut, if one does.
func paused(gates []Gate) (Gate, bool) {
	i := slices.IndexFunc(gates, func(g Gate) bool { return g.Name == GatePaused && !g.Holds })
	if i < 0 {
		return Gate{}, false
	}
	return gates[i], true
}

// PauseGate is the gate of a run that a pause selects.
func PauseGate(p Pause) Gate {
	return Gate{GatePaused, false, fmt.Sprintf("applies are paused by %s: %s", p.Actor, p.Reason)}
}

// judged lists what each gate said, for the audit.
func judged(gates []Gate) string {
	var texts []string
	for _, g := range gates {
		text := string(g.Name) + ": " + g.Text
		if !g.Holds {
			text = "shut: " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}
