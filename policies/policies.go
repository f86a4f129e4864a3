// Package policies carries the policy sets that are shipped with planlatch, as files in Rego with their tests beside them.
package policies

import (
	"embed"
	"io/fs"
	"slices"
)

//go:embed baseline sources
var files embed.FS

// Names lists the shipped sets, sorted.
func Names() []string { return []string{"baseline", "sources"} }

// Open returns the files of a shipped set, and whether there is such a set.
func Open(name string) (fs.FS, bool) {
	if !slices.Contains(Names(), name) {
		return nil, false
	}
	set, err := fs.Sub(files, name)
	return set, err == nil
}
