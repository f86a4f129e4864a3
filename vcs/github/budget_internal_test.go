package github

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://api.github.com"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheBudgetHoldsWritesBack(t *testing.T) {
	t.Parallel()
	m := newMeter(Budget{ContentPerMinute: 2, ContentPerHour: 3, WritesPerMinute: 4})
	comment, react := request(t, "POST", "/repos/a/b/issues/1/comments"), request(t, "POST", "/repos/a/b/issues/comments/1/reactions")
	edit, status := request(t, "PATCH", "/repos/a/b/issues/comments/1"), request(t, "POST", "/repos/a/b/statuses/0")
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		at   time.Duration
		what *http.Request
		wait time.Duration
	}{
		{0, comment, 0},
		{10 * time.Second, react, 0},
		{20 * time.Second, edit, 40 * time.Second}, // two a minute
		{20 * time.Second, status, 0},              // is no content
		{30 * time.Second, status, 0},
		{40 * time.Second, status, 20 * time.Second}, // four writes a minute
		{40 * time.Second, request(t, "GET", "/repos/a/b/issues/1/comments"), 0},
		{40 * time.Second, request(t, "POST", "/graphql"), 0},
		{60 * time.Second, edit, 0},
		{120 * time.Second, comment, time.Hour - 2*time.Minute}, // three an hour
		{time.Hour, comment, 0},
	} {
		err := m.take(start.Add(step.at), step.what)
		var retry *vcs.RetryError
		if errors.As(err, &retry) && retry.After == step.wait || err == nil && step.wait == 0 {
			continue
		}
		t.Errorf("step %d: %s %s at %s = %v, want to wait %s", i, step.what.Method, step.what.URL.Path, step.at, err, step.wait)
	}
}

func TestWhatGitHubAsksForHoldsEverythingBack(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		code   int
		header http.Header
		wait   time.Duration
	}{
		"secondary limit":        {403, http.Header{"Retry-After": {"30"}}, 30 * time.Second},
		"secondary limit as 429": {429, http.Header{"Retry-After": {"30"}}, 30 * time.Second},
		"a denial":               {403, http.Header{}, 0},
		"an ill server":          {503, http.Header{"Retry-After": {"30"}}, 0}, // one request's trouble
		"for years":              {429, http.Header{"Retry-After": {"2000000000"}}, waitMax},
	} {
		m := newMeter(Budget{})
		m.heard(start, &http.Response{StatusCode: c.code, Header: c.header})
		m.heard(start, &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"0"}}}) // does not shorten it
		var retry *vcs.RetryError
		err := m.take(start.Add(time.Second), request(t, "GET", "/user"))
		if c.wait == 0 && err != nil || c.wait != 0 && (!errors.As(err, &retry) || retry.After != c.wait-time.Second) {
			t.Errorf("after %s: %v, want to wait %s less a second", what, err, c.wait)
		}
		if err := m.take(start.Add(waitMax), request(t, "GET", "/user")); err != nil {
			t.Errorf("after %s and its time: %v", what, err)
		}
	}
}

func TestOnlyGitHubsOwnHostsHaveItsLimits(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]Budget{
		"api.github.com": published, "API.GitHub.com": published, "api.acme.ghe.com": published, "github.example.com": {}, "127.0.0.1": {},
		"api.github.com.example.com": {},
	} {
		if got := budgetOf(host); got != want {
			t.Errorf("budgetOf(%s) = %v, want %v", host, got, want)
		}
	}
}
