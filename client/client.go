// Package client speaks to the API of a planlatch server, for the commands that look and repair from elsewhere.
//
// It promises that the token goes to the server it was given for and nowhere else, that every error says what to do, and that nothing is
// repeated by itself. What is read back is data of pull requests: escape it where it is shown. A Client is safe for concurrent use.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client asks one server.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// Errors; compare with errors.Is and errors.As.
var (
	// ErrUnreachable says that no answer came: nobody knows whether a change was made.
	ErrUnreachable = errors.New("the server does not answer")
	// ErrAddress says that the address is not one of a server.
	ErrAddress = errors.New("not the address of a server")
	// ErrAmbiguous says that several runs begin like this.
	ErrAmbiguous = errors.New("several runs begin like this")
)

// Problem is the server's no.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("the server says %d %s", p.Status, p.Title)
	}
	return p.Detail
}

// New returns a client of the server at address, which people reach with a browser. Error: ErrAddress.
func New(address, token string) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is %w: write it as https://planlatch.example.com", address, ErrAddress)
	}
	return &Client{base: u, token: token, http: &http.Client{
		// A redirect to elsewhere is a wrong address; following it would turn a POST into a GET, or hand the token on.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// patience is how long an answer may take to begin and end, but for exports, and pushes, which the server bounds by itself.
const (
	patience    = time.Minute
	forTheTools = 15 * time.Minute
)

// ask sends one request and decodes the answer; into may be nil. raw is the answer as it came.
func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body, into any) (raw []byte, err error) {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	res, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if raw, err = io.ReadAll(res.Body); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if into == nil || len(raw) == 0 {
		return raw, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("%s does not answer as planlatch does; is it the address of a planlatch server? %w", c.base, err)
	}
	return raw, nil
}

// send returns the answer if it is a yes.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		return nil, fmt.Errorf("%w: %s: %w; is it running there, and is the address right?", ErrUnreachable, c.base, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.problem(res)
}

func (c *Client) problem(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // best effort: the status says enough
	p := &Problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode)}
	if res.StatusCode/100 == 3 {
		p.Detail = fmt.Sprintf("%s sends on to %s: give that address instead", c.base, res.Header.Get("Location"))
		return p
	}
	if err := json.Unmarshal(text, p); err != nil || res.Header.Get("Content-Type") != "application/problem+json" {
		p.Status, p.Detail = res.StatusCode, fmt.Sprintf("%s says %s; is it the address of a planlatch server?", c.base, res.Status)
	}
	return p
}
