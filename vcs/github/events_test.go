package github_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/github"
)

func parser(t testing.TB) *github.Host {
	t.Helper()
	h, err := github.New(github.Options{Token: "t", WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// signed gives the headers GitHub would send, with a fixed delivery id.
func signed(event string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return h
}

func payload(t testing.TB, name string) (event string, body []byte) {
	t.Helper()
	if !strings.Contains(name, "/") {
		name = "payloads/" + name
	}
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	event, _, _ = strings.Cut(filepath.Base(name), ".")
	return event, body
}

// payloads names the files in these directories of testdata, without their ends.
func payloads(t testing.TB, dirs ...string) []string {
	t.Helper()
	var names []string
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no payloads in %s: %v", dir, err)
		}
		for _, file := range files {
			names = append(names, dir+"/"+strings.TrimSuffix(filepath.Base(file), ".json"))
		}
	}
	return names
}

func at(clock string) time.Time {
	d, _ := time.Parse(time.RFC3339, "2026-03-02T"+clock+"Z")
	return d
}

func TestParse(t *testing.T) {
	t.Parallel()
	const head, base = "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
	bob, alice := vcs.User{ID: "583231", Login: "bob"}, vcs.User{ID: "1024025", Login: "alice"}
	actions := vcs.User{ID: "41898282", Login: "github-actions[bot]", Bot: true}
	for file, want := range map[string]vcs.Event{
		"pull_request.opened":        {Kind: vcs.EventPull, Number: 7, Action: "opened", Sender: bob, At: at("09:15:01")},
		"pull_request.opened_ghost":  {Kind: vcs.EventPull, Number: 7, Action: "opened", At: at("09:15:01")},
		"pull_request.synchronize":   {Kind: vcs.EventPull, Number: 7, Action: "synchronize", Sender: bob, At: at("09:15:01")},
		"pull_request.edited_base":   {Kind: vcs.EventPull, Number: 7, Action: "edited", Sender: bob, At: at("09:15:01")},
		"pull_request.edited_title":  {Kind: vcs.EventPull, Number: 7, Action: "edited", Sender: bob, At: at("09:15:01")},
		"pull_request.closed_merged": {Kind: vcs.EventPull, Number: 7, Action: "closed", Sender: alice, At: at("10:00:00")},
		"issue_comment.created": {Kind: vcs.EventComment, Number: 7, Action: "created", Sender: alice, At: at("09:30:00"), Comment: &vcs.Comment{
			ID: "1296342210", Author: alice, Body: "planlatch apply -p network\r\n", Created: at("09:30:00"),
		}},
		"pull_request_review.submitted": {Kind: vcs.EventReview, Number: 7, Action: "submitted", Sender: alice, At: at("09:45:00"), Comment: &vcs.Comment{
			ID: "review-1928374655", Author: alice, Body: "Good.\n\nplanlatch apply", Created: at("09:45:00"), Review: true,
		}},
		"pull_request_review.submitted_without_body": {Kind: vcs.EventReview, Number: 7, Action: "submitted", Sender: alice, At: at("09:45:00")},
		"pull_request_review.submitted_by_bot":       {Kind: vcs.EventReview, Number: 7, Action: "submitted", Sender: actions, At: at("09:45:00")},
		"pull_request_review.edited":                 {Kind: vcs.EventReview, Number: 7, Action: "edited", Sender: alice, At: at("09:15:01")},
		"pull_request_review.dismissed":              {Kind: vcs.EventReview, Number: 7, Action: "dismissed", Sender: bob, At: at("09:15:01")},
		"push.branch":                                {Kind: vcs.EventPush, Sender: bob, Push: &vcs.Push{Branch: "feature/wider", Before: base, After: head}},
		"push.deleted":                               {Kind: vcs.EventPush, Sender: bob, Push: &vcs.Push{Branch: "wider", Before: head, After: strings.Repeat("0", 40)}},
		"status.success":                             {Kind: vcs.EventStatus, Action: "success", Sender: bob, SHA: head, At: at("09:50:00")},
		"merge_group.checks_requested": {Kind: vcs.EventQueue, Action: "checks_requested", Sender: bob, Queue: &vcs.Queue{
			Branch: "main", Base: base, Head: head, Ref: "refs/heads/gh-readonly-queue/main/pr-7-" + base,
		}},
		"check_run.completed": {Kind: vcs.EventStatus, Action: "completed", Sender: actions, SHA: head, At: at("09:55:00")},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			event, body := payload(t, file)
			got, err := parser(t).Parse(signed(event, body), body)
			if err != nil {
				t.Fatalf("Parse() = %v", err)
			}
			want.Delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
			want.Repo = vcs.Repo{ID: "186853002", Name: "acme/infra", DefaultBranch: "main", Private: true}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Parse() differs (-want +got):\n%s", d)
			}
			form := []byte("payload=" + url.QueryEscape(string(body)))
			header := signed(event, form)
			header.Set("Content-Type", "application/x-www-form-urlencoded")
			if got, err := parser(t).Parse(header, form); err != nil || !cmp.Equal(want, got) {
				t.Errorf("Parse(form) = %v, %v; want the same event", got, err)
			}
		})
	}
}

func TestParseIgnoresWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for file, reason := range map[string]string{
		"pull_request.edited_body":       "pull request description edited",
		"pull_request.labeled":           "pull request action of another kind",
		"issue_comment.created_on_issue": "comment on an issue",
		"issue_comment.created_by_bot":   "comment of a bot",
		"issue_comment.edited":           "comment edited",
		"issue_comment.deleted":          "comment deleted",
		"push.tag":                       "push of a tag",
		"push.queue":                     "push of a merge queue",
		"status.pending":                 "status pending",
		"status.own":                     "status of our own",
		"check_run.created":              "check run not completed",
		"check_run.own":                  "status of our own",
		"ping":                           "event ping",
		"merge_group.destroyed":          "merge group destroyed",
	} {
		event, body := payload(t, file)
		got, err := parser(t).Parse(signed(event, body), body)
		var ignored *vcs.IgnoredError
		if !errors.As(err, &ignored) || ignored.Reason != reason || !cmp.Equal(got, vcs.Event{}) {
			t.Errorf("Parse(%s) = %v, %v; want ignored: %s", file, got, err, reason)
		}
	}
	body := []byte("not even JSON")
	var ignored *vcs.IgnoredError
	if _, err := parser(t).Parse(signed("gollum", body), body); !errors.As(err, &ignored) || ignored.Reason != "event of another kind" {
		t.Errorf("Parse(gollum) = %v; want ignored before decoding", err)
	}
}

func TestParseRefusesBadSignatures(t *testing.T) {
	t.Parallel()
	event, body := payload(t, "pull_request.opened")
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write(body)
	sha1only := "sha1=" + hex.EncodeToString(mac.Sum(nil))
	good := signed(event, body).Get("X-Hub-Signature-256")
	for what, header := range map[string]http.Header{
		"none":                      {},
		"empty":                     {"X-Hub-Signature-256": {""}},
		"wrong":                     {"X-Hub-Signature-256": {"sha256=" + strings.Repeat("0", 64)}},
		"truncated":                 {"X-Hub-Signature-256": {good[:len(good)-2]}},
		"too long":                  {"X-Hub-Signature-256": {good + "00"}},
		"not hexadecimal":           {"X-Hub-Signature-256": {"sha256=zz"}},
		"without its prefix":        {"X-Hub-Signature-256": {strings.TrimPrefix(good, "sha256=")}},
		"only SHA-1":                {"X-Hub-Signature": {sha1only}},
		"SHA-1 in the place of 256": {"X-Hub-Signature-256": {sha1only}},
		"of another body":           {"X-Hub-Signature-256": {signed(event, append([]byte(" "), body...)).Get("X-Hub-Signature-256")}},
	} {
		header.Set("X-GitHub-Event", event)
		header.Set("X-GitHub-Delivery", "1")
		if _, err := parser(t).Parse(header, body); !errors.Is(err, vcs.ErrSignature) {
			t.Errorf("Parse(signature %s) = %v, want ErrSignature", what, err)
		}
	}
	ping := []byte("{}")
	if _, err := parser(t).Parse(http.Header{"X-Github-Event": {"ping"}}, ping); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Parse(unsigned ping) = %v, want ErrSignature: ignored events are signed as well", err)
	}
}

func TestParseRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	const repo = `"repository":{"id":1,"full_name":"a/b"}`
	for what, c := range map[string]struct{ event, body string }{
		"no event header":             {"", `{}`},
		"empty":                       {"push", ``},
		"not JSON":                    {"push", `ref=refs/heads/main`},
		"null":                        {"push", `null`},
		"a list":                      {"push", `[]`},
		"no repository":               {"push", `{"ref":"refs/heads/main"}`},
		"null repository":             {"push", `{"repository":null}`},
		"repository without id":       {"push", `{"repository":{"full_name":"a/b"}}`},
		"repository with a path":      {"push", `{"repository":{"id":1,"full_name":"../b"}}`},
		"push without commits":        {"push", `{"ref":"refs/heads/main",` + repo + `}`},
		"no pull request":             {"pull_request", `{"action":"opened",` + repo + `}`},
		"null pull request":           {"pull_request", `{"action":"opened","pull_request":null,` + repo + `}`},
		"pull request without number": {"pull_request", `{"action":"opened","pull_request":{},` + repo + `}`},
		"negative number":             {"pull_request", `{"action":"opened","number":-1,"pull_request":{},` + repo + `}`},
		"comment without issue":       {"issue_comment", `{"action":"created","comment":{"id":1},` + repo + `}`},
		"comment without author":      {"issue_comment", `{"action":"created","issue":{"number":1,"pull_request":{}},"comment":{"id":1,"user":null},` + repo + `}`},
		"comment without number":      {"issue_comment", `{"action":"created","issue":{"pull_request":{}},"comment":{"id":1,"user":{"id":1,"login":"x"}},` + repo + `}`},
		"review without review":       {"pull_request_review", `{"action":"submitted","pull_request":{"number":1},` + repo + `}`},
		"status without commit":       {"status", `{"state":"success","context":"ci",` + repo + `}`},
		"check run without commit":    {"check_run", `{"action":"completed","check_run":{"name":"ci"},` + repo + `}`},
		"check run without itself":    {"check_run", `{"action":"completed",` + repo + `}`},
		"merge group without itself":  {"merge_group", `{"action":"checks_requested",` + repo + `}`},
		"merge group without commits": {"merge_group", `{"action":"checks_requested","merge_group":{"head_ref":"refs/heads/q","base_ref":"refs/heads/main"},` + repo + `}`},
		"merge group of a tag":        {"merge_group", `{"action":"checks_requested","merge_group":{"head_ref":"refs/heads/q","base_ref":"refs/tags/v1"},` + repo + `}`},
		"number of another type":      {"pull_request", `{"action":"opened","number":"7",` + repo + `}`},
	} {
		if got, err := parser(t).Parse(signed(c.event, []byte(c.body)), []byte(c.body)); !errors.Is(err, vcs.ErrMalformed) {
			t.Errorf("Parse(%s) = %v, %v; want ErrMalformed", what, got, err)
		}
	}
	event, body := payload(t, "pull_request.opened")
	header := signed(event, body)
	header.Del("X-GitHub-Delivery")
	if _, err := parser(t).Parse(header, body); !errors.Is(err, vcs.ErrMalformed) {
		t.Errorf("Parse(no delivery id) = %v, want ErrMalformed", err)
	}
}

