package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

// tell sends a request that changes something, as a program does.
func (s *site) tell(method, path, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = bearer()
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	if err := res.Write(&text); err != nil {
		s.t.Fatal(err)
	}
	_, after, _ := strings.Cut(text.String(), "\r\n\r\n")
	return answer{res.StatusCode, res.Header, after}
}

// rows lists the audit as "action outcome".
func (s *site) rows() []string {
	s.t.Helper()
	all, err := s.store.AuditRows(s.t.Context(), run.AuditFilter{})
	var out []string
	for _, a := range must(s.t, all, err) {
		out = append(out, a.Actor+" "+a.Action+" "+a.Outcome)
	}
	return out
}

func TestPausingNeedsAReasonAndIsWrittenDown(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for body, status := range map[string]int{
		`{"match": "//prod/**"}`:                         400,
		`{"match": "a:b//", "reason": "x"}`:              400,
		`{"match": "//**", "reason": "x", "until": "1"}`: 400,
		`not JSON`: 400,
	} {
		if a := s.tell("POST", "/api/v1/pauses", body); a.status != status {
			t.Errorf("POST %s = %d, want %d:\n%s", body, a.status, status, a.body)
		}
	}
	if a := s.tell("POST", "/api/v1/pauses", `{"reason": "release week"}`); a.status != 200 || !strings.Contains(a.body, `"match":"//**"`) {
		t.Errorf("POST = %d %s, want everything paused", a.status, a.body)
	}
	if a := s.tell("DELETE", "/api/v1/pauses?match=//prod/**", ""); a.status != 404 || !strings.Contains(a.body, "//**") {
		t.Errorf("DELETE of another = %d %s, want 404 that names what is paused", a.status, a.body)
	}
	if a := s.tell("DELETE", "/api/v1/pauses", ""); a.status != 204 {
		t.Errorf("DELETE = %d %s, want 204", a.status, a.body)
	}
	if pauses, err := s.store.Pauses(t.Context()); err != nil || len(pauses) != 0 {
		t.Errorf("Pauses() = %v, %v, want none", pauses, err)
	}
	got := strings.Join(s.rows(), ", ")
	want := "admin resume done, admin resume refused, admin pause done, admin pause refused, admin pause refused, admin pause refused, admin pause refused"
	if got != want {
		t.Errorf("audit = %s\nwant    %s", got, want)
	}
}

func TestChangesNeedTheTokenItself(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	for _, c := range []struct{ method, path string }{
		{"POST", "/api/v1/pauses"}, {"DELETE", "/api/v1/pauses"}, {"DELETE", "/api/v1/locks?host=gitea&repo=acme/infra&pull=214"},
		{"POST", "/api/v1/runs/" + string(r.ID) + "/cancel"}, {"POST", "/api/v1/runs/" + string(r.ID) + "/acknowledge"},
	} {
		if a := s.do(s.member(), c.method, c.path, url.Values{}, http.Header{"Origin": {s.server.URL}}); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s with a login = %d, want 401", c.method, c.path, a.status)
		}
		if a := s.do(s.browser(), c.method, c.path, nil, http.Header{"Authorization": {"Bearer wrong"}}); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s with a wrong token = %d, want 401", c.method, c.path, a.status)
		}
	}
	if got := s.rows(); len(got) != 0 {
		t.Errorf("strangers left audit rows: %v", got)
	}
}

func TestCancelStopsARunOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	path := "/api/v1/runs/" + string(r.ID) + "/cancel"
	if a := s.tell("POST", path, ""); a.status != 200 || !strings.Contains(a.body, `"state":"canceled"`) {
		t.Errorf("POST cancel = %d %s, want the canceled run", a.status, a.body)
	}
	if a := s.tell("POST", path, ""); a.status != 409 {
		t.Errorf("POST cancel again = %d, want 409", a.status)
	}
	if a := s.tell("POST", "/api/v1/runs/01NONE/cancel", ""); a.status != 404 {
		t.Errorf("POST cancel of no run = %d, want 404", a.status)
	}
}

