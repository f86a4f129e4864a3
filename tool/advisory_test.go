package tool_test

import (
	"testing"

	"github.com/planlatch/planlatch/tool"
)

func TestAWeakVersionIsKnown(t *testing.T) {
	t.Parallel()
	for name, weak := range map[tool.Tool]bool{
		{Name: "tofu", Version: "1.6.0"}:         true,
		{Name: "tofu", Version: "1.11.9"}:        true,
		{Name: "tofu", Version: "1.11.10"}:       false,
		{Name: "tofu", Version: "1.12.0"}:        true,
		{Name: "tofu", Version: "1.12.2"}:        true,
		{Name: "tofu", Version: "1.12.3"}:        false,
		{Name: "tofu", Version: "1.12.6"}:        false,
		{Name: "terraform", Version: "1.5.7"}:    false, // another product: nothing is known of it here
		{Name: "tofu", Version: "not a version"}: false,
	} {
		if got := name.Advisories(); (len(got) > 0) != weak {
			t.Errorf("%s.Advisories() = %v, want some: %v", name, got, weak)
		}
	}
}
