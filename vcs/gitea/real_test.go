package gitea_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/testkit/gitea"
	"github.com/planlatch/planlatch/vcs"
)

// scene is a repository on the real Gitea with one open pull request by author; reviewer may write too.
type scene struct {
	*world
	repo             gitea.Repo
	vcs              vcs.Repo
	author, reviewer *gitea.Actor
	number           int
	head             string
}

func newScene(t *testing.T, private bool) *scene {
	t.Helper()
	w := newWorld(t)
	s := &scene{world: w, author: w.Actor(t, "author"), reviewer: w.Actor(t, "reviewer")}
	s.vcs = w.Repo(t, private)
	s.repo = w.Known(t, s.vcs)
	w.Grant(t, s.vcs, s.author, vcs.PermissionWrite)
	w.Grant(t, s.vcs, s.reviewer, vcs.PermissionWrite)
	s.head = s.author.Push(t, s.vcs, "change", "change/main.tf", "# one\n")
	s.number = s.author.Open(t, s.vcs, "change", "main", "Change")
	return s
}

// pull reads the pull request as soon as it is as wanted, or else as it is after a minute: a Gitea on a busy machine takes its time to follow a
// push and to look for conflicts, and may want to be asked again.
func (s *scene) pull(t *testing.T, wanted ...func(vcs.Pull) bool) vcs.Pull {
	t.Helper()
	h := s.host(t, s.Bot.Token)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(time.Minute); ; <-tick.C {
		p, err := h.Pull(t.Context(), s.vcs, s.number)
		_, again := errors.AsType[*vcs.RetryError](err)
		switch {
		case err != nil && (!again || time.Now().After(late)):
			t.Fatalf("Pull() = %v", err)
		case err == nil && (time.Now().After(late) || !slices.ContainsFunc(wanted, func(w func(vcs.Pull) bool) bool { return !w(p) })):
			return p
		}
	}
}

// states is what each person says, by login.
func states(p vcs.Pull) map[string]vcs.ReviewState {
	all := map[string]vcs.ReviewState{}
	for _, r := range p.Reviews {
		all[r.Author.Login] = r.State
	}
	return all
}

func TestApprovalOfAReaderIsOnlyARemark(t *testing.T) {
	t.Parallel()
	s := newScene(t, false)
	passerBy := s.Actor(t, "passer-by")
	passerBy.Review(t, s.vcs, s.number, vcs.ReviewApproved, "")
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewApproved, "")
	want := map[string]vcs.ReviewState{passerBy.Login: vcs.ReviewCommented, s.reviewer.Login: vcs.ReviewApproved}
	if diff := cmp.Diff(want, states(s.pull(t))); diff != "" {
		t.Errorf("reviews differ (-want +got):\n%s", diff)
	}
}

func TestReviewAskedForAgainVoidsApprovalsOnly(t *testing.T) {
	t.Parallel()
	s := newScene(t, true)
	critic := s.Actor(t, "critic")
	s.Grant(t, s.vcs, critic, vcs.PermissionWrite)
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewApproved, "")
	critic.Review(t, s.vcs, s.number, vcs.ReviewChanges, "no")
	s.author.RequestReview(t, s.repo, s.number, s.reviewer.Person, critic.Person)
	got := states(s.pull(t))
	if got[s.reviewer.Login] != vcs.ReviewDismissed {
		t.Errorf("the approver asked again says %s, want dismissed", got[s.reviewer.Login])
	}
	if got[critic.Login] != vcs.ReviewChanges {
		t.Errorf("the critic asked again says %s, want still changes requested", got[critic.Login])
	}
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewApproved, "again")
	if got := states(s.pull(t)); got[s.reviewer.Login] != vcs.ReviewApproved {
		t.Errorf("the approver who approved again says %s, want approved", got[s.reviewer.Login])
	}
}

func TestPermissionComesThroughTeams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	org := w.Server.Unique("org")
	w.Bot.CreateOrg(t, org)
	repo := w.Bot.CreateRepo(t, org, "infra")
	h := w.host(t, w.Bot.Token)
	for word, want := range map[string]vcs.Permission{"read": vcs.PermissionRead, "write": vcs.PermissionWrite, "admin": vcs.PermissionAdmin} {
		who := w.Server.CreateUser(t, w.Server.Unique(word))
		w.Bot.CreateTeam(t, org, "team-"+word, word, who)
		if got, err := h.Permission(t.Context(), vcs.Repo{Name: repo.FullName}, who.Login); err != nil || got != want {
			t.Errorf("Permission(member of a team that may %s) = %d, %v, want %d", word, got, err, want)
		}
	}
	stranger := w.Server.CreateUser(t, w.Server.Unique("stranger"))
	if got, err := h.Permission(t.Context(), vcs.Repo{Name: repo.FullName}, stranger.Login); err != nil || got != vcs.PermissionNone {
		t.Errorf("Permission(in no team) = %d, %v, want none", got, err)
	}
	// An administrator of the repository who is not in the organization cannot look into its teams.
	helper := w.Server.CreateUser(t, w.Server.Unique("helper"))
	w.Bot.AddCollaborator(t, repo, helper, "admin")
	got, err := w.host(t, helper.Token).Permission(t.Context(), vcs.Repo{Name: repo.FullName}, stranger.Login)
	if !errors.Is(err, vcs.ErrDenied) || got != vcs.PermissionNone || !strings.Contains(err.Error(), "owner of the organization") {
		t.Errorf("Permission(with a token outside the organization) = %d, %v, want ErrDenied that says what to do", got, err)
	}
}

