package e2e_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// away is how long the database is away: longer than anybody's patience with one query, shorter than a test should take.
const away = 10 * time.Second

// soon is when an answer must have come that nothing holds up, on a starved machine, too. The server gives up within 4 s; without a bound of its own it would
// wait for as long as the database is frozen.
const soon = 30 * time.Second

// The database stops answering, then is gone, in the middle of an apply that ends meanwhile. Hosts are told to try again at once, and when the
// database is back everything goes on by itself.
func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	database := postgres.Own(t, postgres.Options{Fsync: true})
	var host *github.World
	w := begin(t, nil, rules{at: place{
		host:   host2(&host),
		engine: engine{"postgres", func(*testing.T) string { return database.URL }},
	}})
	files := network("network", "v1")
	files["network/main.tf"] = strings.Replace(files["network/main.tf"], `input = "v1"`, `input = "v1"
  provisioner "local-exec" {
    command = "while ! [ -e STATES/go ]; do sleep 0.1; done"
  }`, 1)
	pull, head := w.propose("vpc", files)
	w.status(head, "planlatch/plan", "success")
	w.approves(w.bob, pull)
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "pending")
	w.eventually("the apply to run", func() (string, bool) {
		list := w.operates("runs", "--state", "applying")
		return list, strings.Contains(list, "network")
	})
	before := w.goroutines()
	var body []byte
	for _, d := range host.Host.Deliveries() {
		if d.Event == "pull_request" {
			body = d.Body
		}
	}

	database.Freeze()
	var calls sync.WaitGroup
	for range 40 {
		calls.Go(func() { w.refused(body) })
	}
	w.answersWith("/readyz", http.StatusServiceUnavailable)
	w.answersWith("/healthz", http.StatusOK)
	calls.Wait()
	database.Thaw()
	w.answersWith("/readyz", http.StatusOK)

	database.Stop()
	gone := time.Now()
	w.refused(body)
	w.answersWith("/readyz", http.StatusServiceUnavailable)
	w.answersWith("/healthz", http.StatusOK)
	if err := os.WriteFile(filepath.Join(w.states, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other, second := w.propose("dns", network("dns", "v1"))
	w.eventually("the apply to end while nobody can be told", func() (string, bool) { s := w.state("network"); return s, s != "" })
	time.Sleep(time.Until(gone.Add(away))) //nolint:forbidigo // an outage takes its time

	database.Start()
	back := time.Now()
	w.status(head, "planlatch/apply", "success")
	applied := time.Since(back)
	w.status(second, "planlatch/plan", "success")
	w.shows(other, "1 to add")
	t.Logf("the apply was told %s after the database came back, what was pushed meanwhile was planned after %s", applied, time.Since(back))
	if applied > 3*soon {
		t.Errorf("the apply was told %s after the database came back, want %s at most", applied, 3*soon)
	}
	w.says(pull, "<!-- planlatch:apply:")
	w.eventually("the goroutines of the outage to end", func() (string, bool) {
		n := w.goroutines()
		return strconv.Itoa(n), n < before+30
	})
}

// host2 is the fake GitHub, remembered as what it is.
func host2(as **github.World) host {
	return host{"github", func(t *testing.T) vcstest.World { *as = github.NewWorld(t); return *as }}
}

// refused delivers a signed webhook that must be answered "try again", soon.
func (w *world) refused(body []byte) {
	w.t.Helper()
	mac := hmac.New(sha256.New, []byte(w.host.Account().WebhookSecret))
	mac.Write(body)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/webhooks/github", bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	req.Header.Set("X-Github-Event", "pull_request")
	req.Header.Set("X-Github-Delivery", "while-it-was-away-"+strconv.FormatInt(time.Now().UnixNano(), 10))
	req.Header.Set("Content-Type", "application/json")
	begun := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // for the message only
	if took := time.Since(begun); res.StatusCode != http.StatusServiceUnavailable || took > soon {
		w.t.Errorf("a webhook was answered %d (%s) after %s, want 503 within %s", res.StatusCode, bytes.TrimSpace(text), took, soon)
	}
}

// answersWith asks one of the addresses for machines.
func (w *world) answersWith(path string, code int) {
	w.t.Helper()
	begun := time.Now()
	got := 0
	for ; got != code && time.Since(begun) < soon; <-time.After(20 * time.Millisecond) {
		res, err := http.Get(w.url + path) //nolint:noctx // bounded by the server
		if err != nil {
			w.t.Fatal(err)
		}
		_ = res.Body.Close()
		got = res.StatusCode
	}
	if took := time.Since(begun); got != code {
		w.t.Errorf("GET %s = %d for %s, want %d", path, got, took, code)
	}
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func (w *world) goroutines() int {
	w.t.Helper()
	res, err := http.Get(w.url + "/metrics") //nolint:noctx // of a child
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	found := goroutines.FindSubmatch(text)
	if found == nil {
		w.t.Fatalf("no go_goroutines in %s", text)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
