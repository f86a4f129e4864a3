// Package vcs holds the ports and values with which planlatch speaks to VCS hosts.
//
// It promises that one vocabulary, the pull request's, covers every host; quirks stay inside the adapter packages below it. An ability is
// a small interface; [Host] joins those every supported host has, and an ability that only some have is asked for by a type assertion.
// All values are plain data that survive a round trip through JSON. Adapters are safe for concurrent use.
package vcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Errors that adapters return, wrapped; compare with errors.Is.
var (
	// ErrSignature says that a webhook is unsigned or signed wrongly: 401, nothing stored.
	ErrSignature = errors.New("webhook signature does not match")
	// ErrMalformed says that a correctly signed webhook cannot be read: 400.
	ErrMalformed = errors.New("webhook body cannot be read")
	// ErrNotFound says that the host does not know the thing, or hides it from our token.
	ErrNotFound = errors.New("not found on the VCS host")
	// ErrDenied says that our token is invalid or lacks a permission.
	ErrDenied = errors.New("refused by the VCS host")
)

// RetryError says that the host wants us to wait, or is ill; After is zero when it named no time.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("try again in %s: %v", e.After, e.Err)
	}
	return fmt.Sprintf("try again later: %v", e.Err)
}

func (e *RetryError) Unwrap() error { return e.Err }

// IgnoredError is Parse's answer to a delivery that is correctly signed and not ours. It is answered 2xx and counted by Reason, which is
// a short constant text ("event label", "comment edited", "comment of a bot").
type IgnoredError struct{ Reason string }

func (e *IgnoredError) Error() string { return "ignored: " + e.Reason }

// Host is what every supported VCS host can do.
type Host interface {
	Events
	Pulls
	Speaks
	Access
	Repos
}

// Events reads webhooks.
type Events interface {
	// Parse verifies the signature over the raw body in constant time and returns the one event a delivery carries. It is cheap for
	// events that are not ours: they are told by their header before the body is decoded. Errors: ErrSignature, ErrMalformed,
	// *IgnoredError.
	Parse(h http.Header, body []byte) (Event, error)
}

// Pulls reads pull requests. Snapshots are whole: reviews, checks and contributors included.
type Pulls interface {
	// Pull returns the snapshot that gates are judged on. Error: ErrNotFound.
	Pull(ctx context.Context, r Repo, number int) (Pull, error)
	// UpdatedSince lists the pull requests, open, closed and merged, that changed at or after since, in no order. Reviews, checks and
	// contributors may be absent.
	UpdatedSince(ctx context.Context, r Repo, since time.Time) ([]Pull, error)
	// CommentsSince lists the comments of a pull request created at or after since, oldest first; review bodies are included.
	CommentsSince(ctx context.Context, r Repo, number int, since time.Time) ([]Comment, error)
	// Branch returns the commit a branch points to. Error: ErrNotFound.
	Branch(ctx context.Context, r Repo, name string) (string, error)
}

// Speaks writes what people read.
type Speaks interface {
	// Comment creates or edits a comment and returns its id. known is the id from an earlier call, or empty. When known is empty or gone
	// and marker is not, the newest comment of our own account that contains marker is edited instead; other people's comments never are.
	Comment(ctx context.Context, r Repo, number int, known, marker, body string) (id string, err error)
	// React acknowledges a comment. Reacting twice is no error.
	React(ctx context.Context, r Repo, number int, comment string, with Reaction) error
	// SetStatus sets one commit status, replacing an earlier one of the same context.
	SetStatus(ctx context.Context, r Repo, sha string, s Status) error
	// Limits says what the host refuses.
	Limits() Limits
}

// Access answers who may do what, and lets git in.
type Access interface {
	// Remote returns where to fetch from and a short-lived credential for it. URL never contains the credential.
	Remote(ctx context.Context, r Repo) (Remote, error)
	// HeadRef is the ref under which git fetches the head of a pull request from r, forks included: refs/pull/7/head.
	HeadRef(number int) string
	// Permission returns what a user may do in a repository; an unknown user has PermissionNone and no error.
	Permission(ctx context.Context, r Repo, user string) (Permission, error)
	// Member says whether a user belongs to a team, written "org/team".
	Member(ctx context.Context, team, user string) (bool, error)
	// Self returns the account of our token.
	Self(ctx context.Context) (User, error)
}

// Repos finds repositories.
type Repos interface {
	// Repo returns a repository by its full name. Error: ErrNotFound.
	Repo(ctx context.Context, name string) (Repo, error)
	// List returns every repository our token sees, to match the allow-list's globs against.
	List(ctx context.Context) ([]Repo, error)
}

// Repo is a repository as its host knows it. ID is the identity; Name, "owner/name", is a label that renames change.
type Repo struct {
	ID            string
	Name          string
	DefaultBranch string
	Private       bool
}

// User is an account. Login is what people type.
type User struct {
	ID    string
	Login string
	Bot   bool
}

