package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// api asks our own API as the operator does.
func (w *world) api(method, path string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/api/v1"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer the-admin-token-of-the-tests")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestAPushWithoutAPullRequestIsPlannedAndWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{apply: "after_merge"})
	commit := w.push(w.bob, "main", network("network", "v1"))
	w.status(commit, "planlatch/plan", "success")
	w.status(commit, "planlatch/apply", "pending")
	if s := w.state("network"); s != "" {
		t.Fatalf("applied without a word: %s", s)
	}
	code, text := w.api("GET", "/runs?state=planned")
	var list struct{ Runs []struct{ ID string } }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Runs) != 1 {
		t.Fatalf("GET /runs = %d %s, want one run", code, text)
	}
	if code, text := w.api("POST", "/runs/"+list.Runs[0].ID+"/apply"); code != http.StatusOK {
		t.Fatalf("POST apply = %d %s", code, text)
	}
	w.status(commit, "planlatch/apply", "success")
	if s := w.state("network"); !strings.Contains(s, `"v1"`) {
		t.Errorf("state = %s, want v1", s)
	}
}

// TestAMergeQueueGetsItsStatuses lets two pull requests go through a queue that wants our three contexts. The second one's group has the
// first one's change in it, which it was not planned with and does not use.
func TestAMergeQueueGetsItsStatuses(t *testing.T) {
	t.Parallel()
	w := begin(t, map[string]string{"README.md": "x"}, rules{at: place{host: hosts[1]}, apply: "after_merge", requires: "[mergeable]"})
	host, ok := w.host.(*github.World)
	if !ok {
		t.Fatalf("a queue needs GitHub, this is %T", w.host)
	}
	host.Protect(t, w.repo, "main", 0, "planlatch/plan", "planlatch/policy", "planlatch/apply")
	first, one := w.propose("one", network("network", "v1"))
	second, two := w.propose("two", network("app", "v1"))
	w.status(one, "planlatch/apply", "success")
	w.status(two, "planlatch/apply", "success")
	w.approves(w.carol, first) // who stands for the apply: the queue, which merges, is nobody
	w.approves(w.carol, second)
	w.later()
	for _, pull := range []int{first, second} {
		if err := host.Host.Enqueue(w.repo.Name, pull, w.bob.User().Login); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("both to be merged and applied", func() (string, bool) {
		return w.said(first) + w.said(second), w.state("network") != "" && w.state("app") != ""
	})
}

// TestAMergeQueueSeesWhatOnlyTheGroupHas plans a group commit whose projects have other inputs than any pull request's plan: one fails there.
func TestAMergeQueueSeesWhatOnlyTheGroupHas(t *testing.T) {
	t.Parallel()
	start := merged(network("network", "v0"), map[string]string{"network/names.tf": `locals { name = "old" }`})
	w := begin(t, start, rules{at: place{host: hosts[1]}, apply: "after_merge", requires: "[mergeable]"})
	host, ok := w.host.(*github.World)
	if !ok {
		t.Fatalf("a queue needs GitHub, this is %T", w.host)
	}
	host.Protect(t, w.repo, "main", 0, "planlatch/plan")
	first, one := w.propose("one", map[string]string{"network/names.tf": `locals { label = "new" }`}) // renames what the second one uses
	second, two := w.propose("two", map[string]string{"network/extra.tf": `resource "terraform_data" "extra" { input = local.name }`})
	w.status(one, "planlatch/plan", "success")
	w.status(two, "planlatch/plan", "success")
	w.later()
	for _, pull := range []int{first, second} {
		if err := host.Host.Enqueue(w.repo.Name, pull, w.bob.User().Login); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("the queue to drop the second", func() (string, bool) {
		entries, err := host.Host.Timeline(w.repo.Name, second)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v", entries), slices.ContainsFunc(entries, func(e fakehost.Entry) bool { return e.Kind == fakehost.EntryDequeued })
	})
}
