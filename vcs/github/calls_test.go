package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/testkit/githubapi"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/github"
)

// listen serves on loopback until the test ends and returns the address.
func listen(t *testing.T, h func(http.ResponseWriter, *http.Request, []byte)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		h(w, r, body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestCommentEditsOnlyOurOwn(t *testing.T) {
	t.Parallel()
	const marker = "<!-- planlatch:summary -->"
	w := setup(t, fakehost.Options{})
	ctx := t.Context()
	n, other := w.open("one"), w.open("two")
	theirs := must(w.Comment(name, n, "alice", marker+" not ours"))(t)
	say := func(number int, known, body string) string {
		t.Helper()
		return must(w.host.Comment(ctx, w.repo, number, known, marker, body))(t)
	}
	first := say(n, "", marker+" one")
	if first == strconv.FormatInt(theirs, 10) {
		t.Fatalf("Comment() edited somebody else's comment")
	}
	if got := say(n, first, marker+" two"); got != first {
		t.Errorf("Comment(known) = %s, want %s", got, first)
	}
	if got := must(w.host.Comment(ctx, w.repo, n, first, "", marker+" two"))(t); got != first {
		t.Errorf("Comment(known, no marker) = %s, want %s", got, first)
	}
	if got := say(n, "", marker+" three"); got != first {
		t.Errorf("Comment(marker) = %s, want %s", got, first)
	}
	if got := say(n, strconv.FormatInt(theirs, 10), marker+" four"); got != first {
		t.Errorf("Comment(somebody else's id) = %s, want our own %s", got, first)
	}
	if got := say(other, first, marker+" five"); got == first {
		t.Errorf("Comment(id of another pull request) edited it")
	}
	id := must(strconv.ParseInt(first, 10, 64))(t)
	ok(t, w.DeleteComment(name, id, "planlatch-bot"))
	second := say(n, first, marker+" six")
	if second == first {
		t.Errorf("Comment(deleted) = the deleted one")
	}
	if plain := must(w.host.Comment(ctx, w.repo, n, "", "", "result"))(t); plain == second {
		t.Errorf("Comment(no marker) edited %s, want a new one", second)
	}
	var bodies []string
	for _, e := range must(w.Timeline(name, n))(t) {
		if e.Kind == fakehost.EntryComment && !e.Deleted {
			bodies = append(bodies, e.Actor+": "+e.Body)
		}
	}
	want := []string{"alice: " + marker + " not ours", "planlatch-bot: " + marker + " six", "planlatch-bot: result"}
	if d := cmp.Diff(want, bodies); d != "" {
		t.Errorf("conversation differs (-want +got):\n%s", d)
	}
}

func TestCommentFindsTheNewestOnALongConversation(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	var last int64
	for i := range 230 {
		if id := must(w.Comment(name, n, "planlatch-bot", fmt.Sprintf("marker %d", i)))(t); i < 150 {
			last = id
		} else {
			ok(t, w.EditComment(name, id, "planlatch-bot", "other"))
		}
	}
	got := must(w.host.Comment(t.Context(), w.repo, n, "", "marker", "marker new"))(t)
	if got != strconv.FormatInt(last, 10) {
		t.Errorf("Comment() = %s, want the newest with the marker, %d", got, last)
	}
}

func TestCommentsSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := make(chan time.Time, 1)
	clock <- now
	w := setup(t, fakehost.Options{Now: func() time.Time { at := <-clock; clock <- at; return at }})
	tick := func() { at := <-clock; clock <- at.Add(time.Minute) }
	n := w.open("one")
	old := must(w.Comment(name, n, "alice", "old"))(t)
	tick()
	since := now.Add(time.Minute)
	ok(t, w.EditComment(name, old, "alice", "old, but edited since"))
	a := must(w.Comment(name, n, "alice", "planlatch plan"))(t)
	harmless := must(w.Comment(name, n, "alice", "looks good"))(t)
	tick()
	ok(t, w.EditComment(name, harmless, "carol", "planlatch apply"))
	b := must(w.Review(name, n, "carol", fakehost.Approved, "planlatch apply"))(t)
	must(w.Review(name, n, "carol", fakehost.Approved, ""))(t)
	tick()
	c := must(w.Comment(name, n, "bob", "thanks"))(t)
	user := func(login string) vcs.User {
		return vcs.User{ID: strconv.FormatInt(w.people[login].ID, 10), Login: login}
	}
	want := []vcs.Comment{
		{ID: strconv.FormatInt(a, 10), Author: user("alice"), Body: "planlatch plan", Created: since},
		{ID: "review-" + strconv.FormatInt(b, 10), Author: user("carol"), Body: "planlatch apply", Created: since.Add(time.Minute), Review: true},
		{ID: strconv.FormatInt(c, 10), Author: user("bob"), Body: "thanks", Created: since.Add(2 * time.Minute)},
	}
	got := must(w.host.CommentsSince(t.Context(), w.repo, n, since))(t)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("CommentsSince() differs (-want +got):\n%s", d)
	}
	ok(t, w.host.React(t.Context(), w.repo, n, got[0].ID, vcs.ReactionSeen))
	ok(t, w.host.React(t.Context(), w.repo, n, got[0].ID, vcs.ReactionSeen))
	ok(t, w.host.React(t.Context(), w.repo, n, got[1].ID, vcs.ReactionSeen))
	for _, e := range must(w.Timeline(name, n))(t) {
		if e.ID == a && !cmp.Equal(e.Reactions, []fakehost.Reaction{{Actor: "planlatch-bot", Content: "eyes"}}) {
			t.Errorf("reactions = %v, want eyes once", e.Reactions)
		}
	}
}

