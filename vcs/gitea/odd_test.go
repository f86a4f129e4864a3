package gitea_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	adapter "github.com/planlatch/planlatch/vcs/gitea"
)

var acme = vcs.Repo{ID: "7", Name: "acme/infra"}

// head is the commit of the pull request that the fake tells of.
var head = strings.Repeat("a1", 20)

// fake answers as a Gitea with one pull request, #1, does; a case replaces single answers by path.
type fake struct {
	mu      sync.Mutex
	answers map[string]http.HandlerFunc // "GET /pulls/1", below the repository; others from their API path
	asked   map[string]int
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func code(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func pullJSON(change string) string {
	base := strings.Repeat("b2", 20)
	text := `{"number":1,"title":"T","state":"open","user":{"id":3,"login":"alice"},"mergeable":true,
		"head":{"label":"change","ref":"change","sha":"` + head + `","repo_id":7},
		"base":{"label":"main","ref":"main","sha":"` + base + `","repo_id":7},"merge_base":"` + base + `","updated_at":"2026-01-02T03:04:05Z"}`
	if from, to, ok := strings.Cut(change, "=>"); ok {
		text = strings.Replace(text, from, to, 1)
	}
	return text
}

func newFake(t *testing.T, change map[string]http.HandlerFunc) (*fake, *adapter.Host) {
	t.Helper()
	f := &fake{asked: map[string]int{}, answers: map[string]http.HandlerFunc{
		"GET /pulls/1":                      says(pullJSON("")),
		"GET /pulls":                        says("[" + pullJSON("") + "]"),
		"GET /git/refs/pull/1/head":         says(`[{"ref":"refs/pull/1/head","object":{"sha":"` + head + `"}}]`),
		"GET /pulls/1/reviews":              says(`[]`),
		"GET /issues/1/timeline":            says(`null`),
		"GET /issues/1/comments":            says(`[]`),
		"POST /issues/1/comments":           code(http.StatusCreated, `{"id":5}`),
		"GET /branches/main":                says(`{"name":"main","protected":false,"commit":{"id":"` + head + `"}}`),
		"GET /pulls/1/commits":              says(`[{"sha":"` + head + `","commit":{"author":{"email":"A@x.test"}}}]`),
		"POST /statuses/" + head:            code(http.StatusCreated, `{"id":6}`),
		"GET /git/commits/" + head:          says(`{"sha":"` + head + `"}`),
		"GET ":                              says(`{"id":7,"full_name":"acme/infra","default_branch":"main"}`),
		"GET /commits/" + head + "/status":  says(`{"statuses":null}`),
		"GET /teams":                        code(http.StatusMethodNotAllowed, `{}`),
		"GET /collaborators/bob/permission": says(`{"permission":"write","user":null}`),
		"POST /issues/comments/5/reactions": says(`{}`),
		"GET /api/v1/user":                  says(`{"id":2,"login":"bot"}`),
		"GET /api/v1/user/repos":            says(`[]`),
		"GET /api/v1/orgs/acme/teams":       says(`[]`),
	}}
	maps.Copy(f.answers, change)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, client(t, server.URL, nil)
}

func client(t *testing.T, url string, now func() time.Time) *adapter.Host {
	t.Helper()
	h, err := adapter.New(adapter.Options{URL: url, Token: "s3cr3t-t0ken", WebhookSecret: secret, Now: now})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v1/repos/acme/infra")
	f.mu.Lock()
	f.asked[path]++
	page := r.URL.Query().Get("page")
	answer, ok := f.answers[path+"?page="+page]
	if ok {
		page = ""
	} else {
		answer, ok = f.answers[path]
	}
	f.mu.Unlock()
	if !ok {
		answer = code(http.StatusNotFound, `{"message":"no such thing"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case page == "" || page == "1":
		answer(w, r)
	case strings.HasSuffix(path, "/status"):
		says(`{"statuses":[]}`)(w, r)
	default:
		says(`[]`)(w, r)
	}
}

// calls are the methods of the port that ask the host, by the answer they cannot do without.
var calls = []struct {
	name, needs string
	do          func(ctx context.Context, h *adapter.Host) error
}{
	{"Pull", "GET /pulls/1", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"Pull", "GET /git/refs/pull/1/head", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"Pull", "GET /pulls/1/reviews", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"Pull", "GET /issues/1/timeline", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"Pull", "GET /pulls/1/commits", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"Pull", "GET /commits/" + head + "/status", func(ctx context.Context, h *adapter.Host) error { _, err := h.Pull(ctx, acme, 1); return err }},
	{"UpdatedSince", "GET /pulls", func(ctx context.Context, h *adapter.Host) error {
		_, err := h.UpdatedSince(ctx, acme, time.Time{})
		return err
	}},
	{"CommentsSince", "GET /issues/1/comments", func(ctx context.Context, h *adapter.Host) error {
		_, err := h.CommentsSince(ctx, acme, 1, time.Time{})
		return err
	}},
	{"Branch", "GET /branches/main", func(ctx context.Context, h *adapter.Host) error { _, err := h.Branch(ctx, acme, "main"); return err }},
	{"Comment", "POST /issues/1/comments", func(ctx context.Context, h *adapter.Host) error {
		_, err := h.Comment(ctx, acme, 1, "", "", "x")
		return err
	}},
	{"Comment by marker", "GET /issues/1/comments", func(ctx context.Context, h *adapter.Host) error {
		_, err := h.Comment(ctx, acme, 1, "9", "<!-- m -->", "x")
		return err
	}},
	{"React", "POST /issues/comments/5/reactions", func(ctx context.Context, h *adapter.Host) error { return h.React(ctx, acme, 1, "5", vcs.ReactionSeen) }},
	{"SetStatus", "POST /statuses/" + head, func(ctx context.Context, h *adapter.Host) error {
		return h.SetStatus(ctx, acme, head, vcs.Status{Context: "planlatch/plan", State: vcs.StatusSuccess})
	}},
	{"Permission", "GET /collaborators/bob/permission", func(ctx context.Context, h *adapter.Host) error { _, err := h.Permission(ctx, acme, "bob"); return err }},
	{"Member", "GET /api/v1/orgs/acme/teams", func(ctx context.Context, h *adapter.Host) error {
		_, err := h.Member(ctx, "acme/team", "bob")
		return err
	}},
	{"Self", "GET /api/v1/user", func(ctx context.Context, h *adapter.Host) error { _, err := h.Self(ctx); return err }},
	{"Repo", "GET ", func(ctx context.Context, h *adapter.Host) error { _, err := h.Repo(ctx, "acme/infra"); return err }},
	{"List", "GET /api/v1/user/repos", func(ctx context.Context, h *adapter.Host) error { _, err := h.List(ctx); return err }},
}

func TestAnswersBecomeThePortsErrors(t *testing.T) {
	t.Parallel()
	for _, c := range calls {
		for name, answer := range map[string]struct {
			handler http.HandlerFunc
			is      error
			after   time.Duration // of a RetryError; -1: not one
		}{
			"200":              {nil, nil, -1},
			"401":              {code(401, `{"message":"token is required"}`), vcs.ErrDenied, -1},
			"403":              {code(403, `{"message":"token does not have at least one of required scope(s)"}`), vcs.ErrDenied, -1},
			"423 archived":     {code(423, `{"message":"archived"}`), vcs.ErrDenied, -1},
			"429":              {code(429, `slow down`, "Retry-After", "7"), nil, 7 * time.Second},
			"429 without time": {code(429, ``), nil, 0},
			"403 with time":    {code(403, ``, "Retry-After", "3"), nil, 3 * time.Second},
			"429 for ever":     {code(429, ``, "Retry-After", "99999999"), nil, 65 * time.Minute},
			"429 in the past":  {code(429, ``, "Retry-After", "-5"), nil, 0},
			"500":              {code(500, `{"message":""}`), nil, 0},
			"502 page":         {code(502, `<html>`+strings.Repeat("bad gateway ", 1000)), nil, 0},
			"200 page":         {says(`<html>sign in</html>`), nil, 0},
			"200 cut":          {says(`[{"id":`), nil, 0},
			"broken off":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, 0},
		} {
			t.Run(c.name+" "+c.needs+"/"+name, func(t *testing.T) {
				t.Parallel()
				change := map[string]http.HandlerFunc{}
				if answer.handler != nil {
					change[c.needs] = answer.handler
				}
				_, h := newFake(t, change)
				err := c.do(t.Context(), h)
				var retry *vcs.RetryError
				isRetry := errors.As(err, &retry)
				switch {
				case answer.is != nil && !errors.Is(err, answer.is):
					t.Errorf("%s = %v, want %v", c.name, err, answer.is)
				case answer.after >= 0 && (!isRetry || retry.After != answer.after):
					t.Errorf("%s = %v, want a RetryError after %s", c.name, err, answer.after)
				case answer.after < 0 && (isRetry || answer.is == nil && err != nil):
					t.Errorf("%s = %v, want %v", c.name, err, answer.is)
				}
				if err != nil && (len(err.Error()) > 600 || strings.Contains(err.Error(), "s3cr3t") || strings.ContainsAny(err.Error(), "\n\r")) {
					t.Errorf("%s has an error of %d characters: %.700s", c.name, len(err.Error()), err)
				}
			})
		}
	}
}

// TestThinAnswersDoNotPanic: what may be missing is missing, one at a time.
func TestThinAnswersDoNotPanic(t *testing.T) {
	t.Parallel()
	type change struct{ path, body string }
	for name, c := range map[string]struct {
		change
		check func(p vcs.Pull, err error) bool
	}{
		"pull null":       {change{"GET /pulls/1", `null`}, refused},
		"pull empty":      {change{"GET /pulls/1", `{}`}, refused},
		"pull of another": {change{"GET /pulls/1", pullJSON(`"number":1=>"number":2`)}, refused},
		"author null":     {change{"GET /pulls/1", pullJSON(`{"id":3,"login":"alice"}=>null`)}, func(p vcs.Pull, err error) bool { return err == nil && p.Author == vcs.User{} }},
		"no state":        {change{"GET /pulls/1", pullJSON(`"state":"open"=>"state":""`)}, refused},
		"head null":       {change{"GET /pulls/1", pullJSON(`"head":{=>"head":null,"x":{`)}, refused},
		"base null":       {change{"GET /pulls/1", pullJSON(`"base":{=>"base":null,"x":{`)}, refused},
		"no head commit":  {change{"GET /pulls/1", pullJSON(head + `=>`)}, refused},
		"merged without more": {change{"GET /pulls/1", pullJSON(`"mergeable":true=>"merged":true,"merged_by":null`)}, func(p vcs.Pull, err error) bool {
			return err == nil && p.State == vcs.PullMerged && p.MergeCommit == ""
		}},
		"another repository":   {change{"GET /pulls/1", pullJSON(`"repo_id":7},"merge_base"=>"repo_id":8},"merge_base"`)}, func(_ vcs.Pull, err error) bool { return errors.Is(err, vcs.ErrNotFound) }},
		"fork gone":            {change{"GET /pulls/1", pullJSON(`"repo_id":7=>"repo_id":-1`)}, func(p vcs.Pull, err error) bool { return err == nil && p.Fork }},
		"ref null":             {change{"GET /git/refs/pull/1/head", `[null]`}, refused},
		"ref of another":       {change{"GET /git/refs/pull/1/head", `[{"ref":"refs/pull/1/headache","object":{"sha":"` + head + `"}}]`}, refused},
		"ref elsewhere":        {change{"GET /git/refs/pull/1/head", `[{"ref":"refs/pull/1/head","object":{"sha":"` + strings.Repeat("c", 40) + `"}}]`}, refused},
		"commits of another":   {change{"GET /pulls/1/commits", `[{"sha":"` + strings.Repeat("c", 40) + `"}]`}, refused},
		"open, base gone":      {change{"GET /pulls/1/commits", ``}, notFound},
		"commits null":         {change{"GET /pulls/1/commits", `null`}, func(p vcs.Pull, err error) bool { return err == nil && len(p.Contributors) == 0 }},
		"commit of nobody":     {change{"GET /pulls/1/commits", `[{"sha":"` + head + `","author":null,"committer":null,"commit":null}]`}, fine},
		"commit half":          {change{"GET /pulls/1/commits", `[{"sha":"` + head + `","commit":{"author":null,"committer":{}}}]`}, fine},
		"reviews null":         {change{"GET /pulls/1/reviews", `null`}, fine},
		"reviews of null":      {change{"GET /pulls/1/reviews", `[null]`}, fine},
		"review by null":       {change{"GET /pulls/1/reviews", `[{"id":1,"state":"APPROVED","official":true,"user":null}]`}, unreviewed},
		"review by the ghost":  {change{"GET /pulls/1/reviews", `[{"id":1,"state":"APPROVED","official":true,"user":{"id":-1,"login":"Ghost"}}]`}, unreviewed},
		"review of a team":     {change{"GET /pulls/1/reviews", `[{"id":1,"state":"REQUEST_REVIEW","user":null,"team":{"id":1}}]`}, unreviewed},
		"review pending":       {change{"GET /pulls/1/reviews", `[{"id":1,"state":"PENDING","user":{"id":4,"login":"bob"}}]`}, unreviewed},
		"review unknown":       {change{"GET /pulls/1/reviews", `[{"id":1,"state":"LOVED","user":{"id":4,"login":"bob"}}]`}, unreviewed},
		"statuses of null":     {change{"GET /commits/" + head + "/status", `{"statuses":[null,{"context":""}]}`}, fine},
		"branch gone":          {change{"GET /branches/main", ``}, fine},
		"protected, no rule":   {change{"GET /branches/main", `{"protected":true,"required_approvals":1}`}, func(p vcs.Pull, err error) bool { return err == nil && p.Mergeable == vcs.No }},
		"protected, rule gone": {change{"GET /branches/main", `{"protected":true,"required_approvals":1,"effective_branch_protection_name":"x"}`}, func(p vcs.Pull, err error) bool { return err == nil && p.Mergeable == vcs.No }},
		"checks cannot match": {change{"GET /branches/main", `{"protected":true,"enable_status_check":true,"status_check_contexts":["["]}`}, func(p vcs.Pull, err error) bool {
			return err == nil && len(p.Checks) == 1 && p.Checks[0].State == vcs.StatusPending && p.Checks[0].Required
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := says(c.body)
			if c.body == "" {
				answer = code(http.StatusNotFound, `{}`)
			}
			_, h := newFake(t, map[string]http.HandlerFunc{c.path: answer})
			p, err := h.Pull(t.Context(), acme, 1)
			if !c.check(p, err) {
				t.Errorf("Pull() = %+v, %v", p, err)
			}
		})
	}
}

func notFound(_ vcs.Pull, err error) bool { return errors.Is(err, vcs.ErrNotFound) }

func fine(_ vcs.Pull, err error) bool       { return err == nil }
func unreviewed(p vcs.Pull, err error) bool { return err == nil && len(p.Reviews) == 0 }
func refused(_ vcs.Pull, err error) bool    { var r *vcs.RetryError; return errors.As(err, &r) }

func TestClosedPullOutlivesItsBaseBranch(t *testing.T) {
	t.Parallel()
	_, h := newFake(t, map[string]http.HandlerFunc{
		"GET /pulls/1":         says(pullJSON(`"state":"open"=>"state":"closed"`)),
		"GET /pulls/1/commits": code(http.StatusNotFound, `{"message":"invalid base branch or revision"}`),
		"GET /branches/main":   code(http.StatusNotFound, `{}`),
	})
	if p, err := h.Pull(t.Context(), acme, 1); err != nil || p.State != vcs.PullClosed || p.Head.SHA != head {
		t.Errorf("Pull() = %+v, %v, want it closed", p, err)
	}
}

func TestNewPullMayBeMissingForAMoment(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	left := 2
	f, h := newFake(t, map[string]http.HandlerFunc{"GET /pulls/1": func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if left > 0 {
			left--
			code(http.StatusNotFound, `{}`)(w, r)
			return
		}
		says(pullJSON(""))(w, r)
	}})
	if _, err := h.Pull(t.Context(), acme, 1); err != nil {
		t.Errorf("Pull() = %v after %d looks, want patience", err, f.asked["GET /pulls/1"])
	}
}

// Gitea leaves comments on lines out of the timeline and reviews not yet sent out of the reviews, after it made the pages.
func TestEmptyPagesDoNotHideWhatComesAfter(t *testing.T) {
	t.Parallel()
	_, h := newFake(t, map[string]http.HandlerFunc{
		"GET /pulls/1/reviews": code(200, `[]`, "X-Total-Count", "51"),
		"GET /pulls/1/reviews?page=2": code(200, `[{"id":1,"state":"APPROVED","official":true,"comments_count":120,"user":{"id":4,"login":"bob"}}]`,
			"X-Total-Count", "51"),
		"GET /issues/1/timeline":        says(`[]`),
		"GET /issues/1/timeline?page=2": says(`null`),
		"GET /issues/1/timeline?page=3": says(`[{"type":"pull_push","user":{"id":5,"login":"carol"}}]`),
	})
	p, err := h.Pull(t.Context(), acme, 1)
	if err != nil || len(p.Reviews) != 1 || !slices.Contains(p.Contributors, "carol") {
		t.Errorf("Pull() = %+v, %v, want the review of bob and the push of carol", p, err)
	}
}

func TestUnmergeableIsUnknownUntilGiteaHadTimeToLook(t *testing.T) {
	t.Parallel()
	f, _ := newFake(t, map[string]http.HandlerFunc{"GET /pulls/1": says(pullJSON(`"mergeable":true=>"mergeable":false`))})
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	now := time.Unix(1_800_000_000, 0)
	h := client(t, server.URL, func() time.Time { return now })
	ask := func(want vcs.Tri, words string) {
		t.Helper()
		if got, err := h.Pull(t.Context(), acme, 1); err != nil || got.Mergeable != want || !strings.Contains(got.MergeBlocked, words) {
			t.Errorf("at %s: Mergeable, MergeBlocked = %v, %q, %v, want %v with %q", now, got.Mergeable, got.MergeBlocked, err, want, words)
		}
	}
	ask(vcs.Unknown, "still looking")
	now = now.Add(9 * time.Second)
	ask(vcs.Unknown, "still looking")
	now = now.Add(time.Second)
	ask(vcs.No, "conflicts with main")
	f.mu.Lock() // the base moves: Gitea looks again
	f.answers["GET /pulls/1"] = says(strings.ReplaceAll(pullJSON(`"mergeable":true=>"mergeable":false`), "b2", "b3"))
	f.mu.Unlock()
	ask(vcs.Unknown, "still looking")
}

func TestTokenStaysOnItsHost(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	_, h := newFake(t, map[string]http.HandlerFunc{"GET ": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}})
	if _, err := h.Repo(t.Context(), acme.Name); err == nil || !strings.Contains(err.Error(), "set url") {
		t.Errorf("Repo(redirected elsewhere) = %v, want an error that says what to do", err)
	}
	select {
	case auth := <-got:
		t.Errorf("the other host was asked, with %q", auth)
	default:
	}
	for _, text := range []string{fmt.Sprint(h), fmt.Sprintf("%v", h)} {
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, secret) {
			t.Errorf("the host prints as %s", text)
		}
	}
}

func TestCallerWhoGivesUpIsToldSo(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	_, h := newFake(t, map[string]http.HandlerFunc{"GET /api/v1/user": func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}})
	t.Cleanup(func() { close(hold) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var retry *vcs.RetryError
	if _, err := h.Self(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &retry) {
		t.Errorf("Self(with a deadline) = %v, want the deadline", err)
	}
}

func TestSlowHostIsTriedAgain(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(hold); server.Close() })
	h, err := adapter.New(adapter.Options{URL: server.URL, Token: "t", WebhookSecret: "s", HTTP: &http.Client{Timeout: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	var retry *vcs.RetryError
	if _, err := h.Self(t.Context()); !errors.As(err, &retry) {
		t.Errorf("Self(of a host that does not answer) = %v, want a RetryError", err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := adapter.Options{Name: "git", URL: "https://git.example.com/sub/", Token: "t", WebhookSecret: "s"}
	if _, err := adapter.New(good); err != nil {
		t.Errorf("New() = %v", err)
	}
	for want, change := range map[string]func(*adapter.Options){
		"vcs git: url: is not an address":         func(o *adapter.Options) { o.URL = "git.example.com" },
		"vcs gitea: url: is not an address":       func(o *adapter.Options) { o.Name, o.URL = "", "" },
		"vcs git: url: must not contain a user":   func(o *adapter.Options) { o.URL = "https://bot:t@git.example.com" },
		"vcs git: url: must not have a query":     func(o *adapter.Options) { o.URL = "https://git.example.com?x=y" },
		"vcs git: url: is the address of the API": func(o *adapter.Options) { o.URL = "https://git.example.com/api/v1" },
		"vcs git: token: is empty":                func(o *adapter.Options) { o.Token = "" },
		"vcs git: token: is empty or has spaces":  func(o *adapter.Options) { o.Token = "t\n" },
		"vcs git: webhook_secret: is empty":       func(o *adapter.Options) { o.WebhookSecret = "" },
	} {
		o := good
		change(&o)
		if _, err := adapter.New(o); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "bot:t") {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}
