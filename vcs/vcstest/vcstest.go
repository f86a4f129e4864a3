// Package vcstest is the conformance suite of the vcs port: one set of cases that every host adapter passes against its host, a real one
// or a faithful fake.
//
// A test of an adapter calls [Run] with a function that returns a [Harness]: the adapter under test, and a [World] that acts on the same
// host as people do. Cases run in parallel, each in repositories of its own.
package vcstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// Harness is one adapter and the world it is tested in.
type Harness struct {
	Host  vcs.Host
	World World

	// SignatureHeaders are the headers that carry a delivery's signature, the one that is read first in front.
	SignatureHeaders []string
	// TokenOnly says that the host signs deliveries with a fixed secret, which says nothing about the body.
	TokenOnly bool
	// PushDeletes says that the host tells of deleted branches.
	PushDeletes bool
	// ReviewsHaveNoBody says that what is said in a review is a comment like any other, and that an approval is of no commit.
	ReviewsHaveNoBody bool
	// StrangersCannotReview says that the host refuses approvals of who may not write.
	StrangersCannotReview bool
	// Untold are reasons to ignore a delivery that the host does not deliver at all.
	Untold []string
	// WholePipeline says that a branch asks for all that was reported, not for contexts by their names.
	WholePipeline bool
	// NoErrorState says that the host shows an error as a failure.
	NoErrorState bool
}

// World acts on the host as its people do. A method ends the test when the host refuses.
type World interface {
	// Person makes an account. Its login is told by the person; name is a part of it at most.
	Person(t testing.TB, name string) Person
	// Repo makes a repository with one commit on branch main, in which the adapter's account may do everything.
	Repo(t testing.TB, private bool) vcs.Repo
	// Grant lets a person into a repository. PermissionAdmin makes them an administrator of that repository only.
	Grant(t testing.TB, r vcs.Repo, p Person, level vcs.Permission)
	// Team makes a team with these members and returns its name, "org/team". The adapter's account may read it.
	Team(t testing.TB, members ...Person) string
	// Protect asks for approvals and for green statuses before merges into a branch.
	Protect(t testing.TB, r vcs.Repo, branch string, approvals int, contexts ...string)
	// Account tells how planlatch reaches the host.
	Account() Account
	// Styles are the ways in which the host merges.
	Styles() []Style
	// Hook has all events of a repository delivered to url, signed with the secret that the adapter knows.
	Hook(t testing.TB, r vcs.Repo, url string)
	// Comments returns the comments of a pull request as people see them, oldest first, reviews aside.
	Comments(t testing.TB, r vcs.Repo, number int) []vcs.Comment
	// Reactions counts the reactions of one kind on a comment.
	Reactions(t testing.TB, r vcs.Repo, number int, comment string, with vcs.Reaction) int
	// Statuses returns the latest status of each context of a commit.
	Statuses(t testing.TB, r vcs.Repo, sha string) map[string]vcs.Status
}

// Account is what the configuration of a server says of a host, and whose comments it will write.
type Account struct {
	Kind          string // gitea, github, …
	URL           string
	Token         string
	WebhookSecret string
	Login         string
}

// Change is one commit to be pushed.
type Change struct {
	Branch  string            // made when it is not there
	From    string            // the branch or commit that a new branch, or a forced one, starts from; empty: main
	Files   map[string]string // path → content; one that begins with #! can be executed
	Links   map[string]string // path → where a symbolic link leads
	Modules map[string]string // path → the commit of a submodule
	Delete  []string          // files and directories
	Message string            // empty: something
	Force   bool              // start the branch anew from From and throw away what it had
}

// Style is how a pull request is merged.
type Style string

// The styles of merging. A host that cannot do one does not list it in [World.Styles].
const (
	MergeCommit Style = "merge commit"
	Squash      Style = "squash"
	Rebase      Style = "rebase"
	FastForward Style = "fast-forward"
)