func TestSetStatusCutsTheDescription(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	head := must(w.Tip(name, "main"))(t)
	ok(t, w.host.SetStatus(t.Context(), w.repo, head, vcs.Status{
		Context: "planlatch/plan", State: vcs.StatusPending, Description: "first", URL: "http://127.0.0.1/runs/1",
	}))
	ok(t, w.host.SetStatus(t.Context(), w.repo, head, vcs.Status{
		Context: "planlatch/plan", State: vcs.StatusSuccess, Description: "é\n" + strings.Repeat("é", 200),
	}))
	want := []fakehost.Status{{Context: "planlatch/plan", State: "success", Description: "é " + strings.Repeat("é", 137) + "…"}}
	if d := cmp.Diff(want, must(w.Statuses(name, head))(t)); d != "" {
		t.Errorf("Statuses() differ (-want +got):\n%s", d)
	}
}

func TestPermissionAndMembership(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	ctx := t.Context()
	ok(t, w.CreateRepo("acme/secret", fakehost.NewRepo{Private: true, By: "alice", Files: map[string]string{"a": ""}}))
	secretRepo := must(w.host.Repo(ctx, "acme/secret"))(t)
	for user, want := range map[string]vcs.Permission{
		"alice": vcs.PermissionAdmin, "bob": vcs.PermissionWrite, "mallory": vcs.PermissionNone, "nobody": vcs.PermissionNone, "": vcs.PermissionNone,
		"../../../user": vcs.PermissionNone, "a b": vcs.PermissionNone,
	} {
		if got, err := w.host.Permission(ctx, secretRepo, user); got != want || err != nil {
			t.Errorf("Permission(%q) = %v, %v; want %v", user, got, err, want)
		}
	}
	if got := must(w.host.Permission(ctx, w.repo, "mallory"))(t); got != vcs.PermissionRead {
		t.Errorf("Permission(mallory) in a public repository = %v, want read", got)
	}
	if _, err := w.as("mallory").Permission(ctx, w.repo, "bob"); !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Permission() with a reader's token = %v, want ErrDenied", err)
	}
	ok(t, w.CreateTeam("acme/prod-approvers", "alice"))
	ok(t, w.CreateTeam("acme/on-call", "carol"))
	ok(t, w.NestTeam("acme/on-call", "acme/prod-approvers"))
	ok(t, w.InviteToTeam("acme/prod-approvers", "mallory"))
	for _, c := range []struct {
		team, user string
		want       bool
	}{
		{"acme/prod-approvers", "alice", true}, {"acme/prod-approvers", "bob", false}, {"ACME/Prod-Approvers", "Alice", true},
		{"acme/prod-approvers", "carol", true}, {"acme/on-call", "alice", false}, {"acme/prod-approvers", "mallory", false}, {"acme/none", "alice", false}, {"acme", "alice", false},
		{"acme/prod-approvers", "../alice", false}, {"../prod-approvers", "alice", false},
	} {
		if got, err := w.host.Member(ctx, c.team, c.user); got != c.want || err != nil {
			t.Errorf("Member(%s, %s) = %v, %v; want %v", c.team, c.user, got, err, c.want)
		}
	}
	w.SetFault(func(r *http.Request) *fakehost.Fault {
		if strings.Contains(r.URL.Path, "/teams/") {
			return &fakehost.Fault{Status: 403, Body: `{"message":"You must be a member of the organization"}`}
		}
		return nil
	})
	if got, err := w.host.Member(ctx, "acme/prod-approvers", "alice"); got || !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Member() with a token that may not look = %v, %v; want ErrDenied", got, err)
	}
	if self := must(w.host.Self(ctx))(t); self.Login != "planlatch-bot" || self.Bot {
		t.Errorf("Self() = %v, want planlatch-bot", self)
	}
	var names []string
	for _, r := range must(w.host.List(ctx))(t) {
		names = append(names, r.Name)
	}
	if d := cmp.Diff([]string{"acme/infra", "acme/secret"}, names); d != "" {
		t.Errorf("List() differs (-want +got):\n%s", d)
	}
}

