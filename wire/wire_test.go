package wire_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// FuzzExplain reads answers of hosts that say when to come back in every odd way.
func FuzzExplain(f *testing.F) {
	for _, after := range []string{"", "9", "-1", "99999999999999999999", "2147483648", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "soon", "1e9", "\x00"} {
		for _, code := range []int{200, 204, 301, 304, 401, 403, 404, 410, 423, 429, 451, 500, 503, 999, 0, -1} {
			f.Add(code, after, "9223372036854775807", "bad \x1b[31m answer\u202e\n", true)
			f.Add(code, after, "-1", "", false)
		}
	}
	f.Fuzz(func(t *testing.T, code int, after, reset, words string, failed bool) {
		resp := &http.Response{StatusCode: code, Header: http.Header{"Retry-After": {after}, "Ratelimit-Reset": {reset}}}
		var err error
		if failed {
			err = errors.New(words)
		}
		got := wire.Explain(t.Context(), resp, err)
		if (got == nil) != (!failed && code/100 == 2) {
			t.Errorf("Explain(%d, %v) = %v", code, err, got)
		}
		if retry, ok := errors.AsType[*vcs.RetryError](got); ok && (retry.After < 0 || retry.After > 2*time.Hour) {
			t.Errorf("Explain(%d, %q) asks to wait %s", code, after, retry.After)
		}
		if answer, ok := errors.AsType[*wire.Answer](got); ok && (len([]rune(answer.Words)) > 300 || strings.ContainsFunc(answer.Words, unicode.IsControl)) {
			t.Errorf("Explain() shows %q", answer.Words)
		}
	})
}

func TestAnswersAreBoundedInSizeAndRedirects(t *testing.T) {
	t.Parallel()
	var asked, elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		default: // no end
			chunk := make([]byte, 1<<20)
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := wire.Client(nil, base, "token abc")
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Do(req)
	}
	if resp, err := get("/loop"); err == nil || asked.Load() > 6 {
		_ = resp.Body.Close()
		t.Errorf("a loop of redirects gives %v after %d requests", err, asked.Load())
	}
	if resp, err := get("/away"); err == nil || elsewhere.Load() != 0 {
		_ = resp.Body.Close()
		t.Errorf("a redirect to another host gives %v, asked %d times", err, elsewhere.Load())
	}
	resp, err := get("/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > 33<<20 {
		t.Errorf("read %d bytes of an answer without end, %v", n, err)
	}
}

// TestAHostsWordsAreCutBetweenTwo: secrets are taken out of an error afterwards, and half of one would stay.
func TestAHostsWordsAreCutBetweenTwo(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		strings.Repeat("no ", 65) + "token-of-the-server": strings.Repeat("no ", 65) + "…",
		"not\n\x1b[31m found":                             "not [31m found",
		strings.Repeat("x", 300):                          "…",
	} {
		if got := wire.OneLine(words); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", words, got, want)
		}
	}
}
