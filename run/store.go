package run

import (
	"context"
	"errors"
	"time"
)

// Errors of Store; compare with errors.Is.
var (
	// ErrNotFound says that the row does not exist.
	ErrNotFound = errors.New("not found")
	// ErrMoved says that a run is no longer at the epoch the caller saw: load it and look again.
	ErrMoved = errors.New("the run has moved on")
	// ErrExists says that a unique row exists already, so the cause was handled before.
	ErrExists = errors.New("exists already")
)

// At names a run as the caller saw it. Epoch 0 accepts any.
type At struct {
	ID    ID
	Epoch int64
}

// Scope says what Advance loads and locks before it decides.
type Scope struct {
	Runs   []At   // these, failing with ErrMoved or ErrNotFound
	Pull   PullID // the pull and all its runs that are not final
	Repo   RepoID // with Branch: all merge runs of the branch that are not final
	Branch string
	Pauses bool // the pauses: no Advance that has read the old ones is still under way when decide is called
}

// Snapshot is what a decision sees, loaded in the transaction that writes its outcome. Runs named in the Scope come first, in that
// order, then the live ones in order of creation; no run is listed twice.
type Snapshot struct {
	Now    time.Time // the transaction's one time stamp
	Pull   Pull      // of Scope.Pull, else of the first run; zero without one
	Runs   []Run
	Slots  map[ProjectID]ID     // the run that holds the slot of each project of Runs, and of each that Scope.Pull holds
	Holds  map[ProjectID]PullID // the pull that holds each project of Runs, and every hold of Scope.Pull
	Pauses []Pause
	// Users is in which state the run is that has the slot of a project: Planning and Applying at work, Interrupted and Failed in doubt.
	Users   map[ProjectID]State
	Running int // runs of the first run's pull that are at work; counted only where that run has a Settings.Parallel
}

// Change is what a decision wants written, all of it or nothing. Nil and empty parts change nothing.
type Change struct {
	Action    Action                  // names the kill points before and after the commit
	Pull      *Pull                   // updated
	Moved     map[ProjectID]ProjectID // projects whose ended runs become another's, because it has their state now
	Revision  *Revision               // inserted; when the same revision exists already that one is used and its fields are left alone
	Runs      []Run                   // rows to write; the store adds 1 to each Epoch
	New       []Run                   // inserted after Revision; a zero Revision field gets its id. ErrExists if (Revision, Project, Cause) exists
	Take      map[ProjectID]ID        // slots to take; ErrMoved if one is taken by another run
	Free      []ProjectID             // slots to free
	Hold      map[ProjectID]PullID    // holds to take; ErrMoved if one is held by another pull
	Unhold    []ProjectID
	Findings  map[ID][]Finding // replaces those of a run
	Overrides []Override       // added
	Postings  []Posting        // wanted in addition; those that exist get Wanted+1, and keep their Body unless a new one is given
	Pause     []Pause          // set or replaced, by Match
	Resume    []string         // the Match of pauses that end
	Audit     []Audit          // At is set by the store when zero
	Jobs      []Job
}

// Job is a short piece of work to be done soon by the handler of its Kind. A job says "look at Key"; a stale one does nothing.
type Job struct {
	Kind string
	Key  string
	At   time.Time // not before; zero: now
}

// Result is what Advance wrote.
type Result struct {
	Revision Revision
	Runs     []Run // of Change.Runs, then of Change.New, as stored
}

// Store is where all of it lives. It alone opens transactions; each method is one. Adapters pass storetest on SQLite and PostgreSQL.
// Methods are safe for concurrent use and by several processes on one database.
type Store interface {
	// Advance is the one write. It loads and locks what scope names, calls the pure decide, and writes the Change it returns. decide may
	// be called again if the database asks for a retry, so it touches nothing outside. An error of decide ends the transaction and is
	// returned as it is. For every run written or inserted the store also wants, by itself, the summary posting of its pull and the
	// statuses posting of its revision's head, and after a merge that of the head that was merged; a Change with a Pull or Revision wants that pull's summary and that head's statuses.
	Advance(ctx context.Context, scope Scope, decide func(Snapshot) (Change, error)) (Result, error)

	Deliveries
	Rows
	Queue
	Outbox
	Operator
	Retention
}

