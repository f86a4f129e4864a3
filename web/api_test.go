package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

func bearer() http.Header {
	return http.Header{"Authorization": {"Bearer " + adminToken}, "Accept": {"*/*"}}
}

// ask returns the JSON of an address as a program gets it.
func (s *site) ask(path string) map[string]any {
	s.t.Helper()
	a := s.do(s.browser(), "GET", path, nil, bearer())
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("GET %s = %d %s:\n%s", path, a.status, a.header.Get("Content-Type"), a.body)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return v
}

// keys lists the paths of all fields in a JSON value; elements of lists count as one.
func keys(prefix string, v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			out = append(out, prefix+k)
			out = append(out, keys(prefix+k+".", e)...)
		}
	case []any:
		for _, e := range v {
			out = append(out, keys(prefix, e)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var example = regexp.MustCompile("(?s)```json (\\w+)( partial)?\n(.*?)```")

// TestTheDocumentedFieldsAreTheFields compares every example of docs/api.md with what the server answers.
func TestTheDocumentedFieldsAreTheFields(t *testing.T) {
	t.Parallel()
	s := setup(t, func(o *web.Options) {
		o.Ignored = func() []web.Ignored {
			return []web.Ignored{{At: time.Now(), Host: "gitea", ID: "1", Event: "push", Reason: "branch"}}
		}
	})
	r := s.planning(seed{label: "prod/database", title: "x", author: "alice", url: "https://git.example/1"})
	r = s.settled(r, views.Kept{Plan: replaced()}, run.PlanOutcome{Findings: []run.Finding{soft()}})
	held := s.settled(s.planning(seed{label: "held"}), views.Kept{}, run.PlanOutcome{})
	s.advance(held, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{held.ID}, "erin") })
	s.planning(seed{label: "busy"})
	_, err := operator.Pause(t.Context(), s.store, "//**", "audit", "erin")
	must(t, 0, err)
	answers := map[string]map[string]any{
		"runs": s.ask("/api/v1/runs"), "run": s.ask("/api/v1/runs/" + string(r.ID)), "queue": s.ask("/api/v1/queue"), "locks": s.ask("/api/v1/locks"),
		"audit": s.ask("/api/v1/audit"), "pauses": s.ask("/api/v1/pauses"), "ignored": s.ask("/api/v1/deliveries/ignored"),
	}
	problem := s.do(s.browser(), "GET", "/api/v1/runs?state=done", nil, bearer())
	var p map[string]any
	if err := json.Unmarshal([]byte(problem.body), &p); err != nil {
		t.Fatal(err)
	}
	answers["problem"] = p

	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range example.FindAllStringSubmatch(string(page), -1) {
		name, partial := m[1], m[2] != ""
		var v any
		if err := json.Unmarshal([]byte(m[3]), &v); err != nil {
			t.Errorf("example %s: %v", name, err)
			continue
		}
		got, want := keys("", answers[name]), keys("", v)
		if partial {
			got = slices.DeleteFunc(got, func(k string) bool { return !slices.Contains(want, k) })
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("example %s (- documented, + answered):\n%s", name, diff)
		}
		seen++
	}
	if seen != len(answers) {
		t.Errorf("docs/api.md has %d examples, want %d", seen, len(answers))
	}
}

func TestRunsAreNarrowedByParameters(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.queued(seed{label: "a", number: 1})
	s.queued(seed{label: "b", number: 2})
	s.planning(seed{label: "c", number: 2})
	for query, want := range map[string]string{
		"":                                    "c b a",
		"state=queued":                        "b a",
		"state=queued&state=planning":         "c b a",
		"host=gitea&repo=acme/infra":          "c b a",
		"host=gitea&repo=acme%2Finfra&pull=2": "c b",
		"limit=1":                             "c",
		"state=applied":                       "",
	} {
		var got []string
		runs, _ := s.ask("/api/v1/runs?" + query)["runs"].([]any)
		for _, r := range runs {
			m, _ := r.(map[string]any)
			got = append(got, fmt.Sprint(m["project"]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("GET runs?%s = %v, want %s", query, got, want)
		}
	}
	for query, want := range map[string]int{
		"state=done": 400, "sate=queued": 400, "limit=0": 400, "limit=x": 400, "limit=1001": 400, "repo=acme/infra": 400, "pull=2": 400, "limit=1&limit=2": 400,
		"host=gitea&repo=acme/none": 404, "host=gitea&repo=acme/infra&pull=9": 404, "host=gitea&repo=acme/infra&pull=x": 400,
	} {
		a := s.do(s.browser(), "GET", "/api/v1/runs?"+query, nil, bearer())
		if a.status != want || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET runs?%s = %d %s, want a problem with %d", query, a.status, a.header.Get("Content-Type"), want)
		}
	}
	if a := s.do(s.browser(), "GET", "/api/v1/locks?x=1", nil, bearer()); a.status != 400 {
		t.Errorf("GET locks?x=1 = %d, want 400", a.status)
	}
}

func TestAPITellsTheQueueInOrder(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for i := range 3 {
		s.queued(seed{label: fmt.Sprint("p", i)})
	}
	waiting, _ := s.ask("/api/v1/queue")["waiting"].([]any)
	for i, w := range waiting {
		m, _ := w.(map[string]any)
		r, _ := m["run"].(map[string]any)
		if m["ahead"] != float64(i) || r["project"] != fmt.Sprint("p", i) {
			t.Errorf("place %d = %v ahead, %v", i, m["ahead"], r["project"])
		}
	}
	if len(waiting) != 3 {
		t.Errorf("%d runs wait, want 3", len(waiting))
	}
}

func TestAPINeedsTheToken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + adminToken, "Token " + adminToken} {
		a := s.do(s.browser(), "GET", "/api/v1/runs", nil, http.Header{"Authorization": {header}})
		if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != "Bearer" || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET with %q = %d %s %q, want a problem with 401", header, a.status, a.header.Get("Content-Type"), a.header.Get("WWW-Authenticate"))
		}
	}
	if a := s.get(s.member(), "/api/v1/runs"); a.status != http.StatusOK {
		t.Errorf("GET when logged in = %d, want 200", a.status)
	}
}

// TestJSONDoesNothingToATerminal reads a title that clears a screen, hides and turns text, as `planlatch runs --json` and curl print it.
func TestJSONDoesNothingToATerminal(t *testing.T) {
	t.Parallel()
	s := setup(t)
	title := "a \u009b2Jb\u007f \u202egnp.\u2066x \U000e0041 é ø\U0001f680"
	s.planning(seed{label: "network", title: title, author: "mallory"})
	if _, err := operator.Pause(t.Context(), s.store, "", title, "admin"); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"/api/v1/runs", "/api/v1/pauses", "/api/v1/audit?format=jsonl"} {
		a := s.do(s.browser(), "GET", address, nil, bearer())
		if strings.ContainsFunc(a.body, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }) {
			t.Errorf("GET %s has characters that are not seen: %q", address, a.body)
		}
		if !strings.Contains(a.body, `a \u009b2Jb\u007f \u202egnp.\u2066x \udb40\udc41 é ø`) {
			t.Errorf("GET %s = %s, want the title escaped", address, a.body)
		}
	}
	got, _ := s.ask("/api/v1/pauses")["pauses"].([]any)
	if len(got) != 1 || got[0].(map[string]any)["reason"] != title {
		t.Errorf("programs read %v, want what was written", got)
	}
}