// Person acts as one account.
type Person interface {
	User() vcs.User
	Email() string
	// Push commits one file to a branch, which starts from main if it is not there, and returns the commit.
	Push(t testing.TB, r vcs.Repo, branch, path, content string) string
	// Commit pushes a whole commit and returns it.
	Commit(t testing.TB, r vcs.Repo, c Change) string
	DeleteBranch(t testing.TB, r vcs.Repo, branch string)
	// Open opens a pull request.
	Open(t testing.TB, r vcs.Repo, head, base, title string) int
	// Fork copies a repository to the person's account; OpenFrom opens a pull request of a branch there into a branch of r.
	Fork(t testing.TB, r vcs.Repo) vcs.Repo
	OpenFrom(t testing.TB, r, fork vcs.Repo, head, base, title string) int
	Comment(t testing.TB, r vcs.Repo, number int, body string) string
	EditComment(t testing.TB, r vcs.Repo, number int, comment, body string)
	DeleteComment(t testing.TB, r vcs.Repo, number int, comment string)
	// CommentOnIssue opens an issue, which is no pull request, and comments on it.
	CommentOnIssue(t testing.TB, r vcs.Repo, body string)
	// Review approves, requests changes or comments.
	Review(t testing.TB, r vcs.Repo, number int, says vcs.ReviewState, body string)
	SetDraft(t testing.TB, r vcs.Repo, number int, draft bool)
	SetBase(t testing.TB, r vcs.Repo, number int, base string)
	SetDescription(t testing.TB, r vcs.Repo, number int, text string)
	Close(t testing.TB, r vcs.Repo, number int)
	Reopen(t testing.TB, r vcs.Repo, number int)
	// Merge merges in one of the World's styles and returns the commit that the base branch then points to.
	Merge(t testing.TB, r vcs.Repo, number int, how Style) string
	// SetStatus reports a result as another tool does.
	SetStatus(t testing.TB, r vcs.Repo, sha, context string, state vcs.StatusState)
}

// Dismisser is a person on a host where reviews can be dismissed.
type Dismisser interface {
	// Dismiss voids the last review of somebody.
	Dismiss(t testing.TB, r vcs.Repo, number int, of Person)
}

// Run runs the suite. setup is called for each case, and once for those that share a pull request because they leave it as it is; it may
// return the same host and world each time.
func Run(t *testing.T, setup func(t *testing.T) Harness) {
	t.Helper()
	common := newCommon(t, setup(t))
	for name, test := range map[string]func(t *testing.T, s *suite){
		"Parse/RefusesWhatIsNotSigned":               refusesWhatIsNotSigned,
		"Parse/ReadsTheLifeOfAPullRequest":           readsTheLifeOfAPullRequest,
		"Parse/ReadsNewCommentsOnly":                 readsNewCommentsOnly,
		"Parse/ReadsReviewsWithTheirBodies":          readsReviewsWithTheirBodies,
		"Parse/ReadsPushes":                          readsPushes,
		"Parse/ReadsResultsOfOthers":                 readsResultsOfOthers,
		"Pull/TellsAnOpenOne":                        tellsAnOpenPull,
		"Pull/TellsDraftAndClosed":                   tellsDraftAndClosed,
		"Pull/TellsAMergedOneWithItsHeadAtMerge":     tellsAMergedPull,
		"Pull/TellsTheCommitOfEveryStyleOfMerge":     tellsTheCommitOfEveryMerge,
		"Pull/KeepsTheLastWordOfEachPerson":          keepsTheLastWord,
		"Pull/WordsOfStrangersAreRemarks":            wordsOfStrangersAreRemarks,
		"Pull/ConflictIsNeverMergeable":              conflictIsNeverMergeable,
		"Pull/ProtectionNamesChecksAndWhatIsMissing": protectionNamesChecks,
		"Pull/UpdatedSinceHasClosedAndMerged":        updatedSinceHasClosedAndMerged,
		"Pull/CommentsSinceHasReviewsAndIsInOrder":   commentsSinceHasReviews,
		"Speaks/CommentEditsItsOwnOnly":              commentEditsItsOwnOnly,
		"Access/TeamMembership":                      teamMembership,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &suite{Harness: setup(t)})
		})
	}
	for name, test := range map[string]func(t *testing.T, c *shared){
		"Pull/TellsAFork":                       tellsAFork,
		"Pull/UnknownIsNotFound":                unknownPullIsNotFound,
		"Speaks/CommentOnNothingIsNotFound":     commentOnNothingIsNotFound,
		"Speaks/ReactsOnce":                     reactsOnce,
		"Speaks/StatusIsReplacedAndCut":         statusIsReplacedAndCut,
		"Access/GitFetchesTheHeadWithTheRemote": gitFetchesTheHead,
		"Access/PermissionRises":                permissionRises,
		"Repos/FindsByNameAndLists":             findsByNameAndLists,
		"Repos/BranchTellsItsCommit":            branchTellsItsCommit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, common)
		})
	}
}