func TestAcknowledgeRepeatsTheProject(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.settled(s.planning(seed{label: "prod/network"}), views.Kept{}, run.PlanOutcome{})
	path := "/api/v1/runs/" + string(r.ID) + "/acknowledge"
	if a := s.tell("POST", path, `{"project": "prod/network"}`); a.status != 409 {
		t.Errorf("acknowledging a planned run = %d, want 409", a.status)
	}
	s.interrupted(r)
	if a := s.tell("POST", path, `{"project": "prod/database"}`); a.status != 400 || !strings.Contains(a.body, "prod/network") {
		t.Errorf("acknowledging with another name = %d %s, want 400 that says the name", a.status, a.body)
	}
	if a := s.ask("/api/v1/locks"); len(a["slots"].([]any)) != 1 {
		t.Errorf("slots = %v, want the interrupted run's", a["slots"])
	}
	if a := s.tell("POST", path, `{"project": "prod/network"}`); a.status != 200 || !strings.Contains(a.body, `"state":"failed"`) {
		t.Errorf("acknowledging = %d %s, want the run settled", a.status, a.body)
	}
	if a := s.ask("/api/v1/locks"); len(a["slots"].([]any)) != 0 {
		t.Errorf("slots = %v, want none", a["slots"])
	}
}

func TestAPersonWhoIsLoggedInAcknowledgesOnThePage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.settled(s.planning(seed{label: "prod/network"}), views.Kept{}, run.PlanOutcome{})
	page := "/runs/" + string(r.ID)
	path := page + "/acknowledge"
	person := s.member()
	named := url.Values{"project": {"prod/network"}}
	if a := s.do(person, "POST", path, named, nil); a.status != 409 {
		t.Errorf("acknowledging a planned run = %d, want 409", a.status)
	}
	s.interrupted(r)
	form := s.do(person, "GET", page, nil, nil)
	if !strings.Contains(form.body, `action="`+path+`"`) || !strings.Contains(form.body, "planlatch unlock -p prod/network") {
		t.Errorf("the page has no form for %s:\n%s", path, form.body)
	}
	link := s.do(s.browser(), "GET", strings.TrimPrefix(s.linker.Run(s.repo, r.ID, false), s.server.URL), nil, nil)
	if link.status != 200 || strings.Contains(link.body, `action="`+path+`"`) {
		t.Errorf("the page for who has a link = %d, want it without the form:\n%s", link.status, link.body)
	}
	for name, c := range map[string]struct {
		by     *http.Client
		form   url.Values
		header http.Header
		status int
	}{
		"NobodyKnowsWho":   {s.browser(), named, nil, 401},
		"TheTokenIsNoForm": {s.browser(), named, bearer(), 401},
		"AnotherSite":      {person, named, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"AnotherOrigin":    {person, named, http.Header{"Origin": {"https://evil.example"}}, 403},
		"AnotherName":      {person, url.Values{"project": {"prod/database"}}, nil, 400},
		"NoName":           {person, url.Values{}, nil, 400},
	} {
		if a := s.do(c.by, "POST", path, c.form, c.header); a.status != c.status {
			t.Errorf("%s: POST %s = %d, want %d", name, path, a.status, c.status)
		}
	}
	if got, err := s.store.Run(t.Context(), r.ID); err != nil || got.State != run.Interrupted {
		t.Fatalf("after what was refused the run is %s, %v, want interrupted", got.State, err)
	}
	if a := s.do(person, "POST", path, named, nil); a.status != 303 || a.header.Get("Location") != page {
		t.Errorf("POST %s = %d to %s, want back to the page", path, a.status, a.header.Get("Location"))
	}
	all, err := s.store.Runs(t.Context(), run.Filter{Project: r.Project})
	if err != nil || len(all) != 2 || all[0].State != run.Queued || !run.AfterDoubt(all[0]) || all[1].State != run.Failed {
		t.Errorf("runs = %+v, %v; want the settled one and a plan of what is left", all, err)
	}
	rows, err := s.store.AuditRows(t.Context(), run.AuditFilter{Action: string(run.ActAcknowledge)})
	if err != nil || len(rows) != 4 {
		t.Errorf("%d audit rows, %v, want one done and three refused", len(rows), err)
	}
}

