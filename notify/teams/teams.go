// Package teams tells a Microsoft Teams channel through a Workflow that posts adaptive cards: one card per event, since a workflow's cards
// cannot be edited from outside.
//
// It promises that nothing a pull request says links, mentions anybody or formats; that a card fits the size that workflows take; and that
// the address, which is a secret as a whole, is in no error. A Workflow is safe for concurrent use.
package teams

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/atc0005/go-teams-notify/v2/adaptivecard"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/report"
)

// Pace is between two cards: more than four requests a second are refused.
const Pace = 300 * time.Millisecond

const (
	limit = 30 * time.Second // a workflow may have to wake up

	// A card may have 28 KB with all that Teams puts around it; 21 KB were found to be safe.
	sizeMost = 21 << 10
	// What is tried when that is still too large.
	sizeSmall = 8 << 10
	rowsMost  = 5
	textMost  = 900 // of one line
)

// Workflow is one channel's workflow.
type Workflow struct {
	url    string
	client *http.Client
}

var (
	_ notify.Sink    = (*Workflow)(nil)
	_ notify.Checker = (*Workflow)(nil)
)

// New returns a sink for the URL of a workflow that begins "when a Teams webhook request is received".
func New(url string) *Workflow { return &Workflow{url, notify.Client(limit)} }

// Send posts the card of m. Workflows answer 202 before they have done anything; that is all the success there is to see.
func (w *Workflow) Send(ctx context.Context, m notify.Message, _ string) (string, error) {
	var err error
	for _, most := range []int{sizeMost, sizeSmall} {
		var raw []byte
		if raw, err = encode(m.Card, most); err != nil {
			return "", err
		}
		err = notify.Post(ctx, w.client, w.url, raw, nil)
		if !tooLarge(err) {
			return "", err
		}
	}
	return "", err
}

func tooLarge(err error) bool {
	var status *notify.StatusError
	return errors.As(err, &status) && status.Code == http.StatusRequestEntityTooLarge
}

// Check looks at the shape of the address. Nothing can be asked of a workflow without posting.
func (w *Workflow) Check(context.Context) (string, error) {
	u, err := url.Parse(w.url)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("url: is not an address")
	}
	host := strings.ToLower(u.Hostname())
	for _, domain := range []string{".logic.azure.com", ".api.powerplatform.com", ".logic.azure.us", ".api.powerplatform.us"} {
		if !strings.HasSuffix(host, domain) {
			continue
		}
		if u.Query().Get("sig") == "" {
			return "", errors.New("url: has no sig= in it, so the workflow will refuse it: copy the whole address, with all after the question mark")
		}
		return "a workflow's address; whether it posts is only seen when it does", nil
	}
	return "not an address that workflows have; fine if it is a relay of yours", nil
}

// encode lays a card out in at most limit bytes: rows are left out from the end, then the rest.
func encode(c report.Card, most int) ([]byte, error) {
	quote := strings.Join(c.Quote, "\n")
	for rows := min(rowsMost, len(c.Lines)); ; rows-- {
		raw, err := message(c, max(rows, 0), quote)
		if err != nil {
			return nil, err
		}
		if len(raw) <= most {
			return raw, nil
		}
		switch {
		case quote != "":
			quote, rows = "", rows+1
		case rows > 0:
		case len(c.Waiting) > 0:
			c.Waiting = nil
		default:
			return nil, fmt.Errorf("%w: it has %d bytes", notify.ErrRefused, len(raw))
		}
	}
}

func message(c report.Card, rows int, quote string) ([]byte, error) {
	card := adaptivecard.NewCard()
	title := adaptivecard.NewTitleTextBlock(short(c.Symbol+" "+prose(c.Headline)+" · "+prose(c.Ref)), true)
	card.Body = append(card.Body, title)
	if c.Title != "" {
		card.Body = append(card.Body, adaptivecard.NewTextBlock(block(c.Title), true))
	}
	for _, l := range c.Lines[:rows] {
		card.Body = append(card.Body, adaptivecard.NewTextBlock(line(l), true))
	}
	more := prose(c.More)
	if left := len(c.Lines) - rows; left > 0 {
		more = strings.TrimPrefix(more+", ", ", ") + fmt.Sprintf("… and %d more lines", left)
	}
	facts := facts(c, more)
	if len(facts.Facts) > 0 {
		card.Body = append(card.Body, adaptivecard.Element(facts))
	}
	if strings.TrimSpace(quote) != "" {
		card.Body = append(card.Body, adaptivecard.NewCodeBlock(report.Text(quote), "PlainText", 1))
	}
	for _, l := range c.Links {
		action, err := adaptivecard.NewActionOpenURL(l.URL, l.Text)
		if err != nil {
			return nil, fmt.Errorf("link of a card: %w", err)
		}
		card.Actions = append(card.Actions, action)
	}
	card.SetFullWidth()
	m, err := adaptivecard.NewMessageFromCard(card)
	if err != nil {
		return nil, fmt.Errorf("make a card: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("make a card: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // three bytes for one would count against the size
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode a card: %w", err)
	}
	return b.Bytes(), nil
}

func facts(c report.Card, more string) adaptivecard.FactSet {
	set := adaptivecard.NewFactSet()
	add := func(title, value string) {
		if value != "" {
			set.Facts = append(set.Facts, adaptivecard.Fact{Title: title, Value: alone(value)})
		}
	}
	add("By", prose(c.Author))
	var waits []string
	for _, w := range c.Waiting {
		waits = append(waits, prose(w))
	}
	add("Waiting for", strings.Join(waits, " · "))
	add("More", more)
	return set
}

func prose(s string) string { return report.Plain(s) }

func line(spans []report.Span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(s.Text)
	}
	return block(b.String())
}

// listed is what begins a list or a quotation.
var listed = regexp.MustCompile(`^\s*(?:[-+>#]|[0-9]+[.)])`)

// block is data that is a text of its own.
func block(s string) string { return alone(prose(s)) }

// alone is a text that begins no list.
func alone(s string) string {
	s = short(s)
	if listed.MatchString(s) {
		s = "\u200b" + s
	}
	if strings.TrimSpace(s) == "" {
		return " "
	}
	return s
}

func short(s string) string {
	runes := []rune(s)
	if len(runes) <= textMost {
		return s
	}
	return string(runes[:textMost]) + "…"
}
