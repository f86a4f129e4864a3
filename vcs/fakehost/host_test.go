package fakehost_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// listen serves on loopback until the test ends and returns the address.
func listen(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + l.Addr().String()
}

// open pushes a branch as bob and opens a pull request from it.
func open(t *testing.T, s *fakehost.Server, branch string) int {
	t.Helper()
	must(s.Push(repo, "bob", branch, fakehost.Commit{Files: map[string]string{branch + ".tf": "# " + branch + "\n"}}))(t)
	return must(s.OpenPull(repo, "bob", fakehost.NewPull{Title: "Add " + branch, Head: branch}))(t)
}

// call makes one API call and decodes the answer.
func call(t *testing.T, s *fakehost.Server, token, method, path, body string, into any) *http.Response {
	t.Helper()
	address := path
	if strings.HasPrefix(path, "/") {
		address = s.URL + "/api/v3" + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	ok(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	ok(t, err)
	defer func() { _ = resp.Body.Close() }()
	if into != nil {
		ok(t, json.NewDecoder(resp.Body).Decode(into))
	}
	return resp
}

func TestWebhooksAreSignedAndNeverRetried(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	s, _ := start(t, fakehost.Options{})
	var calls atomic.Int64
	url := listen(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read delivery: %v", err)
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if got, want := r.Header.Get("X-Hub-Signature-256"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("X-Hub-Signature-256 = %s, want %s", got, want)
		}
		for _, name := range []string{"X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-ID", "User-Agent"} {
			if r.Header.Get(name) == "" {
				t.Errorf("delivery without %s", name)
			}
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	must(s.AddWebhook(url, secret))(t)
	open(t, s, "one")
	ok(t, s.Flush(t.Context()))
	sent := s.Deliveries()
	var events []string
	for _, d := range sent {
		events = append(events, fmt.Sprintf("%s %s %d", d.Event, d.Action, d.Code))
	}
	if d := cmp.Diff([]string{"ping  500", "push  500", "pull_request opened 500"}, events); d != "" {
		t.Errorf("Deliveries() differ (-want +got):\n%s", d)
	}
	if got := calls.Load(); got != 3 {
		t.Errorf("%d calls, want 3: a failed delivery is not tried again", got)
	}
	ok(t, s.Redeliver(sent[2].ID))
	ok(t, s.Flush(t.Context()))
	again := s.Deliveries()[3]
	if again.ID != sent[2].ID || !again.Redelivery || !bytes.Equal(again.Body, sent[2].Body) {
		t.Errorf("Redeliver() sent %s (redelivery %v), want the same delivery %s", again.ID, again.Redelivery, sent[2].ID)
	}
}

func TestASlowReceiverHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{HookTimeout: time.Hour})
	answers := make(chan struct{})
	url := listen(t, func(http.ResponseWriter, *http.Request) { <-answers })
	must(s.AddWebhook(url, "x"))(t)
	got := make(chan string, 10)
	must(s.AddWebhook(listen(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("X-GitHub-Event") }), "x"))(t)
	open(t, s, "one")
	for _, want := range []string{"ping", "push", "pull_request"} {
		if event := <-got; event != want {
			t.Errorf("event %s, want %s", event, want)
		}
	}
	close(answers)
	ok(t, s.Flush(t.Context()))
	for _, d := range s.Deliveries() {
		if d.Code != http.StatusOK {
			t.Errorf("delivery of %s: %d, %s; want it answered in the end", d.Event, d.Code, d.Problem)
		}
	}
}

func TestAReceiverThatDoesNotAnswerIsGivenUpOn(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{HookTimeout: 50 * time.Millisecond})
	url := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the caller has gone
		<-r.Context().Done()
	})
	must(s.AddWebhook(url, "x"))(t)
	open(t, s, "one")
	ok(t, s.Flush(t.Context()))
	sent := s.Deliveries()
	if len(sent) != 3 {
		t.Errorf("%d deliveries, want 3: the next comes after the one that was given up", len(sent))
	}
	for _, d := range sent {
		if d.Code != 0 || d.Problem == "" {
			t.Errorf("delivery of %s: %d, %q; want no answer, and why", d.Event, d.Code, d.Problem)
		}
	}
}

