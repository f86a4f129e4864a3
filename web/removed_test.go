package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// forgotten is a run that failed and of which retention removed everything.
func forgotten(t *testing.T, s *site) run.Run {
	t.Helper()
	r := s.planning(seed{label: "old"})
	s.write(r, "plan", 10, "a long log")
	r = s.settled(r, views.Kept{Plan: replaced()}, run.PlanOutcome{})
	r = s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.Cancel(snap, []run.ID{r.ID}, "erin") })
	for _, part := range []run.Part{run.PartLog, run.PartPlan} {
		if _, err := s.store.Forget(t.Context(), r.ID, part, views.KeptPlan); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestWhatRetentionRemovedIsToldOnThePage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := forgotten(t, s)
	p := s.page(s.member(), "/runs/"+string(r.ID))
	shown := text(p)
	for _, want := range []string{"Log removed", "less than a day after the run ended, as retention.logs says", "Plan file removed", "retention.plans"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page lacks %q: %s", want, shown)
		}
	}
	if a := s.get(s.member(), "/runs/"+string(r.ID)+"/log"); a.status != http.StatusOK || !strings.Contains(a.body, "were removed on") {
		t.Errorf("the log as text = %d %q, want the word of its removal", a.status, a.body)
	}
}

func TestWhatRetentionRemovedIsToldByTheAPI(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := forgotten(t, s)
	a := s.get(s.member(), "/api/v1/runs/"+string(r.ID))
	var got struct {
		Removed []string
		Plan    *json.RawMessage
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if len(got.Removed) != 2 || got.Plan != nil {
		t.Errorf("removed = %q, plan = %v, want two sentences and no plan", got.Removed, got.Plan)
	}
}

func TestAShortageIsToldWherePeopleWait(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{label: "waiting"})
	beat := func(note string) {
		t.Helper()
		if err := s.store.Beat(t.Context(), run.Node{ID: "n1", Name: "host-1", Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	beat("low on disk: 0.5 GiB free, 1 GiB wanted")
	if got := text(s.page(s.member(), "/")); !strings.Contains(got, "No run starts on host-1 : low on disk: 0.5 GiB free, 1 GiB wanted") {
		t.Errorf("the start page does not tell: %s", got)
	}
	if got := text(s.page(s.member(), "/runs/"+string(r.ID))); !strings.Contains(got, "It waits: the server is low on disk: 0.5 GiB free, 1 GiB wanted.") {
		t.Errorf("the page of the run does not tell: %s", got)
	}
	if a := s.get(s.member(), "/api/v1/runs/"+string(r.ID)); !strings.Contains(a.body, `"waits":"the server is low on disk`) {
		t.Errorf("the API does not tell: %s", a.body)
	}
	if err := s.store.Beat(t.Context(), run.Node{ID: "n2", Name: "host-2"}); err != nil {
		t.Fatal(err)
	}
	s.pass(time.Minute) // what is remembered of the run
	if got := text(s.page(s.member(), "/runs/"+string(r.ID))); strings.Contains(got, "low on disk") {
		t.Errorf("the page says that it waits for room, though another node has it: %s", got)
	}
}
