package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Slack is a workspace with its Web API: it answers as Slack does, 200 with ok:false and a word where it refuses, 429 with Retry-After
// when told to.
type Slack struct {
	URL   string // of the API
	Token string

	mu       sync.Mutex
	channels map[string]*slackChannel // by id
	next     int
	answer   func(method string, w http.ResponseWriter) bool
	said     chan struct{}
}

type slackChannel struct {
	id, name string
	in       bool // the bot is a member
	messages []*SlackMessage
}

// SlackMessage is a message as it stands in a channel.
type SlackMessage struct {
	Channel, TS, Thread string
	Broadcast           bool
	Text                string // of the notification
	Blocks              string // the text of all blocks, one a line
	Edits               int
}

// NewSlack starts a workspace. The bot is in the channels named; others it does not see.
func NewSlack(t *testing.T, channels ...string) *Slack {
	t.Helper()
	s := &Slack{Token: "xoxb-" + Secret, channels: map[string]*slackChannel{}, said: make(chan struct{}, 1)}
	for i, name := range channels {
		id := fmt.Sprintf("C%d", i+1)
		s.channels[id] = &slackChannel{id: id, name: strings.TrimPrefix(name, "#"), in: true}
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/api/"
	return s
}

// Said yields after a call.
func (s *Slack) Said() <-chan struct{} { return s.said }

// Answer lets f answer calls instead; f returns false to leave one alone. Nil: nobody does.
func (s *Slack) Answer(f func(method string, w http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Leave takes the bot out of a channel.
func (s *Slack) Leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(name).in = false
}

// Delete deletes a message.
func (s *Slack) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.channels {
		for i, m := range c.messages {
			if m.TS == ts {
				c.messages = append(c.messages[:i:i], c.messages[i+1:]...)
				return
			}
		}
	}
}

// Messages are those of a channel, oldest first.
func (s *Slack) Messages(name string) []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []SlackMessage
	if c := s.find(name); c != nil {
		for _, m := range c.messages {
			all = append(all, *m)
		}
	}
	return all
}

func (s *Slack) find(name string) *slackChannel {
	for _, c := range s.channels {
		if c.id == name || c.name == strings.TrimPrefix(name, "#") {
			return c
		}
	}
	return nil
}

// ServeHTTP is the Web API.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		select {
		case s.said <- struct{}{}:
		default:
		}
	}()
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if s.answer != nil && s.answer(method, w) {
		return
	}
	if err := r.ParseForm(); err != nil {
		slackNo(w, "invalid_form_data")
		return
	}
	token := r.Form.Get("token")
	if token == "" {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	if token != s.Token {
		slackNo(w, map[bool]string{true: "not_authed", false: "invalid_auth"}[token == ""])
		return
	}
	switch method {
	case "auth.test":
		slackYes(w, map[string]any{"user": "planlatch", "team": "Acme", "user_id": "U1", "team_id": "T1", "bot_id": "B1"})
	case "users.conversations":
		var all []map[string]any
		for _, c := range s.channels {
			if c.in {
				all = append(all, map[string]any{"id": c.id, "name": c.name})
			}
		}
		slackYes(w, map[string]any{"channels": all, "response_metadata": map[string]any{"next_cursor": ""}})
	case "chat.postMessage", "chat.update":
		s.write(w, r, method == "chat.update")
	default:
		slackNo(w, "unknown_method")
	}
}

func (s *Slack) write(w http.ResponseWriter, r *http.Request, update bool) {
	name := r.Form.Get("channel")
	c := s.channels[name]
	if c == nil && !update { // a name will do for a post only
		c = s.find(name)
	}
	texts, word := readBlocks(r.Form.Get("blocks"))
	switch {
	case c == nil:
		slackNo(w, "channel_not_found")
		return
	case !c.in:
		slackNo(w, "not_in_channel")
		return
	case word != "":
		slackNo(w, word)
		return
	case r.Form.Get("text") == "" && len(texts) == 0:
		slackNo(w, "no_text")
		return
	}
	m := &SlackMessage{Channel: c.id, Text: r.Form.Get("text"), Blocks: strings.Join(texts, "\n")}
	if update {
		for _, old := range c.messages {
			if old.TS == r.Form.Get("ts") {
				old.Text, old.Blocks = m.Text, m.Blocks
				old.Edits++
				slackYes(w, map[string]any{"channel": c.id, "ts": old.TS})
				return
			}
		}
		slackNo(w, "message_not_found")
		return
	}
	s.next++
	m.TS = fmt.Sprintf("17000000%02d.000100", s.next)
	m.Thread, m.Broadcast = r.Form.Get("thread_ts"), r.Form.Get("reply_broadcast") == "true"
	c.messages = append(c.messages, m)
	slackYes(w, map[string]any{"channel": c.id, "ts": m.TS})
}

// readBlocks returns the texts of blocks, or the word with which Slack refuses them.
func readBlocks(raw string) (texts []string, refusal string) {
	if raw == "" {
		return nil, ""
	}
	type text struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Verbatim bool   `json:"verbatim"`
	}
	var blocks []struct {
		Type     string `json:"type"`
		Text     *text  `json:"text"`
		Elements []text `json:"elements"`
	}
	if err := json.Unmarshal([]byte(raw), &blocks); err != nil {
		return nil, "invalid_blocks_format"
	}
	all := 0
	for _, b := range blocks {
		parts := b.Elements
		switch {
		case b.Type == "section" && b.Text != nil:
			parts = append(parts, *b.Text)
		case b.Type == "context" && len(parts) > 0 && len(parts) <= 10:
		default:
			return nil, "invalid_blocks"
		}
		for _, p := range parts {
			n := utf8.RuneCountInString(p.Text)
			if n == 0 || n > 3000 || p.Type != "mrkdwn" {
				return nil, "invalid_blocks"
			}
			all += n
			texts = append(texts, p.Text)
		}
	}
	if len(blocks) > 50 {
		return nil, "invalid_blocks"
	}
	if all > 13_200 {
		return nil, "msg_blocks_too_long"
	}
	return texts, ""
}

func slackYes(w http.ResponseWriter, more map[string]any) {
	more["ok"] = true
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(more)
}

// slackNo refuses as Slack does: with success, and a word.
func slackNo(w http.ResponseWriter, word string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": word})
}

// SlackSays answers a call with a refusal.
func SlackSays(w http.ResponseWriter, word string) { slackNo(w, word) }

// SlackTexts reads the texts of a message's blocks, failing when Slack would refuse them.
func SlackTexts(t *testing.T, blocks string) []string {
	t.Helper()
	texts, word := readBlocks(blocks)
	if word != "" {
		t.Errorf("Slack would say %s to %s", word, blocks)
	}
	return texts
}
