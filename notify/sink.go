package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
)

// Sink delivers messages to one place: a Slack channel, a Teams workflow, a webhook. notifytest.Run holds every sink to this contract.
type Sink interface {
	// Send delivers m once and returns the id under which it can be found again, empty where there is none. A sink whose messages can be
	// changed puts m in the place of the message that external names; when that is gone it sends a new one.
	//
	// Errors: a *vcs.RetryError when the other side asks to wait or is ill; one that is ErrRefused when it will never take this message;
	// any other may be tried again. No error and no log line holds a token or the address of a webhook.
	Send(ctx context.Context, m Message, external string) (string, error)
}

// ErrRefused says that a message was not taken and that sending the same again cannot change that.
var ErrRefused = errors.New("the message was refused")

// Message is one thing to say.
type Message struct {
	ID     string       // the same for every try, so that a receiver can drop what comes twice
	Event  report.Event // what happened; empty for the message that shows where things stand
	Thread string       // id of the message that this is a reply to; empty: it stands for itself
	Loud   bool         // a reply that everybody in the channel should see
	Card   report.Card  // for people
	News   report.News  // for programs
}

// Channel is one configured place and what it wants to hear.
type Channel struct {
	Name   string // unique; postings are kept under it
	Sink   Sink
	Edits  bool          // messages can be changed and replied to: one per pull request, with what happened in its thread; else one per event
	Every  bool          // is told each event by itself; else the worst of those that come together, which shows the others
	Pace   time.Duration // at least this between two messages
	Events []report.Event
	Wants  func(t selector.Target) bool // which projects it is about; nil: all
}

// Checker is a sink that can say, without sending anything, whether it would work.
type Checker interface {
	// Check returns what it found out, in a few words.
	Check(ctx context.Context) (string, error)
}

// Client returns an HTTP client for sinks: it waits no longer than limit and follows no redirect, which would carry a message to where
// nobody configured it. Errors of it go through Hide.
func Client(limit time.Duration) *http.Client {
	return &http.Client{
		Transport:     pool,
		Timeout:       limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// pool is not that of the standard library, which everybody in the process may close.
var pool = http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented

// Hide returns err without the address that net/http puts in front of it, which may be a secret as a whole.
func Hide(err error) error {
	for {
		var u *url.Error
		if !errors.As(err, &u) {
			return err
		}
		err = u.Err
	}
}

// Post sends body as JSON to an address that may be a secret as a whole, and judges the answer.
func Post(ctx context.Context, c *http.Client, address string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, Hide(err))
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "planlatch")
	resp, err := c.Do(req)
	if err != nil {
		return &vcs.RetryError{Err: Hide(err)}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // best effort: it only helps to understand
	said := strings.TrimSpace(string(text))
	if !word.MatchString(said) {
		said = ""
	}
	return Answer(resp, said)
}

// word is an answer worth repeating: a name for what is wrong. Longer ones may hold anything.
var word = regexp.MustCompile(`^[a-z][a-z_]{2,40}$`)

// StatusError is an answer that is no success.
type StatusError struct {
	Code int
	Said string // the one word that the other side said, if it said one
	Text string
}

func (e *StatusError) Error() string { return e.Text }

// Answer judges the status of an answer to a message. said is the word that the other side named it with, if any.
func Answer(resp *http.Response, said string) error {
	e := &StatusError{Code: resp.StatusCode, Said: said, Text: resp.Status}
	if said != "" {
		e.Text += ": " + said
	}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests:
		return &vcs.RetryError{After: RetryAfter(resp.Header.Get("Retry-After"), time.Now()), Err: e}
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrRefused, e)
	case code >= 500:
		return &vcs.RetryError{Err: e}
	}
	return e
}

// retryMost bounds how long another side can silence a channel.
const retryMost = time.Hour

// RetryAfter reads the header of that name: seconds, or a date. Zero when it says nothing usable.
func RetryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), retryMost)
}