func TestRemoteKeepsTheTokenOutOfTheURL(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	got := must(w.host.Remote(t.Context(), w.repo))(t)
	want := vcs.Remote{URL: w.URL + "/acme/infra.git", Username: "x-access-token", Password: w.people["planlatch-bot"].Token}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Remote() differs (-want +got):\n%s", d)
	}
	if ref := w.host.HeadRef(7); ref != "refs/pull/7/head" {
		t.Errorf("HeadRef(7) = %s", ref)
	}
	if text := fmt.Sprintf("%v %+v %#v", w.host, w.host, w.host); strings.Contains(text, got.Password) {
		t.Errorf("printing the adapter shows the token")
	}
}

func TestAWrongTokenIsDenied(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	if _, err := adapter(t, w.URL, "wrong").Self(t.Context()); !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("Self() = %v, want ErrDenied", err)
	}
	err := w.as("mallory").SetStatus(t.Context(), w.repo, must(w.Tip(name, "main"))(t), vcs.Status{Context: "c", State: vcs.StatusSuccess})
	if !errors.Is(err, vcs.ErrDenied) {
		t.Errorf("SetStatus() with a reader's token = %v, want ErrDenied", err)
	}
}

func TestWaitingIsSaid(t *testing.T) {
	t.Parallel()
	inAnHour := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	for what, c := range map[string]struct {
		fault    fakehost.Fault
		min, max time.Duration
	}{
		"primary limit": {fakehost.Fault{Status: 403, Body: `{"message":"API rate limit exceeded"}`, Header: http.Header{
			"X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {inAnHour},
		}}, 50 * time.Minute, time.Hour},
		"primary limit as 429": {fakehost.Fault{Status: 429, Body: `{}`, Header: http.Header{
			"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {inAnHour},
		}}, 50 * time.Minute, time.Hour},
		"secondary limit": {fakehost.Fault{Status: 403, Header: http.Header{"Retry-After": {"17"}},
			Body: `{"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
		}, 17 * time.Second, 17 * time.Second},
		"secondary limit without a link":      {fakehost.Fault{Status: 403, Header: http.Header{"Retry-After": {"17"}}, Body: `{}`}, 17 * time.Second, 17 * time.Second},
		"secondary limit as 429":              {fakehost.Fault{Status: 429, Header: http.Header{"Retry-After": {"17"}}}, 17 * time.Second, 17 * time.Second},
		"429 that names no time":              {fakehost.Fault{Status: 429}, time.Minute, time.Minute},
		"a reset in the past":                 {fakehost.Fault{Status: 429, Header: http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1"}}}, time.Second, time.Second},
		"a wait that is no number":            {fakehost.Fault{Status: 429, Header: http.Header{"Retry-After": {"soon"}}}, time.Minute, time.Minute},
		"a wait of years":                     {fakehost.Fault{Status: 429, Header: http.Header{"Retry-After": {"2000000000"}}}, time.Hour, 2 * time.Hour},
		"server error":                        {fakehost.Fault{Status: 500, Body: "<html>unicorn</html>"}, 0, 0},
		"server error that names a time":      {fakehost.Fault{Status: 503, Header: http.Header{"Retry-After": {"30"}}}, 30 * time.Second, 30 * time.Second},
		"an answer that is not JSON":          {fakehost.Fault{Status: 200, Body: "<html>login</html>"}, 0, 0},
		"an answer that is cut":               {fakehost.Fault{Status: 200, Body: `{"login":"plan`}, 0, 0},
		"an empty answer":                     {fakehost.Fault{Status: 200}, 0, 0},
		"an answer of null":                   {fakehost.Fault{Status: 200, Body: `null`}, 0, 0},
		"accepted for later":                  {fakehost.Fault{Status: 202, Body: `{}`}, 0, 0},
		"a redirect to a host that is not it": {fakehost.Fault{Status: 302, Header: http.Header{"Location": {"http://localhost:1/steal"}}}, 0, 0},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := setup(t, fakehost.Options{Fault: func(*http.Request) *fakehost.Fault { return &c.fault }})
			_, err := w.host.Self(t.Context())
			var retry *vcs.RetryError
			if !errors.As(err, &retry) || retry.After > c.max || retry.After < c.min {
				t.Errorf("Self() = %v, want to wait %s to %s", err, c.min, c.max)
			}
		})
	}
}

func TestASlowHostIsGivenUpOn(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{Fault: func(*http.Request) *fakehost.Fault { return &fakehost.Fault{Delay: time.Hour} }})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.host.Self(ctx)
	var retry *vcs.RetryError
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &retry) {
		t.Errorf("Self() = %v, want the deadline of the caller and no retry", err)
	}
}

