package hook_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/hook"
	"github.com/planlatch/planlatch/notify/notifytest"
	"github.com/planlatch/planlatch/report"
)

var update = flag.Bool("update", false, "write golden files")

const secret = "the receiver knows it too"

func TestHook(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, notifytest.Harness{
		New: func(address string) notify.Sink { return hook.New(address, secret) },
		OK:  func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		Inert: func(t *testing.T, r *http.Request, body []byte) {
			t.Helper()
			if !json.Valid(body) || r.Header.Get(hook.HeaderSignature) != hook.Sign([]byte(secret), body) {
				t.Errorf("not signed JSON: %s", body)
			}
		},
	})
}

// receive returns what a receiver gets of a message.
func receive(t *testing.T, secret string, m notify.Message) (header http.Header, body []byte) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	t.Cleanup(s.Close)
	if _, err := hook.New(s.URL, secret).Send(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	return header, body
}

func TestADeliveryIsWhatTheDocumentsSay(t *testing.T) {
	t.Parallel()
	m := notify.Message{ID: "3f1c0f5b8a0d4a7e9c2b6d1e5f7a8b9c", Event: report.EventApplyFailed, News: report.NewsOf(notifytest.Views()["apply-failed"], report.EventApplyFailed)}
	header, body := receive(t, secret, m)
	for name, want := range map[string]string{
		"Content-Type": "application/json", hook.HeaderEvent: "apply_failed", hook.HeaderDelivery: m.ID, hook.HeaderSignature: hook.Sign([]byte(secret), body),
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "apply-failed.json")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s differs (go test -update):\n%s", file, b.Bytes())
	}
}

func TestTheSignatureIsTheUsualOne(t *testing.T) {
	t.Parallel()
	// printf 'hello' | openssl dgst -sha256 -hmac key
	const want = "sha256=9307b3b915efb5171ff14d8cb55fbcc798c6c0ef1456d66ded1a6aa723a58b7b"
	if got := hook.Sign([]byte("key"), []byte("hello")); got != want {
		t.Errorf("Sign() = %s, want %s", got, want)
	}
}

func TestWithoutASecretNothingIsSigned(t *testing.T) {
	t.Parallel()
	header, _ := receive(t, "", notifytest.Message())
	if _, signed := header[http.CanonicalHeaderKey(hook.HeaderSignature)]; signed {
		t.Error("there is a signature")
	}
}
