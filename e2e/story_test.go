package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// network is a project that keeps its state in the bind that runs may write.
func network(name, value string) map[string]string {
	return map[string]string{
		name + "/main.tf": fmt.Sprintf(`terraform {
  backend "local" {
    path = "STATES/%s.tfstate"
  }
}

resource "terraform_data" "vpc" {
  input = %q
}
`, strings.ReplaceAll(name, "/", "-"), value),
	}
}

func merged(sets ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

// propose pushes files to a new branch as alice and opens a pull request. It returns its number and head.
func (w *world) propose(branch string, files map[string]string) (int, string) {
	w.t.Helper()
	head := w.push(w.alice, branch, files)
	return w.alice.Open(w.t, w.repo, branch, "main", "Change "+branch), head
}

// push commits files to a branch and returns the commit.
func (w *world) push(who vcstest.Person, branch string, files map[string]string) string {
	w.t.Helper()
	return who.Commit(w.t, w.repo, vcstest.Change{Branch: branch, Files: w.with(files), Message: "Change " + branch})
}

// merge merges and returns the commit on the base branch.
func (w *world) merge(who vcstest.Person, pull int, how vcstest.Style) string {
	w.t.Helper()
	return who.Merge(w.t, w.repo, pull, how)
}

// summary returns our one summary comment; empty if there is none.
func (w *world) summary(pull int) string {
	w.t.Helper()
	found := ""
	for _, c := range w.host.Comments(w.t, w.repo, pull) {
		if c.Author.Login == w.host.Account().Login && strings.Contains(c.Body, "<!-- planlatch:summary -->") {
			if found != "" {
				w.t.Errorf("pull request #%d has two summaries", pull)
			}
			found = c.Body
		}
	}
	return found
}

// lacks waits until the summary does not say something any more.
func (w *world) lacks(pull int, text string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the summary of #%d to stop saying %q", pull, text), func() (string, bool) {
		s := w.summary(pull)
		return s, s != "" && !strings.Contains(s, text)
	})
}

// said returns everything we said besides the summary.
func (w *world) said(pull int) string {
	w.t.Helper()
	return strings.Join(w.answers(pull), "\n---\n")
}

// answers lists our comments besides the summary, oldest first.
func (w *world) answers(pull int) []string {
	w.t.Helper()
	var all []string
	for _, c := range w.host.Comments(w.t, w.repo, pull) {
		if c.Author.Login == w.host.Account().Login && !strings.Contains(c.Body, "<!-- planlatch:summary -->") {
			all = append(all, c.Body)
		}
	}
	return all
}

// shows waits until the summary contains every one of these texts.
func (w *world) shows(pull int, texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the summary of #%d to say %q", pull, texts), func() (string, bool) {
		s := w.summary(pull)
		return s, containsAll(s, texts)
	})
}

// says waits until our other comments contain every one of these texts.
func (w *world) says(pull int, texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("an answer on #%d to say %q", pull, texts), func() (string, bool) {
		s := w.said(pull)
		return s + "\n=== summary\n" + w.summary(pull), containsAll(s, texts)
	})
}

func containsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

// status waits until a commit has a status of this state.
func (w *world) status(sha, context, state string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("status %s of %s to be %s", context, sha[:7], state), func() (string, bool) {
		all := w.host.Statuses(w.t, w.repo, sha)
		return fmt.Sprintf("%+v", all), string(all[context].State) == state
	})
}

// later lets everything be posted, and the second pass in which it was: a command in the same second has not seen it.
func (w *world) later() {
	w.t.Helper()
	for deadline := time.Now().Add(patience / 3); w.posting() && time.Now().Before(deadline); { // a channel that is dead is another story's
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // polling another process
	}
	time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // hosts count in seconds
}

// posting says whether the server has something to post whose arrival it has not written down.
func (w *world) posting() bool {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get(w.url + "/metrics") //nolint:noctx // bounded by the client
	if err != nil {
		return true // it is starting again
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return err != nil || !strings.Contains(string(text), `planlatch_rows{what="postings_due"} 0`)
}

// tells comments as somebody who has read what stands there.
func (w *world) tells(who vcstest.Person, pull int, body string) {
	w.t.Helper()
	w.later()
	who.Comment(w.t, w.repo, pull, body)
}

func (w *world) approves(who vcstest.Person, pull int) {
	w.t.Helper()
	w.later()
	who.Review(w.t, w.repo, pull, vcs.ReviewApproved, "")
}

// state returns the state file of a project; empty if there is none.
func (w *world) state(name string) string {
	text, err := os.ReadFile(filepath.Join(w.states, name+".tfstate"))
	if err != nil {
		return ""
	}
	return string(text)
}

func TestAReviewedPlanIsAppliedBeforeTheMerge(t *testing.T) {
	t.Parallel()
	onEach(t, everywhere, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.shows(pull, "network", "terraform_data.vpc", "approved by someone other than the author")
		w.status(head, "planlatch/plan", "success")
		w.status(head, "planlatch/apply", "pending")

		w.tells(w.alice, pull, "planlatch apply")
		w.says(pull, "approved by someone other than the author")
		if w.state("network") != "" {
			t.Fatal("something was applied without an approval")
		}

		w.approves(w.bob, pull)
		w.tells(w.alice, pull, "planlatch apply")
		w.says(pull, "<!-- planlatch:apply:")
		w.status(head, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
		w.merge(w.bob, pull, vcstest.MergeCommit)
		w.shows(pull, "applied")
	})
}

func TestANewPushSupersedes(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		pull, first := w.propose("vpc", network("network", "v1"))
		w.shows(pull, first[:7])
		second := w.push(w.alice, "vpc", network("network", "v2"))
		w.shows(pull, second[:7], "v2")
		w.status(second, "planlatch/plan", "success")
		w.tells(w.alice, pull, "planlatch apply --at "+first)
		w.says(pull, second[:7])
	})
}

func TestAPullRequestWithoutProjectsIsGreenAndSilent(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		pull, head := w.propose("docs", map[string]string{"README.md": "better words\n"})
		for _, context := range []string{"planlatch/plan", "planlatch/policy", "planlatch/apply"} {
			w.status(head, context, "success")
		}
		if s := w.summary(pull) + w.said(pull); s != "" {
			t.Errorf("we said %q, want nothing", s)
		}
	})
}