// Deliveries keeps webhook calls and the short jobs they start.
type Deliveries interface {
	// Deliver stores a delivery and its intake job in one transaction. fresh is false if (Host, ID) is known already: nothing is done.
	Deliver(ctx context.Context, d Delivery) (fresh bool, err error)
	Delivery(ctx context.Context, host, id string) (Delivery, error)
	// Delivered records what became of a delivery.
	Delivered(ctx context.Context, host, id, outcome string) error
	// Enqueue asks for a job. Two live jobs of one Kind and Key become one.
	Enqueue(ctx context.Context, j Job) error
}

// Rows reads and names things. The Save methods insert or update by identity and return the row with its id.
type Rows interface {
	SaveRepo(ctx context.Context, r Repo) (Repo, error)
	// SavePull inserts a pull or refreshes its fields, unless it is Updated before what is stored. State and Draft of a stored one are left
	// to Advance, which writes them together with what they cause; a Frozen or MergeCommit already stored is never emptied.
	SavePull(ctx context.Context, p Pull) (Pull, error)
	// SaveProjects inserts what is new and refreshes labels, in the order given. An empty Identity leaves the stored one.
	SaveProjects(ctx context.Context, ps []Project) ([]Project, error)

	Repo(ctx context.Context, id RepoID) (Repo, error)
	RepoByName(ctx context.Context, host, name string) (Repo, error)
	Repos(ctx context.Context) ([]Repo, error)
	Pull(ctx context.Context, id PullID) (Pull, error)
	PullByNumber(ctx context.Context, repo RepoID, number int) (Pull, error)
	// OpenPulls lists the pulls stored as open.
	OpenPulls(ctx context.Context, repo RepoID) ([]Pull, error)
	// PullsAt lists the open pulls whose head is this commit.
	PullsAt(ctx context.Context, repo RepoID, sha string) ([]Pull, error)
	Project(ctx context.Context, id ProjectID) (Project, error)
	// Twins lists the other projects, of any repository, that have the state of a project; none while it is not known.
	Twins(ctx context.Context, id ProjectID) ([]Project, error)
	// Appliers lists, per state, the projects of any repository that began an apply to it, and since then to no other.
	Appliers(ctx context.Context, identities ...string) (map[string][]Project, error)
	Revision(ctx context.Context, id RevisionID) (Revision, error)
	// BranchRevision returns the newest revision of a commit that belongs to no pull request: a direct push, or a merge queue's. Error: ErrNotFound.
	BranchRevision(ctx context.Context, repo RepoID, head string) (Revision, error)
	// LatestRevision returns the newest revision of a pull and kind. Error: ErrNotFound.
	LatestRevision(ctx context.Context, pull PullID, kind Kind) (Revision, error)
	Run(ctx context.Context, id ID) (Run, error)
	// Runs lists runs, newest first.
	Runs(ctx context.Context, f Filter) ([]Run, error)
	// Newest returns, of each of the projects, the newest run that the filter's Revision, Kind and States have; of merges that of the last one
	// into the branch, which need not be the youngest.
	Newest(ctx context.Context, f Filter, projects ...ProjectID) (map[ProjectID]Run, error)
	Findings(ctx context.Context, runs ...ID) (map[ID][]Finding, error)
	Overrides(ctx context.Context, pull PullID) ([]Override, error)
	Holds(ctx context.Context, repo RepoID) (map[ProjectID]PullID, error)
	// Locks lists slots and holds: first every slot, then every hold, each in the order of their projects.
	Locks(ctx context.Context) ([]Lock, error)
	// AuditRows lists audit rows, newest first. They are only ever added: the database refuses to change or delete one.
	AuditRows(ctx context.Context, f AuditFilter) ([]Audit, error)
}

// Lock is what keeps others from a project: the slot of a run, or the hold of a pull request.
type Lock struct {
	Project Project
	Run     ID        // that has the slot; empty for a hold
	Pull    PullID    // that has the hold; 0 for a slot
	Since   time.Time // of a hold
}

