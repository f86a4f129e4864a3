package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// slow is a project whose apply says when it has begun and then counts for a while: ten lines a second, each once. Half way it waits until it is
// let go on.
func slow(lines int) map[string]string {
	return map[string]string{"slow/main.tf": fmt.Sprintf(`terraform {
  backend "local" {
    path = "STATES/slow.tfstate"
  }
}

resource "terraform_data" "first" {
  input = "v1"
}

resource "terraform_data" "last" {
  input = terraform_data.first.output

  provisioner "local-exec" {
    command = "echo >>STATES/began; i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i.; sleep 0.1; [ $i -ne %d ] || until [ -e STATES/go ]; do sleep 0.1; done; done"
  }
}
`, lines, lines/2)}
}

// goOn lets what waits half way go on.
func (w *world) goOn() {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.states, "go"), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// applySlowly proposes it, has it applied, and returns once the apply has begun.
func (w *world) applySlowly(lines int) (pull int, head string) {
	w.t.Helper()
	pull, head = w.propose("slow", slow(lines))
	w.status(head, "planlatch/plan", "success")
	w.tells(w.alice, pull, "planlatch apply")
	w.begun("began")
	return pull, head
}

// begun waits until a run has left a mark, and checks that it did so once.
func (w *world) begun(mark string) {
	w.t.Helper()
	w.eventually("a run to begin", func() (string, bool) {
		got, err := os.ReadFile(filepath.Join(w.states, mark))
		return w.server.Tail(), err == nil && string(got) == "\n"
	})
}

// leavesNothing checks that no process and no directory of an execution is left.
func (w *world) leavesNothing() {
	w.t.Helper()
	w.eventually("every process to be gone", func() (string, bool) { // the last one ends right after it has said how the run did
		left := w.processes()
		return fmt.Sprintf("%q", left), len(left) == 0
	})
	dirs, err := os.ReadDir(filepath.Join(w.dir, "data", "executions", "runs"))
	if err != nil || len(dirs) > 0 {
		w.t.Errorf("executions are left: %v, %v", dirs, err)
	}
}

// processes lists those that name a directory of this world.
func (w *world) processes() (found []string) {
	w.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range all {
		if line, err := os.ReadFile(p); err == nil && strings.Contains(string(line), w.dir) { // else it is gone
			found = append(found, string(line))
		}
	}
	return found
}

// get reads a page.
func (w *world) get(c *http.Client, path string) (code int, text string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// onlyRun returns the one run of this world, from the database of a server that is not running.
func (w *world) onlyRun() run.Run {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), store.Options{Dir: filepath.Join(w.dir, "data")})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	runs, err := s.Runs(w.t.Context(), run.Filter{})
	if err != nil || len(runs) != 1 {
		w.t.Fatalf("runs = %+v, %v, want one", runs, err)
	}
	return runs[0]
}

func TestAStopOfProcess1WaitsForItsApply(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{alone: true, requires: "[mergeable]"})
	pull, head := w.applySlowly(80)
	w.signal(syscall.SIGTERM, false)
	w.eventually("a stopping server to say that it is not ready", func() (string, bool) {
		code, text := w.get(http.DefaultClient, "/readyz")
		return text, code == http.StatusServiceUnavailable && strings.Contains(text, "stopping")
	})

	// Meanwhile it listens, and starts nothing.
	if code, text := w.get(http.DefaultClient, "/healthz"); code != http.StatusOK {
		t.Errorf("GET /healthz = %d %s, want 200", code, text)
	}
	_, second := w.propose("vpc", network("network", "v1"))
	w.status(second, "planlatch/plan", "pending")
	w.goOn()
	if err := w.exits(); err != nil {
		t.Errorf("the server ended with %v, want 0", err)
	}

	// At its end all is said and done.
	if got := w.host.Statuses(t, w.repo, head)["planlatch/apply"].State; got != "success" {
		t.Errorf("planlatch/apply = %s, want success", got)
	}
	if said := w.said(pull); strings.Count(said, "<!-- planlatch:apply:") != 1 || !strings.Contains(w.summary(pull), "applied") {
		t.Errorf("we said\n%s\n%s\nwant one result that says applied", w.summary(pull), said)
	}
	if s := w.state("slow"); strings.Count(s, `"type": "terraform_data"`) != 2 || strings.Contains(s, "tainted") {
		t.Errorf("state = %s, want both resources", s)
	}
	w.leavesNothing()
	w.restart()
	w.status(second, "planlatch/plan", "success")
}

func TestAStopOfProcess1PutsItsPlanBackIntoTheQueue(t *testing.T) {
	t.Parallel()
	w := begin(t, merged(network("network", "v0"), map[string]string{
		"planlatch.yaml":  "projects:\n- dir: network\n  steps: {before_plan: [[./wait.sh]]}\n",
		"network/wait.sh": script("[ -e STATES/go ] || { echo >>STATES/began; exec sleep 1000; }"),
	}), rules{alone: true, extra: `repos: [{match: "**", allow_repo_config: [projects, requirements.add, steps]}]`})
	_, head := w.propose("vpc", network("network", "v1"))
	w.begun("began")
	w.signal(syscall.SIGTERM, false)
	if err := w.exits(); err != nil {
		t.Errorf("the server ended with %v, want 0", err)
	}
	w.leavesNothing()
	if r := w.onlyRun(); r.State != run.Queued || r.Attempt != 1 || !strings.Contains(r.Reason, "stopped") {
		t.Errorf("the run is %s (%s) after attempt %d, want queued after the first because of the stop", r.State, r.Reason, r.Attempt)
	}
	w.goOn()
	w.restart()
	w.status(head, "planlatch/plan", "success")
}