func TestTimelineTellsTheConversation(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	n := open(t, s, "one")
	id := must(s.Comment(repo, n, "planlatch-bot", "planning"))(t)
	ok(t, s.EditComment(repo, id, "planlatch-bot", "planned"))
	head := must(s.Tip(repo, "one"))(t)
	ok(t, s.SetStatus(repo, "planlatch-bot", head, fakehost.Status{Context: "planlatch/plan", State: "success", Description: "1 to add"}))
	review := must(s.Review(repo, n, "carol", fakehost.Approved, "fine"))(t)
	ok(t, s.DismissReview(repo, n, review, "alice", "not yet"))
	must(s.Push(repo, "bob", "one", fakehost.Commit{Files: map[string]string{"two.tf": ""}}))(t)
	must(s.Push(repo, "bob", "one", fakehost.Commit{Files: map[string]string{"three.tf": ""}, From: "main", Force: true}))(t)
	ok(t, s.SetTitle(repo, n, "bob", "Add more"))
	ok(t, s.ClosePull(repo, n, "bob"))
	ok(t, s.Reopen(repo, n, "bob"))
	call(t, s, people["planlatch-bot"].Token, "POST", fmt.Sprintf("/repos/%s/issues/comments/%d/reactions", repo, id), `{"content":"eyes"}`, nil)
	sha := must(s.Merge(repo, n, "alice", fakehost.Squash))(t)
	ok(t, s.SetStatus(repo, "planlatch-bot", sha, fakehost.Status{Context: "planlatch/apply", State: "success"}))
	var got []string
	for _, e := range must(s.Timeline(repo, n))(t) {
		line := fmt.Sprintf("%s %s", e.Actor, e.Kind)
		for _, part := range []string{e.Context, e.State, e.Body} {
			if part != "" {
				line += " " + part
			}
		}
		if len(e.Edits) > 0 {
			line += " (was " + e.Edits[0].Before + ")"
		}
		if len(e.Reactions) > 0 {
			line += " :" + e.Reactions[0].Content + ":"
		}
		got = append(got, line)
	}
	want := []string{
		"bob opened", "planlatch-bot comment planned (was planning) :eyes:", "planlatch-bot status planlatch/plan success",
		"carol review DISMISSED fine", "alice dismissed not yet", "bob pushed", "bob pushed forced", "bob title", "bob closed", "bob reopened",
		"alice merged", "planlatch-bot status planlatch/apply success",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Timeline() differs (-want +got):\n%s", d)
	}
}

func TestWaitReturnsWhenThereIsWhatOneWaitsFor(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{})
	n := open(t, s, "one")
	done := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context(), repo, n, func(all []fakehost.Entry) bool { return all[len(all)-1].Body == "hello" })
		done <- err
	}()
	must(s.Comment(repo, n, "alice", "hello"))(t)
	ok(t, <-done)
	if _, err := s.Wait(t.Context(), repo, 99, func([]fakehost.Entry) bool { return true }); err == nil {
		t.Errorf("Wait(unknown) = nil, want an error")
	}
}

func TestPeopleAreHeldToTheRules(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{})
	n := open(t, s, "one")
	theirs := must(s.Comment(repo, n, "alice", "mine"))(t)
	head := must(s.Tip(repo, "one"))(t)
	ok(t, s.Protect(repo, "main", fakehost.Protection{Approvals: 1}))
	for what, c := range map[string]struct {
		code int
		do   func() error
	}{
		"a stranger pushes":              {403, func() error { _, err := s.Push(repo, "mallory", "evil", fakehost.Commit{}); return err }},
		"a stranger merges":              {403, func() error { _, err := s.Merge(repo, n, "mallory", fakehost.Squash); return err }},
		"a stranger edits a comment":     {403, func() error { return s.EditComment(repo, theirs, "mallory", "x") }},
		"a stranger closes":              {403, func() error { return s.ClosePull(repo, n, "mallory") }},
		"a stranger sets a status":       {403, func() error { return s.SetStatus(repo, "mallory", head, fakehost.Status{State: "success"}) }},
		"the author approves":            {422, func() error { _, err := s.Review(repo, n, "bob", fakehost.Approved, ""); return err }},
		"a merge without approval":       {405, func() error { _, err := s.Merge(repo, n, "carol", fakehost.Squash); return err }},
		"an empty comment":               {422, func() error { _, err := s.Comment(repo, n, "alice", ""); return err }},
		"a comment that is too long":     {422, func() error { _, err := s.Comment(repo, n, "alice", strings.Repeat("é", 65_537)); return err }},
		"a status in a state of its own": {422, func() error { return s.SetStatus(repo, "carol", head, fakehost.Status{State: "green"}) }},
		"a status with a long text": {422, func() error {
			return s.SetStatus(repo, "carol", head, fakehost.Status{State: "success", Description: strings.Repeat("x", 141)})
		}},
		"a second pull request of a branch": {422, func() error {
			_, err := s.OpenPull(repo, "bob", fakehost.NewPull{Title: "again", Head: "one"})
			return err
		}},
		"a pull request of nothing": {422, func() error {
			_, err := s.OpenPull(repo, "bob", fakehost.NewPull{Title: "nothing", Head: "main"})
			return err
		}},
		"a user twice":           {422, func() error { _, err := s.CreateUser("ALICE", fakehost.Read); return err }},
		"a repository twice":     {422, func() error { return s.CreateRepo("ACME/infra", fakehost.NewRepo{}) }},
		"somebody unknown":       {404, func() error { _, err := s.Comment(repo, n, "nobody", "x"); return err }},
		"an unknown repository":  {404, func() error { _, err := s.Timeline("acme/none", 1); return err }},
		"an unknown delivery":    {404, func() error { return s.Redeliver("none") }},
		"a webhook to nowhere":   {422, func() error { _, err := s.AddWebhook("mailto:x", ""); return err }},
		"a review without words": {422, func() error { _, err := s.Review(repo, n, "carol", fakehost.Commented, ""); return err }},
	} {
		var refusal *fakehost.Refusal
		if err := c.do(); !errors.As(err, &refusal) || refusal.Code != c.code {
			t.Errorf("%s: %v, want %d", what, err, c.code)
		}
	}
	must(s.Comment(repo, n, "alice", strings.Repeat("é", 65_536)))(t)
	must(s.Merge(repo, n, "alice", fakehost.Squash))(t) // an administrator may pass the protection
}

