package report

import (
	"github.com/planlatch/planlatch/run"
)

// Plan is what people read of a plan: redacted, shortened, in the order of danger. It is plain data that is stored as JSON once and read
// back for every rendering.
type Plan struct {
	Tool     string   `json:",omitempty"` // version that wrote it: "1.12.6"
	Changes  []Change `json:",omitempty"`
	Outputs  []Output `json:",omitempty"` // that change
	Counts   run.Counts
	Reads    int      `json:",omitempty"` // data sources read during the apply
	Drift    []string `json:",omitempty"` // addresses whose real object was changed by somebody else
	Warnings []string `json:",omitempty"` // checks that fail, changes that are put off
	More     int      `json:",omitempty"` // changes beyond what is kept here
	Twice    []string `json:",omitempty"` // addresses it creates that an interrupted apply has created already: the state does not know them
}

// Change is what happens to one object.
type Change struct {
	Address  string
	Type     string // aws_db_instance
	Kind     ChangeKind
	Deposed  string `json:",omitempty"` // key of a deposed object
	Previous string `json:",omitempty"` // address it is moved from
	Import   string `json:",omitempty"` // id it is imported from
	First    bool   `json:",omitempty"` // a replacement that creates before it destroys
	Keeps    bool   `json:",omitempty"` // a replacement that leaves the old object in place, forgotten
	Reason   string `json:",omitempty"` // "replaced: storage_encrypted forces it"
	Attrs    []Attr `json:",omitempty"`
	More     int    `json:",omitempty"` // attributes beyond what is kept here
	Unknown  int    `json:",omitempty"` // attributes of a new object that are only known after apply
	File     string `json:",omitempty"` // where its block stands
	Line     int    `json:",omitempty"`
}

// ChangeKind is what happens, in one word.
type ChangeKind string

// The kinds of changes.
const (
	Create  ChangeKind = "create"
	Update  ChangeKind = "update"
	Replace ChangeKind = "replace"
	Delete  ChangeKind = "delete"
	Import  ChangeKind = "import"
	Forget  ChangeKind = "forget"
	Move    ChangeKind = "move"
	Read    ChangeKind = "read"
)

// Attr is one value that changes. Before and After are written as in the language, shortened; an empty one was or becomes unset.
type Attr struct {
	Path      string   // parameter["max_connections"], jsondecode(policy).Statement[0].Action
	Before    string   `json:",omitempty"`
	After     string   `json:",omitempty"`
	Lines     []string `json:",omitempty"` // instead of Before and After: a line diff, each beginning with "+ ", "- " or "  "
	Unknown   bool     `json:",omitempty"` // After is known only after apply
	Sensitive bool     `json:",omitempty"` // nothing of it is shown
	Forces    bool     `json:",omitempty"` // it forces a replacement
}

// Output is a root output that changes.
type Output struct {
	Name  string
	Kind  ChangeKind
	Attrs []Attr
}

// ReadOptions is what ReadPlan needs besides the plan. Its zero value redacts nothing but what the schema marks sensitive.
type ReadOptions struct {
	// Locate says where the block of a resource stands; ok is false when it does not know. The address is given without instance keys.
	Locate func(address string) (file string, line int, ok bool)
	// Redact replaces known secrets. Every text taken from the plan passes it.
	Redact func(string) string
}
