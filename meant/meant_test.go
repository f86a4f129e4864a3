package meant_test

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/meant"
)

func TestInstead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word  string
		known []string
		want  string
	}{
		"ATypingError":    {"projetcs", []string{"steps", "projects"}, `did you mean "projects"?`},
		"OtherCase":       {"Projects", []string{"projects"}, `did you mean "projects"?`},
		"AnotherWord":     {"colour", []string{"steps", "projects", "tool"}, "write steps, projects or tool"},
		"OnlyOneWord":     {"colour", []string{"steps"}, "write steps"},
		"ShortWords":      {"on", []string{"off", "on_merge", "or"}, `did you mean "or"?`},
		"FourFaultsAtAll": {strings.Repeat("a", 30) + "bbbbb", []string{strings.Repeat("a", 35)}, "write " + strings.Repeat("a", 35)},
		"AnEndlessWord":   {strings.Repeat("a", 1<<20), []string{"a"}, "write a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := meant.Instead(c.word, c.known); got != c.want {
				t.Errorf("Instead() = %s, want %s", got, c.want)
			}
		})
	}
}
