package redact_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/redact"
)

func TestFitsRefusesWhatWouldTakeTheMemoryOfAServer(t *testing.T) {
	t.Parallel()
	var some, many []string
	for i := range 200_000 {
		if i < 200 {
			some = append(some, fmt.Sprintf("secret number %d %s", i, strings.Repeat("x", 100)))
		}
		many = append(many, fmt.Sprintf("secret %d", i))
	}
	for name, c := range map[string]struct {
		secrets []string
		want    bool
	}{
		"None":            {nil, true},
		"TwoHundred":      {some, true},
		"ACertificate":    {[]string{strings.Repeat(strings.Repeat("MIIB", 16)+"\n", 60)}, true},
		"TooMany":         {many, false},
		"OneWithoutEnd":   {[]string{strings.Repeat("y", 8<<20)}, false},
		"OneOfOddSymbols": {[]string{strings.Repeat(`"<%\`, 300_000)}, false},
	} {
		if got := redact.Fits(c.secrets); got != c.want {
			t.Errorf("%s: Fits() = %v, want %v", name, got, c.want)
		}
	}
}
