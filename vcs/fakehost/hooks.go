package fakehost

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Delivery is one attempt to deliver a webhook.
type Delivery struct {
	ID         string // X-GitHub-Delivery; the same when delivered again
	Hook       int64
	Event      string
	Action     string
	Repo       string
	At         time.Time
	Redelivery bool
	Done       bool   // the attempt is over
	Code       int    // of the answer; 0: none
	Problem    string // why there was none
	Body       []byte // what was sent
}

type delivery struct {
	Delivery
	hook *hook
}

type hook struct {
	id     int64
	repos  []*repo // whose events it gets; none: all
	url    string
	secret string
	wake   chan struct{} // something is in queue; holds one token
	queue  []*delivery   // guarded by Server.mu
}

// AddWebhook has every event of these repositories (none named: of all, also of later ones) delivered to an address, from now on and in
// order, and returns the webhook's id. As on GitHub the first delivery is a ping.
func (s *Server) AddWebhook(address, secret string, repos ...string) (int64, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return 0, refuse(422, "url is not an http address")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return 0, refuse(503, "the host was closed")
	default:
	}
	h := &hook{id: s.id(), url: address, secret: secret, wake: make(chan struct{}, 1)}
	for _, name := range repos {
		r := s.repos[key(name)]
		if r == nil {
			return 0, refuse(404, "no repository %s", name)
		}
		h.repos = append(h.repos, r)
	}
	s.hooks = append(s.hooks, h)
	s.work.Add(1)
	go s.deliver(h)
	if s.options.GitLab {
		return h.id, nil
	}
	body, err := json.Marshal(object{"zen": "Keep it logically awesome.", "hook_id": h.id, "hook": object{
		"type": "Organization", "id": h.id, "name": "web", "active": true, "created_at": stamp(s.now()), "updated_at": stamp(s.now()), "events": []string{"*"}, "config": object{"url": address, "content_type": "json"},
	}})
	if err != nil {
		return 0, fmt.Errorf("write ping: %w", err)
	}
	s.enqueue(&delivery{hook: h, Delivery: Delivery{ID: guid(), Hook: h.id, Event: "ping", At: s.now(), Body: body}})
	return h.id, nil
}

// RemoveWebhook stops deliveries to a webhook; those under way end by themselves.
func (s *Server) RemoveWebhook(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.hooks[:0:0]
	for _, h := range s.hooks {
		if h.id == id {
			for _, d := range h.queue {
				d.Done, d.Problem = true, "webhook removed"
			}
			h.queue = nil
			continue
		}
		kept = append(kept, h)
	}
	s.hooks = kept
	s.touch()
}

// Deliveries lists all attempts, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Delivery, 0, len(s.sent))
	for _, d := range s.sent {
		out = append(out, d.Delivery)
	}
	return out
}

// Redeliver sends a delivery again, with the same id and body.
func (s *Server) Redeliver(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.sent {
		if d.ID == id {
			again := &delivery{hook: d.hook, Delivery: Delivery{
				ID: d.ID, Hook: d.Hook, Event: d.Event, Action: d.Action, Repo: d.Repo, At: s.now(), Redelivery: true, Body: d.Body,
			}}
			s.enqueue(again)
			return nil
		}
	}
	return refuse(404, "no delivery %s", id)
}

// Flush waits until every delivery so far has been tried.
func (s *Server) Flush(ctx context.Context) error {
	s.mu.Lock()
	upTo := len(s.sent)
	s.mu.Unlock()
	return s.wait(ctx, func() bool {
		for _, d := range s.sent[:upTo] {
			if !d.Done {
				return false
			}
		}
		return true
	})
}

// emit queues an event for every webhook. The payload is written now, so that it shows the state at this moment.
func (s *Server) emit(event string, r *repo, o object, sender *user) {
	if s.options.GitLab {
		return // what GitLab tells is told beside this
	}
	o["repository"], o["sender"] = s.repoJSON(r), s.userJSON(sender)
	action, _ := o["action"].(string)
	s.post(event, action, r, o)
}

// post queues a delivery for every webhook of a repository.
func (s *Server) post(event, action string, r *repo, o object) {
	body, err := json.Marshal(o)
	if err != nil {
		return // cannot happen: payloads are maps of plain values
	}
	id := guid()
	for _, h := range s.hooks {
		if len(h.repos) > 0 && !slices.Contains(h.repos, r) {
			continue
		}
		s.enqueue(&delivery{hook: h, Delivery: Delivery{ID: id, Hook: h.id, Event: event, Action: action, Repo: r.name, At: s.now(), Body: body}})
		id = guid() // one per webhook
	}
}

func (s *Server) enqueue(d *delivery) {
	if s.options.Judge != nil {
		s.options.Judge.Webhook(d.Event, d.Action, d.Body)
	}
	s.sent = append(s.sent, d)
	d.hook.queue = append(d.hook.queue, d)
	select {
	case d.hook.wake <- struct{}{}:
	default:
	}
	s.touch()
}

// deliver works off the queue of one webhook until the host is closed.
func (s *Server) deliver(h *hook) {
	defer s.work.Done()
	// The worker belongs to the server, not to a caller; Close ends it, and with it the delivery under way.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	client := &http.Client{
		Timeout:       s.options.HookTimeout,
		Transport:     &http.Transport{DisableKeepAlives: true}, // no connection outlives its delivery, and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for {
		s.mu.Lock()
		var d *delivery
		if len(h.queue) > 0 {
			d, h.queue = h.queue[0], h.queue[1:]
		}
		s.mu.Unlock()
		if d == nil {
			select {
			case <-h.wake:
				continue
			case <-s.done:
				return
			}
		}
		code, problem := s.send(ctx, client, h, d.Delivery)
		s.mu.Lock()
		d.Done, d.Code, d.Problem = true, code, problem
		s.touch()
		s.mu.Unlock()
	}
}

// send sends one delivery with the host's headers.
func (s *Server) send(ctx context.Context, client *http.Client, h *hook, d Delivery) (code int, problem string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(d.Body))
	if err != nil {
		return 0, err.Error()
	}
	headers := map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd", "Accept": "*/*", "X-GitHub-Event": d.Event,
		"X-GitHub-Delivery": d.ID, "X-GitHub-Hook-ID": strconv.FormatInt(h.id, 10), "X-GitHub-Hook-Installation-Target-Type": "organization",
	}
	if s.options.GitLab {
		headers = s.gitlabHeaders(h, d)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	if h.secret != "" && !s.options.GitLab {
		req.Header.Set("X-Hub-Signature", "sha1="+sign(sha1.New, h.secret, d.Body))
		req.Header.Set("X-Hub-Signature-256", "sha256="+sign(sha256.New, h.secret, d.Body))
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // GitHub keeps the start of an answer and forgets the rest
	return resp.StatusCode, ""
}

func sign(h func() hash.Hash, secret string, body []byte) string {
	mac := hmac.New(h, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Signed returns the headers of a delivery made by hand: an event with a body, signed with a secret.
func Signed(event, secret string, body []byte) http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {event}, "X-Github-Delivery": {guid()},
		"X-Hub-Signature-256": {"sha256=" + sign(sha256.New, secret, body)},
	}
}

// guid makes a delivery id.
func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