func TestTheLimitOfTheFakeIsUnderstood(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{RateLimit: 3})
	for range 3 {
		_, _ = w.host.Repo(t.Context(), name) // the first ones are answered, setup's included
	}
	_, err := w.host.Repo(t.Context(), name)
	var retry *vcs.RetryError
	if !errors.As(err, &retry) || retry.After < 50*time.Minute {
		t.Errorf("Repo() = %v, want to wait for most of an hour", err)
	}
}

func TestTheSecondaryLimitIsObeyed(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{ContentLimit: 2})
	n := w.open("one")
	var called atomic.Int64
	w.SetFault(func(*http.Request) *fakehost.Fault { called.Add(1); return nil })
	say := func() error { _, err := w.host.Comment(t.Context(), w.repo, n, "", "", "hello"); return err }
	ok(t, say())
	ok(t, say())
	for range 3 {
		var retry *vcs.RetryError
		if err := say(); !errors.As(err, &retry) || retry.After < 30*time.Second || retry.After > time.Minute {
			t.Errorf("Comment() = %v, want to wait for most of a minute", err)
		}
	}
	if got := called.Load(); got != 3 {
		t.Errorf("GitHub was called %d times, want 3: once it asks us to wait it is left alone", got)
	}
}

func TestOurOwnBudgetComesBeforeGitHubs(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	n := w.open("one")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h := must(github.New(github.Options{
		URL: w.URL, Token: w.people["planlatch-bot"].Token, WebhookSecret: secret, Budget: &github.Budget{ContentPerMinute: 1},
		HTTP: &http.Client{Transport: githubapi.New(t).Requests(transport)},
	}))(t)
	id := must(h.Comment(t.Context(), w.repo, n, "", "", "hello"))(t)
	_, err := h.Comment(t.Context(), w.repo, n, id, "", "hello again")
	var retry *vcs.RetryError
	if !errors.As(err, &retry) || retry.After <= 0 || retry.After > time.Minute {
		t.Errorf("Comment() = %v, want to wait within the minute", err)
	}
	ok(t, h.SetStatus(t.Context(), w.repo, must(w.Tip(name, "one"))(t), vcs.Status{Context: "planlatch/plan", State: vcs.StatusSuccess}))
}

