package vcstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/vcs"
)

func tellsAnOpenPull(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, head := w.open(t, "feature/one")
	w.reviewer.SetStatus(t, w.repo, head, "ci/build", vcs.StatusPending)
	w.reviewer.SetStatus(t, w.repo, head, "ci/build", vcs.StatusFailure)
	w.reviewer.Review(t, w.repo, number, vcs.ReviewApproved, "")
	eventually(t, "mergeable", func(context.Context) bool { return s.pull(t, w.repo, number).Mergeable == vcs.Yes })
	got := s.pull(t, w.repo, number)

	base, err := s.Host.Branch(t.Context(), w.repo, "main")
	if err != nil {
		t.Fatalf("Branch(main) = %v", err)
	}
	want := vcs.Pull{
		Number: number, Title: "Change feature/one", URL: got.URL, Author: w.author.User(), State: vcs.PullOpen,
		Head: vcs.Ref{Branch: "feature/one", SHA: head}, Base: vcs.Ref{Branch: "main", SHA: base}, Mergeable: vcs.Yes,
		Reviews:      []vcs.Review{{Author: w.reviewer.User(), State: vcs.ReviewApproved, Commit: s.reviewed(head)}},
		Checks:       []vcs.Check{{Context: "ci/build", State: vcs.StatusFailure}},
		Contributors: []string{strings.ToLower(w.author.Email()), w.author.User().Login},
		Updated:      got.Updated,
	}
	for i := range got.Reviews {
		if time.Since(got.Reviews[i].At).Abs() > 5*time.Minute {
			t.Errorf("Reviews[%d].At = %s, want about now", i, got.Reviews[i].At)
		}
		got.Reviews[i].At = time.Time{}
	}
	slices.Sort(got.Contributors)
	slices.Sort(want.Contributors)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Pull() differs (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.URL, w.repo.Name) || time.Since(got.Updated).Abs() > 5*time.Minute {
		t.Errorf("Pull().URL, Updated = %q, %s", got.URL, got.Updated)
	}

	// A namesake of a repository that is gone inherits nothing.
	namesake := w.repo
	namesake.ID = "999999999"
	if got, err := s.Host.Pull(t.Context(), namesake, number); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Pull(%s with another id) = %+v, %v, want ErrNotFound", namesake.Name, got, err)
	}
	concurrentReads(t, s, w.repo, number)

	moved := w.reviewer.Push(t, w.repo, "feature/one", "feature/one/more.tf", "# more\n")
	eventually(t, "the new head", func(context.Context) bool { return s.pull(t, w.repo, number).Head.SHA == moved })
	got = s.pull(t, w.repo, number)
	if len(got.Reviews) != 1 || got.Reviews[0].Commit != s.reviewed(head) {
		t.Errorf("after a push Reviews = %+v, want the approval of %s", got.Reviews, head)
	}
	if !slices.Contains(got.Contributors, w.reviewer.User().Login) || !slices.Contains(got.Contributors, w.author.User().Login) {
		t.Errorf("after a push by %s Contributors = %v, want both people", w.reviewer.User().Login, got.Contributors)
	}
}

// reviewed is the commit of a review on the head.
func (s *suite) reviewed(head string) string {
	if s.ReviewsHaveNoBody {
		return ""
	}
	return head
}

func tellsDraftAndClosed(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, head := w.open(t, "change")
	w.author.SetDraft(t, w.repo, number, true)
	if got := s.pull(t, w.repo, number); !got.Draft || got.Mergeable == vcs.Yes {
		t.Errorf("a draft: Draft, Mergeable = %v, %v, want true and not yes", got.Draft, got.Mergeable)
	}
	w.author.SetDraft(t, w.repo, number, false)
	eventually(t, "ready and mergeable", func(context.Context) bool {
		got := s.pull(t, w.repo, number)
		return !got.Draft && got.Mergeable == vcs.Yes
	})
	w.author.Close(t, w.repo, number)
	if got := s.pull(t, w.repo, number); got.State != vcs.PullClosed || got.Mergeable == vcs.Yes || got.Head.SHA != head || got.MergeCommit != "" {
		t.Errorf("closed: State, Mergeable, Head, MergeCommit = %s, %v, %+v, %q", got.State, got.Mergeable, got.Head, got.MergeCommit)
	}
}

