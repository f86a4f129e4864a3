package redteam_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/webhook"
)

// Row 9: whoever reaches the port of webhooks sends what no host sent, or what one sent once more, or so much or so slowly that nobody else gets
// through. A second webhook of the repository shows the attacker what true deliveries look like.

func doorAttacks() []attack {
	return []attack{
		{
			Row: 9, Name: "deliveries without the host's signature, with a wrong and with an old one", Wall: "signature", Without: signature, Own: true,
			Quick: true,
			Try: func(w *world) (loot []string) {
				sent := w.overhear("\"pull_request\"", func() { w.propose(nothing) })
				for name, forge := range forgeries {
					header, body := sent.header.Clone(), bytes.Clone(sent.body)
					id := name + "-" + w.name
					for key := range header {
						if strings.HasSuffix(key, "-Delivery") {
							header.Set(key, id)
						}
					}
					code, text := w.deliver(header, forge(header, body))
					if code == http.StatusAccepted || strings.Contains(w.server.said(), id) {
						loot = append(loot, fmt.Sprintf("a delivery with %s is answered %d %s", name, code, text))
					} else if code != http.StatusUnauthorized {
						w.Errorf("a delivery with %s is answered %d %s, want 401", name, code, text)
					}
				}
				return loot
			},
		},
		{
			Row: 9, Name: "a command is delivered again, under its own id and under others", Wall: "one answer to one comment", Without: once, Own: true,
			Try: func(w *world) []string {
				pull, head := w.propose(nothing)
				w.planned(pull, head)
				sent := w.overhear("planlatch help", func() { w.mallory.Comment(w, w.repo, pull, "planlatch help") })
				answers := func() int { return strings.Count(w.answers(pull), "planlatch unlock") }
				until(w.T, "the answer", func() (string, bool) { return w.answers(pull), answers() > 0 })
				one := answers()
				for n := range 5 {
					header := sent.header.Clone()
					for key := range header {
						if n > 0 && strings.HasSuffix(key, "-Delivery") {
							header.Set(key, fmt.Sprintf("again-%d-%s", n, w.name))
						}
					}
					if code, text := w.deliver(header, sent.body); code != http.StatusAccepted {
						w.Errorf("a true delivery is answered %d %s when it comes again", code, text)
					}
				}
				// A command after them is answered last: then they were handled, too.
				w.mallory.Comment(w, w.repo, pull, "planlatch nonsense")
				until(w.T, "the answer to the command after them", func() (string, bool) {
					return w.answers(pull), strings.Contains(w.answers(pull), "nonsense") && (!w.breached() || answers() > one)
				})
				if all := answers(); all > one {
					return []string{fmt.Sprintf("one comment was answered %d times", all/one)}
				}
				return nil
			},
		},
		{
			Row: 9, Name: "30 MB, slow bodies and a thousand connections of a stranger", Wall: "bounds of what is read", Without: bounds,
			Try: func(w *world) (loot []string) {
				if code, text := w.deliver(http.Header{"X-Large": {"yes"}}, make([]byte, 30<<20)); code == http.StatusUnauthorized {
					loot = append(loot, "30 MB of a stranger were read whole")
				} else if code != http.StatusRequestEntityTooLarge && code != 0 { // 0: it hung up while we still sent
					w.Errorf("30 MB are answered %d %s, want 413", code, text)
				}
				held := w.besiege(1000)
				if held > 0 {
					loot = append(loot, fmt.Sprintf("%d of 1000 connections that say nothing are held for good", held))
				}
				if strings.Contains(w.server.said(), "X-Large") {
					w.Error("what a stranger sent is in the log")
				}
				return loot
			},
		},
	}
}

var nothing = map[string]string{"main.tf": "output \"nothing\" {\n  value = \"nothing\"\n}\n"}

// forgeries make a delivery one that its host never sent.
var forgeries = map[string]func(h http.Header, body []byte) []byte{
	"no-signature": func(h http.Header, body []byte) []byte {
		for key := range h {
			if strings.Contains(key, "Signature") {
				h.Del(key)
			}
		}
		return body
	},
	"a-wrong-signature": func(h http.Header, body []byte) []byte { sign(h, body, "another secret"); return body },
	"an-empty-secret":   func(h http.Header, body []byte) []byte { sign(h, body, ""); return body },
	"an-old-signature":  func(_ http.Header, body []byte) []byte { return append(body, ' ') },
	"half-a-signature": func(h http.Header, body []byte) []byte {
		for key := range h {
			if strings.Contains(key, "Signature") {
				h.Set(key, h.Get(key)[:len(h.Get(key))/2])
			}
		}
		return body
	},
}