func TestTheTokenStaysWithTheAPI(t *testing.T) {
	t.Parallel()
	thief := listen(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		t.Errorf("%s got Authorization %q", r.URL, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusOK)
	})
	host := listen(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, thief+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, err := adapter(t, host, "secret-token").Self(t.Context())
	if err == nil || !strings.Contains(err.Error(), "redirected") || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("Self() = %v, want a refused redirect without the token in it", err)
	}
}

func TestThinAnswersMeanNo(t *testing.T) {
	t.Parallel()
	const sha = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
	graph := func(nodes string) string {
		return `{"data":{"repository":{"pullRequest":{"commits":{"nodes":[{"commit":{"oid":"` + sha + `","statusCheckRollup":{"contexts":{"nodes":[` +
			nodes + `]}}}}]}}}}}`
	}
	for what, c := range map[string]struct {
		pull, reviews, graph, branch, rules, commits string
		want                                         vcs.Pull
	}{
		"ghosts and nulls": {
			pull:    `{"number":1,"user":null,"state":"open","head":{"sha":"` + sha + `","repo":null},"base":{"ref":"main","repo":{"id":5}},"mergeable":true}`,
			reviews: `[{"id":1,"user":null,"state":"APPROVED"},{"id":2,"user":{"id":3,"login":"x"},"state":"APPLAUDED"},null]`,
			graph:   graph(`{"context":"ci","state":"WEIRD"},{"state":"SUCCESS"},null,{"name":"unit","status":"COMPLETED"},{}`), branch: `{"protected":true}`, rules: `[null]`, commits: `[{"author":null,"committer":null,"commit":{"author":null}},{},null]`,
			want: vcs.Pull{
				Number: 1, State: vcs.PullOpen, Fork: true, Head: vcs.Ref{SHA: sha}, Base: vcs.Ref{Branch: "main"}, Contributors: []string{},
				Checks: []vcs.Check{{Context: "ci", State: vcs.StatusError, Required: true}, {Context: "unit", State: vcs.StatusError, Required: true}},
			},
		},
		"empty lists and objects": {
			pull:    `{"number":1,"state":"","head":{"sha":"` + sha + `"},"base":{"ref":"main"},"mergeable":true,"mergeable_state":"splendid"}`,
			reviews: `[]`, graph: `{"data":{}}`, branch: `{}`, rules: `null`, commits: `null`,
			want: vcs.Pull{Number: 1, State: vcs.PullClosed, Fork: true, Head: vcs.Ref{SHA: sha}, Base: vcs.Ref{Branch: "main"}, Checks: []vcs.Check{}, Contributors: []string{}},
		},
		"clean, but the rules are hidden": {
			pull:    `{"number":1,"state":"open","head":{"sha":"` + sha + `"},"base":{"ref":"main"},"mergeable":true,"mergeable_state":"unstable"}`,
			reviews: `[]`, graph: graph(`{"context":"lint","state":"FAILURE"}`), branch: "403", rules: "403", commits: `[]`,
			want: vcs.Pull{
				Number: 1, State: vcs.PullOpen, Fork: true, Head: vcs.Ref{SHA: sha}, Base: vcs.Ref{Branch: "main"}, Mergeable: vcs.Yes,
				Checks: []vcs.Check{{Context: "lint", State: vcs.StatusFailure}}, Contributors: []string{},
			},
		},
		"rules of a kind we do not know": {
			pull:    `{"number":1,"state":"open","head":{"sha":"` + sha + `"},"base":{"ref":"main"},"mergeable":true,"mergeable_state":"blocked"}`,
			reviews: `[]`, graph: graph(``), branch: `{"protected":false}`, commits: `[]`,
			rules: `[{"type":"required_status_checks","parameters":{"required_status_checks":[{"context":"planlatch/apply"}]}},{"type":"code_scanning"}]`,
			want: vcs.Pull{
				Number: 1, State: vcs.PullOpen, Fork: true, Head: vcs.Ref{SHA: sha}, Base: vcs.Ref{Branch: "main"}, Mergeable: vcs.No,
				MergeBlocked: "the rules of main are not met: a required review or check is missing",
				Checks:       []vcs.Check{{Context: "planlatch/apply", State: vcs.StatusPending, Required: true}}, Contributors: []string{},
			},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			const at = "/api/v3/repos/acme/infra"
			answers := map[string]string{
				at + "/pulls/1": c.pull, at + "/pulls/1/reviews": c.reviews, "/api/graphql": c.graph, at + "/branches/main": c.branch, at + "/rules/branches/main": c.rules,
				at + "/pulls/1/commits": c.commits,
			}
			server := listen(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
				a, known := answers[r.URL.Path]
				if code, err := strconv.Atoi(a); err == nil || !known {
					w.WriteHeader(max(code, 403))
					return
				}
				_, _ = io.WriteString(w, a)
			})
			got, err := adapter(t, server, "t").Pull(t.Context(), vcs.Repo{Name: name}, 1)
			ok(t, err)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("Pull() differs (-want +got):\n%s", d)
			}
		})
	}
}

