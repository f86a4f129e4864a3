// Package gitea adapts Gitea and Forgejo to the vcs port.
//
// It promises the whole of [vcs.Host] on one access token and one webhook secret. What Gitea leaves open it closes in favour of safety:
// an approval counts only if Gitea calls it official, that is, given by somebody who may write (anybody who can read a repository may
// approve there); a comment is edited only if our own account wrote it (Gitea lets everybody who may write edit the words of others);
// and a pull request that Gitea calls unmergeable is unknown until it has had time to look for conflicts, because it says the same
// while it still looks.
//
// The token's account must be an administrator of the repositories, since Gitea tells only those who else may do what. Callers retry
// what is a [vcs.RetryError]. All methods are safe for concurrent use.
package gitea

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

const (
	pageSize  = 50  // the most that a Gitea gives by default
	pageLimit = 400 // a longer list is an error: a decision on a part of it would be wrong
)

// Options say where a host is and how to speak to it.
type Options struct {
	Name          string           // of the host in server.yaml, for messages; empty: gitea
	URL           string           // https://git.example.com, or with a path where Gitea lives below one; required
	Token         string           // access token of an account that administers the repositories; required
	WebhookSecret string           // required: unsigned webhooks are never accepted
	HTTP          *http.Client     // nil: a client with time-outs; its transport and time-out are used, never its redirect rule
	Now           func() time.Time // nil: time.Now
}

// Host is one Gitea or Forgejo.
type Host struct {
	name   string
	base   *url.URL
	token  string
	secret []byte
	http   *http.Client
	now    func() time.Time

	mu      sync.Mutex
	self    *sdk.User             // of our token, once known
	refused map[refusal]time.Time // when Gitea first called a head on a base unmergeable
}

var _ vcs.Host = (*Host)(nil)

// New checks the options and returns the adapter; it does not call the host.
func New(o Options) (*Host, error) {
	if o.Name == "" {
		o.Name = "gitea"
	}
	base, err := wire.Address(o.URL, "/api/v1")
	if err != nil {
		return nil, fmt.Errorf("vcs %s: url: %w", o.Name, err)
	}
	if strings.TrimSpace(o.Token) != o.Token || o.Token == "" {
		return nil, fmt.Errorf("vcs %s: token: is empty or has spaces around it", o.Name)
	}
	if o.WebhookSecret == "" {
		return nil, fmt.Errorf("vcs %s: webhook_secret: is empty: unsigned webhooks are never accepted; set the same secret here and in Gitea", o.Name)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Host{
		name: o.Name, base: base, token: o.Token, secret: []byte(o.WebhookSecret), now: o.Now,
		http: wire.Client(o.HTTP, base, "token "+o.Token), refused: map[refusal]time.Time{},
	}, nil
}

// String names the host without its secrets.
func (h *Host) String() string { return fmt.Sprintf("gitea %s at %s", h.name, h.base) }

// api returns a client whose requests end with ctx. The library binds a context to a client, not to a call, so each call has its own;
// it holds no connections, those are the transport's.
func (h *Host) api(ctx context.Context) *sdk.Client {
	// An empty version keeps the library from asking for one: Forgejo's and a self-built Gitea's are not of the form it expects.
	c, err := sdk.NewClient(h.base.String(), sdk.SetHTTPClient(h.http), sdk.SetContext(ctx), sdk.SetGiteaVersion(""))
	if err != nil {
		panic(err) // only an option can fail, and these do not
	}
	return c
}

// A name is used in paths, so it must be what Gitea allows and nothing that changes the path.
var (
	segment  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)
	commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

func plain(s string) bool { return segment.MatchString(s) && strings.Trim(s, ".") != "" }

// split returns owner and name of a repository. A name that Gitea cannot have is not found, not an odd request.
func split(name string) (owner, repo string, err error) {
	owner, repo, ok := strings.Cut(name, "/")
	if !ok || !plain(owner) || !plain(repo) {
		return "", "", fmt.Errorf("repository %q: want owner/name: %w", name, vcs.ErrNotFound)
	}
	return owner, repo, nil
}

// pages reads a list to its end. Gitea names the next page in some lists and the total in others, and leaves entries out of a page that
// our account may not see: an empty page ends a list only where the total does not say otherwise.
func pages[T any](ctx context.Context, get func(o sdk.ListOptions) ([]T, *sdk.Response, error)) ([]T, error) {
	var all []T
	for page := 1; page <= pageLimit; page++ {
		part, resp, err := get(sdk.ListOptions{Page: page, PageSize: pageSize})
		if err = explain(ctx, resp, err); err != nil {
			return nil, err
		}
		all = append(all, part...)
		total, known := totalOf(resp)
		switch {
		case resp.NextPage > page:
		case known && len(all) >= total, len(part) == 0 && (!known || page*pageSize >= total):
			return all, nil
		}
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}