func tellsAFork(t *testing.T, c *shared) {
	got := c.pull(t, c.public, c.fork)
	if !got.Fork || got.Author != c.outsider.User() || got.Head.SHA == "" || got.State != vcs.PullOpen {
		t.Errorf("a fork: Fork, Author, Head, State = %v, %+v, %+v, %s", got.Fork, got.Author, got.Head, got.State)
	}
}

func tellsAMergedPull(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, head := w.open(t, "change")
	commit := w.reviewer.Merge(t, w.repo, number, MergeCommit)
	w.author.Push(t, w.repo, "change", "change/late.tf", "# late\n") // the branch goes on, the pull request does not
	got := s.pull(t, w.repo, number)
	if got.State != vcs.PullMerged || got.MergeCommit != commit || got.MergedBy != w.reviewer.User() || got.Head.SHA != head {
		t.Errorf("merged: State, MergeCommit, MergedBy, Head = %s, %q, %+v, %+v, want merged, %q, %+v, %s",
			got.State, got.MergeCommit, got.MergedBy, got.Head, commit, w.reviewer.User(), head)
	}
	if time.Since(got.MergedAt).Abs() > 5*time.Minute {
		t.Errorf("merged: MergedAt = %s, want about now", got.MergedAt)
	}
}

func tellsTheCommitOfEveryMerge(t *testing.T, s *suite) {
	w := s.newTeam(t)
	for i, style := range s.World.Styles() {
		branch := fmt.Sprintf("style-%d", i)
		number, _ := w.open(t, branch)
		head := w.author.Push(t, w.repo, branch, branch+"/more.tf", "# two commits, so that a squash is none of them\n")
		eventually(t, "the new head", func(context.Context) bool { return s.pull(t, w.repo, number).Head.SHA == head })
		commit := w.reviewer.Merge(t, w.repo, number, style)
		tip, err := s.Host.Branch(t.Context(), w.repo, "main")
		if err != nil {
			t.Fatalf("Branch(main) = %v", err)
		}
		if head, err = s.Host.Branch(t.Context(), w.repo, branch); err != nil { // some hosts rebase the branch itself
			t.Fatalf("Branch(%s) = %v", branch, err)
		}
		if got := s.pull(t, w.repo, number); got.MergeCommit != tip || commit != tip || got.Head.SHA != head {
			t.Errorf("%s: MergeCommit, Head = %s, %s, want the tip of main %s, %s", style, got.MergeCommit, got.Head.SHA, tip, head)
		}
	}
}

func unknownPullIsNotFound(t *testing.T, c *shared) {
	if got, err := c.Host.Pull(t.Context(), c.repo, 4711); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Pull(4711) = %+v, %v, want ErrNotFound", got, err)
	}
	gone := c.repo
	gone.Name, gone.ID = gone.Name+"-gone", "999999998"
	if got, err := c.Host.Pull(t.Context(), gone, 1); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Pull(in %s) = %+v, %v, want ErrNotFound", gone.Name, got, err)
	}
	for _, name := range []string{"", "x", "../x", "a/b/c", "a/..", "a/b?c=d", "a b/c"} {
		if got, err := c.Host.Repo(t.Context(), name); !errors.Is(err, vcs.ErrNotFound) {
			t.Errorf("Repo(%q) = %+v, %v, want ErrNotFound", name, got, err)
		}
	}
}

