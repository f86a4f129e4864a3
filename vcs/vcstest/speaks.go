package vcstest

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/planlatch/planlatch/vcs"
)

const marker = "<!-- planlatch:summary -->"

func commentEditsItsOwnOnly(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, _ := w.open(t, "change")
	other, _ := w.open(t, "other")
	theirs := w.author.Comment(t, w.repo, number, "quoting "+marker)

	put := func(known, body string) string {
		t.Helper()
		id, err := s.Host.Comment(t.Context(), w.repo, number, known, marker, marker+"\n"+body)
		if err != nil {
			t.Fatalf("Comment(known %q) = %v", known, err)
		}
		return id
	}
	// bodies returns what stands on the pull request by id, without the markers.
	bodies := func(number int) map[string]string {
		t.Helper()
		all := map[string]string{}
		for _, c := range s.World.Comments(t, w.repo, number) {
			all[c.ID] = strings.TrimSpace(strings.TrimPrefix(c.Body, marker))
		}
		return all
	}
	expect := func(say string, want map[string]string) {
		t.Helper()
		want[theirs] = "quoting " + marker
		got := bodies(number)
		for id, body := range want {
			if got[id] != body {
				t.Errorf("%s: comment %s is %q, want %q", say, id, got[id], body)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: the comments are %v, want %v", say, got, want)
		}
	}

	first := put("", "one")
	expect("the first", map[string]string{first: "one"})
	if got := put(first, "two"); got != first {
		t.Errorf("Comment(known) = %s, want %s again", got, first)
	}
	expect("edited", map[string]string{first: "two"})
	if got := put("", "three"); got != first {
		t.Errorf("Comment(by marker) = %s, want %s", got, first)
	}
	if got := put(theirs, "four"); got != first {
		t.Errorf("Comment(known is somebody else's) = %s, want ours, %s", got, first)
	}
	expect("somebody else's", map[string]string{first: "four"})

	elsewhere, err := s.Host.Comment(t.Context(), w.repo, other, "", marker, marker+"\nelsewhere")
	if err != nil {
		t.Fatalf("Comment(on another) = %v", err)
	}
	if got := put(elsewhere, "five"); got != first {
		t.Errorf("Comment(known is on another pull request) = %s, want %s", got, first)
	}
	if got := bodies(other); got[elsewhere] != "elsewhere" {
		t.Errorf("the comment on the other pull request is %q now", got[elsewhere])
	}

	admin := s.World.Person(t, "admin")
	s.World.Grant(t, w.repo, admin, vcs.PermissionAdmin)
	admin.DeleteComment(t, w.repo, number, first)
	again := put(first, "six")
	expect("deleted", map[string]string{again: "six"})
	plain, err := s.Host.Comment(t.Context(), w.repo, number, "", "", "a reply")
	if err != nil {
		t.Fatalf("Comment(without marker) = %v", err)
	}
	expect("a reply", map[string]string{again: "six", plain: "a reply"})
	limit := s.Host.Limits().Comment
	long := strings.Repeat("ä", limit-utf8.RuneCountInString(marker)-1)
	put(again, long)
	if got := bodies(number)[again]; got != long {
		t.Errorf("a comment of %d characters came back with %d", limit, utf8.RuneCountInString(got))
	}
}

func commentOnNothingIsNotFound(t *testing.T, c *shared) {
	for _, mark := range []string{"", marker} {
		if id, err := c.Host.Comment(t.Context(), c.repo, 4711, "", mark, "hello"); !errors.Is(err, vcs.ErrNotFound) {
			t.Errorf("Comment(#4711, marker %q) = %q, %v, want ErrNotFound", mark, id, err)
		}
	}
	status := vcs.Status{Context: "planlatch/plan", State: vcs.StatusSuccess}
	if err := c.Host.SetStatus(t.Context(), c.repo, strings.Repeat("ab", 20), status); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("SetStatus(unknown commit) = %v, want ErrNotFound", err)
	}
	if err := c.Host.SetStatus(t.Context(), c.repo, "main", status); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("SetStatus(main) = %v, want ErrNotFound", err)
	}
}

func reactsOnce(t *testing.T, c *shared) {
	id := c.reviewer.Comment(t, c.repo, c.number, "planlatch plan")
	for _, with := range []vcs.Reaction{vcs.ReactionSeen, vcs.ReactionSeen, vcs.ReactionDone, vcs.ReactionRefused} {
		if err := c.Host.React(t.Context(), c.repo, c.number, id, with); err != nil {
			t.Errorf("React(%s) = %v", with, err)
		}
	}
	for _, with := range []vcs.Reaction{vcs.ReactionSeen, vcs.ReactionDone, vcs.ReactionRefused} {
		if got := c.World.Reactions(t, c.repo, c.number, id, with); got != 1 {
			t.Errorf("%d reactions %s, want 1", got, with)
		}
	}
	c.reviewer.DeleteComment(t, c.repo, c.number, id)
	if err := c.Host.React(t.Context(), c.repo, c.number, id, vcs.ReactionSeen); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("React(to a deleted comment) = %v, want ErrNotFound", err)
	}
}

func statusIsReplacedAndCut(t *testing.T, c *shared) {
	set := func(st vcs.Status) vcs.Status {
		t.Helper()
		if err := c.Host.SetStatus(t.Context(), c.repo, c.head, st); err != nil {
			t.Fatalf("SetStatus(%+v) = %v", st, err)
		}
		return c.World.Statuses(t, c.repo, c.head)[st.Context]
	}
	for _, state := range []vcs.StatusState{vcs.StatusPending, vcs.StatusError, vcs.StatusFailure, vcs.StatusSuccess} {
		want := vcs.Status{Context: "planlatch/plan", State: state, Description: "3 to add: " + string(state), URL: "https://planlatch.example.com/r/1"}
		got := set(want)
		if c.NoErrorState && want.State == vcs.StatusError {
			want.State = vcs.StatusFailure
		}
		if got != want {
			t.Errorf("status is %+v, want %+v", got, want)
		}
	}
	for range 3 { // the same again is no error, and gets nothing stuck
		set(vcs.Status{Context: "planlatch/apply", State: vcs.StatusPending})
	}
	got := set(vcs.Status{Context: "planlatch/apply", State: vcs.StatusFailure, Description: strings.Repeat("ä\n", 2000)})
	if !utf8.ValidString(got.Description) || got.Description == "" || strings.Contains(got.Description, "\n") {
		t.Errorf("a long description came back as %q", got.Description)
	}
	if all := c.World.Statuses(t, c.repo, c.head); len(all) != 2 || all["planlatch/plan"].State != vcs.StatusSuccess {
		t.Errorf("the statuses are %+v, want two, plan success", all)
	}
}
