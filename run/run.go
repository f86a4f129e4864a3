// Package run is the heart of planlatch: what a run is, which states it passes, when it may apply, and what counts as the same effect.
//
// It is pure: no I/O, no clock, no randomness; the time is an argument. It decides, [Store] writes. A decision is a function from a
// [Snapshot] to a [Change], so every rule can be tested as a table and every write happens in one transaction.
package run

import (
	"time"
)

// ID names a run: a ULID, so ids sort by the time of creation.
type ID string

// Surrogate keys. Names are labels; these are identity.
type (
	// RepoID is a repository of a host.
	RepoID int64
	// PullID is a pull request.
	PullID int64
	// RevisionID is a commit that was looked at for a reason.
	RevisionID int64
	// ProjectID is a root module and workspace of a repository.
	ProjectID int64
)

// Repo is a repository on a configured VCS host. Identity is (Host, HostID); Name is a label refreshed from events.
type Repo struct {
	ID            RepoID
	Host          string // name of the host in server.yaml
	HostID        string // the host's own id of the repository
	Name          string // owner/name
	DefaultBranch string
}

// Pull is what we remember of a pull request; the host has the truth. Identity is (Repo, Number).
type Pull struct {
	ID          PullID
	Repo        RepoID
	Number      int
	State       string // vcs.PullState
	Draft       bool
	Fork        bool
	Title       string
	URL         string
	Author      string
	HeadSHA     string
	HeadBranch  string
	BaseBranch  string
	MergeCommit string
	MergedBy    string
	Frozen      []byte // JSON of the vcs.Pull at merge, on which after-merge gates are judged; empty before
	Updated     time.Time
}

// Kind says where a run comes from.
type Kind string

// The kinds of runs and revisions.
const (
	KindChange  Kind = "change"  // a pull request
	KindMerge   Kind = "merge"   // a merge or push to the branch
	KindDestroy Kind = "destroy" // what a deleted directory left behind
	KindQueue   Kind = "queue"   // a commit that a merge queue would make the branch's tip: planned, never applied
	KindDrift   Kind = "drift"
	KindManual  Kind = "manual"
)

// Revision is what is looked at: one head on one base. Unique by (Repo, Pull or Branch, Head, Base, Kind).
type Revision struct {
	ID        RevisionID
	Repo      RepoID
	Pull      PullID // 0 without a pull request
	Branch    string // the base branch
	Head      string // commit that statuses go on
	Base      string // commit of the base branch it was merged with; for a merge revision its first parent
	Tree      string // git tree of the merge result: what is planned; empty when it conflicts
	Kind      Kind
	Problems  []Problem  // why nothing can be planned; empty when all is well
	Selection []Selected // the projects this revision touches
	Known     int        // projects of the repository at this revision, touched or not
	Notes     []string   // told to people, blocking nothing: "planlatch.yaml changes apply; the base's rules judge this PR"
	Created   time.Time
	Posted    time.Time // when its report stood on the host; zero until then, and again when a push goes back to it
}

// MovedFrom is the directory that a project is moved from by this revision; empty if it is not. Whoever guards a place guards what leaves it.
func (r Revision) MovedFrom(dir, workspace string) string {
	for _, s := range r.Selection {
		if s.From != "" && s.Dir == dir && s.Workspace == workspace {
			return s.From
		}
	}
	return ""
}

// Problem is one clear message about bad input: what, where, how to fix it.
type Problem struct {
	File    string `json:",omitempty"`
	Line    int    `json:",omitempty"`
	Column  int    `json:",omitempty"`
	Key     string `json:",omitempty"`
	Message string
	Fix     string `json:",omitempty"`
}

// Selected is a project that a revision touches, with the reasons why.
type Selected struct {
	Project   ProjectID // 0 until the project is saved
	Dir       string    // "." for the root
	Workspace string    // "default" when none is named
	Label     string    // its name: the directory, plus ":workspace" when not default, unless configured
	Reasons   []string  // "infra/network/main.tf changed", "uses modules/vpc, where main.tf changed"
	Deleted   bool      `json:",omitempty"` // its directory is gone from the head
	From      string    `json:",omitempty"` // the directory that it was moved from
	Kept      string    `json:",omitempty"` // of a deleted one: the directory or project that has its state now, so that there is nothing to destroy
	Skipped   string    `json:",omitempty"` // why it is listed but not planned: library module, moved to …
	Stands    ID        `json:",omitempty"` // the run of a pull request whose plan was made from the same inputs and counts for this revision
	After     []string  `json:",omitempty"` // labels of the selected projects that it depends on, directly or not
	Settings  Settings
}

// Project is a root module directory plus a workspace in a repository: the unit of state, lock and run. Identity is (Repo, Dir, Workspace).
type Project struct {
	ID        ProjectID
	Repo      RepoID
	Dir       string
	Workspace string
	Label     string // for people; free to change
	Identity  string // of the state: backend type, resolved non-secret settings, workspace; empty until the first init
}