func TestOneContextTakesAThousandStatuses(t *testing.T) {
	t.Parallel()
	s, _ := start(t, fakehost.Options{})
	head := must(s.Tip(repo, "main"))(t)
	for range 1000 {
		ok(t, s.SetStatus(repo, "bob", head, fakehost.Status{Context: "ci", State: "pending"}))
	}
	if err := s.SetStatus(repo, "bob", head, fakehost.Status{Context: "ci", State: "success"}); err == nil {
		t.Errorf("the 1,001st status was taken")
	}
	ok(t, s.SetStatus(repo, "bob", head, fakehost.Status{Context: "other", State: "success"}))
}

func TestPagesAreLinked(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	n := open(t, s, "one")
	for i := range 65 {
		must(s.Comment(repo, n, "alice", fmt.Sprint(i)))(t)
	}
	var got []string
	path := fmt.Sprintf("/repos/%s/issues/%d/comments", repo, n)
	for path != "" {
		var list []struct{ Body string }
		resp := call(t, s, people["alice"].Token, "GET", path, "", &list)
		for _, c := range list {
			got = append(got, c.Body)
		}
		path = ""
		for link := range strings.SplitSeq(resp.Header.Get("Link"), ", ") {
			if address, ok := strings.CutSuffix(link, `>; rel="next"`); ok {
				path = strings.TrimPrefix(address, "<")
			}
		}
	}
	if len(got) != 65 || got[0] != "0" || got[64] != "64" {
		t.Errorf("pages give %d comments %v, want 65 in order", len(got), got)
	}
}

func TestTheAPIRefusesInGitHubsWords(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	ok(t, s.CreateRepo("acme/secret", fakehost.NewRepo{Private: true}))
	for what, c := range map[string]struct {
		token, method, path, body string
		code                      int
		message                   string
	}{
		"no token":             {"", "GET", "/user", "", 401, "Requires authentication"},
		"wrong token":          {"wrong", "GET", "/user", "", 401, "Bad credentials"},
		"unknown address":      {people["alice"].Token, "GET", "/nothing", "", 404, "Not Found"},
		"private repository":   {people["mallory"].Token, "GET", "/repos/acme/secret", "", 404, "Not Found"},
		"reader sets status":   {people["mallory"].Token, "POST", "/repos/acme/infra/statuses/x", "{}", 403, "Resource not accessible by personal access token"},
		"body that is no JSON": {people["bob"].Token, "POST", "/repos/acme/infra/statuses/x", "{", 400, "Problems parsing JSON"},
		"unknown commit":       {people["bob"].Token, "POST", "/repos/acme/infra/statuses/" + strings.Repeat("a", 40), `{"state":"success"}`, 422, "Validation Failed"},
	} {
		var answer struct{ Message string }
		if resp := call(t, s, c.token, c.method, c.path, c.body, &answer); resp.StatusCode != c.code || answer.Message != c.message {
			t.Errorf("%s: %d %q, want %d %q", what, resp.StatusCode, answer.Message, c.code, c.message)
		}
	}
}

