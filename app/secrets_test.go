package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/redact"
)

// echo answers every request with an error that repeats all it was told, tokens included, as careless proxies do.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"message": %q}`, fmt.Sprint(r.URL, r.Header))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const leaky = `listen: 127.0.0.1:0
data: DATA
encryption_key: base64key://Y2FuYXJ5LW9mLXRoZS1rZXktbm90LWVuY3J5cHRlZCE=
admin_token: canary-of-the-administrator
vcs:
  - {name: gitea, kind: gitea, url: "HOST", token: canary-of-the-vcs-token, webhook_secret: canary-of-the-webhook, repos: ["acme/*"]}
  - {name: github, kind: github, url: "HOST", api_url: "HOST", token: canary-of-the-other-token, webhook_secret: canary-of-the-webhook, repos: ["acme/*"]}
  - {name: gitlab, kind: gitlab, url: "HOST", token: canary-of-the-third-token, webhook_secret: canary-of-the-webhook, repos: ["acme/*"]}
notify:
  - {name: slack, kind: slack, token: canary-of-the-chat, channel: "#x", api_url: "HOST/", events: [applied]}
  - {name: hook, kind: webhook, url: "HOST/canary-of-the-hook/path?sig=canary-of-the-signature", secret: canary-of-the-hook-secret, events: [applied]}
`

// noCanary fails if a text holds a canary, also in another form.
func noCanary(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{"canary-of", "canary%2Dof", "Y2FuYXJ5", "NhbmFyeS", "jYW5hcnk", "63616e617279"} {
		if i := strings.Index(text, form); i >= 0 {
			t.Errorf("%s shows a secret: …%s…", what, text[max(0, i-200):min(len(text), i+60)])
			return
		}
	}
}

// TestNoErrorOfAClientShowsASecret: every host, chat and bucket fails and repeats what it was told. The server's log at its least level, its
// rows, and what doctor and serve print are searched.
func TestNoErrorOfAClientShowsASecret(t *testing.T) {
	t.Parallel()
	host := echo(t)
	file, data := write(t, strings.ReplaceAll(leaky, "HOST", host))
	env := map[string]string{"CLOUD_SECRET_KEY": "canary-of-the-environment", "HTTPS_PROXY": "http://u:canary-of-the-proxy@127.0.0.1:1"}
	_, out, said := run(t, env, "doctor", "--config", file)
	noCanary(t, "doctor", out+said)
	if !strings.Contains(out, redact.Mark) {
		t.Errorf("doctor printed nothing that was withheld: the host does not repeat what it is told\n%s", out)
	}

	cfg, err := config.Load(file, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	s, err := app.NewServer(t.Context(), cfg, app.ServerOptions{Env: env, Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for deadline := time.Now().Add(5 * time.Minute); strings.Count(log.String(), "job failed") < 3; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // hosts are asked at the start
		if time.Now().After(deadline) {
			t.Fatalf("the hosts were not asked:\n%s", log)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	noCanary(t, "the server's log", log.String())
	if !strings.Contains(log.String(), redact.Mark) {
		t.Errorf("nothing was withheld from the log:\n%s", log)
	}
	for _, name := range []string{"planlatch.db", "planlatch.db-wal"} {
		rows, err := os.ReadFile(filepath.Join(data, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		noCanary(t, name, string(rows))
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAnAddressThatCannotBeReachedIsToldWithoutItsPassword(t *testing.T) {
	t.Parallel()
	base := strings.ReplaceAll(leaky, "HOST", "http://127.0.0.1:1")
	for name, extra := range map[string]string{
		"Database":      "database: \"postgres://planlatch:canary-of-the-database@127.0.0.1:1/x\"\nblobs: file:///tmp/never\n",
		"DatabaseQuery": "database: \"postgres://127.0.0.1:1/x?password=canary-of-the-database&sslmode=bad\"\nblobs: file:///tmp/never\n",
		"Bucket":        "blobs: \"s3://b?region=x&nonsense=1&access_token=canary-of-the-bucket\"\n",
		"Policies":      "policies:\n  - {name: p, source: \"git::https://user:canary-of-the-policies@127.0.0.1:1/p?ref=main\", level: hard}\n",
	} {
		for _, command := range []string{"serve", "doctor", "keys"} {
			t.Run(name+"/"+command, func(t *testing.T) {
				t.Parallel()
				file, _ := write(t, base+extra)
				args := []string{command, "--config", file}
				if command == "keys" {
					args = []string{"keys", "status", "--config", file}
				}
				code, out, said := run(t, nil, args...)
				if code == 0 {
					t.Errorf("%s = 0, want a failure", command)
				}
				noCanary(t, command, out+said)
			})
		}
	}
}
