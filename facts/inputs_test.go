package facts_test

import (
	"context"
	"testing"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/run"
)

// objects is a tree by path.
type objects map[string]string

func (o objects) Objects(_ context.Context, _ string, paths []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range paths {
		out[p] = o[p]
	}
	return out, nil
}

func TestWhatAPlanIsMadeFromIsInItsInputs(t *testing.T) {
	t.Parallel()
	tree := objects{".": "1", "app": "2"}
	plain := run.Settings{Inputs: []string{"app"}}
	steps := func(s run.Steps) run.Settings { return run.Settings{Inputs: []string{"app"}, Steps: s} }
	seen := map[string]string{}
	for name, s := range map[string]run.Settings{
		"plain": plain, "the whole tree": {}, "flags": {Inputs: plain.Inputs, Flags: []string{"-target=x"}},
		"a step":              steps(run.Steps{BeforePlan: [][]string{{"gen", "a b"}}}),
		"two arguments":       steps(run.Steps{BeforePlan: [][]string{{"gen", "a", "b"}}}),
		"two commands":        steps(run.Steps{BeforePlan: [][]string{{"gen", "a"}, {"b"}}}),
		"at another time":     steps(run.Steps{AfterPlan: [][]string{{"gen", "a b"}}}),
		"in the tool's place": steps(run.Steps{Plan: [][]string{{"gen", "a b"}}}),
	} {
		digest, err := facts.Inputs(t.Context(), tree, "tree", run.Run{Dir: "app", Settings: s})
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[digest]; ok {
			t.Errorf("Inputs() of %q and %q are equal", name, other)
		}
		seen[digest] = name
	}
}
