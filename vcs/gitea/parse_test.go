package gitea_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/vcs"
	adapter "github.com/planlatch/planlatch/vcs/gitea"
)

var update = flag.Bool("update", false, "record the deliveries in testdata from the real Gitea again")

// recorded is one delivery in testdata, as the real Gitea sent it, and the event it is read as.
type recorded struct {
	Event     string          `json:"event"`
	EventType string          `json:"event_type"`
	Body      json.RawMessage `json:"body"`
	Want      vcs.Event       `json:"want"`
}

func offline(t testing.TB) *adapter.Host {
	t.Helper()
	h, err := adapter.New(adapter.Options{URL: "https://git.example.com", Token: "token", WebhookSecret: secret})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}

func signed(event, eventType string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-Gitea-Event", event)
	h.Set("X-Gitea-Event-Type", eventType)
	h.Set("X-Gitea-Delivery", "6b9d0e3c-0000-4000-8000-000000000001")
	h.Set("X-Gitea-Signature", hex.EncodeToString(mac.Sum(nil)))
	return h
}

func TestParseReadsRecordedDeliveries(t *testing.T) {
	t.Parallel()
	if *update {
		record(t)
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 8 {
		t.Fatalf("testdata has %d deliveries, %v, want at least 8: record them with -update", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			r := load(t, file)
			got, err := offline(t).Parse(signed(r.Event, r.EventType, r.Body), r.Body)
			if err != nil {
				t.Fatalf("Parse() = %v", err)
			}
			if diff := cmp.Diff(r.Want, got); diff != "" {
				t.Errorf("Parse() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func load(t testing.TB, file string) recorded {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return r
}

// record writes one delivery of each kind that is ours to testdata. What they are read as is for the eyes of whoever reviews the change.
func record(t *testing.T) {
	t.Helper()
	s := newScene(t, true)
	seen := map[string]bool{}
	found := make(chan recorded, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r := recorded{Event: req.Header.Get("X-Gitea-Event"), EventType: req.Header.Get("X-Gitea-Event-Type"), Body: body}
		e, err := offline(t).Parse(signed(r.Event, r.EventType, body), body)
		if r.Want = e; err == nil {
			found <- r
		}
	}))
	t.Cleanup(server.Close)
	s.Hook(t, s.vcs, server.URL)
	s.author.Open(t, s.vcs, "main", "change", "Back")
	s.author.Push(t, s.vcs, "change", "more.tf", "# more\n")
	s.author.SetDraft(t, s.vcs, s.number, true)
	s.reviewer.Comment(t, s.vcs, s.number, "planlatch plan")
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewCommented, "planlatch plan")
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewChanges, "no")
	s.reviewer.Review(t, s.vcs, s.number, vcs.ReviewApproved, "planlatch apply")
	s.reviewer.SetStatus(t, s.vcs, s.head, "ci/build", vcs.StatusFailure)
	s.author.Push(t, s.vcs, "gone", "gone.tf", "# gone\n")
	s.author.DeleteBranch(t, s.vcs, "gone")
	deadline := time.After(20 * time.Second)
	for len(seen) < 10 {
		select {
		case r := <-found:
			name := strings.Trim(r.Event+"-"+r.Want.Action, "-")
			if seen[name] {
				continue
			}
			seen[name] = true
			text, err := json.MarshalIndent(r, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("testdata", name+".json"), append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatalf("recorded only %v", seen)
		}
	}
}

const repo = `"repository":{"id":7,"full_name":"acme/infra","default_branch":"main","private":true},"sender":{"id":3,"login":"alice"}`

func TestParseTellsWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ event, eventType, body, want string }{
		"another event":      {"release", "release", `{}`, "event release"},
		"a made-up event":    {"release-the-kraken", "", `{}`, "event of another kind"},
		"undecoded":          {"fork", "fork", `not json`, "event fork"},
		"labels by header":   {"pull_request", "pull_request_label", `not json`, "event label"},
		"labels by body":     {"pull_request", "", `{"action":"label_updated",` + repo + `}`, "event label"},
		"assigned":           {"pull_request", "pull_request_assign", `not json`, "event assign"},
		"review requested":   {"pull_request", "pull_request_review_request", `not json`, "event review request"},
		"unknown action":     {"pull_request", "pull_request", `{"action":"sneezed",` + repo + `}`, "pull request action of another kind"},
		"issue by header":    {"issue_comment", "issue_comment", `not json`, "comment on an issue"},
		"issue by body":      {"issue_comment", "", `{"action":"created","issue":{"number":1},"comment":{"id":1,"user":{"id":3,"login":"a"}},` + repo + `}`, "comment on an issue"},
		"edited comment":     {"issue_comment", "pull_request_comment", `{"action":"edited","is_pull":true,` + repo + `}`, "comment edited"},
		"deleted comment":    {"issue_comment", "pull_request_comment", `{"action":"deleted","is_pull":true,` + repo + `}`, "comment deleted"},
		"comment of Actions": {"issue_comment", "pull_request_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":{"id":1,"user":{"id":-2,"login":"gitea-actions"}},` + repo + `}`, "comment of a bot"},
		"comment of a bot":   {"issue_comment", "pull_request_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":{"id":1,"user":{"id":9,"login":"renovate[bot]"}},` + repo + `}`, "comment of a bot"},
		"comment of a ghost": {"issue_comment", "pull_request_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":{"id":1,"user":{"id":-1,"login":"Ghost"}},` + repo + `}`, "comment of nobody"},
		"comment of null":    {"issue_comment", "pull_request_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":{"id":1,"user":null},` + repo + `}`, "comment of nobody"},
		"migrated comment":   {"issue_comment", "pull_request_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":{"id":1,"original_author":"bob","user":{"id":3,"login":"a"}},` + repo + `}`, "comment of nobody"},
		"tag":                {"push", "push", `{"ref":"refs/tags/v1",` + repo + `}`, "push of a tag"},
		"deleted tag":        {"delete", "delete", `{"ref":"v1","ref_type":"tag",` + repo + `}`, "push of a tag"},
		"another ref":        {"push", "push", `{"ref":"refs/notes/x",` + repo + `}`, "push of another ref"},
		"our trial status":   {"status", "status", `{"context":"planlatch-trial/plan","state":"success","sha":"x",` + repo + `}`, "status of our own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ignored *vcs.IgnoredError
			e, err := offline(t).Parse(signed(c.event, c.eventType, []byte(c.body)), []byte(c.body))
			if !errors.As(err, &ignored) || ignored.Reason != c.want {
				t.Errorf("Parse() = %+v, %v, want ignored: %s", e, err, c.want)
			}
		})
	}
}

func TestParseRefusesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ event, body string }{
		"no event":              {"", `{}`},
		"no json":               {"push", `{`},
		"empty":                 {"push", ``},
		"null":                  {"push", `null`},
		"a list":                {"push", `[]`},
		"no repository":         {"push", `{"ref":"refs/heads/main"}`},
		"repository without id": {"push", `{"repository":{"full_name":"acme/infra"}}`},
		"odd repository name":   {"push", `{"repository":{"id":1,"full_name":"acme/../x"}}`},
		"push without commits":  {"push", `{"ref":"refs/heads/main",` + repo + `}`},
		"push without branch":   {"push", `{"ref":"refs/heads/","before":"x",` + repo + `}`},
		"pull without number":   {"pull_request", `{"action":"opened","pull_request":{},` + repo + `}`},
		"pull is null":          {"pull_request", `{"action":"opened","pull_request":null,` + repo + `}`},
		"negative number":       {"pull_request", `{"action":"opened","pull_request":{"number":-1},` + repo + `}`},
		"huge number":           {"pull_request", `{"action":"opened","pull_request":{"number":9223372036854775807},` + repo + `}`},
		"comment is null":       {"issue_comment", `{"action":"created","is_pull":true,"issue":{"number":1},"comment":null,` + repo + `}`},
		"review without pull":   {"pull_request_approved", `{"action":"reviewed",` + repo + `}`},
		"status without commit": {"status", `{"context":"ci","state":"success","sha":"main",` + repo + `}`},
		"delete of what":        {"delete", `{"ref":"x",` + repo + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := offline(t).Parse(signed(c.event, "", []byte(c.body)), []byte(c.body))
			if !errors.Is(err, vcs.ErrMalformed) {
				t.Errorf("Parse() = %+v, %v, want ErrMalformed", e, err)
			}
		})
	}
}

func TestParseTakesEitherSignature(t *testing.T) {
	t.Parallel()
	r := load(t, "testdata/push.json")
	good := signed(r.Event, r.EventType, r.Body)
	sum := good.Get("X-Gitea-Signature")
	hub := good.Clone()
	hub.Del("X-Gitea-Signature")
	hub.Set("X-Hub-Signature-256", "sha256="+sum)
	if _, err := offline(t).Parse(hub, r.Body); err != nil {
		t.Errorf("Parse(X-Hub-Signature-256) = %v", err)
	}
	mixed := good.Clone()
	mixed.Set("X-Gitea-Signature", strings.Repeat("0", 64))
	mixed.Set("X-Hub-Signature-256", "sha256="+sum)
	if _, err := offline(t).Parse(mixed, r.Body); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Parse(a wrong signature and a right one) = %v, want ErrSignature", err)
	}
	old := good.Clone()
	old.Del("X-Gitea-Signature")
	old.Set("X-Hub-Signature", "sha1=0000000000000000000000000000000000000000")
	if _, err := offline(t).Parse(old, r.Body); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Parse(SHA-1 alone) = %v, want ErrSignature", err)
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Gitea-Signature": {sum}}
	if _, err := offline(t).Parse(form, []byte("payload=x")); !errors.Is(err, vcs.ErrSignature) || !strings.Contains(err.Error(), "application/json") {
		t.Errorf("Parse(a form) = %v, want ErrSignature that names the content type", err)
	}
	nameless := good.Clone()
	nameless.Del("X-Gitea-Delivery")
	if _, err := offline(t).Parse(nameless, r.Body); !errors.Is(err, vcs.ErrMalformed) {
		t.Errorf("Parse(without a delivery id) = %v, want ErrMalformed", err)
	}
}

// FuzzParse feeds correctly signed bodies: whoever knows the secret may still send anything.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		r := load(f, file)
		f.Add(r.Event, r.EventType, []byte(r.Body))
	}
	f.Add("pull_request", "", []byte(`{"action":"opened","pull_request":{"number":1e99}}`))
	f.Add("issue_comment", "x", []byte(`{"comment":{"user":[]}}`))
	h := offline(f)
	f.Fuzz(func(t *testing.T, event, eventType string, body []byte) {
		e, err := h.Parse(signed(event, eventType, body), body)
		var ignored *vcs.IgnoredError
		switch {
		case err == nil:
			if e.Kind == "" || e.Delivery == "" || e.Repo.ID == "" || e.Repo.Name == "" {
				t.Errorf("Parse() = %+v lacks what every event has", e)
			}
			if e.Kind == vcs.EventComment && (e.Comment == nil || e.Comment.Author.ID == "" || e.Comment.Author.Bot || e.Number <= 0) {
				t.Errorf("Parse() = %+v is a comment of nobody", e)
			}
		case errors.As(err, &ignored):
			if len(ignored.Reason) > 60 {
				t.Errorf("the reason is not a constant: %q", ignored.Reason)
			}
		case !errors.Is(err, vcs.ErrMalformed):
			t.Errorf("Parse() = %v, want one of the port's errors", err)
		}
		if _, err := h.Parse(http.Header{"X-Gitea-Event": {event}, "X-Gitea-Signature": {eventType}}, body); !errors.Is(err, vcs.ErrSignature) {
			t.Errorf("Parse(unsigned) = %v, want ErrSignature", err)
		}
	})
}

func BenchmarkParseRefusesAndIgnores(b *testing.B) {
	h := offline(b)
	r := load(b, "testdata/push.json")
	header := signed("release", "release", r.Body)
	b.Run("ignored", func(b *testing.B) {
		for b.Loop() {
			_, _ = h.Parse(header, r.Body)
		}
	})
	b.Run("unsigned", func(b *testing.B) {
		for b.Loop() {
			_, _ = h.Parse(http.Header{}, r.Body)
		}
	})
}
