// Package github is the adapter for GitHub: github.com and GitHub Enterprise Server, spoken to with a token.
//
// It promises what [vcs.Host] asks for, in terms that fail closed: an answer that is missing, hidden or unexpected is "unknown" or "no",
// never "yes". Every call has a time limit, every answer a size limit, and the token goes to the API's own address only, redirects
// included. The package does not retry: it says with *vcs.RetryError when to come back, and until then it does not
// call either; it also holds back writes that GitHub would call too many. It keeps no other state but who we are, and is safe for
// concurrent use.
//
// How branch protection counts. Of each check that reported, GitHub says over GraphQL whether it is required, to every token that reads
// the pull request; which others are, the branch (its own protection) and its rule sets tell, to tokens without administration. Where they
// can be read, exactly those checks are [vcs.Check.Required], and one that never reported is listed as pending. Where they cannot,
// GitHub's own verdict decides: if it calls the pull request mergeable, no hidden check counts as required, because every required one
// must then be green; if it does not, every check counts as required.
//
// GitHub calls a pull request "blocked" also while our own contexts (planlatch/…) are required and not yet green, which an apply before
// the merge could never get past. So a blocked pull request is mergeable if everything else that its rules ask for can be read and is
// met; see rules.go. A fine-grained token cannot read check runs at all: it is told so little that such a pull request stays blocked.
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/planlatch/planlatch/vcs"
)

const (
	callTimeout  = 30 * time.Second // of one API call, body included
	answerLimit  = 32 << 20         // bytes of one API answer
	pageSize     = 100              // the most GitHub gives
	pageLimit    = 200              // pages of one list; more is an error, because a cut list would be a wrong answer
	commentLimit = 65_000           // below the 65,536 characters at which GitHub refuses
)

// Options say which GitHub to speak to, and as whom.
type Options struct {
	Name          string       // of this host in our configuration, for error texts; empty: "github"
	URL           string       // web address; empty: https://github.com
	APIURL        string       // API address; empty: https://api.github.com, or URL + /api/v3 elsewhere
	Token         string       // required: personal access token, classic or fine-grained
	WebhookSecret string       // required
	Budget        *Budget      // nil: GitHub's published limits on github.com and ghe.com, none elsewhere
	HTTP          *http.Client // nil: a client of our own. Transport (proxies, CAs) and Timeout are used, redirects are ours
}

// Host is one GitHub. It implements [vcs.Host].
type Host struct {
	name   string
	web    *url.URL
	secret []byte
	cred   credential
	api    *gh.Client
	graph  string // address of the GraphQL API

	mu   sync.Mutex
	self *vcs.User // of our token, once known
}

var _ vcs.Host = (*Host)(nil)

// String keeps token and secret out of what is printed.
func (h *Host) String() string { return "github host " + h.name }

// GoString is String, for %#v.
func (h *Host) GoString() string { return h.String() }

// New checks the options and returns the adapter; it does not call GitHub.
func New(o Options) (*Host, error) {
	if o.Name == "" {
		o.Name = "github"
	}
	if o.URL == "" {
		o.URL = "https://github.com"
	}
	web, err := address(o.URL)
	if err != nil {
		return nil, fmt.Errorf("vcs %s: url: %w", o.Name, err)
	}
	if o.APIURL == "" {
		o.APIURL = apiAddress(web)
	}
	api, err := address(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("vcs %s: api_url: %w", o.Name, err)
	}
	if strings.TrimSpace(o.Token) != o.Token || o.Token == "" {
		return nil, fmt.Errorf("vcs %s: token: is empty or has spaces around it", o.Name)
	}
	if o.WebhookSecret == "" {
		return nil, fmt.Errorf("vcs %s: webhook_secret: is empty: unsigned webhooks are never accepted", o.Name)
	}
	h := &Host{name: o.Name, web: web, secret: []byte(o.WebhookSecret), cred: staticToken(o.Token)}
	budget := budgetOf(api.Hostname())
	if o.Budget != nil {
		budget = *o.Budget
	}
	h.api, h.graph = newClient(o.HTTP, api, h.cred, budget), graphAddress(api)
	return h, nil
}

// address reads an http(s) address and removes a trailing slash.
func address(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("is not an address such as https://github.example.com")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("%q is not an address such as https://github.example.com", u.Redacted())
	case u.User != nil:
		return nil, errors.New("must not contain a user or password: set token instead")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q must not have a query or fragment", s)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// apiAddress derives where the API of a web address is: github.com and the tenants of ghe.com have a host of their own for it.
func apiAddress(web *url.URL) string {
	host := strings.ToLower(web.Hostname())
	switch {
	case host == "github.com", host == "www.github.com":
		return "https://api.github.com"
	case strings.HasSuffix(host, ".ghe.com"):
		return web.Scheme + "://api." + web.Host
	default:
		return web.String() + "/api/v3"
	}
}

// graphAddress derives where the GraphQL API is: beside /api/v3 on an Enterprise server, below the API's own host elsewhere.
func graphAddress(api *url.URL) string {
	if root, enterprise := strings.CutSuffix(api.String(), "/v3"); enterprise {
		return root + "/graphql"
	}
	return api.String() + "/graphql"
}

// A name is used in paths, so it must be what GitHub allows and nothing that changes the path.
var (
	namePart  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)
	loginName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?$`)
	commitID  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// split returns owner and name of a repository. A name that GitHub cannot have is not found, not an odd request.
func split(name string) (owner, repo string, err error) {
	owner, repo, ok := strings.Cut(name, "/")
	if !ok || !plain(owner) || !plain(repo) {
		return "", "", fmt.Errorf("repository %q: want owner/name: %w", name, vcs.ErrNotFound)
	}
	return owner, repo, nil
}

// plain says whether s is one path segment that stays one.
func plain(s string) bool { return namePart.MatchString(s) && strings.Trim(s, ".") != "" }

// pages reads a list to its end. A list longer than pageLimit pages is an error: a decision on part of it would be wrong.
func pages[T any](ctx context.Context, get func(ctx context.Context, o gh.ListOptions) ([]T, *gh.Response, error)) ([]T, error) {
	var all []T
	for page := 1; page <= pageLimit; {
		part, resp, err := get(ctx, gh.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return nil, explain(ctx, err)
		}
		all = append(all, part...)
		if resp.NextPage <= page {
			return all, nil
		}
		page = resp.NextPage
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}
