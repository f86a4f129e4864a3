package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/testkit/httpstate"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// refuses waits for the answer to a command and checks that it says no, and why.
func (w *world) refuses(who vcstest.Person, pull int, command string, texts ...string) {
	w.t.Helper()
	before := w.said(pull)
	w.tells(who, pull, command)
	w.eventually(fmt.Sprintf("%q to be answered with %q", command, texts), func() (string, bool) {
		answer := strings.TrimPrefix(w.said(pull), before)
		return answer, strings.Contains(answer, "Not ") && containsAll(answer, texts)
	})
}

// Each project applies in another mode, and none has a backend that would outlive the run.
const forgetful = `version: 1
projects:
  - {dir: before, apply: before_merge}
  - {dir: outside, apply: before_merge}
  - {dir: manual, apply: manual}
  - {dir: after, apply: after_merge}
  - {dir: off, apply: off}
`

func TestWithoutABackendNothingAppliesInAnyMode(t *testing.T) {
	t.Parallel()
	base, change := map[string]string{"planlatch.yaml": forgetful}, map[string]string{}
	for _, dir := range []string{"before", "outside", "manual", "after", "off"} {
		base[dir+"/main.tf"] = "# to come\n"
		change[dir+"/main.tf"] = `resource "terraform_data" "lost" {}` + "\n"
	}
	change["outside/main.tf"] += `terraform {
  backend "local" { path = "/tmp/outside-of-every-bind.tfstate" }
}
`
	w := begin(t, base, rules{requires: "[mergeable]", extra: `repos: [{match: "**", allow_repo_config: [projects, requirements.add, apply]}]`})
	const warning = "nothing would remember what was created"
	pull, head := w.propose("forgetful", change)
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, warning, "`before`", "`outside`", "`manual`", "`after`", "`off`")

	alone := " are not ready.\n- [ ] no backend: " + warning + "; add a backend block\n\n" // nothing else stops these
	w.refuses(w.alice, pull, "planlatch apply -p before -p outside -p manual", "`before`", "`outside`", "`manual`", alone)
	w.refuses(w.alice, pull, "planlatch apply -p after -p off", "`after`", "`off`", "no backend: "+warning)

	w.later()
	commit := w.merge(w.bob, pull, vcstest.MergeCommit)
	w.status(commit, "planlatch/plan", "success")
	w.says(pull, "`after` waits for a person", "`manual` waits for a person", "`before` waits for a person", "`outside` waits for a person")
	w.refuses(w.bob, pull, "planlatch apply -p before -p after -p manual", "`before`", "`after`", "`manual`", alone)
	w.refuses(w.bob, pull, "planlatch apply -p outside", "`outside` is not ready.\n- [ ] no backend: "+warning)
	w.refuses(w.bob, pull, "planlatch apply -p off") // nothing of it was planned, since nothing of it ever applies
	if got := w.host.Statuses(t, w.repo, commit)["planlatch/apply"].State; got == "success" {
		t.Error("planlatch/apply of the merge commit is green although nothing was applied")
	}
}

