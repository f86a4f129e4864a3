package teams_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/notifytest"
	"github.com/planlatch/planlatch/notify/teams"
	"github.com/planlatch/planlatch/report"
)

var update = flag.Bool("update", false, "write golden files")

// accepted is how workflows answer: at once, with nothing.
func accepted(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }

func TestWorkflow(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, notifytest.Harness{
		New:   func(address string) notify.Sink { return teams.New(address) },
		OK:    accepted,
		Inert: func(t *testing.T, _ *http.Request, body []byte) { t.Helper(); inert(t, body) },
		Other: map[string]func(http.ResponseWriter) error{
			"OKIsSuccessToo": func(w http.ResponseWriter) error {
				_, _ = w.Write([]byte("1"))
				return nil
			},
			"ABadCardIsRefused": func(w http.ResponseWriter) error {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":{"code":"TriggerInputSchemaMismatch","message":"The input body for trigger 'manual' of type 'Request' did not match its schema definition."}}`))
				return notify.ErrRefused
			},
			"AlwaysTooLargeIsRefused": func(w http.ResponseWriter) error {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return notify.ErrRefused
			},
		},
	})
}

// card is what a workflow reads of a message.
type card struct {
	Type        string `json:"type"`
	Attachments []struct {
		ContentType string `json:"contentType"`
		Content     struct {
			Type    string `json:"type"`
			Version string `json:"version"`
			Body    []struct {
				Type    string `json:"type"`
				Text    string `json:"text"`
				Snippet string `json:"codeSnippet"`
				Facts   []struct{ Title, Value string }
			} `json:"body"`
			Actions []struct{ Type, Title, URL string } `json:"actions"`
			MSTeams struct {
				Entities []any `json:"entities"`
			} `json:"msteams"`
		} `json:"content"`
	} `json:"attachments"`
}

func read(t *testing.T, body []byte) card {
	t.Helper()
	var c card
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatal(err)
	}
	if c.Type != "message" || len(c.Attachments) != 1 || c.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" || c.Attachments[0].Content.Type != "AdaptiveCard" {
		t.Fatalf("not a message with one adaptive card: %s", body)
	}
	return c
}

var acts = regexp.MustCompile(`\]\(|\]\[|\*|~|` + "`" + `|://|(?i:www\.[a-z])|\{\{|\$\{|@\w|(?:^|\n)\s*(?:[-+#>]|\d+[.)])\s|(?:^|[^\pL\pN])_|_(?:[^\pL\pN]|$)`)

// inert fails when a text of a card formats, links or calls, and when the card is too large.
func inert(t *testing.T, body []byte) {
	t.Helper()
	if len(body) > 21<<10 {
		t.Errorf("a card of %d bytes", len(body))
	}
	content := read(t, body).Attachments[0].Content
	if len(content.MSTeams.Entities) > 0 {
		t.Error("somebody is mentioned")
	}
	for _, e := range content.Body {
		texts := []string{e.Text}
		for _, f := range e.Facts {
			texts = append(texts, f.Value)
		}
		for _, text := range texts {
			if m := acts.FindString(text); m != "" {
				t.Errorf("%q acts in %q", m, text)
			}
		}
	}
	for _, a := range content.Actions {
		if !strings.HasPrefix(a.URL, "http") || a.Title != "Pull request" && a.Title != "Run" {
			t.Errorf("a button %q to %q", a.Title, a.URL)
		}
	}
}

// workflow keeps what it is sent, and refuses what is larger than most.
func workflow(t *testing.T, most int) (address string, got func() [][]byte) {
	t.Helper()
	var all [][]byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body) > most {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		all = append(all, body)
		accepted(w)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() [][]byte { return all }
}

func TestALargeCardIsCutAtWholeLines(t *testing.T) {
	t.Parallel()
	m := notifytest.Message()
	m.Card.Quote = []string{strings.Repeat("x", 40<<10)}
	for range 12 {
		m.Card.Lines = append(m.Card.Lines, []report.Span{{Text: strings.Repeat("word ", 3000)}})
	}
	for _, most := range []int{28 << 10, 9 << 10} {
		address, got := workflow(t, most)
		if _, err := teams.New(address).Send(t.Context(), m, ""); err != nil {
			t.Fatal(err)
		}
		body := got()[0]
		if len(body) > 21<<10 || !bytes.Contains(body, []byte("more lines")) || !bytes.Contains(body, []byte("https://x.example/runs/1")) {
			t.Errorf("%d bytes that do not say what is missing and where it is: %.300s", len(body), body)
		}
	}
}

func TestACardReadsWell(t *testing.T) {
	t.Parallel()
	for name, c := range notifytest.Cards() {
		address, got := workflow(t, 28<<10)
		if _, err := teams.New(address).Send(t.Context(), notify.Message{Card: c}, ""); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, got()[0], "", "  "); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, b.Bytes()) {
			t.Errorf("%s differs (go test -update):\n%s", file, b.Bytes())
		}
	}
}

func TestTheShapeOfTheAddressIsChecked(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://prod-12.westeurope.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?api-version=2016-06-01&sig=x":                    true,
		"https://default1.1f.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/a/triggers/manual/paths/invoke?sig=x": true,
		"https://prod-12.westeurope.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke":                                                 false,
		"https://relay.example.com/teams": true,
	} {
		if got, err := teams.New(address).Check(t.Context()); (err == nil) != ok {
			t.Errorf("Check() of %s = %q, %v, want ok %v", address, got, err, ok)
		}
	}
}
