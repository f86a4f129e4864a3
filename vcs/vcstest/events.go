package vcstest

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

func refusesWhatIsNotSigned(t *testing.T, s *suite) {
	w := s.newTeam(t)
	d := s.hook(t, w.repo)
	w.open(t, "change")
	_, good := d.next(t, "an opened pull request", func(e vcs.Event, _ string) bool { return e.Kind == vcs.EventPull })

	unsigned := func(name string, header http.Header, body []byte) {
		t.Helper()
		if e, err := s.Host.Parse(header, body); !errors.Is(err, vcs.ErrSignature) {
			t.Errorf("Parse(%s) = %+v, %v, want ErrSignature", name, e, err)
		}
	}
	with := func(change func(value string) string) http.Header {
		header := good.header.Clone()
		for _, name := range s.SignatureHeaders {
			if value := change(header.Get(name)); value == "" {
				header.Del(name)
			} else {
				header.Set(name, value)
			}
		}
		return header
	}
	unsigned("no signature", with(func(string) string { return "" }), good.body)
	unsigned("a truncated signature", with(func(v string) string { return v[:len(v)-2] }), good.body)
	unsigned("half a digit less", with(func(v string) string { return v[:len(v)-1] }), good.body)
	unsigned("a longer signature", with(func(v string) string { return v + "00" }), good.body)
	unsigned("another signature", with(func(v string) string { return v[:len(v)-1] + flip(v[len(v)-1]) }), good.body)
	unsigned("no digits", with(func(v string) string { return strings.Repeat("z", len(v)) }), good.body)
	if !s.TokenOnly {
		unsigned("another body", good.header, append(bytes.Clone(good.body), ' '))
		unsigned("an empty body", good.header, nil)
		changed := bytes.Clone(good.body)
		changed[len(changed)/2] ^= 1
		unsigned("a changed body", good.header, changed)
	}
	if _, err := s.Host.Parse(good.header, good.body); err != nil {
		t.Errorf("Parse(as delivered) = %v", err)
	}
}

