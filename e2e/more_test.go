package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// baseline is the shipped policy set, owned by carol.
const baseline = `policies:
  - {name: baseline, source: "builtin:baseline", level: soft, owners: {users: [%s]}}`

// provisioned is a network whose plan the baseline stops.
func provisioned(name, value string) map[string]string {
	files := network(name, value)
	file := name + "/main.tf"
	files[file] = strings.Replace(files[file], "  input =", "  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n  input =", 1)
	return files
}

func TestAFindingStopsAnApplyUntilAnOwnerOverridesIt(t *testing.T) {
	t.Parallel()
	onEach(t, eachOnce, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, policies: baseline, requires: "[mergeable]"})
		pull, head := w.propose("vpc", provisioned("network", "v1"))
		w.status(head, "planlatch/policy", "failure")
		w.shows(pull, "provisioner", "@"+login(w.carol))

		w.tells(w.alice, pull, "planlatch apply")
		w.says(pull, "provisioner")
		w.tells(w.alice, pull, `planlatch approve --reason "trust me"`)
		w.says(pull, "cannot override")
		w.tells(w.bob, pull, `planlatch approve --reason "I am no owner"`)
		w.says(pull, "owned by")
		if s := w.state("network"); s != "" {
			t.Fatalf("applied against a finding: %s", s)
		}

		w.tells(w.carol, pull, `planlatch approve --reason "the hook is reviewed"`)
		w.status(head, "planlatch/policy", "success")
		w.tells(w.alice, pull, "planlatch apply")
		w.status(head, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
	})
}

func TestAMergeAppliesByItselfWhatWasReviewed(t *testing.T) {
	t.Parallel()
	onEach(t, eachOnce, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, apply: "after_merge"})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/apply", "success")
		w.approves(w.bob, pull)
		w.shows(pull, "[x] approved by "+login(w.bob))
		w.later()
		commit := w.merge(w.bob, pull, vcstest.Squash)
		w.says(pull, "applied", "<!-- planlatch:apply:")
		w.status(commit, "planlatch/apply", "success")
		w.status(head, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
	})
}

func TestAMergeWithAnotherEffectWaitsForAPerson(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		// The plan of the second project reads a file that the first pull request changes after the second was reviewed.
		code := strings.Replace(network("network", "IN")["network/main.tf"], `"IN"`, `fileexists("${path.module}/../size") ? file("${path.module}/../size") : "none"`, 1)
		w := begin(t, map[string]string{"README.md": "x", "network/main.tf": code}, rules{at: at, apply: "after_merge", requires: "[approved]"})
		pull, head := w.propose("vpc", map[string]string{"network/extra.tf": `resource "terraform_data" "extra" {}`})
		w.status(head, "planlatch/plan", "success")
		w.approves(w.bob, pull)
		w.shows(pull, "[x] approved by "+login(w.bob))
		w.stop() // nobody listens while main changes and the pull request is merged
		w.push(w.bob, "main", map[string]string{"size": "huge"})
		commit := w.merge(w.bob, pull, vcstest.MergeCommit)
		w.restart()
		w.says(pull, "@"+login(w.bob), "huge")
		w.status(commit, "planlatch/apply", "pending")
		if s := w.state("network"); s != "" {
			t.Fatalf("applied by itself with another effect: %s", s)
		}
		w.tells(w.bob, pull, "planlatch apply")
		w.status(commit, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, "huge") {
			t.Errorf("state = %s, want what bob confirmed", s)
		}
	})
}

func TestWhatWasMergedWhileWeWereDownIsFound(t *testing.T) {
	t.Parallel()
	onEach(t, eachOnce, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at, apply: "after_merge"})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/plan", "success")
		w.approves(w.bob, pull)
		w.shows(pull, "[x] approved by "+login(w.bob))
		w.later()
		w.stop()
		commit := w.merge(w.bob, pull, vcstest.MergeCommit)
		w.restart()
		w.status(commit, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1", s)
		}
	})
}

func TestTwoPullRequestsOnOneProject(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, network("network", "v0"), rules{at: at, requires: "[mergeable, up_to_date]"})
		first, head := w.propose("one", network("network", "v1"))
		second, other := w.propose("two", network("network", "v2"))
		w.status(head, "planlatch/plan", "success")
		w.status(other, "planlatch/plan", "success")

		w.tells(w.alice, first, "planlatch apply")
		w.status(head, "planlatch/apply", "success")
		w.tells(w.alice, second, "planlatch apply")
		w.says(second, "is held by")

		// Closing frees the hold. The second plan was made before the first was applied: the tool refuses it as stale, and it is planned again.
		w.alice.Close(t, w.repo, first)
		w.lacks(second, "is held by")
		w.tells(w.alice, second, "planlatch apply")
		w.shows(second, `"v1" → "v2"`, "planlatch apply")
		if s := w.state("network"); !strings.Contains(s, `"v1"`) {
			t.Errorf("state = %s, want v1 until somebody confirms the new plan", s)
		}
		w.tells(w.alice, second, "planlatch apply")
		w.status(other, "planlatch/apply", "success")
		if s := w.state("network"); !strings.Contains(s, `"v2"`) {
			t.Errorf("state = %s, want v2", s)
		}
	})
}