// Wait is what keeps a waiting run from being claimed. At most one of Run, Pull and Full is set; none: it waits for its turn and a worker.
type Wait struct {
	Ahead int    // runs ahead in the fair order
	Run   ID     // that works on the project, or on its state; or that goes first because this one depends on it, or was merged before
	Pull  PullID // that holds the project, or its state
	Full  int    // so many projects of its pull request may be at work at once, and are
}

// Filter narrows a listing; zero fields match all. Limit 0 means 1,000.
type Filter struct {
	Repo     RepoID
	Pull     PullID
	Revision RevisionID
	Project  ProjectID
	Head     string // commit of the revision
	Kind     Kind
	States   []State
	Prefix   string // of the id
	Name     string // label or directory of the project
	Unsaved  bool   // only applies that could not save their state
	Before   ID     // those listed after this one: the next page
	Limit    int
}

// AuditFilter narrows a listing of audit rows; zero fields match all. Limit 0 means 1,000.
type AuditFilter struct {
	Repo    RepoID
	Pull    PullID
	Run     ID
	Actor   string
	Action  string
	Outcome string
	Cause   string
	Since   time.Time // at or after
	Until   time.Time // before
	Before  int64     // rows with a smaller ID: the next page
	Limit   int
}

// Queue is how nodes find work and keep it.
type Queue interface {
	// Next lists runs that could be claimed now, best first: queued and confirmed ones whose project's slot is free and, for confirmed
	// ones, whose hold is free or their own pull's; applies before plans, then in turns of repositories and pull requests, what is Idle last. A run waits while a run of its
	// revision that it comes after (Settings.After), or an earlier merge of its project into the branch (Turn), is queued, planning,
	// confirmed or applying.
	Next(ctx context.Context, limit int) ([]Run, error)
	// Position says how many runs are ahead of a waiting one in that order; 0 for the head.
	Position(ctx context.Context, id ID) (int, error)
	// Waits says what keeps a waiting run, zero for others. Error: ErrNotFound.
	Waits(ctx context.Context, id ID) (Wait, error)
	// Waiting lists the head of the queue in that order, whether or not the runs could be claimed now, and how many more there are.
	Waiting(ctx context.Context, limit int) (runs []Run, more int, err error)
	// Kicks delivers a token whenever a run may have become claimable or a posting wanted, by this process or, on PostgreSQL, another.
	// Tokens coalesce; a tick of the caller's own covers lost ones. Each call is a subscription of its own, for as long as the store
	// lives: a loop calls it once, before it begins.
	Kicks() <-chan struct{}
	// Beat renews a node's lease on the database's clock.
	Beat(ctx context.Context, n Node) error
	// Nodes lists the nodes that have beaten within the time given, by the database's clock.
	Nodes(ctx context.Context, within time.Duration) ([]Node, error)
	// Owned lists the running runs of a node.
	Owned(ctx context.Context, node string) ([]Run, error)
	// Orphans lists running runs whose node has not beaten for at least timeout, by the database's clock.
	Orphans(ctx context.Context, timeout time.Duration) ([]Run, error)
	// AppendLog adds redacted log text of one phase ("plan", "apply") of a run. to is the raw offset up to which it accounts; a chunk
	// that does not go beyond the last stored offset is dropped, so a repeated one does no harm.
	AppendLog(ctx context.Context, id ID, phase string, to int64, text []byte) error
	// RewriteLog replaces the text of a phase's chunks by what rewrite makes of them, one for one, in one transaction.
	RewriteLog(ctx context.Context, id ID, phase string, rewrite func(chunks [][]byte) ([][]byte, error)) error
	// LogOffset returns the raw offset up to which a phase's log is stored.
	LogOffset(ctx context.Context, id ID, phase string) (int64, error)
	// Log returns the text of chunks after the cursor and the new cursor; 0 starts at the beginning.
	Log(ctx context.Context, id ID, phase string, cursor int64) (text []byte, next int64, err error)
}

// Shows is what people can see once a posting stands on the host; zero: nothing that a command could be about.
type Shows struct {
	Revision RevisionID
	Plans    []ID // of runs
}

