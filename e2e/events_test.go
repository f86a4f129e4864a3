package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

func TestTheCommitOfEveryStyleOfMergeGetsItsStatus(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, apply: "after_merge", requires: "[mergeable]"})
		for _, style := range w.host.Styles() {
			name := strings.ReplaceAll(string(style), " ", "-")
			w.push(w.alice, name, map[string]string{name + "/README.md": "a commit of its own\n"})
			pull, head := w.propose(name, network(name, "v1"))
			w.status(head, "planlatch/plan", "success")
			w.shows(pull, head[:7])
			w.later()
			commit := w.merge(w.bob, pull, style)
			if style != vcstest.Rebase && (commit == head) != (style == vcstest.FastForward) { // hosts rebase anew, or leave what is in place
				t.Errorf("%s made %s of %s", style, commit, head)
			}
			w.status(commit, "planlatch/apply", "success")
			w.status(head, "planlatch/apply", "success")
			w.says(pull, "<!-- planlatch:apply:")
			if s := w.state(name); !strings.Contains(s, `"v1"`) {
				t.Errorf("%s: state = %s, want v1", style, s)
			}
		}
	})
}

func TestAChangedBaseVoidsPlansAndPlansAgain(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, requires: "[mergeable]", extra: `repos: [{match: "**", branches: [default, release]}]`})
		for _, branch := range []string{"release", "wild"} {
			w.push(w.bob, branch, map[string]string{"network/" + branch + ".tf": fmt.Sprintf("resource \"terraform_data\" %q {}\n", branch)})
		}
		pull, head := w.propose("vpc", network("network", "v1"))
		w.shows(pull, "terraform_data.vpc", "1 to add")

		w.alice.SetBase(t, w.repo, pull, "release")
		w.shows(pull, "2 to add")
		w.status(head, "planlatch/plan", "success")

		// Nothing plans on this branch: what was planned is void, and commands are not ours.
		w.alice.SetBase(t, w.repo, pull, "wild")
		w.eventually("the plan to be void", func() (string, bool) {
			return w.server.Tail(), strings.Contains(w.server.Log(), "base branch wild does not plan")
		})
		w.tells(w.bob, pull, "planlatch apply")
		w.eventually("the command to be ignored", func() (string, bool) {
			return w.server.Tail(), strings.Count(w.server.Log(), "base branch wild does not plan") > 1
		})
		if s := w.state("network") + w.said(pull); s != "" {
			t.Fatalf("a pull request into a branch that does not plan was answered or applied: %s", s)
		}

		w.alice.SetBase(t, w.repo, pull, "main")
		w.shows(pull, "1 to add")
		w.tells(w.alice, pull, "planlatch apply")
		w.status(head, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) || strings.Contains(s, "release") {
			t.Errorf("state = %s, want what the plan on main said", s)
		}
	})
}

func TestACommandInAReviewCounts(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/plan", "success")
		w.shows(pull, "terraform_data.vpc")
		w.later()
		w.bob.Review(t, w.repo, pull, vcs.ReviewCommented, "planlatch explain")
		w.says(pull, "network/main.tf")
		w.later()
		w.bob.Review(t, w.repo, pull, vcs.ReviewApproved, "Well done.\n\nplanlatch apply")
		w.status(head, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
	})
}

// recorder keeps the deliveries of a webhook.
type recorder struct {
	mu  sync.Mutex
	all []*http.Request
	was [][]byte
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.was = append(r.all, req), append(r.was, body)
	w.WriteHeader(http.StatusAccepted)
}

// replay sends everything again to another address, in any order. The host signed it for a webhook of the same secret, but under ids that
// this one has not seen.
func (r *recorder) replay(t *testing.T, url string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, old := range slices.Backward(r.all) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(r.was[n]))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = old.Header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Errorf("a replayed delivery is answered %s", res.Status)
		}
	}
	t.Logf("%d deliveries replayed", len(r.all))
}

func TestOldDeliveriesReplayNothing(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, requires: "[mergeable]"})
		old := &recorder{}
		server := httptest.NewServer(old)
		t.Cleanup(server.Close)
		w.host.Hook(t, w.repo, server.URL)
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/plan", "success")
		w.tells(w.alice, pull, "planlatch explain")
		w.says(pull, "network/main.tf")
		w.tells(w.alice, pull, "planlatch apply")
		w.status(head, "planlatch/apply", "success")
		head = w.push(w.alice, "vpc", network("network", "v2"))
		w.shows(pull, head[:7], `"v1" → "v2"`)
		w.status(head, "planlatch/apply", "pending")
		w.later() // so that nothing of before is said later
		said := len(w.answers(pull))

		old.replay(t, w.url+"/webhooks/"+w.host.Account().Kind)
		w.tells(w.alice, pull, "planlatch help")
		w.says(pull, "planlatch unlock")
		w.status(head, "planlatch/apply", "pending")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) || strings.Contains(s, `"v2"`) {
			t.Errorf("state = %s, want v1: an old command was carried out again", s)
		}
		if n := len(w.answers(pull)); n != said+1 {
			t.Errorf("%d answers, want %d: an old command was answered again:\n%s", n, said+1, w.said(pull))
		}
	})
}

// TestTwoMergesFoundTogetherEndAsTheBranchSays merges while nobody listens, so that either may be found first.
func TestTwoMergesFoundTogetherEndAsTheBranchSays(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, network("network", "v0"), rules{at: at, apply: "after_merge", requires: "[mergeable]"})
		resource := func(name string) map[string]string {
			return map[string]string{"network/" + name + ".tf": fmt.Sprintf("resource \"terraform_data\" %q {}\n", name)}
		}
		first, head := w.propose("one", resource("one"))
		second, other := w.propose("two", resource("two"))
		w.status(head, "planlatch/plan", "success")
		w.status(other, "planlatch/plan", "success")
		w.shows(first, "terraform_data.one")
		w.shows(second, "terraform_data.two")
		w.later()
		w.stop()
		w.merge(w.bob, first, vcstest.MergeCommit)
		tip := w.merge(w.bob, second, vcstest.MergeCommit)
		w.restart()

		// The second has another effect than its plan: with the first in it, or without what the first made.
		w.status(tip, "planlatch/apply", "pending")
		w.says(second, "@"+login(w.bob))
		w.eventually("the first to be applied, or to be contained in the second", func() (string, bool) {
			s := w.summary(first) + w.said(first)
			return s, strings.Contains(s, "<!-- planlatch:apply:") || strings.Contains(s, "contained in")
		})
		// If the first applied after the second was planned, that plan is stale, and what it comes to now needs another word.
		var told time.Time
		w.eventually("the second to be applied", func() (string, bool) {
			got := w.host.Statuses(t, w.repo, tip)["planlatch/apply"]
			if got.State == vcs.StatusPending && time.Since(told) > 15*time.Second {
				w.later()
				w.tells(w.bob, second, "planlatch apply")
				told = time.Now()
			}
			return got.Description + "\n" + w.summary(second), got.State == vcs.StatusSuccess
		})
		for _, name := range []string{"vpc", "one", "two"} {
			if s := w.state("network"); strings.Count(s, fmt.Sprintf(`"name": %q`, name)) != 1 {
				t.Errorf("state = %s, want %s once", s, name)
			}
		}
		w.tells(w.bob, first, "planlatch apply")
		w.says(first, "Nothing")
	})
}
