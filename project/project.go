package project

import (
	"io/fs"

	"github.com/planlatch/planlatch/run"
)

// ConfigFile is the name of the repository's own configuration, at its root.
const ConfigFile = "planlatch.yaml"

// Kind says what happened to a file.
type Kind string

// What can happen to a file.
const (
	Added       Kind = "added"
	Modified    Kind = "modified"
	Deleted     Kind = "deleted"
	Renamed     Kind = "renamed"
	TypeChanged Kind = "type_changed" // a file became a symlink or the reverse
)

// Change is one file that differs between two trees. Paths are slash-separated and relative to the root of the repository.
type Change struct {
	Path string
	Old  string `json:",omitempty"` // the former path, when Renamed
	Kind Kind
}

// Rules are what the server says about a repository. The zero value plans with the server's default tool and lets the repository list
// projects and add requirements.
type Rules struct {
	// Settings are the defaults of every project.
	Settings run.Settings
	// AllowRepoConfig lists what planlatch.yaml may set: projects, requirements.add, apply, lock, environment, steps. Nil means projects and
	// requirements.add; an empty list allows nothing.
	AllowRepoConfig []string
	// ToolsAllow bounds the versions a repository may pin, as a constraint like ">=1.5". Empty allows any.
	ToolsAllow string
	// DefaultTool is tofu or terraform, for projects that do not say. Empty is tofu.
	DefaultTool string
	// Ignore are directories, as globs, that are never discovered, besides what planlatch.yaml ignores.
	Ignore []string
}

// Input is what a selection is made from.
type Input struct {
	Head    fs.FS    // the tree that would be planned: the merge result
	Base    fs.FS    // the tree whose rules judge it; nil when there is none
	Changed []Change // from the merge base to the head
	Rules   Rules
}

// Selection is the answer: what a change touches.
type Selection struct {
	// Projects are those the change touches, dependencies first: an index is the run's ordinal. Those with Skipped set are not planned:
	// library modules, and directories that were deleted or moved.
	Projects []run.Selected
	// All are every project the repository has, touched or not, and those Deleted, in the same order; for explain and for commands that
	// name a project.
	All []run.Selected
	// Problems say why nothing can be planned; empty when all is well. Projects and All may be incomplete when there are any.
	Problems []run.Problem
	// Notes are told to people and block nothing.
	Notes []string
	// Err says that a tree could not be read, which is nobody's fault here and worth a retry. Problems has an entry then, too.
	Err error
}

// Position is where something is declared. File is relative to the root of the tree.
type Position struct {
	File string
	Line int
}