func TestTheFakesDeliveriesParse(t *testing.T) {
	t.Parallel()
	w := setup(t, fakehost.Options{})
	got := make(chan vcs.Event, 100)
	server := listen(t, func(rw http.ResponseWriter, r *http.Request, body []byte) {
		e, err := w.host.Parse(r.Header, body)
		var ignored *vcs.IgnoredError
		if err != nil && !errors.As(err, &ignored) {
			t.Errorf("Parse(%s) = %v", r.Header.Get("X-GitHub-Event"), err)
		} else if err == nil {
			got <- e
		}
		rw.WriteHeader(http.StatusAccepted)
	})
	must(w.AddWebhook(server, secret))(t)
	n := w.open("one")
	must(w.Comment(name, n, "alice", "planlatch plan"))(t)
	must(w.Review(name, n, "carol", fakehost.Approved, "planlatch apply"))(t)
	ok(t, w.SetDraft(name, n, "bob", true))
	ok(t, w.SetDraft(name, n, "bob", false))
	ok(t, w.SetStatus(name, "carol", must(w.Tip(name, "one"))(t), fakehost.Status{Context: "ci", State: "success"}))
	must(w.Merge(name, n, "alice", fakehost.Squash))(t)
	queued := w.open("two")
	ok(t, w.SetStatus(name, "carol", must(w.Tip(name, "two"))(t), fakehost.Status{Context: "ci", State: "success"}))
	ok(t, w.Protect(name, "main", fakehost.Protection{Checks: []string{"ci"}, Queue: true}))
	ok(t, w.Enqueue(name, queued, "carol"))
	group, _ := w.Group(name, queued)
	ok(t, w.SetStatus(name, "carol", group.Head, fakehost.Status{Context: "ci", State: "success"}))
	ok(t, w.Flush(t.Context()))
	close(got)
	var kinds []string
	for e := range got {
		kinds = append(kinds, string(e.Kind)+" "+e.Action)
		if want := (vcs.Queue{Branch: "main", Base: group.Base, Head: group.Head, Ref: group.Ref}); e.Kind == vcs.EventQueue && *e.Queue != want {
			t.Errorf("Parse().Queue = %v, want %v", *e.Queue, want)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("Marshal(%v) = %v", e, err)
		}
	}
	want := []string{"push ", "pull opened", "comment created", "review submitted", "pull converted_to_draft", "pull ready_for_review",
		"status success", "pull closed", "push ", "push ", "pull opened", "status success", "queue checks_requested", "status success",
		"pull closed", "push "}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Errorf("events differ (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range payloads(f, "payloads", "examples") {
		event, body := payload(f, file)
		f.Add(event, "application/json", body)
	}
	f.Add("push", "application/x-www-form-urlencoded", []byte("payload=%7B%7D"))
	f.Add("pull_request", "", []byte(`{"pull_request":{"number":1e400}}`))
	h := parser(f)
	f.Fuzz(func(t *testing.T, event, kind string, body []byte) {
		header := signed(event, body)
		header.Set("Content-Type", kind)
		e, err := h.Parse(header, body)
		var ignored *vcs.IgnoredError
		switch {
		case errors.As(err, &ignored), errors.Is(err, vcs.ErrMalformed):
		case err != nil:
			t.Errorf("Parse() = %v, want an ignored or malformed event", err)
		case e.Kind == "" || e.Delivery == "" || e.Repo.ID == "" || strings.Count(e.Repo.Name, "/") != 1:
			t.Errorf("Parse() = %+v, want an event with kind, delivery and repository", e)
		case e.Number <= 0 && (e.Kind == vcs.EventPull || e.Kind == vcs.EventComment || e.Kind == vcs.EventReview):
			t.Errorf("Parse() = %+v, want a pull request number", e)
		case e.Kind == vcs.EventComment && e.Comment == nil, e.Kind == vcs.EventPush && e.Push == nil, e.Kind == vcs.EventQueue && e.Queue == nil, e.Kind == vcs.EventStatus && e.SHA == "":
			t.Errorf("Parse() = %+v, want its part", e)
		}
	})
}
