package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"
)

// credential is what opens the API and git. Token is called for each use, so that short-lived ones can be renewed in between.
type credential interface {
	Token(ctx context.Context) (string, error)
}

// staticToken is a personal access token. It hides itself from logs.
type staticToken string

func (t staticToken) Token(context.Context) (string, error) { return string(t), nil }
func (staticToken) String() string                          { return "(token)" }
func (staticToken) GoString() string                        { return "(token)" }

// newClient builds go-github's client on our transport. The caller's client is copied, not changed.
func newClient(base *http.Client, api *url.URL, cred credential) *gh.Client {
	c := http.Client{Timeout: callTimeout}
	var rt http.RoundTripper
	if base != nil {
		rt, c.Jar = base.Transport, base.Jar
		if base.Timeout > 0 {
			c.Timeout = base.Timeout
		}
	}
	if rt == nil {
		rt = http.DefaultTransport
	}
	c.Transport = &transport{base: rt, scheme: api.Scheme, host: api.Host, cred: cred}
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

// transport signs requests to the API, refuses all others and bounds answers. A renamed repository answers with a redirect, which the
// client follows; one that leads elsewhere must not get our token.
type transport struct {
	base         http.RoundTripper
	scheme, host string
	cred         credential
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.scheme || req.URL.Host != t.host {
		return nil, fmt.Errorf("redirected from %s://%s to %s://%s: set url (and api_url) to the final address",
			t.scheme, t.host, req.URL.Scheme, req.URL.Host)
	}
	token, err := t.cred.Token(req.Context())
	if err != nil {
		return nil, fmt.Errorf("get token: %w", err)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerLimit)
	return resp, nil
}
