package e2e_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/testkit/httpstate"
)

func TestTheServerPushesBackTheStateThatAnApplyCouldNotSave(t *testing.T) {
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
	w.shows(pull, "**not saved**", "planlatch state push")
	other, _ := w.propose("other", map[string]string{"network/main.tf": code(b.block, "v2")})
	w.shows(other, "queued, waits for #")

	m := regexp.MustCompile("`planlatch state push (\\w+)").FindStringSubmatch(w.summary(pull))
	if m == nil {
		t.Fatalf("the summary names no command to push the state:\n%s", w.summary(pull))
	}
	push := func(code int, want string, args ...string) {
		t.Helper()
		var out, said bytes.Buffer
		env := map[string]string{"PLANLATCH_SERVER": w.url, "PLANLATCH_TOKEN": "the-admin-token-of-the-tests"}
		got := app.Run(t.Context(), append([]string{"state", "push", m[1]}, args...), env, &out, &said)
		if got != code || !strings.Contains(out.String()+said.String(), want) {
			t.Errorf("state push %v = %d %s%s, want %d with %q", args, got, &out, &said, code, want)
		}
		if strings.Contains(said.String(), s.Password) {
			t.Errorf("state push %v says the password of the backend: %s", args, &said)
		}
	}
	push(2, "-p network")
	push(2, "Repeat the name of the project", "-p", "other")
	push(1, "was not pushed, and is still kept", "-p", "network") // the disk behind the backend is still full
	w.shows(pull, "**not saved**")
	w.shows(other, "queued, waits for #")

	s.FailSaves(false)
	push(0, "is in its backend", "-p", "network")
	state, ok := s.State()
	if !ok || !strings.Contains(state, `"v1"`) {
		t.Fatalf("the backend has %s, want what the apply made", state)
	}
	w.lacks(pull, "**not saved**")
	w.shows(other, `"v1" → "v2"`)
	push(1, "nothing to push", "-p", "network")
	audit := w.operates("audit", "--json", "--action", "state_push")
	if strings.Count(audit, `"outcome":"done"`) != 1 || strings.Count(audit, `"outcome":"refused"`) != 3 {
		t.Errorf("audit of the pushes:\n%s\nwant one done and three refused", audit)
	}
}

func TestAPushedStateNeverOverwritesAnother(t *testing.T) {
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
	w.shows(pull, "planlatch state push")
	m := regexp.MustCompile("`planlatch state push (\\w+)").FindStringSubmatch(w.summary(pull))
	s.FailSaves(false)

	// Somebody applies by hand meanwhile: the backend has a state of another lineage now.
	at := w.terminal(code(b.block, "by hand"), map[string]string{"TF_HTTP_PASSWORD": s.Password})
	at.tofu("apply", "-input=false", "-no-color", "-auto-approve")
	before, _ := s.State()
	var out, said bytes.Buffer
	env := map[string]string{"PLANLATCH_SERVER": w.url, "PLANLATCH_TOKEN": "the-admin-token-of-the-tests"}
	if code := app.Run(t.Context(), []string{"state", "push", m[1], "-p", "network"}, env, &out, &said); code != 1 || !strings.Contains(said.String(), "lineage") {
		t.Errorf("state push = %d %s, want a refusal that says lineage", code, &said)
	}
	if after, _ := s.State(); before != after {
		t.Errorf("the backend has %s, want what was there:\n%s", after, before)
	}
	w.shows(pull, "**not saved**")
}