// sign signs in each of the ways that hosts have.
func sign(h http.Header, body []byte, secret string) {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	sum := hex.EncodeToString(m.Sum(nil))
	h.Set("X-Hub-Signature-256", "sha256="+sum)
	h.Set("X-Gitea-Signature", sum)
}

// delivery is what a host sent.
type delivery struct {
	header http.Header
	body   []byte
}

// overhear returns the first delivery of the attack's repository, of those that do is the cause of, whose body has a word in it.
func (w *world) overhear(word string, do func()) (first delivery) {
	w.Helper()
	var mu sync.Mutex
	var all []delivery
	ear := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the host sends whole ones
		mu.Lock()
		defer mu.Unlock()
		all = append(all, delivery{r.Header, body})
	}))
	w.Cleanup(ear.Close)
	w.host.Hook(w, w.repo, ear.URL)
	do()
	until(w.T, "a delivery about "+word, func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range all {
			if bytes.Contains(d.body, []byte(word)) {
				first = d
				return "", true
			}
		}
		return fmt.Sprint(len(all), " deliveries"), false
	})
	return first
}

// deliver sends a delivery to the server; code 0: there was no answer.
func (w *world) deliver(header http.Header, body []byte) (code int, text string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+"/webhooks/"+w.server.HostKind, bytes.NewReader(body))
	check(w.T, err)
	req.Header = header.Clone()
	req.Header.Del("Content-Length")
	req.Header.Del("Accept-Encoding")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body) // as much as there is
	return res.StatusCode, strings.TrimSpace(string(answer))
}

// besiege opens connections that send half a header or half a body, and counts those that the server still keeps when it should not. Others are
// served meanwhile.
func (w *world) besiege(connections int) int {
	w.Helper()
	patient := time.Minute // a loaded machine is slow to close them
	if w.breached() {
		patient = 25 * time.Second
	}
	var held atomic.Int64
	var all sync.WaitGroup
	for n := range connections {
		c, err := net.Dial("tcp", w.server.Listen) //nolint:noctx // at once, on this machine
		if err != nil {
			w.Fatalf("connection %d: %v", n, err)
		}
		_ = c.SetDeadline(time.Now().Add(patient))
		half := "POST /webhooks/" + w.server.HostKind + " HTTP/1.1\r\nHost: x\r\nX-Half: "
		if n%2 == 0 {
			half += "no\r\nContent-Length: 20000000\r\n\r\n{"
		}
		_, _ = io.WriteString(c, half) // whoever is refused at once is not held
		all.Go(func() {
			defer c.Close()
			_, err := io.Copy(io.Discard, c) // until the server closes it
			if errors.Is(err, os.ErrDeadlineExceeded) {
				held.Add(1)
			}
		})
	}
	from := time.Now()
	if code, text := w.server.get(w.Context(), "/healthz"); code != http.StatusOK {
		w.Errorf("beside %d connections the server is not healthy: %d %s", connections, code, text)
	}
	if code, text := w.server.get(w.Context(), "/api/v1/runs"); code != http.StatusOK {
		w.Errorf("beside %d connections the server does not answer: %d %s", connections, code, text)
	}
	w.Logf("others are answered within %s beside %d connections", time.Since(from).Round(time.Millisecond), connections)
	all.Wait()
	return int(held.Load())
}

// signed has the door take what nobody signed: it signs everything itself.
func signed(o *app.ServerOptions) func(*webhook.Options) {
	cfg, err := config.Load(o.Env[asServer], func(name string) (string, bool) { v, ok := o.Env[name]; return v, ok })
	if err != nil {
		panic(err)
	}
	return func(d *webhook.Options) {
		for _, h := range cfg.VCS {
			d.Hosts[h.Name] = signing{d.Hosts[h.Name], h.WebhookSecret.Reveal()}
		}
	}
}

type signing struct {
	vcs.Events
	secret string
}

func (e signing) Parse(h http.Header, body []byte) (vcs.Event, error) {
	sign(h, body, e.secret)
	return e.Events.Parse(h, body)
}

// forgetful has the door take every delivery for a new one, and every comment.
func forgetful(d *webhook.Options) {
	for name, events := range d.Hosts {
		d.Hosts[name] = anew{events}
	}
}

type anew struct{ vcs.Events }

func (e anew) Parse(h http.Header, body []byte) (vcs.Event, error) {
	event, err := e.Events.Parse(h, body)
	event.Delivery = rand.Text()
	if event.Comment != nil {
		id, _ := rand.Int(rand.Reader, big.NewInt(1<<40)) // never fails
		event.Comment.ID = id.String()
	}
	return event, err
}

// unbounded has the door read whatever comes, for as long as it takes.
func unbounded(d *webhook.Options) {
	d.MaxBody, d.MaxMemory, d.BodyTimeout = 1<<40, 1<<50, time.Hour
}