func TestATypoGetsOneHelpfulAnswer(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		pull, head := w.propose("vpc", network("network", "v1"))
		w.status(head, "planlatch/plan", "success")
		for n, c := range []struct{ body, answer string }{
			{"planlatch aply", "planlatch apply"},
			{"planlatch apply -p netwrk", "network"},
			{"planlatch plan -- -lock=false", "-lock"},
			{"planlatch plan -w ../../etc", ".."},
			{"planlatch help", "planlatch unlock"},
			{"planlatch explain", "network/main.tf"},
		} {
			w.alice.Comment(t, w.repo, pull, c.body)
			w.eventually(fmt.Sprintf("an answer to %q", c.body), func() (string, bool) {
				said := w.answers(pull)
				return strings.Join(said, "\n---\n"), len(said) == n+1 && strings.Contains(said[n], c.answer)
			})
		}
		before := w.answers(pull)
		w.alice.Comment(t, w.repo, pull, "I think planlatch is a nice name\n\n```\nplanlatch apply\n```\n> planlatch apply")
		w.alice.Comment(t, w.repo, pull, "planlatch help") // answered after what came before it
		w.eventually("an answer to the last help", func() (string, bool) { s := w.answers(pull); return "", len(s) > len(before) })
		if after := w.answers(pull); len(after) != len(before)+1 {
			t.Errorf("we answered a comment that is no command: %q", after[len(before):])
		}
	})
}

func TestManyProjectsOfOnePullRequest(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for n := range 6 {
		files = merged(files, network(fmt.Sprintf("stacks/s%d", n), "v1"))
	}
	w := begin(t, map[string]string{"README.md": "x"}, rules{requires: "[mergeable]"})
	pull, head := w.propose("stacks", files)
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "stacks/s0", "stacks/s5")
	w.tells(w.alice, pull, "planlatch apply -p stacks/s0")
	w.says(pull, "<!-- planlatch:apply:")
	if w.state("stacks-s0") == "" {
		t.Errorf("stacks/s0 was not applied:\n%s", w.said(pull))
	}
	if w.state("stacks-s1") != "" {
		t.Error("a project that was not named was applied")
	}
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	for n := range 6 {
		if w.state(fmt.Sprintf("stacks-s%d", n)) == "" {
			t.Errorf("stacks/s%d was not applied", n)
		}
	}
}

// TestKilledAtEveryCommit lives through whole stories with a server that dies once before and once after every commit it makes.
func TestKilledAtEveryCommit(t *testing.T) {
	t.Parallel()
	onEach(t, eachEngine, func(t *testing.T, at place) {
		t.Run("before_merge", func(t *testing.T) {
			t.Parallel()
			w := begin(t, nil, rules{at: at, kill: true})
			pull, head := w.propose("vpc", network("network", "v0"))
			w.status(head, "planlatch/plan", "success")
			head = w.push(w.alice, "vpc", network("network", "v1"))
			w.shows(pull, head[:7], `"v1"`)
			w.approves(w.bob, pull)
			w.shows(pull, "[x] approved by "+login(w.bob))
			w.tells(w.alice, pull, "planlatch apply")
			w.status(head, "planlatch/apply", "success")
			w.says(pull, "<!-- planlatch:apply:")
			w.merge(w.bob, pull, vcstest.MergeCommit)
			w.diedAt("deliver", "revise", "claim_plan", "planned", "confirm", "claim_apply", "applied", "merge")
			w.shows(pull, "applied")
			w.appliedOnce(pull)
		})
		t.Run("after_merge", func(t *testing.T) {
			t.Parallel()
			w := begin(t, nil, rules{at: at, kill: true, apply: "after_merge"})
			pull, head := w.propose("vpc", network("network", "v1"))
			w.status(head, "planlatch/plan", "success")
			w.approves(w.bob, pull)
			w.shows(pull, "[x] approved by "+login(w.bob))
			w.later()
			commit := w.merge(w.bob, pull, vcstest.MergeCommit)
			w.status(commit, "planlatch/apply", "success")
			w.says(pull, "<!-- planlatch:apply:")
			w.appliedOnce(pull)
			w.diedAt("deliver", "revise", "claim_plan", "planned", "merge", "claim_apply", "applied")
		})
	})
}

// appliedOnce checks that one result was posted and that the state was written once.
func (w *world) appliedOnce(pull int) {
	w.t.Helper()
	if n := strings.Count(w.said(pull), "<!-- planlatch:apply:"); n != 1 {
		w.t.Errorf("%d results were posted, want 1:\n%s", n, w.said(pull))
	}
	if s := w.state("network"); !strings.Contains(s, `"v1"`) || !strings.Contains(s, `"serial": 1,`) {
		w.t.Errorf("state = %s, want v1 written once", s)
	}
}

