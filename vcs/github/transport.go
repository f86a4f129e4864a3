package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/wire"
)

// credential is what opens the API and git. Token is called for each use, so that short-lived ones can be renewed in between.
type credential interface {
	Token(ctx context.Context) (string, error)
}

// staticToken is a personal access token.
type staticToken string

func (t staticToken) Token(context.Context) (string, error) { return string(t), nil }

// newClient builds go-github's client on our transport. The caller's client is copied, not changed.
func newClient(base *http.Client, api *url.URL, cred credential, b Budget) *gh.Client {
	t := &transport{
		base: wire.Pool(), timeout: callTimeout, scheme: api.Scheme, host: api.Host, cred: cred, meter: newMeter(b),
	}
	c := http.Client{Transport: t}
	if base != nil {
		c.Jar = base.Jar
		if base.Transport != nil {
			t.base = base.Transport
		}
		if base.Timeout > 0 {
			t.timeout = base.Timeout
		}
	}
	c.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("more than 5 redirects")
		}
		return nil
	}
	client := gh.NewClient(&c)
	root := *api
	root.Path += "/"
	client.BaseURL, client.UploadURL = &root, &root
	client.UserAgent = "planlatch"
	return client
}

// transport signs requests to the API, refuses all others, holds back what would be too many (see budget.go), and takes answers whole, within a time and a size. A renamed repository answers
// with a redirect, which the client follows; one that leads elsewhere must not get our token. The body is read here because go-github
// does not close that of an error, which keeps the timer of an http.Client running until it fires.
type transport struct {
	base         http.RoundTripper
	timeout      time.Duration // of one request, body included
	scheme, host string
	cred         credential
	meter        *meter
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.scheme || req.URL.Host != t.host {
		return nil, fmt.Errorf("redirected from %s://%s to %s://%s: set url (and api_url) to the final address",
			t.scheme, t.host, req.URL.Scheme, req.URL.Host)
	}
	if err := t.meter.take(time.Now(), req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	token, err := t.cred.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("get token: %w", err)
	}
	req = req.Clone(ctx)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	if e := resp.Body.Close(); err == nil {
		err = e
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", err)
	case len(body) > answerLimit:
		return nil, fmt.Errorf("the answer is larger than %d bytes", answerLimit)
	}
	t.meter.heard(time.Now(), resp)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