func flip(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func readsTheLifeOfAPullRequest(t *testing.T, s *suite) {
	w := s.newTeam(t)
	w.author.Push(t, w.repo, "other", "other/main.tf", "# other\n")
	d := s.hook(t, w.repo)
	number, _ := w.open(t, "change")
	for _, step := range []struct {
		say string
		by  Person
		do  func()
	}{
		{"opened", w.author, func() {}},
		{"new commits", w.author, func() { w.author.Push(t, w.repo, "change", "change/more.tf", "# more\n") }},
		{"draft", w.author, func() { w.author.SetDraft(t, w.repo, number, true) }},
		{"ready", w.author, func() { w.author.SetDraft(t, w.repo, number, false) }},
		{"base changed", w.author, func() { w.author.SetBase(t, w.repo, number, "other") }},
		{"base changed back", w.author, func() { w.author.SetBase(t, w.repo, number, "main") }},
		{"closed", w.author, func() { w.author.Close(t, w.repo, number) }},
		{"reopened", w.author, func() { w.author.Reopen(t, w.repo, number) }},
		{"merged", w.reviewer, func() { w.reviewer.Merge(t, w.repo, number, MergeCommit) }},
	} {
		step.do()
		e := d.event(t, step.say, vcs.EventPull, number)
		checkEvent(t, step.say, e, w.repo, step.by)
		if e.Action == "" {
			t.Errorf("%s: no action", step.say)
		}
	}
}

func readsNewCommentsOnly(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, _ := w.open(t, "change")
	d := s.hook(t, w.repo)

	w.reviewer.CommentOnIssue(t, w.repo, "planlatch apply")
	s.ignored(t, d, "comment on an issue")

	id := w.reviewer.Comment(t, w.repo, number, "planlatch plan -p \"ä\"\r\n")
	e := d.event(t, "a comment", vcs.EventComment, number)
	checkEvent(t, "a comment", e, w.repo, w.reviewer)
	if e.Comment == nil {
		t.Fatalf("the event of a comment has none: %+v", e)
	}
	if e.Comment.ID != id || e.Comment.Author != w.reviewer.User() || !strings.HasPrefix(e.Comment.Body, "planlatch plan -p \"ä\"") ||
		e.Comment.Review || e.Comment.Created.IsZero() {
		t.Errorf("Comment = %+v, want %s by %+v", e.Comment, id, w.reviewer.User())
	}

	w.reviewer.EditComment(t, w.repo, number, id, "planlatch apply")
	s.ignored(t, d, "comment edited")
	w.reviewer.DeleteComment(t, w.repo, number, id)
	s.ignored(t, d, "comment deleted")
	w.author.SetDescription(t, w.repo, number, "planlatch apply")
	s.ignored(t, d, "pull request description edited")
}

func readsReviewsWithTheirBodies(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, _ := w.open(t, "change")
	d := s.hook(t, w.repo)
	for _, step := range []struct {
		says vcs.ReviewState
		body string
	}{
		{vcs.ReviewCommented, "planlatch plan"},
		{vcs.ReviewChanges, "not so"},
		{vcs.ReviewApproved, "planlatch apply"},
		{vcs.ReviewApproved, "planlatch apply"}, // the same words again are another review
		{vcs.ReviewApproved, ""},
	} {
		w.reviewer.Review(t, w.repo, number, step.says, step.body)
		if s.ReviewsHaveNoBody && step.body != "" {
			e := d.event(t, "the words of a review: "+string(step.says), vcs.EventComment, number)
			checkEvent(t, string(step.says), e, w.repo, w.reviewer)
			if e.Comment == nil || e.Comment.Body != step.body || e.Comment.Author != w.reviewer.User() {
				t.Errorf("%s: Comment = %+v, want %q by %+v", step.says, e.Comment, step.body, w.reviewer.User())
			}
			if step.body = ""; step.says == vcs.ReviewCommented {
				continue
			}
		}
		e := d.event(t, "a review: "+string(step.says), vcs.EventReview, number)
		checkEvent(t, string(step.says), e, w.repo, w.reviewer)
		switch {
		case step.body == "" && e.Comment != nil:
			t.Errorf("%s: Comment = %+v, want none", step.says, e.Comment)
		case step.body != "" && (e.Comment == nil || e.Comment.Body != step.body || !e.Comment.Review || e.Comment.ID == "" ||
			e.Comment.Author != w.reviewer.User()):
			t.Errorf("%s: Comment = %+v, want %q by %+v", step.says, e.Comment, step.body, w.reviewer.User())
		}
	}
}

func readsPushes(t *testing.T, s *suite) {
	const branch = "feature/one"
	w := s.newTeam(t)
	d := s.hook(t, w.repo)
	pushed := func(say string) *vcs.Push { // the push that made main may still be on its way
		t.Helper()
		e, _ := d.next(t, say, func(e vcs.Event, _ string) bool {
			return e.Kind == vcs.EventPush && e.Push != nil && e.Push.Branch == branch
		})
		checkEvent(t, say, e, w.repo, w.author)
		return e.Push
	}
	first := w.author.Push(t, w.repo, branch, "a.tf", "# 1\n")
	if got := pushed("a new branch"); got.After != first || strings.Trim(got.Before, "0") != "" {
		t.Errorf("a new branch: Push = %+v, want %s from nothing", got, first)
	}
	second := w.author.Push(t, w.repo, branch, "a.tf", "# 2\n")
	if got := pushed("a moved branch"); got.Before != first || got.After != second {
		t.Errorf("a moved branch: Push = %+v, want %s..%s", got, first, second)
	}
	if !s.PushDeletes {
		return
	}
	w.author.DeleteBranch(t, w.repo, branch)
	if got := pushed("a deleted branch"); got.After == "" || strings.Trim(got.After, "0") != "" {
		t.Errorf("a deleted branch: Push = %+v, want it at nothing", got)
	}
}

func readsResultsOfOthers(t *testing.T, s *suite) {
	w := s.newTeam(t)
	_, head := w.open(t, "change")
	d := s.hook(t, w.repo)
	w.author.SetStatus(t, w.repo, head, "ci/build", vcs.StatusPending)
	s.ignored(t, d, "status pending")
	w.author.SetStatus(t, w.repo, head, "ci/build", vcs.StatusSuccess)
	e := d.event(t, "a status", vcs.EventStatus, 0)
	checkEvent(t, "a status", e, w.repo, w.author)
	if e.SHA != head {
		t.Errorf("a status: SHA = %q, want %s", e.SHA, head)
	}
	err := s.Host.SetStatus(t.Context(), w.repo, head, vcs.Status{Context: "planlatch/plan", State: vcs.StatusSuccess})
	if err != nil {
		t.Fatalf("SetStatus() = %v", err)
	}
	s.ignored(t, d, "status of our own")
}

// commentsSinceHasReviews also shows that a command in a review has one id, whichever way it is found.
func commentsSinceHasReviews(t *testing.T, s *suite) {
	w := s.newTeam(t)
	number, _ := w.open(t, "change")
	d := s.hook(t, w.repo)
	began := time.Now().Add(-2 * time.Second)
	id := w.reviewer.Comment(t, w.repo, number, "one")
	said := func() vcs.Event {
		t.Helper()
		if s.ReviewsHaveNoBody {
			return d.event(t, "the words of a review", vcs.EventComment, number)
		}
		return d.event(t, "a review", vcs.EventReview, number)
	}
	if s.ReviewsHaveNoBody {
		d.event(t, "a comment", vcs.EventComment, number)
	}
	w.reviewer.Review(t, w.repo, number, vcs.ReviewCommented, "two")
	first := said()
	w.reviewer.Review(t, w.repo, number, vcs.ReviewApproved, "two")
	second := said()
	w.reviewer.Review(t, w.repo, number, vcs.ReviewApproved, "")

	got, err := s.Host.CommentsSince(t.Context(), w.repo, number, began)
	if err != nil {
		t.Fatalf("CommentsSince() = %v", err)
	}
	want := map[string]string{id: "one", first.Comment.ID: "two", second.Comment.ID: "two"}
	if len(want) != 3 {
		t.Fatalf("two reviews with the same words have one id: %q", first.Comment.ID)
	}
	var last time.Time
	for _, c := range got {
		if want[c.ID] != c.Body || c.Author != w.reviewer.User() || c.Review != (c.ID != id && !s.ReviewsHaveNoBody) {
			t.Errorf("CommentsSince() has %+v, want one of %v by %s", c, want, w.reviewer.User().Login)
		}
		delete(want, c.ID)
		if c.Created.Before(last) {
			t.Errorf("CommentsSince() is not oldest first: %+v", got)
		}
		last = c.Created
	}
	if len(want) > 0 {
		t.Errorf("CommentsSince() lacks %v: %+v", want, got)
	}
	got, err = s.Host.CommentsSince(t.Context(), w.repo, number, time.Now().Add(time.Hour))
	if err != nil || len(got) != 0 {
		t.Errorf("CommentsSince(in an hour) = %+v, %v, want none", got, err)
	}
	if got, err := s.Host.CommentsSince(t.Context(), w.repo, number+1000, began); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("CommentsSince(unknown) = %+v, %v, want ErrNotFound", got, err)
	}
}