func keepsTheLastWord(t *testing.T, s *suite) {
	w := s.newTeam(t)
	second := s.World.Person(t, "second")
	s.World.Grant(t, w.repo, second, vcs.PermissionWrite)
	number, head := w.open(t, "change")
	says := func(p Person) vcs.ReviewState {
		t.Helper()
		var found []vcs.ReviewState
		for _, r := range s.pull(t, w.repo, number).Reviews {
			if r.Author == p.User() {
				found = append(found, r.State)
				if r.Commit != s.reviewed(head) {
					t.Errorf("the review of %s is on %q, want %s", p.User().Login, r.Commit, head)
				}
			}
		}
		if len(found) != 1 {
			t.Fatalf("%s has reviews %v, want one", p.User().Login, found)
		}
		return found[0]
	}
	second.Review(t, w.repo, number, vcs.ReviewCommented, "hm")
	for _, step := range []struct {
		do   vcs.ReviewState
		want vcs.ReviewState
	}{
		{vcs.ReviewApproved, vcs.ReviewApproved},
		{vcs.ReviewChanges, vcs.ReviewChanges},
		{vcs.ReviewCommented, vcs.ReviewChanges}, // a remark takes nothing back
		{vcs.ReviewApproved, vcs.ReviewApproved},
		{vcs.ReviewCommented, vcs.ReviewApproved},
		{vcs.ReviewApproved, vcs.ReviewApproved},
	} {
		w.reviewer.Review(t, w.repo, number, step.do, "because")
		if got := says(w.reviewer); got != step.want {
			t.Errorf("after %s the reviewer says %s, want %s", step.do, got, step.want)
		}
	}
	if got := says(second); got != vcs.ReviewCommented {
		t.Errorf("the second says %s, want commented", got)
	}

	admin := s.World.Person(t, "admin")
	s.World.Grant(t, w.repo, admin, vcs.PermissionAdmin)
	if dismisser, ok := admin.(Dismisser); ok { // the approval before does not come back to life
		dismisser.Dismiss(t, w.repo, number, w.reviewer)
		if got := says(w.reviewer); got != vcs.ReviewDismissed {
			t.Errorf("after the last review was dismissed the reviewer says %s, want dismissed", got)
		}
	}
}

// wordsOfStrangersAreRemarks: on a public repository anybody can approve, a second account of the author too, and who has left once could.
func wordsOfStrangersAreRemarks(t *testing.T, s *suite) {
	repo, author, leaver := s.World.Repo(t, false), s.World.Person(t, "author"), s.World.Person(t, "leaver")
	s.World.Grant(t, repo, author, vcs.PermissionWrite)
	s.World.Grant(t, repo, leaver, vcs.PermissionWrite)
	author.Push(t, repo, "change", "x.tf", "# x\n")
	number := author.Open(t, repo, "change", "main", "Change")
	leaver.Review(t, repo, number, vcs.ReviewApproved, "")
	says := func(p Person) (state vcs.ReviewState) {
		for _, r := range s.pull(t, repo, number).Reviews {
			if r.Author == p.User() {
				state = r.State
			}
		}
		return state
	}
	if got := says(leaver); got != vcs.ReviewApproved {
		t.Errorf("who may write says %q, want approved", got)
	}
	outsider := s.World.Person(t, "outsider")
	for _, word := range []vcs.ReviewState{vcs.ReviewApproved, vcs.ReviewChanges} {
		if s.StrangersCannotReview {
			break
		}
		outsider.Review(t, repo, number, word, "because")
		if got := says(outsider); got != vcs.ReviewCommented {
			t.Errorf("a stranger who says %s says %q, want commented", word, got)
		}
	}
	s.World.Grant(t, repo, leaver, vcs.PermissionRead)
	if got := says(leaver); got != vcs.ReviewCommented {
		t.Errorf("who may not write any more says %q, want commented", got)
	}
}

func conflictIsNeverMergeable(t *testing.T, s *suite) {
	w := s.newTeam(t)
	w.author.Push(t, w.repo, "one", "same.tf", "# one\n")
	w.author.Push(t, w.repo, "two", "same.tf", "# two\n")
	first := w.author.Open(t, w.repo, "one", "main", "One")
	second := w.author.Open(t, w.repo, "two", "main", "Two")
	eventually(t, "both mergeable", func(context.Context) bool {
		return s.pull(t, w.repo, first).Mergeable == vcs.Yes && s.pull(t, w.repo, second).Mergeable == vcs.Yes
	})
	w.reviewer.Merge(t, w.repo, first, MergeCommit)
	eventually(t, "No for the one in conflict", func(context.Context) bool {
		got := s.pull(t, w.repo, second)
		return got.Mergeable == vcs.No && strings.Contains(got.MergeBlocked, "main")
	})
}

