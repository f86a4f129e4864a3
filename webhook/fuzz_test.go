package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what a host signs with that is too old
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/gitea"
	"github.com/planlatch/planlatch/vcs/github"
	"github.com/planlatch/planlatch/vcs/gitlab"
	"github.com/planlatch/planlatch/webhook"
)

// forgeries are what a caller without the secret may send where the signature of a host stands.
var forgeries = []func(header, good string, body []byte) string{
	func(_, good string, _ []byte) string { return good[:len(good)-1] },
	func(_, good string, _ []byte) string { return good + "0" },
	func(string, string, []byte) string { return "" },
	func(_, good string, _ []byte) string { return "\x00" + good },
	func(_, good string, _ []byte) string { return strings.Repeat("0", len(good)) },
	func(_ string, _ string, body []byte) string { return signature("another secret", body) },
	func(_, _ string, body []byte) string { return "sha256=" + signature(secret, append(body, ' ')) },
	func(_, _ string, body []byte) string {
		m := hmac.New(sha1.New, []byte(secret))
		m.Write(body)
		return "sha1=" + hex.EncodeToString(m.Sum(nil))
	},
	func(_, good string, _ []byte) string { return good + "," + good },
}

func signature(key string, body []byte) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

// FuzzDoor sends deliveries of every kind of host, signed and not, to the door that the server has.
func FuzzDoor(f *testing.F) {
	hosts := map[string]vcs.Events{}
	var err error
	if hosts["github"], err = github.New(github.Options{URL: "http://127.0.0.1:1", Token: "t", WebhookSecret: secret}); err != nil {
		f.Fatal(err)
	}
	if hosts["gitlab"], err = gitlab.New(gitlab.Options{URL: "http://127.0.0.1:1", Token: "t", WebhookSecret: secret}); err != nil {
		f.Fatal(err)
	}
	if hosts["gitea"], err = gitea.New(gitea.Options{URL: "http://127.0.0.1:1", Token: "t", WebhookSecret: secret}); err != nil {
		f.Fatal(err)
	}
	names := []string{"github", "gitlab", "gitea"}
	headers := []string{"X-Hub-Signature-256", "X-Gitlab-Token", "X-Gitea-Signature"}
	kinds := []string{"X-GitHub-Event", "X-Gitlab-Event", "X-Gitea-Event"}
	ids := []string{"X-GitHub-Delivery", "X-Gitlab-Event-UUID", "X-Gitea-Delivery"}
	for n, pattern := range []string{"github/testdata/*/*.json", "gitlab/testdata/*.json", "gitea/testdata/*.json"} {
		list, _ := filepath.Glob(filepath.Join("..", "vcs", pattern)) //nolint:errcheck // the pattern is good
		for _, file := range list[:min(len(list), 8)] {
			body, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, kind := range []string{"pull_request", "issue_comment", "push", "Merge Request Hook", "Note Hook"} {
				f.Add(byte(n), byte(200), kind, "11111111-2222-3333-4444-555555555555", body)
			}
			f.Add(byte(n), byte(n), "pull_request", "x", body)
		}
	}
	f.Add(byte(9), byte(0), "", "", []byte("{"))
	f.Fuzz(func(t *testing.T, host, forgery byte, kind, id string, body []byte) {
		store := &memory{}
		door := webhook.New(webhook.Options{Hosts: hosts, Store: store, Repos: func(string, string) bool { return true }, MaxBody: 1 << 20})
		n := int(host) % len(names)
		good := map[int]string{0: "sha256=" + signature(secret, body), 1: secret, 2: signature(secret, body)}[n]
		given := good
		if int(forgery) < 128 {
			given = forgeries[int(forgery)%len(forgeries)](headers[n], good, bytes.Clone(body))
		}
		r := httptest.NewRequest(http.MethodPost, "/webhooks/"+names[n], bytes.NewReader(body))
		r.Header = http.Header{headers[n]: {given}, kinds[n]: {kind}, ids[n]: {id}, "Content-Type": {"application/json"}}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		switch {
		case given != good && (w.Code != http.StatusUnauthorized || store.len() != 0):
			t.Errorf("a forged delivery to %s is answered %d, %d stored", names[n], w.Code, store.len())
		case w.Code != http.StatusAccepted && store.len() != 0:
			t.Errorf("a delivery to %s that is answered %d is stored", names[n], w.Code)
		}
		switch w.Code {
		case http.StatusAccepted, http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("a delivery to %s is answered %d", names[n], w.Code)
		}
		if strings.Contains(w.Body.String(), secret) || w.Body.Len() > 500 {
			t.Errorf("the answer is %q", w.Body)
		}
	})
}
