package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

// Bounds of what we let GitHub make us wait: its windows are an hour long.
const (
	waitUnnamed = time.Minute // what GitHub asks for after a secondary limit that names no time
	waitMax     = 65 * time.Minute
)

// explain turns an error of go-github into the port's: denied, not found, wait. Everything that is no clear answer (a broken connection,
// a time-out, an answer that cannot be read, 5xx) is "try again", unless ctx itself has ended.
func explain(ctx context.Context, err error) error {
	var (
		primary   *gh.RateLimitError
		secondary *gh.AbuseRateLimitError
		otp       *gh.TwoFactorAuthError
		answer    *gh.ErrorResponse
		held      *vcs.RetryError // by ourselves
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &held):
		return held
	case errors.As(err, &primary):
		return &vcs.RetryError{After: clamp(time.Until(primary.Rate.Reset.Time)), Err: err}
	case errors.As(err, &secondary):
		after := waitUnnamed
		if secondary.RetryAfter != nil {
			after = *secondary.RetryAfter
		}
		return &vcs.RetryError{After: clamp(after), Err: err}
	case errors.As(err, &otp):
		return fmt.Errorf("%w: %w", vcs.ErrDenied, err)
	case errors.As(err, &answer) && answer.Response != nil:
		return explainStatus(answer, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	default:
		return &vcs.RetryError{Err: err}
	}
}

// explainStatus reads an answer that go-github did not recognise as a rate limit; 429 and a 403 with Retry-After are ones all the same.
func explainStatus(answer *gh.ErrorResponse, err error) error {
	h := answer.Response.Header
	code := answer.Response.StatusCode
	switch {
	case code == http.StatusTooManyRequests,
		code == http.StatusForbidden && (h.Get("Retry-After") != "" || h.Get("X-RateLimit-Remaining") == "0"):
		return &vcs.RetryError{After: wait(h), Err: err}
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusUnavailableForLegalReasons:
		return fmt.Errorf("%w: %w", vcs.ErrDenied, err)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: %w", vcs.ErrNotFound, err)
	case code >= 500:
		var after time.Duration
		if h.Get("Retry-After") != "" {
			after = wait(h)
		}
		return &vcs.RetryError{After: after, Err: err}
	default:
		return err
	}
}

// wait follows GitHub's rule: Retry-After, else the reset if nothing remains, else a minute.
func wait(h http.Header) time.Duration {
	if s, err := strconv.ParseInt(h.Get("Retry-After"), 10, 64); err == nil && s >= 0 && s < 1<<31 {
		return clamp(time.Duration(s) * time.Second)
	}
	if at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && h.Get("X-RateLimit-Remaining") == "0" {
		return clamp(time.Until(time.Unix(at, 0)))
	}
	return waitUnnamed
}

func clamp(d time.Duration) time.Duration { return min(max(d, time.Second), waitMax) }

// absent says whether err means that our token cannot see or may not read the thing.
func absent(err error) bool { return errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrDenied) }
