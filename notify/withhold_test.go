package notify_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/hook"
	"github.com/planlatch/planlatch/notify/slack"
	"github.com/planlatch/planlatch/notify/teams"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/report/reporttest"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
)

// recorder takes every message and keeps what it was sent.
type recorder struct {
	url  string
	mu   sync.Mutex
	text strings.Builder
}

func record(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.text.Write(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *recorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// keeps returns the blobs of a run that said canaries wherever a plan and a tool can.
func (d *chatDesk) keeps(id run.ID) map[string]string {
	d.t.Helper()
	kept := views.Kept{Plan: reporttest.LoudPlan(d.t, "canary"), Failure: reporttest.LoudLog("canary"), Left: []string{"x.y"}}
	out := map[string]string{}
	for _, name := range []string{views.KeptPlan, views.KeptApply} {
		key, err := views.Keep(d.t.Context(), d.blobs, id, name, kept)
		if err != nil {
			d.t.Fatal(err)
		}
		out[name] = key
	}
	return out
}

// TestPlanTextStaysOnThePageOfAQuietRepository lets plans and applies go well and wrong with everything that tells of it, in each style.
func TestPlanTextStaysOnThePageOfAQuietRepository(t *testing.T) {
	t.Parallel()
	for _, style := range []report.Style{report.StyleFull, report.StyleSummary, report.StyleOff} {
		t.Run(string(style), func(t *testing.T) {
			t.Parallel()
			d := openChat(t)
			d.style = style
			flow, programs := record(t), record(t)
			d.start(
				notify.Channel{Name: "slack", Sink: slack.NewBot(d.slack.Token, "#infra", d.slack.URL), Edits: true, Pace: time.Millisecond, Events: allEvents},
				notify.Channel{Name: "teams", Sink: teams.New(flow.url), Pace: time.Millisecond, Events: allEvents},
				notify.Channel{Name: "hook", Sink: hook.New(programs.url, "s"), Every: true, Events: allEvents},
			)
			out := map[string]*strings.Builder{"comments": {}, "statuses": {}, "Slack": {}, "Teams": {}, "webhook": {}}
			collect := func() { // the one comment and the one message are edited
				d.idle()
				d.host.mu.Lock()
				fmt.Fprint(out["comments"], d.host.comments)
				fmt.Fprint(out["statuses"], d.host.statuses)
				d.host.mu.Unlock()
				fmt.Fprintf(out["Slack"], "%+v", d.slack.Messages("#infra"))
			}
			reason := "plan: canary-reason"
			runs := d.revise(head, "planned", "held", "broken", "vanished", "unsaved", "failing")
			id := map[string]run.ID{}
			for _, r := range runs {
				id[r.Label] = r.ID
				d.claims(r.ID)
				o := run.PlanOutcome{Planned: run.Run{EffectDigest: "e" + string(r.ID), PolicyDigest: "p", Counts: run.Counts{Change: 1, Replace: 1}, Blobs: d.keeps(r.ID)}}
				delete(o.Planned.Blobs, views.KeptApply)
				switch r.Label {
				case "held":
					o.Findings = []run.Finding{{Set: "s", Rule: "loud", Level: run.Hard, Resource: "x.y", Message: "canary-finding", Fix: "canary-fix", Value: "canary-value"}}
				case "broken":
					o.Failed = reason
				}
				d.settles(r.ID, o)
			}
			collect()
			d.applies(map[run.ID]run.ApplyOutcome{
				id["planned"]: {Applied: true, Blobs: d.keeps(id["planned"])}, id["unsaved"]: {Unsaved: true, Reason: reason, Blobs: d.keeps(id["unsaved"])},
				id["vanished"]: {Interrupted: true, Reason: reason, Blobs: d.keeps(id["vanished"])},
			}, id["planned"], id["unsaved"], id["vanished"])
			collect()
			d.applies(map[run.ID]run.ApplyOutcome{id["failing"]: {Reason: reason, Blobs: d.keeps(id["failing"])}}, id["failing"])
			collect()
			fmt.Fprint(out["Teams"], flow.said())
			fmt.Fprint(out["webhook"], programs.said())
			for way, text := range out {
				said := text.String()
				at := strings.Index(said, "canary")
				if style != report.StyleFull && at >= 0 {
					t.Errorf("the %s of style %s show …%s…", way, style, said[max(0, at-200):at+40])
				}
				if style == report.StyleFull && at < 0 {
					t.Errorf("the %s show no canary in full: this test would not notice one", way)
				}
				if !strings.Contains(said, "vanished") {
					t.Errorf("the %s of style %s do not tell of the apply that vanished", way, style)
				}
			}
			if style == report.StyleFull {
				for _, what := range []string{"attribute", "output", "check", "error", "log", "finding", "fix", "reason"} {
					if !strings.Contains(out["comments"].String(), "canary-"+what) {
						t.Errorf("no comment shows canary-%s in full", what)
					}
				}
				return
			}
			d.page(id["held"], "canary-finding", "canary-attribute")
			d.page(id["failing"], "canary-reason", "canary-error")
		})
	}
}

// page checks that what stays away from everybody else is what the page of a run shows.
func (d *chatDesk) page(id run.ID, wants ...string) {
	d.t.Helper()
	view, err := d.viewer.Run(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := json.Marshal(view)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, want := range wants {
		if !strings.Contains(string(text), want) {
			d.t.Errorf("the page of run %s does not know %s", id, want)
		}
	}
}