// suite is what a case works with.
type suite struct{ Harness }

// shared is what cases work with that can stand each other: one open pull request in a private repository, one from a fork of a public one.
type shared struct {
	suite
	team
	number int
	head   string

	public   vcs.Repo
	outsider Person
	fork     int
}

func newCommon(t *testing.T, h Harness) *shared {
	t.Helper()
	c := &shared{suite: suite{h}, outsider: h.World.Person(t, "outsider"), public: h.World.Repo(t, false)}
	c.team = c.suite.newTeam(t)
	c.number, c.head = c.open(t, "change")
	fork := c.outsider.Fork(t, c.public)
	c.outsider.Push(t, fork, "from-fork", "fork/main.tf", "# fork\n")
	c.fork = c.outsider.OpenFrom(t, c.public, fork, "from-fork", "main", "From a fork")
	return c
}

const (
	patience = time.Minute           // with the other process, before a case fails
	interval = 50 * time.Millisecond // between two looks
)

// team is a repository with an author and a reviewer who may both write.
type team struct {
	repo             vcs.Repo
	author, reviewer Person
}

func (s *suite) newTeam(t *testing.T) team {
	t.Helper()
	w := team{repo: s.World.Repo(t, true), author: s.World.Person(t, "author"), reviewer: s.World.Person(t, "reviewer")}
	s.World.Grant(t, w.repo, w.author, vcs.PermissionWrite)
	s.World.Grant(t, w.repo, w.reviewer, vcs.PermissionWrite)
	return w
}

// open pushes a branch with one file and opens a pull request of it into main.
func (w team) open(t *testing.T, branch string) (number int, head string) {
	t.Helper()
	head = w.author.Push(t, w.repo, branch, branch+"/main.tf", "# "+branch+"\n")
	return w.author.Open(t, w.repo, branch, "main", "Change "+branch), head
}

// pull asks until the host has an answer: one that is busy with a push says that it wants to be asked again.
func (s *suite) pull(t *testing.T, r vcs.Repo, number int) (p vcs.Pull) {
	t.Helper()
	eventually(t, fmt.Sprintf("an answer to Pull(%s#%d)", r.Name, number), func(context.Context) bool {
		var err error
		p, err = s.Host.Pull(t.Context(), r, number)
		if _, again := errors.AsType[*vcs.RetryError](err); again {
			t.Logf("Pull(%s#%d) = %v", r.Name, number, err)
			return false
		}
		if err != nil {
			t.Fatalf("Pull(%s#%d) = %v", r.Name, number, err)
		}
		return true
	})
	return p
}

// eventually looks until the condition holds; say names what was waited for.
func eventually(t *testing.T, say string, holds func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", say, patience)
		case <-tick.C:
		}
	}
}