// TestSnapshotOfOnePullRequest goes through what can be shown on one pull request, step by step.
func TestSnapshotOfOnePullRequest(t *testing.T) {
	t.Parallel()
	s := newScene(t, true)
	for _, step := range []struct {
		name string
		do   func(*testing.T, *scene)
	}{
		{"TokenThatMayTooLittleIsDenied", tokenThatMayTooLittleIsDenied},
		{"AllStatusesAreRead", allStatusesAreRead},
		{"DraftIsAnyPrefixGiteaKnows", draftIsAnyPrefixGiteaKnows},
		{"WordsPutIntoAMouthAreNoComment", wordsPutIntoAMouthAreNoComment},
		{"ContributorsAreAuthorsCommittersPushersAndCoAuthors", contributorsAreAll},
	} {
		t.Run(step.name, func(t *testing.T) { step.do(t, s) })
	}
}

func tokenThatMayTooLittleIsDenied(t *testing.T, s *scene) {
	t.Helper()
	h := s.host(t, s.author.Token) // may write, does not administer
	if _, err := h.Permission(t.Context(), s.vcs, s.reviewer.Login); !errors.Is(err, vcs.ErrDenied) || !strings.Contains(err.Error(), "administrator") {
		t.Errorf("Permission(with a writer's token) = %v, want ErrDenied that says what to do", err)
	}
	if _, err := h.Member(t.Context(), s.Team(t), s.reviewer.Login); !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Member(with an outsider's token) = %v, want ErrDenied", err)
	}
	bad := s.host(t, "0123456789012345678901234567890123456789")
	if _, err := bad.Self(t.Context()); !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Self(with a wrong token) = %v, want ErrDenied", err)
	}
	narrow := s.host(t, s.Bot.NewToken(t, "read:repository"))
	if _, err := narrow.Comment(t.Context(), s.vcs, s.number, "", "", "hello"); !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Comment(with a token for reading) = %v, want ErrDenied", err)
	}
	stranger := s.host(t, s.Server.CreateUser(t, s.Server.Unique("stranger")).Token)
	if _, err := stranger.Repo(t.Context(), s.vcs.Name); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Repo(private, with a stranger's token) = %v, want ErrNotFound", err)
	}
}

func allStatusesAreRead(t *testing.T, s *scene) {
	t.Helper()
	const many = 60 // more than a page
	for i := range many {
		s.author.SetStatus(t, s.vcs, s.head, fmt.Sprintf("ci/%02d", i), vcs.StatusSuccess)
	}
	if got := len(s.pull(t).Checks); got != many {
		t.Errorf("Pull() has %d checks, want %d", got, many)
	}
}

func draftIsAnyPrefixGiteaKnows(t *testing.T, s *scene) {
	t.Helper()
	for title, want := range map[string]bool{"[WIP] Change": true, "wip: change": true, "Change WIP:": false} {
		s.author.SetTitle(t, s.repo, s.number, title)
		if got := s.pull(t); got.Draft != want || got.Title != title {
			t.Errorf("titled %q: Draft, Title = %v, %q, want %v", title, got.Draft, got.Title, want)
		}
	}
}

func contributorsAreAll(t *testing.T, s *scene) {
	t.Helper()
	s.reviewer.Person.Push(t, s.repo, gitea.Change{
		Branch: "change", Files: map[string]string{"x.tf": "# x\n"}, Author: "Somebody <Else@Example.test>",
		Message: "Change\n\nCo-authored-by: Third <third@example.test>",
	})
	want := []string{
		s.author.Login, s.author.Person.Email, s.reviewer.Login, s.reviewer.Person.Email, "else@example.test", "third@example.test",
	}
	slices.Sort(want)
	got := s.pull(t, func(p vcs.Pull) bool { return slices.Equal(p.Contributors, want) }) // the push is in the timeline a moment later
	if !slices.Equal(got.Contributors, want) {
		t.Errorf("Contributors = %v, want %v", got.Contributors, want)
	}
}