// Outbox is what leaves.
type Outbox interface {
	// Want asks for postings outside Advance: a review changed the checklist, a command was refused. Same rules as Change.Postings.
	Want(ctx context.Context, ps ...Posting) error
	// Leads says whether this process is the one that sends postings, and makes it that one if nobody is: two that send one posting say it
	// twice, or leave the older of two states on show. It is asked again before each round. Another takes over within half a minute when
	// the process that leads is gone, and at once when its end was seen.
	Leads(ctx context.Context) (bool, error)
	// Due lists postings with Wanted > Posted that are not dead and whose NextAt has come, oldest first.
	Due(ctx context.Context, limit int) ([]Posting, error)
	// Posted records success for the Wanted that p carries: Digest, External; Attempts and Error are cleared. A Wanted that grew
	// meanwhile stays due. What it shows gets its Posted time, if that was zero.
	Posted(ctx context.Context, p Posting, shows Shows) error
	// Unposted records a failed attempt: Attempts, NextAt (on this machine's clock), Dead, Error of p.
	Unposted(ctx context.Context, p Posting) error
	// Postings lists postings, whether they are due or not, newest first.
	Postings(ctx context.Context, f PostingFilter) ([]Posting, error)
	// OwnComment says whether a comment id is one that we posted in a repository.
	OwnComment(ctx context.Context, repo RepoID, comment string) (bool, error)
}

// PostingFilter narrows a listing of postings; zero fields match all. Limit 0 means 1,000.
type PostingFilter struct {
	Kind  PostingKind
	Repo  RepoID
	Key   string
	Dead  bool // only those that were given up on
	Limit int
}

// Operator is the operator's hand and the process's own life.
type Operator interface {
	// Pauses lists the pauses, oldest first. They begin and end by Advance, with Freeze and Resume.
	Pauses(ctx context.Context) ([]Pause, error)
	// Mark and Marked keep a small value under a name: when reconcile last looked, the data key.
	Mark(ctx context.Context, name, value string) error
	Marked(ctx context.Context, name string) (string, error) // "" if never marked
	// Ping checks that the database answers.
	Ping(ctx context.Context) error
	// Stats counts runs by state and postings that are due or dead, for metrics.
	Stats(ctx context.Context) (map[string]int, error)
}

// Part is a part of a run that retention removes.
type Part string

// The parts of a run.
const (
	PartLog  Part = "log"  // its log and what is shown of its plan
	PartPlan Part = "plan" // its plan file and what goes with it
)

// Pruned is a kind of rows that are removed once they are done and old.
type Pruned string

// What is pruned.
const (
	PruneDeliveries Pruned = "deliveries" // webhook calls
	PruneMessages   Pruned = "messages"   // postings, but summaries, of pull requests that are not open, which were posted or given up on
	PruneNodes      Pruned = "nodes"      // that run nothing and were not seen since
	PruneWakes      Pruned = "wakes"      // of jobs that are gone
)

// Retention removes what is old. It removes no run, finding, override or audit row.
type Retention interface {
	// Expired lists runs that have the part and ended before a time, oldest first. A run keeps its parts while it has not ended or its state
	// is not saved; while a run that has not ended is compared with it; while it is the newest of its project, or the newest that found the
	// code in force (applied or unchanged); and while its pull request is open and has no newer run of the project.
	Expired(ctx context.Context, part Part, before time.Time, limit int) ([]Run, error)
	// Forget takes a part off a run, with those of its Blobs that are named, and returns the keys of these, which are the caller's to
	// delete. It does nothing to a run that has not ended or whose state is not saved. Forgetting twice does no harm.
	Forget(ctx context.Context, id ID, part Part, blobs ...string) (keys []string, err error)
	// Prune removes at most limit rows of a kind that were done before a time, and says how many.
	Prune(ctx context.Context, kind Pruned, before time.Time, limit int) (int, error)
	// Trees lists the trees and repositories of runs that have not ended, with the states of these runs.
	Trees(ctx context.Context) ([]Tree, error)
}

// Tree is the source of a run that has not ended.
type Tree struct {
	Repo  RepoID
	Tree  string
	State State
}
