package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/version"
)

// digestSet covers all that can change what a set says: its files, settings, level, owners, language, and the OPA that evaluates it.
// Which projects it applies to is left out, since only sets that apply are counted.
func digestSet(set Set, src source, faults []Fault) string {
	owners := set.Owners
	owners.Users, owners.Teams = slices.Sorted(slices.Values(owners.Users)), slices.Sorted(slices.Values(owners.Teams))
	parts := map[string]any{
		"name": set.Name, "level": set.Level, "owners": owners, "rego": set.Rego, "files": src.files, "settings": src.data["settings"],
		"faults": faults, "opa": version.Version,
	}
	if set.stage() != OnPlan {
		parts["on"] = set.stage()
	}
	return digestOf(parts)
}

func digestAll(sets []*prepared) string {
	digests := make([]string, len(sets))
	for i, p := range sets {
		digests[i] = p.digest
	}
	return digestOf(digests)
}
