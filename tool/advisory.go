package tool

import "github.com/hashicorp/go-version"

// Advisory is a published weakness of a tool that a hostile repository can use.
type Advisory struct {
	ID   string // as published, for looking it up
	What string // what it lets a repository do, in a few words
	Fix  string // versions without it
}

// advisories by tool, with the versions that have the weakness. What only makes init slow or hungry is not here: limits end that. Kept by hand,
// so an empty answer is no promise. Source: https://github.com/opentofu/opentofu/security/advisories
var advisories = map[string][]struct {
	Advisory
	in []version.Constraints
}{
	"tofu": {{
		Advisory: Advisory{ID: "GHSA-q7j3-v8qv-22vq", What: "the address of a module can read a file during git operations", Fix: "1.11.10, 1.12.3"},
		in:       []version.Constraints{must("< 1.11.10"), must(">= 1.12.0-alpha1, < 1.12.3")},
	}},
}

func must(text string) version.Constraints {
	return version.MustConstraints(version.NewConstraint(text))
}

// Advisories are the known weaknesses of a tool that its own version has.
func (t Tool) Advisories() []Advisory {
	v, err := version.NewVersion(t.Version)
	if err != nil {
		return nil
	}
	var found []Advisory
	for _, a := range advisories[t.Name] {
		for _, weak := range a.in {
			if weak.Check(v) {
				found = append(found, a.Advisory)
				break
			}
		}
	}
	return found
}
