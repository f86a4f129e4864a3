// Package gitlab adapts GitLab, gitlab.com and self-managed, to the vcs port.
//
// It promises the whole of [vcs.Host] on one access token and one webhook secret, in terms that fail closed. What GitLab leaves open is
// closed in favour of safety: an approval carries no commit there, so it has the time at which GitLab says it was given, and none where
// GitLab says nothing; whoever asked for changes stands against, whatever else they did; a comment is edited only if our own account wrote
// it; and no line of a comment can be a quick action, which GitLab would carry out with our token.
//
// Repositories are addressed by their numeric id wherever we know it, so a rename needs no redirect and a namesake inherits nothing. Roles
// map as follows: Reporter reads, Developer writes, Maintainer and Owner administer (both change settings and protected branches). The
// package does not retry: it says with [vcs.RetryError] when to come back. All methods are safe for concurrent use.
package gitlab

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

const (
	pageSize  = 100 // the most that GitLab gives
	pageLimit = 200 // a longer list is an error: a decision on a part of it would be wrong
)

// Options say where a host is and how to speak to it.
type Options struct {
	Name          string           // of the host in server.yaml, for messages; empty: gitlab
	URL           string           // https://gitlab.example.com, or with a path where GitLab lives below one; empty: https://gitlab.com
	Token         string           // access token with scope api of an account that is a Maintainer of the projects; required
	WebhookSecret string           // required: the secret token of the webhook, or its signing token (whsec_…)
	HTTP          *http.Client     // nil: a client with time-outs; its transport and time-out are used, never its redirect rule
	Now           func() time.Time // nil: time.Now
}

// Host is one GitLab.
type Host struct {
	name   string
	base   *url.URL
	token  string
	secret []byte     // what X-Gitlab-Token must be; nil where deliveries are signed
	key    []byte     // what deliveries are signed with; nil where they carry a token
	api    *gl.Client //nolint:staticcheck // moved to another name by its makers, and pinned: see docs/architecture.md
	now    func() time.Time

	mu     sync.Mutex
	self   *vcs.User        // of our token, once known
	emails map[string]known // who has a commit's address
}

var _ vcs.Host = (*Host)(nil)

