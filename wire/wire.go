// Package wire is what the adapters of hosts share of HTTP: a client that keeps our token at home, and a reading of answers that fails closed.
//
// [Client] sends requests to one address only, so that a redirect never carries the token elsewhere, and bounds time and size of answers.
// [Explain] turns an answer into the port's errors: denied, not found, wait. Nothing here retries. All of it is safe for concurrent use.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/planlatch/planlatch/vcs"
)

const (
	callTimeout = 30 * time.Second // of one request
	answerLimit = 32 << 20         // bytes of one answer
	wordLimit   = 200              // characters of the host's words in an error
	longestWait = 65 * time.Minute // that a host may ask of us
)

// Pool has the connections of all clients that bring no transport of their own. It is not that of the standard library, which everybody in the
// process may close.
func Pool() http.RoundTripper { return pool }

var pool = http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented

// Client copies the transport and the time-out of from, which may be nil, into a client that speaks to base as authorization says.
// Reads follow redirects; what is renamed is moved with 301, which would make a read of a write, so writes do not.
func Client(from *http.Client, base *url.URL, authorization string) *http.Client {
	c := http.Client{Timeout: callTimeout}
	inner := Pool()
	if from != nil {
		if from.Transport != nil {
			inner = from.Transport
		}
		if from.Timeout > 0 {
			c.Timeout = from.Timeout
		}
	}
	c.Transport = &transport{inner: inner, base: base, authorization: authorization}
	c.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		switch {
		case via[0].Method != http.MethodGet:
			return http.ErrUseLastResponse
		case len(via) >= 5:
			return errors.New("more than 5 redirects")
		}
		return nil
	}
	return &c
}

// transport adds the token to requests to the host, refuses every other address and bounds answers.
type transport struct {
	inner         http.RoundTripper
	base          *url.URL
	authorization string
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.base.Scheme || req.URL.Host != t.base.Host {
		return nil, fmt.Errorf("redirected from %s://%s to %s://%s: set url to the final address",
			t.base.Scheme, t.base.Host, req.URL.Scheme, req.URL.Host)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", t.authorization)
	req.Header.Set("User-Agent", "planlatch")
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerLimit)
	return resp, nil
}

// Answer is what the host said instead of what was asked.
type Answer struct {
	Code  int // HTTP status
	Words string
}

func (e *Answer) Error() string {
	if e.Words == "" {
		return fmt.Sprintf("HTTP %d", e.Code)
	}
	return fmt.Sprintf("HTTP %d: %s", e.Code, e.Words)
}

// Explain turns a call's answer and error into the port's errors; nil means that the answer was read. No clear answer (a broken
// connection, a time-out, 5xx, a page of a proxy instead of JSON) is "try again", unless ctx itself has ended.
func Explain(ctx context.Context, resp *http.Response, err error) error {
	if resp == nil {
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
	answer := &Answer{Code: resp.StatusCode}
	if err != nil {
		answer.Words = OneLine(err.Error())
	}
	after, named := retryAfter(resp)
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

// Status returns the HTTP status that an error of [Explain] came from, or 0.
func Status(err error) int {
	if a, ok := errors.AsType[*Answer](err); ok {
		return a.Code
	}
	return 0
}

// retryAfter reads how long a host asks us to wait; named says whether it named a time in Retry-After. To "too many requests" without it
// belongs the reset of the limit.
func retryAfter(resp *http.Response) (wait time.Duration, named bool) {
	value := resp.Header.Get("Retry-After")
	if s, err := strconv.ParseInt(value, 10, 32); err == nil {
		return clamp(time.Duration(s) * time.Second), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return clamp(time.Until(at)), true
	}
	at, err := strconv.ParseInt(resp.Header.Get("RateLimit-Reset"), 10, 64)
	if value != "" || err != nil || resp.StatusCode != http.StatusTooManyRequests {
		return 0, value != ""
	}
	return clamp(time.Until(time.Unix(at, 0))), false
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), longestWait) }

// OneLine makes a host's words fit for a message. They are cut between two words: a secret in them is taken out later, and half of one would not be
// known.
func OneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	short := Cut(s, wordLimit)
	if short != s {
		short = short[:strings.LastIndexByte(short, ' ')+1] + "…"
	}
	return short
}

// Cut keeps at most limit characters.
func Cut(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

// Line makes one line of a text, of at most limit characters: the description of a status.
func Line(s string, limit int) string {
	return Cut(strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " "), limit)
}

// Address reads the address of a host and removes a slash at its end. api is the path below which its API is, which must not be named.
func Address(s, api string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, errors.New("is not an address such as https://git.example.com")
	case u.User != nil:
		return nil, errors.New("must not contain a user or password: set token instead")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must not have a query or fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if path, ok := strings.CutSuffix(u.Path, api); ok {
		return nil, fmt.Errorf("is the address of the API: leave %s away and set %s://%s%s", api, u.Scheme, u.Host, path)
	}
	return u, nil
}
