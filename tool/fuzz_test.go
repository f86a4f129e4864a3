package tool

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-version"
)

// FuzzConstraints reads what a repository pins and requires.
func FuzzConstraints(f *testing.F) {
	for _, s := range []string{
		"1.12.6", "~> 1.12", ">= 1.5, < 2", "", " ", ">= 99999999999999999999", "1.2.3.4.5.6.7.8.9", "latest", "../../bin/sh", "1.0.0-\x00", "= 1", "!= 1.0.0-rc1+x",
		strings.Repeat("1.", 1000) + "1", strings.Repeat(">= 1, ", 1000) + "< 2", "1.0.0\n2.0.0", "$(id)", "v1.2.3",
	} {
		f.Add(s)
	}
	some := version.Must(version.NewVersion("1.12.6"))
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := constraints(s, ">= 1"); err == nil {
			_ = c.Check(some)
		} else if len(err.Error()) > 500 {
			t.Errorf("constraints() = an error of %d bytes", len(err.Error()))
		}
		if v, ok := exact(s); ok && strings.ContainsAny(v.String(), "/\\\x00\n $") {
			t.Errorf("exact(%q) = %s, which would be a path", s, v)
		}
	})
}