// New checks the options and returns the adapter; it does not call the host.
func New(o Options) (*Host, error) {
	if o.Name == "" {
		o.Name = "gitlab"
	}
	if o.URL == "" {
		o.URL = "https://gitlab.com"
	}
	base, err := wire.Address(o.URL, "/api/v4")
	if err != nil {
		return nil, fmt.Errorf("vcs %s: url: %w", o.Name, err)
	}
	if strings.TrimSpace(o.Token) != o.Token || o.Token == "" {
		return nil, fmt.Errorf("vcs %s: token: is empty or has spaces around it", o.Name)
	}
	if o.WebhookSecret == "" {
		return nil, fmt.Errorf("vcs %s: webhook_secret: is empty: unsigned webhooks are never accepted; set the same secret here and in GitLab", o.Name)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Host{name: o.Name, base: base, token: o.Token, now: o.Now, emails: map[string]known{}}
	if encoded, signed := strings.CutPrefix(o.WebhookSecret, "whsec_"); signed {
		if h.key, err = base64.StdEncoding.DecodeString(encoded); err != nil || len(h.key) < 16 {
			return nil, fmt.Errorf("vcs %s: webhook_secret: begins as a signing token does, with whsec_, and the rest is no base64 of 16 bytes or more", o.Name)
		}
	} else {
		h.secret = []byte(o.WebhookSecret)
	}
	client := wire.Client(o.HTTP, base, "Bearer "+o.Token)
	h.api, err = gl.NewOAuthClient(o.Token, //nolint:staticcheck // as above
		gl.WithBaseURL(base.String()), gl.WithHTTPClient(client), gl.WithoutRetries(),
		gl.WithCustomRetryMax(0), gl.WithCustomLimiter(unlimited{}))
	if err != nil {
		return nil, fmt.Errorf("vcs %s: %w", o.Name, err)
	}
	return h, nil
}

// String names the host without its secrets.
func (h *Host) String() string { return fmt.Sprintf("gitlab %s at %s", h.name, h.base) }

// GoString is String, for %#v.
func (h *Host) GoString() string { return h.String() }

// unlimited keeps the library from slowing us down: it would do so for all calls after a look at one header, and not tell.
type unlimited struct{}

func (unlimited) Wait(context.Context) error { return nil }

// A name is used in paths, so it must be what GitLab allows and nothing that changes the path.
var (
	segment  = regexp.MustCompile(`^[\p{L}\p{N}_.+-]{1,255}$`)
	commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

func plain(s string) bool { return segment.MatchString(s) && strings.Trim(s, ".") != "" }

// path says whether a name can be that of a group (of one part or more) or of a project (of two or more).
func path(name string, parts int) bool {
	all := strings.Split(name, "/")
	for _, part := range all {
		if !plain(part) {
			return false
		}
	}
	return len(all) >= parts && len(all) <= 21
}

// project is how a repository is named to the API: by its id, or by its path where we do not know that.
func project(r vcs.Repo) (string, error) {
	if id, err := strconv.ParseInt(r.ID, 10, 64); err == nil && id > 0 {
		return r.ID, nil
	}
	if r.ID != "" || !path(r.Name, 2) {
		return "", fmt.Errorf("repository %q: want group/project: %w", r.Name, vcs.ErrNotFound)
	}
	return r.Name, nil
}

// call asks one address of the API, and reads its answer into the pointer into, if that is not nil. parts are escaped and joined.
func (h *Host) call(ctx context.Context, method string, parts []string, query, into any) (*gl.Response, error) {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = gl.PathEscape(part)
	}
	req, err := h.api.NewRequest(method, strings.Join(escaped, "/"), query, []gl.RequestOptionFunc{gl.WithContext(ctx)})
	if err != nil {
		return nil, err
	}
	resp, err := h.api.Do(req, into)
	return resp, explain(ctx, resp, err)
}

// get reads one address.
func get[T any](ctx context.Context, h *Host, query any, parts ...string) (T, error) {
	var into T
	_, err := h.call(ctx, http.MethodGet, parts, query, &into)
	return into, err
}

// send writes to one address.
func send[T any](ctx context.Context, h *Host, method string, body any, parts ...string) (T, error) {
	var into T
	_, err := h.call(ctx, method, parts, body, &into)
	return into, err
}

// filter is what narrows a list; its zero value is the whole list.
type filter struct {
	gl.ListOptions
	OrderBy      string     `url:"order_by,omitempty"`
	Sort         string     `url:"sort,omitempty"`
	State        string     `url:"state,omitempty"`
	Scope        string     `url:"scope,omitempty"`
	UpdatedAfter *time.Time `url:"updated_after,omitempty"`
	Membership   bool       `url:"membership,omitempty"`
	Archived     *bool      `url:"archived,omitempty"`
	Search       string     `url:"search,omitempty"`
	Username     string     `url:"username,omitempty"`
}

// list reads a list to its end.
func list[T any](ctx context.Context, h *Host, f filter, parts ...string) ([]T, error) {
	var all []T
	f.Page, f.PerPage = 1, pageSize
	for range pageLimit {
		var part []T
		resp, err := h.call(ctx, http.MethodGet, parts, f, &part)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if resp.NextPage <= f.Page {
			return all, nil
		}
		f.Page = resp.NextPage
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}

// explain turns an answer of the library into the port's errors.
func explain(ctx context.Context, resp *gl.Response, err error) error {
	if resp == nil {
		return wire.Explain(ctx, nil, err)
	}
	if bad, ok := errors.AsType[*gl.ErrorResponse](err); ok { // its own text has the address in front
		err = errors.New(bad.Message)
	}
	return wire.Explain(ctx, resp.Response, err)
}
