package gitea

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
)

const (
	answerLimit = 32 << 20         // bytes of one answer
	wordLimit   = 200              // characters of the host's words in an error
	longestWait = 65 * time.Minute // that a host may ask of us
)

// newHTTP copies the caller's client onto our transport.
func newHTTP(from *http.Client, base *url.URL, token string) *http.Client {
	c := http.Client{Timeout: callTimeout}
	inner := http.DefaultTransport
	if from != nil {
		if from.Transport != nil {
			inner = from.Transport
		}
		if from.Timeout > 0 {
			c.Timeout = from.Timeout
		}
	}
	c.Transport = &transport{inner: inner, base: base, token: token}
	c.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		switch {
		case via[0].Method != http.MethodGet:
			return http.ErrUseLastResponse // what was renamed is moved with 301, which would make a read of a write: see writing
		case len(via) >= 5:
			return errors.New("more than 5 redirects")
		}
		return nil
	}
	return &c
}

// transport adds the token to requests to the host, refuses every other address and bounds answers. Gitea redirects what was renamed;
// a redirect that leads elsewhere must not get our token.
type transport struct {
	inner http.RoundTripper
	base  *url.URL
	token string
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.base.Scheme || req.URL.Host != t.base.Host {
		return nil, fmt.Errorf("redirected from %s://%s to %s://%s: set url to the final address",
			t.base.Scheme, t.base.Host, req.URL.Scheme, req.URL.Host)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "token "+t.token)
	req.Header.Set("User-Agent", "planlatch")
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerLimit)
	return resp, nil
}

// get reads one address below the API that the library does not know, or not with these parameters.
func (h *Host) get(ctx context.Context, path string, query url.Values, into any) (*sdk.Response, error) {
	address := h.base.String() + "/api/v1" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // everything was read
	answer := &sdk.Response{Response: resp}
	if resp.StatusCode/100 != 2 {
		var says struct {
			Message string `json:"message"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&says) // best effort: words for the message
		return answer, errors.New(says.Message)
	}
	return answer, json.NewDecoder(resp.Body).Decode(into)
}

// answerError is what the host said instead of what was asked.
type answerError struct {
	code  int // HTTP status; 0 without an answer
	words string
}

func (e *answerError) Error() string {
	if e.words == "" {
		return fmt.Sprintf("HTTP %d", e.code)
	}
	return fmt.Sprintf("HTTP %d: %s", e.code, e.words)
}

// explain turns an error of the library into the port's: denied, not found, wait. No clear answer (a broken connection, a time-out, 5xx,
// a page of a proxy instead of JSON) is "try again", unless ctx itself has ended.
func explain(ctx context.Context, resp *sdk.Response, err error) error {
	if resp == nil || resp.Response == nil {
		switch {
		case err == nil:
			err = errors.New("no answer")
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return &vcs.RetryError{Err: err}
	}
	if err == nil && resp.StatusCode/100 == 2 {
		return nil
	}
	answer := &answerError{code: resp.StatusCode}
	if err != nil {
		answer.words = oneLine(err.Error())
	}
	after, named := retryAfter(resp.Header.Get("Retry-After"))
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return &vcs.RetryError{Err: fmt.Errorf("the answer cannot be read: %w", err)}
	case code/100 == 3:
		return fmt.Errorf("moved: %w: %w", vcs.ErrNotFound, answer)
	case code == http.StatusTooManyRequests, code >= 500, code == http.StatusForbidden && named:
		return &vcs.RetryError{After: after, Err: answer}
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusLocked, code == http.StatusUnavailableForLegalReasons:
		return fmt.Errorf("%w: %w", vcs.ErrDenied, answer) // 423 is an archived repository
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: %w", vcs.ErrNotFound, answer)
	default:
		return answer
	}
}

// status returns the HTTP status that an error of ours came from, or 0.
func status(err error) int {
	if a, ok := errors.AsType[*answerError](err); ok {
		return a.code
	}
	return 0
}

func retryAfter(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	wait := time.Duration(0)
	if s, err := strconv.ParseInt(value, 10, 32); err == nil {
		wait = time.Duration(s) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), longestWait), true
}

func totalOf(resp *sdk.Response) (int, bool) {
	total, err := strconv.Atoi(resp.Header.Get("X-Total-Count"))
	return total, err == nil && total >= 0
}

// oneLine makes the host's words fit for a message.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > wordLimit {
		return string(runes[:wordLimit]) + "…"
	}
	return s
}
