package github_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/github"
)

func TestMoreChecksThanAPageAreReadWhole(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	head := must(w.Tip(name, "one"))(t)
	for i := range 230 {
		ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: fmt.Sprintf("ci/%03d", i), State: "success"}))
	}
	ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "ci/229", State: "failure"}))
	ok(t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"ci/229"}}))
	got := w.pull(n).Checks
	if len(got) != 230 || got[229] != (vcs.Check{Context: "ci/229", State: vcs.StatusFailure, Required: true}) {
		t.Errorf("Pull() has %d checks, the last %v; want 230, the last a required failure", len(got), got[len(got)-1])
	}
}

func TestAnAppsCheckHiddenByARuleWeCannotReadIsStillRequired(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	head := must(w.Tip(name, "one"))(t)
	ok(t, w.SetCheckRun(name, head, fakehost.CheckRun{Name: "scan", Status: "in_progress"}))
	ok(t, w.SetStatus(name, "carol", head, fakehost.Status{Context: "lint", State: "failure"}))
	ok(t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"scan"}, RuleSet: true}))
	w.SetFault(func(r *http.Request) *fakehost.Fault {
		if strings.Contains(r.URL.Path, "/rules/branches/") {
			return &fakehost.Fault{Status: 403, Body: `{"message":"Resource not accessible"}`}
		}
		return nil
	})
	required := map[string]bool{}
	for _, c := range w.pull(n).Checks {
		required[c.Context] = c.Required
	}
	if !required["scan"] || !required["lint"] {
		t.Errorf("required checks = %v; want all of a blocked pull request whose rules are hidden", required)
	}
}

func TestWhatGraphQLKeepsFromUsIsUnknown(t *testing.T) {
	t.Parallel()
	const refused = `"errors":[{"type":"FORBIDDEN","path":["repository"],"message":"Resource not accessible by personal access token"}]`
	for what, c := range map[string]struct {
		fault fakehost.Fault
		retry bool
		after time.Duration
	}{
		"no permission":        {fault: fakehost.Fault{Status: 403, Body: `{"message":"no"}`}},
		"no GraphQL":           {fault: fakehost.Fault{Status: 404, Body: `{"message":"Not Found"}`}},
		"all forbidden":        {fault: fakehost.Fault{Status: 200, Body: `{"data":{"repository":null},` + refused + `}`}},
		"forbidden, no data":   {fault: fakehost.Fault{Status: 200, Body: `{"data":null,` + refused + `}`}},
		"an old server":        {fault: fakehost.Fault{Status: 200, Body: `{"errors":[{"message":"Field 'x' doesn't exist","extensions":{"code":"undefinedField"}}]}`}},
		"partly out of order":  {fault: fakehost.Fault{Status: 200, Body: `{"data":{"repository":{"pullRequest":null}},"errors":[{"message":"Something went wrong"}]}`}},
		"out of order":         {fault: fakehost.Fault{Status: 200, Body: `{"data":null,"errors":[{"message":"Something went wrong"}]}`}, retry: true},
		"nothing":              {fault: fakehost.Fault{Status: 200, Body: `{}`}, retry: true},
		"of another form":      {fault: fakehost.Fault{Status: 200, Body: `{"data":{"repository":[]}}`}, retry: true},
		"rate limited":         {fault: fakehost.Fault{Status: 200, Header: http.Header{"Retry-After": {"17"}}, Body: `{"errors":[{"type":"RATE_LIMITED","message":"slow"}]}`}, retry: true, after: 17 * time.Second},
		"server error":         {fault: fakehost.Fault{Status: 502, Body: `<html>`}, retry: true},
		"of a head that moved": {fault: fakehost.Fault{Status: 200, Body: `{"data":{"repository":{"pullRequest":{"commits":{"nodes":[{"commit":{"oid":"0"}}]}}}}}`}, retry: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := setup(t, fakehost.Options{})
			n := w.open("one")
			ok(t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"planlatch/apply"}, RuleSet: true}))
			w.SetFault(func(r *http.Request) *fakehost.Fault {
				if r.URL.Path == "/api/graphql" {
					return &c.fault
				}
				return nil
			})
			p, err := w.host.Pull(t.Context(), w.repo, n)
			var retry *vcs.RetryError
			switch {
			case c.retry:
				if !errors.As(err, &retry) || retry.After != c.after {
					t.Errorf("Pull() = %v, want to wait %s", err, c.after)
				}
			case err != nil || p.Mergeable != vcs.No:
				t.Errorf("Pull() = mergeable %v, %v; want no: what is hidden may be missing", p.Mergeable, err)
			}
		})
	}
}

func TestGraphQLIsBesideTheAPI(t *testing.T) {
	t.Parallel()
	const pull = `{"number":1,"head":{"sha":"6113728f27ae82c7b1a177c8d03f9e96e0adf246"},"base":{"ref":"main"}}`
	for root, want := range map[string]string{
		"/api/v3": "POST /api/graphql", "/github/api/v3": "POST /github/api/graphql", "": "POST /graphql", "/proxy": "POST /proxy/graphql",
	} {
		asked := make(chan string, 100)
		url := listen(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
			asked <- r.Method + " " + r.URL.Path
			answer := pull
			if strings.HasSuffix(r.URL.Path, "/reviews") {
				answer = "[]"
			}
			_, _ = io.WriteString(w, answer)
		})
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		h := must(github.New(github.Options{
			URL: url, APIURL: url + root, Token: "t", WebhookSecret: secret, HTTP: &http.Client{Transport: transport},
		}))(t)
		_, err := h.Pull(t.Context(), vcs.Repo{Name: name}, 1)
		close(asked)
		last := ""
		for last = range asked {
		}
		if last != want {
			t.Errorf("with the API at %q the last call is %s (%v), want %s", root, last, err, want)
		}
	}
}