func TestAnApplyThatAStopCannotWaitForIsInterruptedAndSavesItsState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wait  string
		again bool
	}{
		"BecauseShutdownWaitIsOver": {"1s", false},
		"BecauseItIsToldAgain":      {"2h", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, nil, rules{requires: "[mergeable]", executes: "on_stop: wait\n  shutdown_wait: " + c.wait})
			pull, head := w.applySlowly(10000)
			w.signal(syscall.SIGTERM, false)
			if c.again {
				w.eventually("the server to wait", func() (string, bool) { return w.server.Tail(), strings.Contains(w.server.Log(), "waiting for applies") })
				w.signal(syscall.SIGTERM, false)
			}
			if err := w.exits(); err != nil {
				t.Errorf("the server ended with %v, want 0", err)
			}
			if got := w.host.Statuses(t, w.repo, head)["planlatch/apply"].State; got != "failure" {
				t.Errorf("planlatch/apply = %s, want failure", got)
			}
			if said := w.said(pull); !strings.Contains(said, "its server was stopped; the tool was interrupted and ended by itself") {
				t.Errorf("we said\n%s\nwant why it failed", said)
			}
			if s := w.state("slow"); !strings.Contains(s, `"name": "first"`) || !strings.Contains(s, "tainted") {
				t.Errorf("state = %s, want what was done and what was not finished", s)
			}
			w.leavesNothing()
		})
	}
}

func TestACanceledApplySavesItsStateAndTheQueueGoesOn(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{requires: "[mergeable]"})
	pull, head := w.applySlowly(10000)
	_, second := w.propose("other", slow(1)) // waits for the project's slot
	w.tells(w.bob, pull, "planlatch cancel")
	w.status(head, "planlatch/apply", "failure")
	w.says(pull, "canceled by "+login(w.bob)+"; the tool was interrupted and ended by itself")
	if s := w.state("slow"); !strings.Contains(s, `"name": "first"`) || !strings.Contains(s, "tainted") {
		t.Errorf("state = %s, want what was done and what was not finished", s)
	}
	w.status(second, "planlatch/plan", "success")
}

// TestCtrlCHandsAnApplyOver interrupts the server as a terminal does, with all of its process group.
func TestCtrlCHandsAnApplyOver(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{requires: "[mergeable]"})
	pull, head := w.applySlowly(60)
	w.signal(syscall.SIGINT, true)
	if err := w.exits(); err != nil {
		t.Errorf("the server ended with %v, want 0", err)
	}
	if len(w.processes()) == 0 || w.onlyRun().State != run.Applying {
		t.Error("the apply ended with the server")
	}
	w.goOn()
	w.restart()
	w.status(head, "planlatch/apply", "success")
	w.whole(pull, 60)
}

func TestAnApplyOfHalfAMinuteSurvivesItsServer(t *testing.T) {
	t.Parallel()
	const lines = 300
	w := begin(t, nil, rules{requires: "[mergeable]"})
	pull, head := w.applySlowly(lines)
	w.eventually("a third of the log to be stored", func() (string, bool) { s := w.applyLog(); return s, strings.Contains(s, "line 100.") })
	w.signal(syscall.SIGKILL, false) // the next life of the server begins at once
	w.goOn()
	w.status(head, "planlatch/apply", "success")
	w.says(pull, "<!-- planlatch:apply:")
	w.whole(pull, lines)
	if s := w.state("slow"); strings.Count(s, `"type": "terraform_data"`) != 2 || strings.Contains(s, "tainted") {
		t.Errorf("state = %s, want both resources", s)
	}
	w.signal(syscall.SIGTERM, false)
	if err := w.exits(); err != nil {
		t.Errorf("the server ended with %v, want 0", err)
	}
	w.leavesNothing()
}

// applyLog reads the log of the one apply of this world as people do who have logged in.
func (w *world) applyLog() string {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	res, err := browser.PostForm(w.url+"/login", url.Values{"token": {"the-admin-token-of-the-tests"}}) //nolint:noctx // a test's own server
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	id := regexp.MustCompile(`"id":\s*"(\w+)"`).FindStringSubmatch(w.operates("runs", "--json"))
	if id == nil {
		w.t.Fatal("there is no run")
	}
	_, text := w.get(browser, "/runs/"+id[1]+"/log?phase=apply")
	return text
}

// whole checks that the apply ran once, said so once, and that its log has every line once and in order.
func (w *world) whole(pull, lines int) {
	w.t.Helper()
	w.begun("began")
	if n := strings.Count(w.said(pull), "<!-- planlatch:apply:"); n != 1 {
		w.t.Errorf("%d results were posted, want 1:\n%s", n, w.said(pull))
	}
	var want []string
	for n := range lines {
		want = append(want, fmt.Sprintf("line%d.", n+1))
	}
	log := w.applyLog()
	said := ""
	for _, line := range regexp.MustCompile(`(?m)^terraform_data\.last \(local-exec\): (.*)$`).FindAllStringSubmatch(log, -1) {
		said += strings.Join(strings.Fields(line[1]), "") // a tool that is starved breaks a line where it has read that far
	}
	if got := regexp.MustCompile(`line\d+\.`).FindAllString(said, -1); !slices.Equal(got, want) {
		w.t.Errorf("the log has %d lines, want each of %d once and in order:\n%s", len(got), lines, log)
	}
	if !strings.Contains(log, "Apply complete! Resources: 2 added") {
		w.t.Errorf("the log does not end as the tool's does:\n%s", log)
	}
}