// Remote is a git address with a credential that goes to git through askpass.
type Remote struct {
	URL      string
	Username string
	Password string `json:"-"`
}

// Permission is what a user may do in a repository, in rising order.
type Permission int

// The permissions all hosts share.
const (
	PermissionNone Permission = iota
	PermissionRead
	PermissionWrite
	PermissionAdmin
)

// Reaction is a small answer on a comment.
type Reaction string

// The reactions we use: seen and working, done, refused.
const (
	ReactionSeen    Reaction = "eyes"
	ReactionDone    Reaction = "+1"
	ReactionRefused Reaction = "confused"
)

// Limits are what a host refuses, in the unit it counts.
type Limits struct {
	Comment int // characters in one comment
}

// Status is a commit status. State is one of the Status… constants; Description is cut by the adapter to what the host takes.
type Status struct {
	Context     string
	State       StatusState
	Description string
	URL         string
}

// StatusState is the colour of a status.
type StatusState string

// The states that all hosts share.
const (
	StatusPending StatusState = "pending"
	StatusSuccess StatusState = "success"
	StatusFailure StatusState = "failure"
	StatusError   StatusState = "error"
)

// EventKind says what a delivery is about.
type EventKind string

// What deliveries can be about.
const (
	EventPull    EventKind = "pull"    // opened, new commits, reopened, ready, draft, base changed, closed, merged, title or labels
	EventComment EventKind = "comment" // a new comment by a person
	EventReview  EventKind = "review"  // submitted, edited, dismissed; Comment holds its body if it has one
	EventPush    EventKind = "push"    // a branch moved
	EventStatus  EventKind = "status"  // a check of somebody else's finished
	EventQueue   EventKind = "queue"   // a merge queue asks for the statuses of a commit it would make
)

// Event is one delivery, read. It carries what says where to look; the truth is read from the host when it is handled.
type Event struct {
	Kind     EventKind
	Delivery string // unique per host: the dedupe key
	Repo     Repo
	Number   int       `json:",omitempty"` // of the pull request
	Action   string    `json:",omitempty"` // the host's own word, for logs
	Sender   User      // who caused it
	Comment  *Comment  `json:",omitempty"`
	Push     *Push     `json:",omitempty"`
	Queue    *Queue    `json:",omitempty"`
	SHA      string    `json:",omitempty"` // EventStatus: the commit
	At       time.Time // when the host says it happened, else zero
}

// Comment is what a person wrote on a pull request.
type Comment struct {
	ID      string
	Author  User
	Body    string
	Created time.Time
	Review  bool `json:",omitempty"` // the body of a review: has no reactions
}

// Push is a branch that moved. After is all zeros when the branch was deleted.
type Push struct {
	Branch string
	Before string
	After  string
}

// Queue is a commit that a merge queue made of pull requests on a branch, to be judged before the branch moves to it.
type Queue struct {
	Branch string // that it would become the tip of
	Base   string // what it is made on top of
	Head   string // the commit
	Ref    string // under which git fetches it: refs/heads/gh-readonly-queue/main/pr-104-9f8e7d6
}

// PullState is where a pull request is in its life.
type PullState string

// The states of a pull request.
const (
	PullOpen   PullState = "open"
	PullClosed PullState = "closed"
	PullMerged PullState = "merged"
)

// Pull is a pull request at one moment, whole enough to judge gates on.
type Pull struct {
	Number       int
	Title        string
	URL          string
	Author       User
	State        PullState
	Draft        bool
	Fork         bool // the head lives in another repository
	Head         Ref
	Base         Ref
	Mergeable    Tri    // no conflict and whatever else the host can tell: required reviews, protected branches
	MergeBlocked string // why the host would not merge it, in words; empty if unknown or nothing
	Reviews      []Review
	Checks       []Check
	Contributors []string // logins and e-mail addresses of all who authored, committed or pushed the head's own commits
	MergeCommit  string   // once merged: the commit on the base branch
	MergedBy     User
	MergedAt     time.Time
	Updated      time.Time
}

// Ref is a branch and the commit it points to.
type Ref struct {
	Branch string
	SHA    string
}

// Tri is yes, no or unknown. Unknown counts as no in every gate.
type Tri int

// The values of Tri.
const (
	Unknown Tri = iota
	No
	Yes
)

// Review is the last word of one person; adapters drop earlier ones and keep the order of time. Who may not write only comments, see [Weigh].
type Review struct {
	Author User
	State  ReviewState
	Commit string // the head it was given on; empty when the host does not say
	At     time.Time
}

// ReviewState is what a review says.
type ReviewState string

// What reviews say.
const (
	ReviewApproved  ReviewState = "approved"
	ReviewChanges   ReviewState = "changes_requested"
	ReviewCommented ReviewState = "commented"
	ReviewDismissed ReviewState = "dismissed"
)

// Check is the status of one context on the head.
type Check struct {
	Context  string
	State    StatusState
	Required bool // by a branch protection rule
}