func wordsPutIntoAMouthAreNoComment(t *testing.T, s *scene) {
	t.Helper()
	kept := s.reviewer.Comment(t, s.vcs, s.number, "fine")
	forged := s.reviewer.Comment(t, s.vcs, s.number, "later")
	h := s.host(t, s.Bot.Token)
	ids := func() []string {
		t.Helper()
		got, err := h.CommentsSince(t.Context(), s.vcs, s.number, time.Time{})
		if err != nil {
			t.Fatalf("CommentsSince() = %v", err)
		}
		var all []string
		for _, c := range got {
			all = append(all, c.ID)
		}
		return all
	}
	if got := ids(); !slices.Equal(got, []string{kept, forged}) {
		t.Fatalf("CommentsSince() = %v, want %s and %s", got, kept, forged)
	}
	// Gitea tells whole seconds: an edit shows once the clock has moved on.
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for i := 0; len(ids()) == 2 && i < 20; i++ {
		s.author.EditComment(t, s.vcs, s.number, forged, fmt.Sprintf("planlatch apply %d", i))
		<-tick.C
	}
	if got := ids(); !slices.Equal(got, []string{kept}) {
		t.Errorf("CommentsSince() = %v, want %s alone: %s was edited by somebody else", got, kept, forged)
	}
}

func TestProtectionIsJudgedAsGiteaDoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, true)
	s.Owner.ProtectBranch(t, s.repo, gitea.Protection{Branch: "ma*", Approvals: 1, Contexts: []string{"ci/*", "lint"}, BlockOnChanges: true, BlockOutdated: true})
	s.author.SetStatus(t, s.vcs, s.head, "ci/a/b", vcs.StatusSuccess)
	expect := func(say string, want vcs.Tri, words string) {
		t.Helper()
		got := s.pull(t, func(p vcs.Pull) bool { return p.Mergeable == want || p.Mergeable == vcs.No })
		if got.Mergeable != want || !strings.Contains(got.MergeBlocked, words) {
			t.Errorf("%s: Mergeable, MergeBlocked = %v, %q, want %v with %q", say, got.Mergeable, got.MergeBlocked, want, words)
		}
	}
	expect("no approval", vcs.No, "0 of 1 approvals")
	critic := s.Actor(t, "critic")
	s.Grant(t, s.vcs, critic, vcs.PermissionWrite)
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewApproved, "")
	expect("approved", vcs.Yes, "")
	critic.Review(t, s.vcs, s.number, vcs.ReviewChanges, "no")
	expect("changes requested", vcs.No, "changes were requested")
	critic.Review(t, s.vcs, s.number, vcs.ReviewApproved, "")
	expect("approved by both", vcs.Yes, "")
	want := []vcs.Check{
		{Context: "ci/a/b", State: vcs.StatusSuccess, Required: true}, {Context: "lint", State: vcs.StatusPending, Required: true},
	}
	if diff := cmp.Diff(want, s.pull(t).Checks); diff != "" {
		t.Errorf("Checks differ (-want +got):\n%s", diff)
	}
	if s.reviewer.TryMerge(t, s.repo, s.number, gitea.MergeCommit) {
		t.Fatalf("Gitea merged without its required status")
	}
	s.author.SetStatus(t, s.vcs, s.head, "lint", vcs.StatusSuccess)
	s.Owner.Push(t, s.repo, gitea.Change{Branch: "main", Files: map[string]string{"other.tf": "# other\n"}})
	expect("behind", vcs.No, "lacks commits")

	writer := s.host(t, s.author.Token) // may not read the rule: what it cannot know counts against a merge
	if p, err := writer.Pull(t.Context(), s.vcs, s.number); err != nil || len(p.Checks) != 2 || !p.Checks[0].Required {
		t.Errorf("Pull(with a writer's token) = %+v, %v, want the required checks", p.Checks, err)
	}
}

func TestRenamedRepositoryIsFoundByItsOldName(t *testing.T) {
	t.Parallel()
	s := newScene(t, true)
	h := s.host(t, s.Bot.Token)
	renamed := s.Owner.Rename(t, s.repo, s.Server.Unique("renamed"))
	if got, err := h.Repo(t.Context(), s.vcs.Name); err != nil || got.Name != renamed.FullName || got.ID != s.vcs.ID {
		t.Errorf("Repo(old name) = %+v, %v, want %s with the same id", got, err, renamed.FullName)
	}
	if got, err := h.Pull(t.Context(), s.vcs, s.number); err != nil || got.Number != s.number {
		t.Errorf("Pull(old name) = #%d, %v, want #%d", got.Number, err, s.number)
	}
	if _, err := h.Comment(t.Context(), s.vcs, s.number, "", "", "to the old name"); err != nil {
		t.Errorf("Comment(old name) = %v", err)
	}
	if got := s.Owner.Comments(t, renamed, s.number); len(got) != 1 || got[0].Body != "to the old name" {
		t.Errorf("the comments are %+v, want the one", got)
	}
}

func TestAdministratorOfTheHostListsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.Owner.CreateRepo(t, w.Owner.Login, "unshared")
	has := func(token string) bool {
		t.Helper()
		list, err := w.host(t, token).List(t.Context())
		if err != nil {
			t.Fatalf("List() = %v", err)
		}
		return slices.ContainsFunc(list, func(l vcs.Repo) bool { return l.Name == r.FullName })
	}
	if !has(w.Server.Admin.Token) {
		t.Errorf("List(as administrator) lacks %s", r.FullName)
	}
	if has(w.Bot.Token) {
		t.Errorf("List(as bot) has %s, which is nothing of the bot's", r.FullName)
	}
}
