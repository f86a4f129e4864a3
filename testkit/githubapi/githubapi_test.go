package githubapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/githubapi"
)

// faults collects what a judge says.
type faults []string

func (f *faults) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

const membership = "/api/v3/orgs/acme/teams/ops/memberships/alice"

func TestAnswersAreJudged(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		method, path, body string
		code               int
		answer             string
		says               string // "" is fine
	}{
		"as described":           {"GET", membership, "", 200, `{"url":"http://x","role":"member","state":"active"}`, ""},
		"missing field":          {"GET", membership, "", 200, `{"url":"http://x","role":"member"}`, "/state"},
		"word of its own":        {"GET", membership, "", 200, `{"url":"http://x","role":"boss","state":"active"}`, "/role"},
		"null":                   {"GET", membership, "", 200, `{"url":null,"role":"member","state":"active"}`, "/url"},
		"code of its own":        {"GET", membership, "", 202, `{}`, "not described"},
		"refusal not described":  {"GET", membership, "", 418, `{"message":"teapot"}`, ""},
		"refusal without form":   {"GET", membership, "", 418, `[]`, "418"},
		"unknown address":        {"GET", "/api/v3/nothing", "", 404, `{}`, ""},
		"unknown address, found": {"GET", "/api/v3/nothing", "", 200, `{}`, "no such operation"},
		"granted what GitHub refuses": {"POST", "/api/v3/repos/a/b/issues/1/comments", `{"text":"hi"}`, 201, `{}`,
			"GitHub does not take it"},
		"refused what GitHub refuses": {"POST", "/api/v3/repos/a/b/issues/1/comments", `{"text":"hi"}`, 422,
			`{"message":"no","documentation_url":"x"}`, ""},
		"git": {"GET", "/acme/infra.git/info/refs", "", 200, `whatever`, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var f faults
			h := githubapi.New(&f).Answers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got, _ := io.ReadAll(r.Body); string(got) != c.body {
					t.Errorf("the API got %q, want %q", got, c.body)
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.answer)
			}))
			req := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
			req.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(httptest.NewRecorder(), req)
			got := strings.Join(f, "\n")
			if c.says == "" && got != "" || !strings.Contains(got, c.says) {
				t.Errorf("the judge says %q, want something about %q", got, c.says)
			}
		})
	}
}

func TestRequestsAreJudged(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ method, path, body, says string }{
		"as described":         {"GET", "/repos/a/b/pulls?state=all&sort=updated&per_page=100&page=2", "", ""},
		"word of its own":      {"GET", "/repos/a/b/pulls?state=odd", "", "state"},
		"unknown parameter":    {"GET", "/repos/a/b/pulls?status=all", "", "status"},
		"body as described":    {"POST", "/repos/a/b/statuses/0123", `{"state":"success","context":"c"}`, ""},
		"body that is not":     {"POST", "/repos/a/b/statuses/0123", `{"state":"green"}`, "state"},
		"branch with slashes":  {"GET", "/repos/a/b/git/ref/heads/feature/one", "", ""},
		"operation not listed": {"PUT", "/repos/a/b/pulls/1/merge", `{}`, "no such operation"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var f faults
			passed := ""
			transport := githubapi.New(&f).Requests(transport(func(r *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(r.Body)
				passed = string(body)
				return httptest.NewRecorder().Result(), err
			}))
			req := httptest.NewRequestWithContext(t.Context(), c.method, "http://x/api/v3"+c.path, strings.NewReader(c.body))
			req.Header.Set("Content-Type", "application/json")
			resp, err := transport.RoundTrip(req)
			if err != nil || passed != c.body {
				t.Fatalf("RoundTrip() = %v, passed on %q, want %q", err, passed, c.body)
			}
			_ = resp.Body.Close()
			got := strings.Join(f, "\n")
			if c.says == "" && got != "" || !strings.Contains(got, c.says) {
				t.Errorf("the judge says %q, want something about %q", got, c.says)
			}
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWebhooksAreJudged(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]string{
		`{"action":"destroyed","reason":"merged"}`: "/merge_group",
		`[]`: "object",
	} {
		var f faults
		githubapi.New(&f).Webhook("merge_group", "destroyed", []byte(body))
		if got := strings.Join(f, "\n"); !strings.Contains(got, says) {
			t.Errorf("the judge says %q of %s, want something about %q", got, body, says)
		}
	}
	var f faults
	githubapi.New(&f).Webhook("gollum", "", []byte(`{}`))
	if len(f) != 1 || !strings.Contains(f[0], `no webhook "gollum"`) {
		t.Errorf("the judge says %q of an event that is not listed", f)
	}
}