func TestQueriesAreHeldToGitHubsSchema(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	open(t, s, "one")
	ask := func(query string) string {
		t.Helper()
		body, err := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"n": 1}})
		ok(t, err)
		var answer json.RawMessage
		call(t, s, people["bob"].Token, "POST", s.URL+"/api/graphql", string(body), &answer)
		return string(answer)
	}
	const repository = `query($n: Int!) { repository(owner: "acme", name: "infra") { pullRequest(number: $n) { %s } } }`
	for query, want := range map[string]string{
		fmt.Sprintf(repository, "reviewDecision"): `{"data":{"repository":{"pullRequest":{"reviewDecision":null}}}}`,
		fmt.Sprintf(repository, "commits(last: 1) { nodes { commit { statusCheckRollup { contexts(first: 1) { pageInfo { hasNextPage } } } } } }"): `{"data":{"repository":{"pullRequest":{"commits":{"nodes":[{"commit":{"statusCheckRollup":null}}]}}}}}`,
		fmt.Sprintf(repository, "color"): `Cannot query field \"color\" on type \"PullRequest\"`,
		"not a query":                    "undefinedField",
		strings.Replace(fmt.Sprintf(repository, "reviewDecision"), "infra", "none", 1):      `"type":"NOT_FOUND"`,
		strings.Replace(fmt.Sprintf(repository, "reviewDecision"), "$n: Int!", "$n: ID", 1): "undefinedField",
	} {
		if got := ask(query); !strings.Contains(got, want) {
			t.Errorf("%s is answered %s, want %s", query, got, want)
		}
	}
}

func TestFaultsComeFirst(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{Fault: func(r *http.Request) *fakehost.Fault {
		if r.URL.Path != "/api/v3/user" {
			return nil
		}
		return &fakehost.Fault{Status: 429, Header: http.Header{"Retry-After": {"5"}}, Body: `{"message":"slow down"}`}
	}})
	if resp := call(t, s, people["bob"].Token, "GET", "/user", "", nil); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("GET /user = %d %v, want the fault", resp.StatusCode, resp.Header)
	}
	if resp := call(t, s, people["bob"].Token, "GET", "/repos/"+repo, "", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("GET /repos = %d, want 200", resp.StatusCode)
	}
	s.SetFault(nil)
	if resp := call(t, s, people["bob"].Token, "GET", "/user", "", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("GET /user = %d after the fault was removed, want 200", resp.StatusCode)
	}
}

func TestMergesAreReal(t *testing.T) {
	t.Parallel()
	for method, parents := range map[fakehost.MergeMethod]int{fakehost.MergeCommit: 2, fakehost.Squash: 1, fakehost.Rebase: 1} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			s, people := start(t, fakehost.Options{})
			n := open(t, s, "one")
			must(s.Push(repo, "bob", "one", fakehost.Commit{Files: map[string]string{"two.tf": "# 2\n"}, Delete: []string{"main.tf"}}))(t)
			must(s.Push(repo, "alice", "main", fakehost.Commit{Files: map[string]string{"other.tf": "# o\n"}}))(t)
			sha := must(s.Merge(repo, n, "carol", method))(t)
			dir := t.TempDir()
			must(git(t, dir, people["bob"].Token, "clone", "-q", s.Clone(repo), "."))(t)
			if got := must(git(t, dir, "", "rev-parse", "HEAD"))(t); got != sha {
				t.Errorf("main is at %s, want %s", got, sha)
			}
			if got := must(git(t, dir, "", "ls-files"))(t); got != "one.tf\nother.tf\ntwo.tf" {
				t.Errorf("main has %q, want the three files", got)
			}
			if got := len(strings.Fields(must(git(t, dir, "", "show", "-s", "--format=%P", sha))(t))); got != parents {
				t.Errorf("the merge has %d parents, want %d", got, parents)
			}
		})
	}
}

func TestWhatPushesDoToPullRequests(t *testing.T) {
	t.Parallel()
	s, people := start(t, fakehost.Options{})
	merged, closed := open(t, s, "one"), open(t, s, "two")
	dir := t.TempDir()
	bob := people["bob"].Token
	for _, step := range [][]string{
		{"clone", "-q", s.Clone(repo), "."}, {"merge", "-q", "--no-ff", "-m", "by hand", "origin/one"}, {"push", "-q", "origin", "HEAD:main", ":two"},
	} {
		must(git(t, dir, bob, step...))(t)
	}
	last := func(n int) fakehost.EntryKind {
		all := must(s.Timeline(repo, n))(t)
		return all[len(all)-1].Kind
	}
	if got := last(merged); got != fakehost.EntryMerged {
		t.Errorf("the merge pushed by hand shows as %s, want merged", got)
	}
	if got := last(closed); got != fakehost.EntryClosed {
		t.Errorf("the pull request of a deleted branch shows as %s, want closed", got)
	}
}