func (s *site) interrupted(r run.Run) {
	s.t.Helper()
	s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{r.ID}, "erin") })
	s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.ClaimApply(snap, r.ID, []run.Gate{{Holds: true}}, run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)})
	})
	s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.SettleApply(snap, r.ID, run.ApplyOutcome{Interrupted: true, Reason: "it vanished"})
	})
}

func TestUnlockFreesWhatNoRunUses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, project := range []string{"a", "b", "c"} {
		r := s.settled(s.planning(seed{label: project}), views.Kept{}, run.PlanOutcome{})
		if project == "c" {
			s.interrupted(r)
			continue
		}
		s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{r.ID}, "erin") })
	}
	const place = "/api/v1/locks?host=gitea&repo=acme/infra&pull=214"
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/api/v1/locks", 400, "host, repo and pull"},
		{place + "&project=zzz", 404, "zzz"},
		{place + "&project=c", 409, "still using c"},
		{place + "&project=b", 200, `{"freed":["b"],"kept":[]}`},
		{place, 200, `{"freed":["a"],"kept":["c"]}`},
	} {
		if a := s.tell("DELETE", c.path, ""); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("DELETE %s = %d %s, want %d with %s", c.path, a.status, a.body, c.status, c.want)
		}
	}
}

func TestAuditIsPagedAndExported(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.queued(seed{})
	for n := range 5 {
		s.tell("POST", "/api/v1/pauses", fmt.Sprintf(`{"match": "//p%d", "reason": "r"}`, n))
	}
	s.tell("DELETE", "/api/v1/pauses?match=//none", "")
	var details []string
	for next := "0"; ; {
		path := "/api/v1/audit?limit=2&action=pause"
		if next != "0" {
			path += "&before=" + next
		}
		page := s.ask(path)
		for _, row := range page["audit"].([]any) {
			details = append(details, fmt.Sprint(row.(map[string]any)["detail"]))
		}
		if next = fmt.Sprint(page["next"]); next == "0" {
			break
		}
	}
	if got, want := strings.Join(details, " | "), "//p4: r | //p3: r | //p2: r | //p1: r | //p0: r"; got != want {
		t.Errorf("pages = %s, want %s", got, want)
	}
	a := s.do(s.browser(), "GET", "/api/v1/audit?format=jsonl&actor=admin", nil, bearer())
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 6 {
		t.Fatalf("export = %s, %d lines, want six lines of JSON:\n%s", a.header.Get("Content-Type"), len(lines), a.body)
	}
	for _, line := range lines {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil || row["actor"] != "admin" {
			t.Errorf("line %s: %v", line, err)
		}
	}
	for _, query := range []string{"since=yesterday", "before=x", "format=csv", "who=admin"} {
		if a := s.do(s.browser(), "GET", "/api/v1/audit?"+query, nil, bearer()); a.status != 400 {
			t.Errorf("GET audit?%s = %d, want 400", query, a.status)
		}
	}
}

func TestAnUnsavedStateIsForTheAdminTokenAndIsWrittenDown(t *testing.T) {
	t.Parallel()
	var left run.ID
	s := setup(t, func(o *web.Options) {
		o.Unsaved = func(_ context.Context, r run.Run) ([]byte, error) {
			if r.ID != left {
				return nil, run.ErrNotFound
			}
			return []byte(`{"serial":7}`), nil
		}
	})
	left = s.planning(seed{label: "network"}).ID
	if a := s.do(s.member(), "GET", "/api/v1/runs/"+string(left)+"/errored-state", nil, nil); a.status != http.StatusUnauthorized {
		t.Errorf("GET of somebody who is logged in = %d, want 401", a.status)
	}
	if a := s.tell("GET", "/api/v1/runs/01NOTTHERE/errored-state", ""); a.status != http.StatusNotFound {
		t.Errorf("GET of no run = %d, want 404", a.status)
	}
	if got := s.rows(); len(got) != 0 {
		t.Errorf("audit = %q before a state left", got)
	}
	if a := s.tell("GET", "/api/v1/runs/"+string(left)+"/errored-state", ""); a.status != http.StatusOK || a.body != `{"serial":7}` {
		t.Errorf("GET = %d %s, want the state", a.status, a.body)
	}
	if got := s.rows(); !slices.Equal(got, []string{"admin state_pull done"}) {
		t.Errorf("audit = %q, want one row", got)
	}
}
