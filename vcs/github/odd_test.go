package github_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/github"
)

// calls are all that ask GitHub. Each says what it would grant.
var calls = map[string]func(context.Context, *github.Host, vcs.Repo) (granted bool, err error){
	"Pull": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		p, err := h.Pull(ctx, r, 1)
		return p.Mergeable == vcs.Yes || p.State == vcs.PullMerged || len(p.Reviews) > 0, err
	},
	"UpdatedSince": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		got, err := h.UpdatedSince(ctx, r, time.Time{})
		return len(got) > 0, err
	},
	"CommentsSince": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		got, err := h.CommentsSince(ctx, r, 1, time.Time{})
		return len(got) > 0, err
	},
	"Branch": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		sha, err := h.Branch(ctx, r, "main")
		return sha != "", err
	},
	"Comment": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		id, err := h.Comment(ctx, r, 1, "7", "<!-- marker -->", "hello")
		return id != "", err
	},
	"Permission": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		p, err := h.Permission(ctx, r, "alice")
		return p != vcs.PermissionNone, err
	},
	"Member": func(ctx context.Context, h *github.Host, _ vcs.Repo) (bool, error) {
		return h.Member(ctx, "acme/ops", "alice")
	},
	"Self": func(ctx context.Context, h *github.Host, _ vcs.Repo) (bool, error) {
		u, err := h.Self(ctx)
		return u.ID != "", err
	},
	"Repo": func(ctx context.Context, h *github.Host, _ vcs.Repo) (bool, error) {
		r, err := h.Repo(ctx, name)
		return r.ID != "", err
	},
	"List": func(ctx context.Context, h *github.Host, _ vcs.Repo) (bool, error) {
		got, err := h.List(ctx)
		return len(got) > 0, err
	},
	"React": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		return false, h.React(ctx, r, 1, "7", vcs.ReactionSeen)
	},
	"SetStatus": func(ctx context.Context, h *github.Host, r vcs.Repo) (bool, error) {
		return false, h.SetStatus(ctx, r, strings.Repeat("a", 40), vcs.Status{Context: "c", State: vcs.StatusSuccess})
	},
}

func TestOddAnswersGrantNothing(t *testing.T) {
	t.Parallel()
	var (
		retries = func(err error) bool { _, is := errors.AsType[*vcs.RetryError](err); return is }
		is      = func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
		anyhow  = func(error) bool { return true }
	)
	for what, c := range map[string]struct {
		code   int
		header http.Header
		body   string
		want   func(error) bool // of an error, if there is one
		must   bool             // there is one, whatever the call
	}{
		"nothing":            {code: 200, body: "", want: retries},
		"null":               {code: 200, body: "null", want: anyhow},
		"an empty object":    {code: 200, body: "{}", want: anyhow},
		"an empty list":      {code: 200, body: "[]", want: anyhow},
		"a list of null":     {code: 200, body: "[null]", want: anyhow},
		"a list of nothings": {code: 200, body: `[{"user":null,"id":null}]`, want: anyhow},
		"nothing known":      {code: 200, body: `{"user":null,"permission":"god","state":"maybe","id":0,"head":null,"base":null}`, want: anyhow},
		"numbers as text":    {code: 200, body: `{"id":"7","number":"1","statuses":"none"}`, want: anyhow},
		"cut":                {code: 200, body: `{"id":`, want: retries, must: true},
		"a login page":       {code: 200, body: "<html>", want: retries, must: true},
		"no content":         {code: 204, want: anyhow},
		"not modified":       {code: 304, want: anyhow},
		"unauthorized":       {code: 401, body: `{"message":"Bad credentials"}`, want: is(vcs.ErrDenied), must: true},
		"forbidden":          {code: 403, body: `{"message":"no"}`, want: is(vcs.ErrDenied), must: true},
		"gone for ever":      {code: 404, body: `{"message":"Not Found"}`, want: is(vcs.ErrNotFound)},
		"blocked by law":     {code: 451, body: `{"message":"DMCA"}`, want: is(vcs.ErrDenied), must: true},
		"too many":           {code: 429, header: http.Header{"Retry-After": {"9"}}, body: `{}`, want: retries, must: true},
		"too many as 403":    {code: 403, header: http.Header{"Retry-After": {"9"}}, body: `{}`, want: retries, must: true},
		"ill":                {code: 502, body: "<html>unicorn</html>", want: retries, must: true},
	} {
		for call, do := range calls {
			t.Run(what+"/"+call, func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int64
				url := listen(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
					asked.Add(1)
					maps.Copy(w.Header(), c.header)
					w.WriteHeader(c.code)
					_, _ = io.WriteString(w, c.body)
				})
				granted, err := do(t.Context(), adapter(t, url, "t"), vcs.Repo{ID: "5", Name: name})
				if granted || err != nil && !c.want(err) || err == nil && c.must {
					t.Errorf("%s = granted %v, %v", call, granted, err)
				}
				if n := asked.Load(); n > 8 {
					t.Errorf("%s asked %d times", call, n)
				}
			})
		}
	}
}
