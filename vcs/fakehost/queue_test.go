package fakehost_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// groups lists the merge_group deliveries so far: action, pull request by its ref, reason.
func groups(t *testing.T, s *fakehost.Server) []string {
	t.Helper()
	var out []string
	for _, d := range s.Deliveries() {
		if d.Event != "merge_group" {
			continue
		}
		var p struct {
			Action, Reason string
			MergeGroup     struct {
				Ref string `json:"head_ref"`
			} `json:"merge_group"`
		}
		ok(t, json.Unmarshal(d.Body, &p))
		n := 0
		_, err := fmt.Sscanf(p.MergeGroup.Ref, "refs/heads/gh-readonly-queue/main/pr-%d-", &n)
		ok(t, err)
		out = append(out, fmt.Sprintf("%s #%d %s", p.Action, n, p.Reason))
	}
	return out
}

func group(t *testing.T, s *fakehost.Server, n int) fakehost.Group {
	t.Helper()
	g, ok := s.Group(repo, n)
	if !ok {
		t.Fatalf("#%d is in no queue", n)
	}
	return g
}

func TestTheQueueMergesWhatIsGreenAndDropsWhatIsRed(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	must(s.AddWebhook(listen(t, func(http.ResponseWriter, *http.Request) {}), "x"))(t)
	one, two, three := open(t, s, "one"), open(t, s, "two"), open(t, s, "three")
	for _, branch := range []string{"one", "two", "three"} {
		ok(t, s.SetStatus(repo, "carol", must(s.Tip(repo, branch))(t), fakehost.Status{Context: "ci", State: "success"}))
	}
	ok(t, s.Protect(repo, "main", fakehost.Protection{Checks: []string{"ci"}, Queue: true, RuleSet: true}))
	var refused *fakehost.Refusal
	if _, err := s.Merge(repo, one, "carol", fakehost.MergeCommit); !errors.As(err, &refused) {
		t.Errorf("Merge() past the queue = %v, want a refusal", err)
	}
	main := must(s.Tip(repo, "main"))(t)
	for _, n := range []int{one, two, three} {
		ok(t, s.Enqueue(repo, n, "carol"))
	}
	a, b, c := group(t, s, one), group(t, s, two), group(t, s, three)
	if a.Base != main || b.Base != a.Head || c.Base != b.Head {
		t.Errorf("groups %v, %v, %v do not follow each other from %s", a, b, c, main)
	}
	if got := must(git(t, ".", people["bob"].Token, "ls-remote", s.Clone(repo), a.Ref))(t); got != a.Head+"\t"+a.Ref {
		t.Errorf("ls-remote %s = %q, want %s", a.Ref, got, a.Head)
	}
	ok(t, s.SetStatus(repo, "carol", b.Head, fakehost.Status{Context: "ci", State: "failure"}))
	if _, waits := s.Group(repo, two); !waits {
		t.Errorf("#%d left the queue before its turn", two)
	}
	ok(t, s.SetStatus(repo, "carol", a.Head, fakehost.Status{Context: "ci", State: "success"}))
	if got := must(s.Tip(repo, "main"))(t); got != a.Head {
		t.Errorf("main is at %s, want the first group %s", got, a.Head)
	}
	again := group(t, s, three)
	if again.Base != a.Head || again.Head == c.Head {
		t.Errorf("the group of #%d is %v, want a new one on %s", three, again, a.Head)
	}
	ok(t, s.SetCheckRun(repo, again.Head, fakehost.CheckRun{Name: "ci", Status: "completed", Conclusion: "success"}))
	if got := must(s.Tip(repo, "main"))(t); got != again.Head {
		t.Errorf("main is at %s, want %s", got, again.Head)
	}
	want := []string{
		"checks_requested #1 ", "checks_requested #2 ", "checks_requested #3 ", "destroyed #1 merged", "destroyed #2 dequeued",
		"destroyed #3 invalidated", "checks_requested #3 ", "destroyed #3 merged",
	}
	if d := cmp.Diff(want, groups(t, s)); d != "" {
		t.Errorf("merge groups differ (-want +got):\n%s", d)
	}
	for n, want := range map[int]fakehost.EntryKind{one: fakehost.EntryMerged, two: fakehost.EntryDequeued, three: fakehost.EntryMerged} {
		found := false
		for _, e := range must(s.Timeline(repo, n))(t) {
			found = found || e.Kind == want
		}
		if !found {
			t.Errorf("#%d does not show %s", n, want)
		}
	}
}

func TestAQueuedPullRequestLeavesTheQueue(t *testing.T) {
	t.Parallel()
	protect := fakehost.Protection{Checks: []string{"ci"}, Queue: true}
	for what, do := range map[string]func(s *fakehost.Server, n int) error{
		"by hand":  func(s *fakehost.Server, n int) error { return s.Dequeue(repo, n, "carol") },
		"closed":   func(s *fakehost.Server, n int) error { return s.ClosePull(repo, n, "bob") },
		"to draft": func(s *fakehost.Server, n int) error { return s.SetDraft(repo, n, "bob", true) },
		"pushed": func(s *fakehost.Server, _ int) error {
			_, err := s.Push(repo, "bob", "one", fakehost.Commit{Files: map[string]string{"x": ""}})
			return err
		},
		"conflicting": func(s *fakehost.Server, _ int) error {
			_, err := s.Push(repo, "alice", "main", fakehost.Commit{Files: map[string]string{"one.tf": "# other\n"}})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, fakehost.Options{})
			n := open(t, s, "one")
			ok(t, s.SetStatus(repo, "carol", must(s.Tip(repo, "one"))(t), fakehost.Status{Context: "ci", State: "success"}))
			ok(t, s.Protect(repo, "main", protect))
			ok(t, s.Enqueue(repo, n, "carol"))
			ref := group(t, s, n).Ref
			ok(t, do(s, n))
			if _, still := s.Group(repo, n); still {
				t.Errorf("#%d is still in the queue", n)
			}
			if out, _ := git(t, ".", "", "ls-remote", s.Clone(repo), ref); out != "" {
				t.Errorf("%s is still there: %s", ref, out)
			}
		})
	}
}

func TestTheQueueTakesOnlyWhatMayMerge(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{})
	n := open(t, s, "one")
	ok(t, s.Protect(repo, "main", fakehost.Protection{Checks: []string{"ci"}}))
	for what, err := range map[string]error{
		"blocked": s.Enqueue(repo, n, "carol"), "by a stranger": s.Enqueue(repo, n, "mallory"), "unknown": s.Enqueue(repo, 99, "carol"),
		"taken out, but not in": s.Dequeue(repo, n, "carol"),
	} {
		if _, refused := errors.AsType[*fakehost.Refusal](err); !refused {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
	}
	ok(t, s.Protect(repo, "main", fakehost.Protection{}))
	ok(t, s.Enqueue(repo, n, "carol")) // nothing is asked for: merged at once
	if e := must(s.Timeline(repo, n))(t); e[len(e)-1].Kind != fakehost.EntryMerged || e[len(e)-1].Actor != "github-merge-queue[bot]" {
		t.Errorf("the last entry is %v, want a merge by the queue", e[len(e)-1])
	}
}
