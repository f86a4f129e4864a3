// Package notifytest holds every sink to the contract of notify.Sink, and has far sides that answer as the real ones do.
package notifytest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/report/reporttest"
	"github.com/planlatch/planlatch/vcs"
)

// Secret is in every address that a suite hands out, and in the token of a bot. No error may hold it.
const Secret = "s3cr3t-v4lu3"

// Harness is a sink to be tested.
type Harness struct {
	New   func(address string) notify.Sink                    // speaks to the server at address
	OK    func(w http.ResponseWriter)                         // how the far side says yes
	Inert func(t *testing.T, r *http.Request, body []byte)    // that a hostile message, as sent, does nothing and is not too long
	Other map[string]func(w http.ResponseWriter) (want error) // further answers; want is compared with errors.Is
}

// Message is a message about a failed plan.
func Message() notify.Message {
	view := report.View{}
	return notify.Message{
		ID: "0123456789abcdef", Event: report.EventPlanFailed,
		Card: report.Card{
			Symbol: "❌", Headline: "plan failed", Ref: "acme/infra #7", Title: "Add a bucket", URL: "https://git.example/acme/infra/pulls/7", Author: "alice",
			Lines: [][]report.Span{{{Text: "prod/network", Code: true, Bold: true}, {Text: ": the plan failed"}}},
			Quote: []string{"Error: no such variable"}, Links: []report.Link{{Text: "Run", URL: "https://x.example/runs/1"}},
		},
		News: report.NewsOf(view, report.EventPlanFailed),
	}
}

type call struct {
	r    *http.Request
	body []byte
}

// server answers every call with handle and hands out what was asked.
func server(t *testing.T, handle func(w http.ResponseWriter, r *http.Request)) (*httptest.Server, <-chan call) {
	t.Helper()
	calls := make(chan call, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a request: %v", err)
		}
		calls <- call{r, body}
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s, calls
}

// Run holds a sink to the contract.
func Run(t *testing.T, h Harness) {
	t.Helper()
	send := func(t *testing.T, ctx context.Context, address string, m notify.Message) error { //nolint:revive // t first reads as everywhere
		t.Helper()
		_, err := h.New(address+"/"+Secret+"?sig="+Secret).Send(ctx, m, "")
		if err != nil && (strings.Contains(err.Error(), Secret) || strings.Contains(err.Error(), "sig=")) {
			t.Errorf("Send() error = %q, which holds the address", err)
		}
		return err
	}
	answers := func(code int, header ...string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	t.Run("AcceptedIsSuccess", func(t *testing.T) {
		t.Parallel()
		s, calls := server(t, func(w http.ResponseWriter, _ *http.Request) { h.OK(w) })
		if err := send(t, t.Context(), s.URL, Message()); err != nil {
			t.Fatalf("Send() = %v", err)
		}
		if c := <-calls; c.r.Method != http.MethodPost || len(c.body) == 0 {
			t.Errorf("the far side got %s with %d bytes", c.r.Method, len(c.body))
		}
		if n := len(calls); n > 0 {
			t.Errorf("it was told %d times more", n)
		}
	})
	t.Run("SlowDownSaysForHowLong", func(t *testing.T) {
		t.Parallel()
		s, _ := server(t, answers(http.StatusTooManyRequests, "Retry-After", "7"))
		var retry *vcs.RetryError
		if err := send(t, t.Context(), s.URL, Message()); !errors.As(err, &retry) || retry.After != 7*time.Second {
			t.Errorf("Send() = %v, want a RetryError of 7 s", err)
		}
	})
	t.Run("IllIsTriedAgain", func(t *testing.T) {
		t.Parallel()
		for _, code := range []int{500, 502, 503} {
			s, _ := server(t, answers(code))
			var retry *vcs.RetryError
			if err := send(t, t.Context(), s.URL, Message()); !errors.As(err, &retry) {
				t.Errorf("Send() after %d = %v, want a RetryError", code, err)
			}
		}
	})
	t.Run("RefusedIsNotTriedForLong", func(t *testing.T) {
		t.Parallel()
		s, _ := server(t, answers(http.StatusBadRequest))
		if err := send(t, t.Context(), s.URL, Message()); !errors.Is(err, notify.ErrRefused) {
			t.Errorf("Send() = %v, want ErrRefused", err)
		}
	})
	t.Run("DeniedAndGoneAreErrors", func(t *testing.T) {
		t.Parallel()
		for _, code := range []int{401, 403, 404, 410} {
			s, _ := server(t, answers(code))
			if err := send(t, t.Context(), s.URL, Message()); err == nil || errors.Is(err, notify.ErrRefused) {
				t.Errorf("Send() after %d = %v, want an error that a person can mend", code, err)
			}
		}
	})
	t.Run("ARedirectIsNotFollowed", func(t *testing.T) {
		t.Parallel()
		elsewhere, calls := server(t, func(w http.ResponseWriter, _ *http.Request) { h.OK(w) })
		s, _ := server(t, answers(http.StatusTemporaryRedirect, "Location", elsewhere.URL))
		if err := send(t, t.Context(), s.URL, Message()); err == nil || len(calls) > 0 {
			t.Errorf("Send() = %v, %d calls elsewhere, want an error and none", err, len(calls))
		}
	})
	t.Run("SilenceEndsWithTheContext", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s, _ := server(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		if err := send(t, ctx, s.URL, Message()); err == nil {
			t.Error("Send() to a silent server = nil")
		}
	})
	t.Run("AServerThatIsGoneIsAnError", func(t *testing.T) {
		t.Parallel()
		var retry *vcs.RetryError
		if err := send(t, t.Context(), "http://127.0.0.1:1", Message()); !errors.As(err, &retry) {
			t.Errorf("Send() = %v, want a RetryError", err)
		}
	})
	t.Run("NothingHostileHasAnEffect", func(t *testing.T) {
		t.Parallel()
		s, calls := server(t, func(w http.ResponseWriter, _ *http.Request) { h.OK(w) })
		rnd := rand.New(rand.NewPCG(3, 5))
		for range 300 {
			v := reporttest.View(rnd)
			v.Pull.URL = []string{"https://x.example/pulls/7", reporttest.Hostile[rnd.IntN(len(reporttest.Hostile))]}[rnd.IntN(2)]
			v.Repo.Name = reporttest.Hostile[rnd.IntN(len(reporttest.Hostile))]
			m := notify.Message{ID: "1", Event: report.EventApplyFailed, Card: report.ChatCard(v), News: report.NewsOf(v, report.EventApplyFailed)}
			if err := send(t, t.Context(), s.URL, m); err != nil {
				t.Fatalf("Send() = %v of %+v", err, m.Card)
			}
			c := <-calls
			h.Inert(t, c.r, c.body)
			if t.Failed() {
				return
			}
		}
	})
	for name, answer := range h.Other {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want error
			s, _ := server(t, func(w http.ResponseWriter, _ *http.Request) { want = answer(w) })
			err := send(t, t.Context(), s.URL, Message())
			if want == nil && err != nil || want != nil && !errors.Is(err, want) {
				t.Errorf("Send() = %v, want %v", err, want)
			}
		})
	}
}