// ApplyMode says when a project applies.
type ApplyMode string

// The apply modes.
const (
	ApplyAfterMerge  ApplyMode = "after_merge"
	ApplyBeforeMerge ApplyMode = "before_merge"
	ApplyManual      ApplyMode = "manual"
	ApplyOff         ApplyMode = "off"
)

// LockPolicy says when a pull request takes the hold of a project.
type LockPolicy string

// The lock policies.
const (
	LockApply LockPolicy = "apply" // when an apply is confirmed
	LockPlan  LockPolicy = "plan"  // when it is planned
	LockNone  LockPolicy = "none"
)

// Settings are the rules and inputs a run was made with. They never change during its life.
type Settings struct {
	Apply         ApplyMode
	Requirements  []string // approved, mergeable, up_to_date
	Lock          LockPolicy
	OnFailure     string // stop | continue
	Parallel      int    `json:",omitempty"` // most projects of the pull request that run at once; 0: no limit of its own
	EffectIgnore  []string
	Environment   string
	Tool          string   // tofu | terraform; empty: by the code and the server's default
	Version       string   // exact or constraint from the project's pin; empty: required_version, else the server's default
	Required      []string // required_version constraints found in the code
	VarFiles      []string // relative to the project directory
	BackendConfig []string // relative to the project directory, or key=value
	Flags         []string // tool flags from a comment; a flagged run is partial
	Backend       string   // backend type the code names: s3, local, "" when there is none, cloud, remote
	Destroy       bool
	Steps         Steps    `json:",omitzero"` // commands besides the tool's own, or in their place
	Inputs        []string // directories and files whose trees make up the inputs digest
	Unlock        string   `json:",omitempty"` // id of a lock of the backend that an earlier plan of ours left, to be freed before this one
	// After are the projects of the same revision that this one depends on, directly or not: it is planned once none of them is being
	// planned or about to apply, and again after one has applied (semantics 22).
	After []ProjectID `json:",omitempty"`
}

// State is where a run is in its life. docs/state-machine.md has the drawing.
type State string

// The states of a run.
const (
	Queued      State = "queued"
	Planning    State = "planning"
	Planned     State = "planned"
	Unchanged   State = "unchanged"
	Confirmed   State = "confirmed"
	Applying    State = "applying"
	Applied     State = "applied"
	Failed      State = "failed"
	Interrupted State = "interrupted"
	Canceled    State = "canceled"
	Superseded  State = "superseded"
)

// Run is one plan for ever, and at most one apply of it. Unique by (Revision, Project, Cause).
type Run struct {
	ID       ID
	Repo     RepoID
	Revision RevisionID
	Pull     PullID // 0 without a pull request
	Project  ProjectID
	Label    string // of the project, when the run was made
	Dir      string
	Work     string // workspace
	Kind     Kind
	Cause    string // delivery, comment or predecessor that asked for it
	Actor    string // who asked; empty for ourselves
	Ordinal  int    // place within its revision, for the fair order
	Idle     bool   // nobody asked for it: it is planned when nobody else waits
	Turn     int64  // of a merge: how many commits its branch had with it, first parents only; merges of one project go in this order
	Settings Settings

	State  State
	Epoch  int64  // grows with every write; who writes names the one it saw
	Reason string // one sentence on how it got here, where the state alone does not say it

	Node      string    // that owns the running execution
	Execution string    // executor.Name of the running or last execution
	Attempt   int       // of the plan; a lost plan is planned again under a new name
	Stray     bool      // an attempt of its plan was given up because its node fell silent: it may still be at work there
	Deadline  time.Time // of the running phase
	Stop      State     // what a running phase was asked to end as: canceled or superseded; empty: nothing was asked
	StopWhy   string
	Recheck   bool // a planning run whose base moved meanwhile: once it has settled, somebody looks whether its plan is stale

	Reviewed ID        // the run of the pull request that a merge run is compared with, or the failed run a retry completes
	Tool     string    // "tofu 1.12.6", once known
	Partial  bool      // planned with flags: never turns apply green
	Posted   time.Time // when its report first stood on the host; zero until then

	InputsDigest string
	PlanDigest   string // sha256 of the plan file: what apply must run
	EffectDigest string
	RestOf       string // digest of the reviewed effect of which this one is what an apply that failed or was interrupted left; empty: of none
	PolicyDigest string
	Blobs        map[string]string // plan, plan_json, view, state …: keys in the blob store
	Counts       Counts
	Unsaved      bool   // an apply could not save its state (errored.tfstate is kept)
	Identity     string // of the state that the plan is of; empty until it is planned, or without a backend
	NoBackend    bool   // nothing would remember what an apply creates: local state outside a writable bind

	Created      time.Time // queued
	Started      time.Time // claim of the plan that counts
	Planned      time.Time
	Confirmed    time.Time
	ConfirmedBy  string
	ApplyStarted time.Time
	Finished     time.Time

	LogGone  time.Time // when retention removed its log and what was shown of its plan; zero: they are there
	PlanGone time.Time // when retention removed its plan file and what goes with it
}

