package web_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/client"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

func (s *site) client() *client.Client {
	s.t.Helper()
	c, err := client.New(s.server.URL+"/", adminToken)
	return must(s.t, c, err)
}

func TestTheClientUnderstandsTheAPI(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	c := s.client()
	held := s.settled(s.planning(seed{label: "held"}), views.Kept{Plan: replaced()}, run.PlanOutcome{})
	s.advance(held, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{held.ID}, "erin") })
	waits := s.queued(seed{label: "waits"})

	p, _, err := c.Pause(ctx, "", "release week")
	if err != nil || p.Match != "//**" || p.Actor != "admin" {
		t.Errorf("Pause() = %+v, %v", p, err)
	}
	if all, _, err := c.Pauses(ctx); err != nil || len(all) != 1 || all[0].Waiting != 1 {
		t.Errorf("Pauses() = %+v, %v, want one that one apply waits for", all, err)
	}
	if err := c.Resume(ctx, ""); err != nil {
		t.Errorf("Resume() error = %v", err)
	}

	page, next, _, err := c.Runs(ctx, client.Filter{Repo: "gitea/acme/infra", Pull: 214, Limit: 1})
	if err != nil || len(page) != 1 || page[0].ID != string(waits.ID) || next == "" {
		t.Fatalf("Runs() = %+v, %q, %v, want the newer run and another page", page, next, err)
	}
	page, next, _, err = c.Runs(ctx, client.Filter{States: []string{"confirmed", "queued"}, Limit: 1, Before: next})
	if err != nil || len(page) != 1 || page[0].Project != "held" || page[0].Counts.Replace != 1 || page[0].ConfirmedBy != "erin" || next != "" {
		t.Errorf("Runs(next page) = %+v, %q, %v, want the older run and no more", page, next, err)
	}
	if d, _, err := c.Run(ctx, string(held.ID)); err != nil || len(d.Gates) == 0 || d.Pull.Number != 214 {
		t.Errorf("Run() = %+v, %v, want its gates", d, err)
	}

	if id, err := c.Find(ctx, strings.ToLower(string(waits.ID))); err != nil || id != string(waits.ID) {
		t.Errorf("Find(whole id) = %s, %v", id, err)
	}
	if _, err := c.Find(ctx, "01"); !errors.Is(err, client.ErrAmbiguous) || !strings.Contains(err.Error(), string(held.ID)) {
		t.Errorf("Find(what two begin with) error = %v, want ErrAmbiguous that names them", err)
	}
	var no *client.Problem
	if _, err := c.Find(ctx, "ZZ"); !errors.As(err, &no) || no.Status != 404 {
		t.Errorf("Find(what none begins with) error = %v, want 404", err)
	}

	if r, _, err := c.Cancel(ctx, string(waits.ID)); err != nil || r.State != "canceled" {
		t.Errorf("Cancel() = %+v, %v", r, err)
	}
	if _, _, err := c.Cancel(ctx, string(waits.ID)); !errors.As(err, &no) || no.Status != 409 {
		t.Errorf("Cancel() again: error = %v, want 409", err)
	}
	holds, slots, _, err := c.Locks(ctx)
	if err != nil || len(holds) != 1 || len(slots) != 0 || holds[0].Pull.Number != 214 || holds[0].Since == nil {
		t.Errorf("Locks() = %+v, %+v, %v, want one hold", holds, slots, err)
	}
	freed, kept, _, err := c.Unlock(ctx, "gitea/acme/infra", 214, "")
	if err != nil || len(freed) != 1 || len(kept) != 0 {
		t.Errorf("Unlock() = %v, %v, %v, want one freed", freed, kept, err)
	}
	rows, _, err := c.Audit(ctx, client.Filter{Actor: "admin", Limit: 10})
	if err != nil || len(rows) != 5 || rows[0].Action != "unlock" {
		t.Errorf("Audit() = %+v, %v, want unlock, two of cancel, resume and pause", rows, err)
	}
	var lines strings.Builder
	if err := c.Export(ctx, client.Filter{Action: "confirm"}, &lines); err != nil || strings.Count(lines.String(), "\n") != 1 {
		t.Errorf("Export() = %q, %v, want one line", lines.String(), err)
	}
}