func TestAStateThatCouldNotBeSavedIsKeptAndStopsTheProject(t *testing.T) {
	t.Parallel()
	s := httpstate.New(t)
	b := backend{block: httpBlock(s), grants: httpGrants(s), allow: s.Address}
	r := b.rules()
	r.requires = "[mergeable]"
	w := begin(t, nil, r)
	pull, head := w.propose("vpc", map[string]string{"network/main.tf": code(b.block, "v1")})
	w.status(head, "planlatch/plan", "success")
	s.FailSaves(true)
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "error")
	w.says(pull, "**not saved**", "errored.tfstate")
	w.shows(pull, "Repair:", "`planlatch unlock -p network`")
	if first, _, _ := strings.Cut(w.summary(pull), "\n"); first != "### planlatch: the state of `network` was **not saved**" {
		t.Errorf("the summary begins with %q, want it to begin with the state that was not saved", first)
	}
	if _, ok := s.State(); ok || s.RefusedSaves() == 0 {
		t.Fatalf("the state was saved, or nobody tried: %d refused saves", s.RefusedSaves())
	}
	w.unreadable()
	unsaved := w.pulled(pull)
	keeps(t, unsaved, "v1")

	// A new commit waits behind it and does not hide it.
	next := w.push(w.alice, "vpc", map[string]string{"network/notes.md": "mend the disk\n"})
	w.status(next, "planlatch/apply", "error")
	w.shows(pull, "**not saved**", "`planlatch unlock -p network`")

	// The disk behind the backend is mended, and still nobody goes on without the state.
	s.FailSaves(false)
	w.refuses(w.alice, pull, "planlatch apply", "could not save its state")
	other, _ := w.propose("other", map[string]string{"network/main.tf": code(b.block, "v2")})
	w.shows(other, "queued, waits for #")
	w.refuses(w.alice, other, "planlatch apply", "`network`")
	if _, ok := s.State(); ok {
		t.Fatal("somebody applied to a state that was not saved")
	}

	// Somebody pushes the kept copy back and says so: the other pull request is planned against what really exists.
	at := w.terminal(code(b.block, "v1"), map[string]string{"TF_HTTP_PASSWORD": s.Password})
	if err := os.WriteFile(filepath.Join(at.dir, "errored.tfstate"), []byte(unsaved), 0o600); err != nil {
		t.Fatal(err)
	}
	at.tofu("state", "push", "errored.tfstate")
	at.settled()
	w.tells(w.alice, pull, "planlatch unlock -p network")
	w.shows(other, `"v1" → "v2"`)
}

// unreadable checks that the state that could not be saved is kept, and that nobody can read any of it on the disk.
func (w *world) unreadable() {
	w.t.Helper()
	kept := 0
	err := filepath.WalkDir(filepath.Join(w.dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server works
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // as above
		}
		if bytes.Contains(data, []byte("terraform_data")) {
			w.t.Errorf("%s can be read by whoever gets the disk", path)
		}
		if filepath.Base(path) == "errored.tfstate" {
			kept++
		}
		return err
	})
	if err != nil || kept != 1 {
		w.t.Fatalf("%d states are kept (%v), want one", kept, err)
	}
}

// pulled returns the state that could not be saved, as an operator gets it: by the command of the report.
func (w *world) pulled(pull int) string {
	w.t.Helper()
	m := regexp.MustCompile("`planlatch state pull (\\w+)").FindStringSubmatch(w.summary(pull))
	if m == nil {
		w.t.Fatalf("the summary names no command to get the state:\n%s", w.summary(pull))
	}
	fetch := func(token string) (state, words string, code int) {
		var out, err bytes.Buffer
		code = app.Run(w.t.Context(), []string{"state", "pull", m[1], "--server", w.url, "--token", token}, nil, &out, &err)
		return out.String(), err.String(), code
	}
	if state, words, code := fetch("a guess"); code == 0 || state != "" {
		w.t.Errorf("state pull with a wrong token = %d %q %s, want a refusal", code, state, words)
	}
	state, words, code := fetch("the-admin-token-of-the-tests")
	if code != 0 {
		w.t.Fatalf("state pull = %d %s, want 0", code, words)
	}
	return state
}

func TestABackendsLockIsFreedWhenToldByItsIDAndNoOther(t *testing.T) {
	t.Parallel()
	s := httpstate.New(t)
	b := backend{block: httpBlock(s), grants: httpGrants(s), allow: s.Address}
	r := b.rules()
	r.waits = "1s"
	w := begin(t, nil, r)
	id := s.Hold(t, "carol@laptop", time.Now().Add(-time.Hour))
	pull, head := w.propose("vpc", map[string]string{"network/main.tf": code(b.block, "v1")})
	w.status(head, "planlatch/plan", "failure")
	w.shows(pull, "`planlatch unlock --state "+id+" -p network`")

	w.refuses(w.alice, pull, "planlatch unlock --state "+id, "name the one project")
	w.refuses(w.alice, pull, "planlatch unlock --state another-id -p network", "was not stopped by a lock with this id")
	if held, ok := s.Held(); !ok || held.ID != id {
		t.Fatalf("the lock is %+v, want it held", held)
	}
	w.tells(w.alice, pull, "planlatch unlock --state "+id+" -p network")
	w.says(pull, "The backend's lock `"+id+"` of `network` is free, and it is planned again.")
	if held, ok := s.Held(); ok && held.ID == id { // the plan that follows may have its own
		t.Errorf("the lock is still held by %+v", held)
	}
	w.status(head, "planlatch/plan", "success")
}