// Counts are the numbers of a plan, or of what an apply did.
type Counts struct {
	Add, Change, Replace, Destroy, Import, Forget, Move, Outputs int
}

// Final says whether a run has ended for good.
func (s State) Final() bool {
	switch s {
	case Unchanged, Applied, Failed, Canceled, Superseded:
		return true
	default:
		return false
	}
}

// Decided lists the states of runs whose plan stands, or stood until it was applied.
func Decided() []State { return []State{Planned, Unchanged, Confirmed, Applying, Applied, Interrupted} }

// Running says whether an execution of the run may exist.
func (s State) Running() bool { return s == Planning || s == Applying }

// Level is how hard a policy finding is.
type Level string

// The levels of a policy set.
const (
	Advisory Level = "advisory"
	Soft     Level = "soft" // an owner may override
	Hard     Level = "hard"
)

// Finding is one message of one policy rule about one resource.
type Finding struct {
	Set      string // policy set
	Rule     string // stateful-replace
	Level    Level
	Resource string // address; empty when about the whole plan
	Message  string
	Fix      string
	Value    string // the offending value, for the binding of overrides
	File     string
	Line     int
	Owners   Owners
	Source   bool `json:",omitempty"` // about the source, found before anything of it ran
}

// Owners may override soft findings of a set.
type Owners struct {
	Users     []string
	Teams     []string
	Approvals int
}

// Override is one owner's acceptance of one soft finding. It counts only while all that it is bound to is the same.
type Override struct {
	Pull     PullID
	Project  ProjectID
	Set      string
	Rule     string
	Resource string
	Value    string
	Effect   string // effect digest; of a finding about the source: what Bound says
	Policy   string // policy digest
	Actor    string
	Reason   string
	At       time.Time
}

// Delivery is one webhook call that starts work.
type Delivery struct {
	Host     string // name in server.yaml
	ID       string // the host's delivery id
	Event    []byte // JSON of the vcs.Event
	Received time.Time
	Outcome  string // empty until handled; then what was done, or why nothing
}

// CommentDelivery begins the ids of deliveries that are comments, each kept once however it came. No host's own id begins so: whoever delivers
// writes that into a header, which no signature covers, and could keep a comment from ever being heard that is not written yet.
const CommentDelivery = "comment."

// Node is a process that executes runs.
type Node struct {
	ID   string
	Name string // host name, for people
	Seen time.Time
	Note string // why it starts no run, for people; empty: it does
}

// PostingKind says what a posting is.
type PostingKind string

// The kinds of postings. State-like ones (summary, statuses) are overwritten; the others are said once.
const (
	PostSummary     PostingKind = "summary"     // the one comment of a pull request
	PostStatuses    PostingKind = "statuses"    // all statuses of one commit
	PostResult      PostingKind = "result"      // an apply attempt's result
	PostMergeWaits  PostingKind = "merge_waits" // a merge needs a person
	PostInterrupted PostingKind = "interrupted"
	PostReply       PostingKind = "reply" // an answer to a command; Body is the text

	PostChat  PostingKind = "chat"       // state-like: where a pull request or push stands, for one chat channel. Key: channel/subject
	PostEvent PostingKind = "chat_event" // what happened, for one channel of chat or hook. Key: channel/subject/scope
)

// Comment says whether postings of this kind are comments on the VCS host, whose ids tell our own words from those of people.
func (k PostingKind) Comment() bool { return k != PostStatuses && k != PostChat && k != PostEvent }

// Posting is one thing that people should read, wanted and perhaps posted. Unique by (Kind, Repo, Key).
type Posting struct {
	ID       int64
	Kind     PostingKind
	Repo     RepoID
	Pull     PullID
	Key      string // what it is about: pull id, commit, run id and attempt, or comment id
	Run      ID
	Body     string // PostReply: the text; else rendered when it is sent
	Wanted   int64  // grows whenever what it shows may have changed
	Posted   int64  // the Wanted it was last posted for
	Digest   string // of what was last posted
	External string // the host's id of what was posted; statuses: JSON of context → digest
	Attempts int
	NextAt   time.Time
	Dead     bool
	Error    string
}

// Audit is one append-only row: who did what to what, and what came of it.
type Audit struct {
	ID      int64 // grows with every row; set by the store
	At      time.Time
	Actor   string
	Action  string
	Repo    RepoID
	Pull    PullID
	Run     ID
	Outcome string // done | refused
	Detail  string
	Cause   string // unique within the repository: a second row of one cause is not written. Empty: every row is
}

// Pause stops applies of the projects that Match selects.
type Pause struct {
	Match  string
	Actor  string
	Reason string
	At     time.Time
}
