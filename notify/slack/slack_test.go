package slack_test

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/notifytest"
	"github.com/planlatch/planlatch/notify/slack"
	"github.com/planlatch/planlatch/vcs"
)

var update = flag.Bool("update", false, "write golden files")

const token = "xoxb-" + notifytest.Secret

func TestBot(t *testing.T) {
	t.Parallel()
	says := func(word string, want error) func(http.ResponseWriter) error {
		return func(w http.ResponseWriter) error {
			notifytest.SlackSays(w, word)
			return want
		}
	}
	notifytest.Run(t, notifytest.Harness{
		New: func(address string) notify.Sink {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			return slack.NewBot(token, "#infra", u.Scheme+"://"+u.Host+"/api")
		},
		OK: func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"ok":true,"channel":"C1","ts":"1700000000.000100"}`))
		},
		Inert: func(t *testing.T, _ *http.Request, body []byte) {
			t.Helper()
			form, err := url.ParseQuery(string(body))
			if err != nil {
				t.Fatal(err)
			}
			inert(t, append(notifytest.SlackTexts(t, form.Get("blocks")), form.Get("text")))
		},
		Other: map[string]func(http.ResponseWriter) error{
			"TooLongIsRefused":        says("msg_too_long", notify.ErrRefused),
			"InvalidBlocksAreRefused": says("invalid_blocks", notify.ErrRefused),
		},
	})
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, notifytest.Harness{
		New: func(address string) notify.Sink { return slack.NewWebhook(address) },
		OK:  func(w http.ResponseWriter) { _, _ = w.Write([]byte("ok")) },
		Inert: func(t *testing.T, _ *http.Request, body []byte) {
			t.Helper()
			var m struct {
				Text   string          `json:"text"`
				Blocks json.RawMessage `json:"blocks"`
			}
			if err := json.Unmarshal(body, &m); err != nil {
				t.Fatal(err)
			}
			inert(t, append(notifytest.SlackTexts(t, string(m.Blocks)), m.Text))
		},
		Other: map[string]func(http.ResponseWriter) error{
			"InvalidPayloadIsRefused": func(w http.ResponseWriter) error {
				http.Error(w, "invalid_payload", http.StatusBadRequest)
				return notify.ErrRefused
			},
		},
	})
}

var (
	markup  = regexp.MustCompile(`<[^>]*>?`)
	ourLink = regexp.MustCompile(`^<https?://[^|<>]+\|[^<>]*>$`)
	entity  = regexp.MustCompile(`&(?:amp|lt|gt);`)
	spans   = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	begins  = regexp.MustCompile(`(?m)^(?:>|- )`)
)

// inert fails when a text does anything beyond what we wrote: Slack acts on <…>, and formats between * _ ~ and backticks.
func inert(t *testing.T, texts []string) {
	t.Helper()
	for _, text := range texts {
		for _, m := range markup.FindAllString(text, -1) {
			if !ourLink.MatchString(m) {
				t.Errorf("%q acts in %q", m, text)
			}
		}
		if rest := entity.ReplaceAllString(text, ""); strings.ContainsAny(markup.ReplaceAllString(rest, ""), "&<>") {
			t.Errorf("an unescaped character in %q", text)
		}
		plain := spans.ReplaceAllString(markup.ReplaceAllString(text, ""), "")
		if strings.ContainsAny(plain, "`~") || begins.MatchString(plain) {
			t.Errorf("formatting in %q", text)
		}
		if strings.ContainsAny(text, "\x00\x1b\u202e\u2066\r") {
			t.Errorf("an invisible character in %q", text)
		}
	}
}

func bot(s *notifytest.Slack, channel string) *slack.Bot {
	return slack.NewBot(s.Token, channel, s.URL)
}

func TestAMessageIsEditedInPlaceAndFollowedInItsThread(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra")
	b := bot(s, "#infra")
	m := notifytest.Message()
	id, err := b.Send(t.Context(), m, "")
	if err != nil || !strings.HasPrefix(id, "C1:") {
		t.Fatalf("Send() = %q, %v", id, err)
	}
	m.Card.Headline = "needs approval"
	again, err := b.Send(t.Context(), m, id)
	if err != nil || again != id {
		t.Fatalf("Send() of the edit = %q, %v, want %q", again, err, id)
	}
	m.Thread, m.Loud = id, true
	if _, err := b.Send(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	got := s.Messages("#infra")
	if len(got) != 2 || got[0].Edits != 1 || !strings.Contains(got[0].Blocks, "needs approval") {
		t.Fatalf("messages %+v, want one that was edited and a reply", got)
	}
	if got[1].Thread != got[0].TS || !got[1].Broadcast {
		t.Errorf("reply %+v, want it in the thread of %s and shown to all", got[1], got[0].TS)
	}
}

func TestAMessageThatIsGoneIsSentAnew(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra")
	b := bot(s, "#infra")
	id, err := b.Send(t.Context(), notifytest.Message(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Delete(strings.TrimPrefix(id, "C1:"))
	again, err := b.Send(t.Context(), notifytest.Message(), id)
	if err != nil || again == id || len(s.Messages("#infra")) != 1 {
		t.Errorf("Send() = %q, %v with %d messages, want another one", again, err, len(s.Messages("#infra")))
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra", "#other")
	s.Leave("#other")
	for name, c := range map[string]struct {
		bot  *slack.Bot
		want string
	}{
		"wrong token":    {slack.NewBot("xoxb-wrong", "#infra", s.URL), "check token:"},
		"no channel":     {bot(s, "#nowhere"), "check channel:"},
		"not in channel": {bot(s, "#other"), "/invite"},
	} {
		_, err := c.bot.Send(t.Context(), notifytest.Message(), "")
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, notify.ErrRefused) {
			t.Errorf("%s: Send() = %v, want %q in it", name, err, c.want)
		}
	}
}

func TestARateLimitIsObeyed(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra")
	s.Answer(func(_ string, w http.ResponseWriter) bool {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"ok":false,"error":"ratelimited"}`))
		return true
	})
	var retry *vcs.RetryError
	if _, err := bot(s, "#infra").Send(t.Context(), notifytest.Message(), ""); !errors.As(err, &retry) || retry.After != 30*time.Second {
		t.Errorf("Send() = %v, want a RetryError of 30 s", err)
	}
}

func TestARemovedWebhookSaysSo(t *testing.T) {
	t.Parallel()
	s := notifytest.Answering(t, func(w http.ResponseWriter) { http.Error(w, "no_service", http.StatusNotFound) })
	_, err := slack.NewWebhook(s+"/services/"+notifytest.Secret).Send(t.Context(), notifytest.Message(), "")
	if err == nil || !strings.Contains(err.Error(), "no_service") || !strings.Contains(err.Error(), "make a new one") || strings.Contains(err.Error(), notifytest.Secret) {
		t.Errorf("Send() = %v, want the word, what to do and no address", err)
	}
}

func TestDoctorSeesWhoWeAreAndWhere(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra", "#other")
	s.Leave("#other")
	if got, err := bot(s, "#infra").Check(t.Context()); err != nil || got != "speaks as planlatch in Acme, in #infra" {
		t.Errorf("Check() = %q, %v", got, err)
	}
	if _, err := bot(s, "#other").Check(t.Context()); err == nil || !strings.Contains(err.Error(), "/invite @planlatch") {
		t.Errorf("Check() of a channel we are not in = %v", err)
	}
	if _, err := slack.NewBot("xoxb-wrong", "#infra", s.URL).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "check token:") {
		t.Errorf("Check() with a wrong token = %v", err)
	}
	s.Answer(func(method string, w http.ResponseWriter) bool {
		if method != "users.conversations" {
			return false
		}
		notifytest.SlackSays(w, "missing_scope")
		return true
	})
	if got, err := bot(s, "#infra").Check(t.Context()); err != nil || !strings.Contains(got, "channels:read") {
		t.Errorf("Check() without a scope = %q, %v", got, err)
	}
}

func TestAMessageReadsWell(t *testing.T) {
	t.Parallel()
	s := notifytest.NewSlack(t, "#infra")
	for name, card := range notifytest.Cards() {
		if _, err := bot(s, "#infra").Send(t.Context(), notify.Message{Card: card}, ""); err != nil {
			t.Fatal(err)
		}
		all := s.Messages("#infra")
		got := all[len(all)-1]
		golden(t, name, got.Blocks+"\n\n("+got.Text+")\n")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (go test -update):\n%s", file, got)
	}
}