// diedAt waits until the server was killed before and after the commit of each of these actions, which the story has brought about.
func (w *world) diedAt(actions ...string) {
	w.t.Helper()
	w.eventually("a kill at every commit", func() (string, bool) {
		killed, err := os.ReadFile(filepath.Join(w.dir, "killed"))
		if err != nil {
			return err.Error(), false
		}
		for _, action := range actions {
			for _, point := range []string{"before:" + action, "after:" + action} {
				if !strings.Contains(string(killed), "died "+point+"\n") {
					return "the server was never killed " + point, false
				}
			}
		}
		w.t.Logf("%d kills", strings.Count(string(killed), "died "))
		return "", true
	})
}

func TestTheDoorIsShutToWhoCannotSign(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{at: place{host: hosts[0]}})
	for name, c := range map[string]struct {
		path, signature string
		want            int
	}{
		"Unsigned":      {"/webhooks/gitea", "", http.StatusUnauthorized},
		"WronglySigned": {"/webhooks/gitea", strings.Repeat("0", 64), http.StatusUnauthorized},
		"UnknownHost":   {"/webhooks/other", "", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+c.path, strings.NewReader(`{"action":"opened"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Gitea-Event", "pull_request")
		req.Header.Set("X-Gitea-Delivery", name)
		req.Header.Set("X-Gitea-Signature", c.signature)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", name, res.Status, c.want)
		}
	}
}

func TestAStrangersPullRequestRunsOnlyWhenAMaintainerSaysSo(t *testing.T) {
	t.Parallel()
	onEach(t, eachHost, func(t *testing.T, at place) {
		w := begin(t, nil, rules{at: at})
		mallory := w.person("mallory", vcs.PermissionRead)
		fork := mallory.Fork(t, w.repo)
		head := mallory.Commit(t, fork, vcstest.Change{Branch: "evil", Files: w.with(network("network", "v1"))})
		pull := mallory.OpenFrom(t, w.repo, fork, "evil", "main", "Please look")
		for _, context := range []string{"planlatch/plan", "planlatch/policy", "planlatch/apply"} {
			w.status(head, context, "pending")
		}
		w.shows(pull, "waits for a maintainer")

		w.tells(mallory, pull, "planlatch plan")
		w.says(pull, "needs write permission")
		w.tells(w.bob, pull, "planlatch plan")
		w.status(head, "planlatch/plan", "success")
		w.shows(pull, "terraform_data.vpc")
		w.lacks(pull, "waits for a maintainer")

		// Another head needs another word.
		head = mallory.Commit(t, fork, vcstest.Change{Branch: "evil", Files: w.with(network("network", "v2"))})
		w.status(head, "planlatch/plan", "pending")
		w.shows(pull, "waits for a maintainer")
	})
}

func TestCommentsFromBeforeWeCameAreNotCommands(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{})
	pull, head := w.propose("vpc", network("network", "v1"))
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch help")
	w.says(pull, "planlatch unlock")
	w.stop()
	if err := os.RemoveAll(filepath.Join(w.dir, "data", "planlatch.db")); err != nil {
		t.Fatal(err)
	}
	before := len(w.answers(pull))
	w.restart()
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch explain")
	w.eventually("an answer to what was said since", func() (string, bool) { s := w.answers(pull); return strings.Join(s, "\n"), len(s) > before })
	if n := len(w.answers(pull)); n != before+1 {
		t.Errorf("%d answers, want %d: old comments were answered again", n, before+1)
	}
}

func TestWhatCannotBePlannedSaysWhy(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{network: `{mode: none, allow: ["127.0.0.1:1"]}`})
	files := merged(network("good", "v1"), map[string]string{
		"too-new/main.tf": "terraform {\n  required_version = \">= 99.0\"\n  backend \"local\" {\n    path = \"STATES/x.tfstate\"\n  }\n}\n",
		"away/main.tf":    "terraform {\n  backend \"http\" {\n    address = \"http://127.0.0.1:1/state\"\n  }\n}\n\nresource \"terraform_data\" \"x\" {}\n",
		"broken/main.tf":  "terraform {\n  backend \"local\" {}\n}\n\nresource \"terraform_data\" {\n",
	})
	pull, head := w.propose("mixed", files)
	w.status(head, "planlatch/plan", "failure")
	w.shows(pull, "`broken/main.tf:5:27`", "nothing was planned")

	// Mended, the rest goes on, each with its own reason.
	files["broken/main.tf"] = network("broken", "v1")["broken/main.tf"]
	head = w.push(w.alice, "mixed", files)
	w.status(head, "planlatch/plan: good", "success")
	w.status(head, "planlatch/plan: broken", "success")
	w.shows(pull, "the server has no OpenTofu", "99.0", "127.0.0.1:1")
	if s := w.summary(pull); strings.Contains(s, w.dir) {
		t.Errorf("the summary tells paths of the server:\n%s", s)
	}
	w.status(head, "planlatch/plan", "failure")
}