func TestThinListsDoNotPanic(t *testing.T) {
	t.Parallel()
	server := listen(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		_, _ = io.WriteString(w, `[null,{},{"user":null}]`)
	})
	h := adapter(t, server, "t")
	r := vcs.Repo{Name: name}
	if got, err := h.UpdatedSince(t.Context(), r, time.Time{}); len(got) != 0 || err != nil {
		t.Errorf("UpdatedSince() = %v, %v; want none", got, err)
	}
	if got, err := h.CommentsSince(t.Context(), r, 1, time.Time{}); len(got) != 0 || err != nil {
		t.Errorf("CommentsSince() = %v, %v; want none", got, err)
	}
	if got, err := h.List(t.Context()); len(got) != 0 || err != nil {
		t.Errorf("List() = %v, %v; want none", got, err)
	}
}

func TestPullsWithManyCommitsAreReadWhole(t *testing.T) {
	t.Parallel()
	const head, base = "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
	commit := func(i int) map[string]any {
		return map[string]any{"commit": map[string]any{
			"author":  map[string]any{"email": fmt.Sprintf("dev%d@example.com", i)},
			"message": fmt.Sprintf("Change %d\n\nCo-authored-by: Friend <%d+friend%d@users.noreply.github.com>", i, i, i),
		}}
	}
	url := listen(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		answer := any(map[string]any{})
		switch {
		case strings.HasSuffix(r.URL.Path, "/pulls/1"):
			answer = map[string]any{"number": 1, "commits": 300, "head": map[string]any{"sha": head}, "base": map[string]any{"ref": "main", "sha": base}}
		case strings.HasSuffix(r.URL.Path, "/pulls/1/commits"):
			t.Errorf("read the list that ends at 250")
		case r.URL.Path == "/api/graphql":
			answer = map[string]any{"data": map[string]any{}}
		case strings.HasSuffix(r.URL.Path, "/reviews"), strings.HasSuffix(r.URL.Path, "/rules/branches/main"):
			answer = []any{}
		case strings.HasSuffix(r.URL.Path, "/compare/"+base+"..."+head):
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			var list []any
			for i := range 100 {
				list = append(list, commit((page-1)*100+i))
			}
			if page < 3 {
				w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d>; rel="next"`, r.Host, r.URL.Path, page+1))
			}
			answer = map[string]any{"commits": list}
		}
		ok(t, json.NewEncoder(w).Encode(answer))
	})
	p := must(adapter(t, url, "t").Pull(t.Context(), vcs.Repo{Name: name}, 1))(t)
	if got := len(p.Contributors); got != 900 { // an address, a co-author's address and the login in it, each 300 times
		t.Errorf("Pull() has %d contributors, want 900", got)
	}
}
