package report

import (
	"time"

	"github.com/planlatch/planlatch/run"
)

// Markers end our comments, so that they can be found again when their stored id is gone. No other text of a rendering contains one.
const (
	SummaryMarker = "<!-- planlatch:summary -->"
	applyMarker   = "<!-- planlatch:apply:%s -->"
	callMarker    = "<!-- planlatch:call:%s -->"
)

// View is all that the renderings of one revision know: what planlatch saw, planned, judged and did. It is put together by the caller
// from one look at the store; rendering it twice gives the same text.
type View struct {
	Pull       run.Pull // zero for a push without a pull request
	Repo       run.Repo
	Revision   run.RevisionID
	Kind       run.Kind // of the revision: change before the merge, merge after it
	Head       string   // commit that was looked at
	Base       string   // commit it was merged with
	BaseBranch string
	Known      int            // projects of the repository, touched or not
	Projects   []Project      // one per project of the revision, its latest run; in any order
	Selection  []run.Selected // of the revision; skipped and deleted ones are told from here
	Problems   []run.Problem  // why nothing was planned
	Conflict   bool           // head and base do not merge
	Untrusted  bool           // nothing ran yet: a maintainer must say plan first
	Notes      []string       // told to people, blocking nothing
	Prefix     string         // first word of commands; empty: planlatch
	Mode       run.ApplyMode  // of the repository: decides the contexts when no project is touched
	Style      Style          // how much of the plan is shown; empty: full
	Pause      *run.Pause     // that keeps a project of it from applying; nil when nothing is paused
	URL        string         // of the server; empty: no links
	Mention    string         // who MergeWaits and Interrupted call, "@alice @acme/ops"; anything else in it is dropped
	Asides     []Aside        // what explain says of directories that are not selected

	local bool // nobody has posted it: no command can be said, no gate is judged
}

// Aside is a directory that is not selected, and why.
type Aside struct{ Dir, Why string }

// Style is how much of a plan leaves through a comment.
type Style string

// The styles of a comment.
const (
	StyleFull    Style = "full"    // with the attributes that change
	StyleSummary Style = "summary" // counts, addresses and links: no value of any plan, no text of any tool
	StyleOff     Style = "off"     // as summary, of what is said at all: answers to commands and calls for a person
)

// Project is one project of a revision with its latest run.
type Project struct {
	Run       run.Run
	Plan      Plan // zero until planned; Run.Counts say what was done, once an apply ended
	Findings  []run.Finding
	Overrides []run.Override // of the pull request; those that count are found by run.Overridden
	NoPolicy  bool           // no policy set is configured for the project
	Gates     []run.Gate
	Position  int       // queued, or confirmed and waiting: runs ahead of it
	HeldBy    string    // who keeps it waiting: "#12", "run 01J… of #12", …; empty when nobody
	Waits     string    // why nothing of the queue starts, the server's own words; empty: it does
	RunURL    string    // page of the run, with its read-only grant
	LogURL    string    // its log
	Failure   string    // raw tail of the log of a failed or interrupted run, redacted; the error is found in it
	Lock      *LockInfo // the backend lock that stopped it; when nil it is looked for in Failure
	Left      []string  // addresses a failed apply did not get to
	Progress  *Progress // how far an interrupted apply came; nil: not known
	Reviewed  *Reviewed // what a merge run is compared with
	After     string    // label of the project it is planned again after: a preview, never applied as it is
	Beside    []string  // other projects that keep their state in the same place
	PRs       []string  // "#214": merges whose unapplied changes this plan includes
	Unmerged  string    // "#214": applied this project and was closed or unlocked without a merge, so that what is live differs from the branch
}

// Reviewed is the plan that people saw in the pull request.
type Reviewed struct {
	Run  run.Run
	Plan Plan
}

// LockInfo is what a backend says of the lock it refused to give. Fields it did not tell are empty.
type LockInfo struct {
	ID        string
	Path      string
	Operation string // OperationTypeApply
	Who       string // user@host
	Version   string // of the tool
	Created   time.Time
	Message   string // the backend's own words
	Session   bool   `json:",omitempty"` // a PostgreSQL session holds it: it ends with that session, and has no id
	Ours      string `json:",omitempty"` // our own apply that left it, in words, when nothing of ours uses it any more
}