func protectionNamesChecks(t *testing.T, s *suite) {
	w := s.newTeam(t)
	s.World.Protect(t, w.repo, "main", 1, "ci/build", "planlatch/apply")
	number, head := w.open(t, "change")
	w.author.SetStatus(t, w.repo, head, "ci/build", vcs.StatusSuccess)
	w.author.SetStatus(t, w.repo, head, "lint", vcs.StatusFailure)
	got := s.pull(t, w.repo, number)
	if got.Mergeable != vcs.No || got.MergeBlocked == "" {
		t.Errorf("without an approval: Mergeable, MergeBlocked = %v, %q, want no with words", got.Mergeable, got.MergeBlocked)
	}
	want := []vcs.Check{
		{Context: "ci/build", State: vcs.StatusSuccess, Required: true},
		{Context: "lint", State: vcs.StatusFailure},
		{Context: "planlatch/apply", State: vcs.StatusPending, Required: true},
	}
	if s.WholePipeline {
		want = []vcs.Check{want[0], {Context: "lint", State: vcs.StatusFailure, Required: true}}
	}
	if diff := cmp.Diff(want, got.Checks); diff != "" {
		t.Errorf("Checks differ (-want +got):\n%s", diff)
	}
	if s.WholePipeline { // a failure of others stands against it, a status of our own does not
		w.reviewer.Review(t, w.repo, number, vcs.ReviewApproved, "")
		if got := s.pull(t, w.repo, number); got.Mergeable != vcs.No || !strings.Contains(got.MergeBlocked, "lint") {
			t.Errorf("with lint failed: Mergeable, MergeBlocked = %v, %q, want no and its name", got.Mergeable, got.MergeBlocked)
		}
		w.author.SetStatus(t, w.repo, head, "lint", vcs.StatusSuccess)
		if err := s.Host.SetStatus(t.Context(), w.repo, head, vcs.Status{Context: "planlatch/apply", State: vcs.StatusPending}); err != nil {
			t.Fatalf("SetStatus() = %v", err)
		}
	}
	w.reviewer.Review(t, w.repo, number, vcs.ReviewApproved, "")
	eventually(t, "mergeable but for our own status", func(context.Context) bool {
		return s.pull(t, w.repo, number).Mergeable == vcs.Yes
	})
}

func updatedSinceHasClosedAndMerged(t *testing.T, s *suite) {
	w := s.newTeam(t)
	began := time.Now().Add(-2 * time.Second)
	open, openHead := w.open(t, "open")
	closed, closedHead := w.open(t, "closed")
	w.author.Close(t, w.repo, closed)
	merged, mergedHead := w.open(t, "merged")
	commit := w.reviewer.Merge(t, w.repo, merged, MergeCommit)
	w.author.Push(t, w.repo, "merged", "late.tf", "# late\n")

	type line struct {
		State  vcs.PullState
		Head   string
		Commit string
	}
	list := func(since time.Time) map[int]line {
		t.Helper()
		got, err := s.Host.UpdatedSince(t.Context(), w.repo, since)
		if err != nil {
			t.Fatalf("UpdatedSince() = %v", err)
		}
		lines := map[int]line{}
		for _, p := range got {
			lines[p.Number] = line{p.State, p.Head.SHA, p.MergeCommit}
		}
		return lines
	}
	want := map[int]line{
		open: {vcs.PullOpen, openHead, ""}, closed: {vcs.PullClosed, closedHead, ""}, merged: {vcs.PullMerged, mergedHead, commit},
	}
	if diff := cmp.Diff(want, list(began)); diff != "" {
		t.Errorf("UpdatedSince() differs (-want +got):\n%s", diff)
	}
	if got := list(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("UpdatedSince(in an hour) = %v, want none", got)
	}
}

// concurrentReads shows that a snapshot is the same however many read at once.
func concurrentReads(t *testing.T, s *suite, r vcs.Repo, number int) {
	t.Helper()
	want := s.pull(t, r, number)
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		group.Go(func() error {
			got, err := s.Host.Pull(ctx, r, number)
			if diff := cmp.Diff(want, got); err == nil && diff != "" {
				t.Errorf("Pull() differs from itself (-want +got):\n%s", diff)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Errorf("Pull() = %v", err)
	}
}
