package command_test

import (
	"testing"

	"github.com/planlatch/planlatch/command"
)

func TestACommandIsWrittenDownWithoutTheValuesOfVariables(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]command.Command{
		"apply":                      {Verb: command.Apply},
		"apply -p a -p b -w staging": {Verb: command.Apply, Projects: []string{"a", "b"}, Workspace: "staging"},
		`approve --policy base --reason "it is fine"`: {Verb: command.Approve, Policy: "base", Reason: "it is fine"},
		"plan -d infra -- -target=x.y -var=token=…":   {Verb: command.Plan, Dirs: []string{"infra"}, Flags: []string{"-target=x.y", "-var=token=hush"}},
	} {
		if got := c.String(); got != want {
			t.Errorf("String() = %s, want %s", got, want)
		}
	}
}
