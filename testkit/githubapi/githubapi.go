// Package githubapi judges, in tests, what is said to GitHub and what a GitHub of ours answers, by GitHub's own published description.
//
// It promises that a request of our adapter which GitHub does not describe fails the test, and so does an answer or a webhook of
// vcs/fakehost that GitHub could not have given. The description is cut to what this repository speaks (see refresh); where GitHub's own is
// wrong, exceptions.go says so with the reason. Answers of GraphQL are left to fakehost, which checks queries against GitHub's schema
// itself. Everything here is safe for concurrent use.
package githubapi

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

//go:generate go run ./refresh

//go:embed testdata/rest.json.gz
var packed []byte

// T is the part of testing.TB that a judge needs.
type T interface {
	Errorf(format string, args ...any)
}

// Judge fails a test for what GitHub would not say or take.
type Judge struct{ t T }

// New returns a judge of one test. It implements fakehost.Judge.
func New(t T) Judge { return Judge{t} }

// root is where the API of an Enterprise server is; github.com has none.
const root = "/api/v3"

// Answers wraps an API: answers must be as described, and what the description refuses must not be granted. Addresses that the
// description does not have must answer 404.
func (j Judge) Answers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, root+"/") {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			j.t.Errorf("%s %s: read request: %v", r.Method, r.URL.Path, err)
		}
		wrong := checkRequest(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := &recorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r)
		if wrong != nil && seen.code < 300 {
			j.t.Errorf("%s %s was answered %d, but GitHub does not take it: %v", r.Method, r.URL.Path, seen.code, wrong)
		}
		if err := checkAnswer(r, seen.code, seen.body.Bytes()); err != nil {
			j.t.Errorf("%s %s: GitHub does not answer %d like this: %v\n%.300s", r.Method, r.URL.Path, seen.code, err, seen.body.Bytes())
		}
	})
}

// Requests wraps a transport: every request that goes through it must be one that GitHub describes.
func (j Judge) Requests(next http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		if path := r.URL.Path; strings.HasPrefix(path, root+"/") {
			var body []byte
			if r.Body != nil {
				var err error
				if body, err = io.ReadAll(r.Body); err != nil {
					return nil, err
				}
				_ = r.Body.Close() // a buffer of the client's
				r = r.Clone(r.Context())
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			if err := checkRequest(r, body); err != nil {
				j.t.Errorf("%s %s: GitHub does not take this request: %v\n%s", r.Method, r.URL, err, body)
			}
		}
		return next.RoundTrip(r)
	})
}

// Webhook judges the body of one delivery. The test must still be running: hooks that outlive it are a fault of the test.
func (j Judge) Webhook(event, action string, body []byte) {
	if err := checkWebhook(event, action, body); err != nil {
		j.t.Errorf("GitHub does not send a %s %s like this: %v\n%.300s", event, action, err, body)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// recorder keeps what it passes on.
type recorder struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// description is GitHub's, read once.
var description = sync.OnceValue(func() *openapi3.T {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(fmt.Errorf("unpack GitHub's description: %w", err))
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		panic(fmt.Errorf("unpack GitHub's description: %w", err))
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		panic(fmt.Errorf("read GitHub's description: %w", err))
	}
	correct(doc)
	return doc
})

var errUnknown = errors.New("no such operation in the description (see operations in testkit/githubapi/refresh)")

// route finds the operation of a request and the parameters in its path.
func route(r *http.Request) (*routers.Route, map[string]string, error) {
	doc := description()
	at := strings.TrimPrefix(r.URL.EscapedPath(), root)
	// The longest first, since a parameter that spans slashes would take the rest; literal segments sort before parameters.
	templates := slices.Sorted(maps.Keys(doc.Paths.Map()))
	slices.SortStableFunc(templates, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for _, template := range templates {
		item := doc.Paths.Value(template)
		op := item.GetOperation(r.Method)
		if op == nil {
			continue
		}
		if params, ok := match(template, at, op); ok {
			return &routers.Route{Spec: doc, Path: template, PathItem: item, Method: r.Method, Operation: op}, params, nil
		}
	}
	return nil, nil, errUnknown
}

func match(template, path string, op *openapi3.Operation) (map[string]string, bool) {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	params := map[string]string{}
	for i, w := range want {
		if i >= len(have) {
			return nil, false
		}
		name, isParam := strings.CutPrefix(w, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case !isParam && w != have[i]:
			return nil, false
		case isParam && i == len(want)-1 && multi(op, name):
			have = append(have[:i:i], strings.Join(have[i:], "/"))
		}
		if isParam {
			value, err := url.PathUnescape(have[i])
			if err != nil || value == "" {
				return nil, false
			}
			params[name] = value
		}
	}
	return params, len(want) == len(have)
}

// multi says whether a parameter may contain slashes.
func multi(op *openapi3.Operation, name string) bool {
	p := op.Parameters.GetByInAndName("path", name)
	return p != nil && p.Extensions["x-multi-segment"] == true
}

func checkRequest(r *http.Request, body []byte) error {
	found, params, err := route(r)
	if err != nil {
		return err
	}
	for name := range r.URL.Query() {
		if found.Operation.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("no parameter %q in the query", name)
		}
	}
	copied := r.Clone(context.WithoutCancel(r.Context()))
	copied.Body = io.NopCloser(bytes.NewReader(body))
	return flat(openapi3filter.ValidateRequest(copied.Context(), &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: params, Route: found,
		Options: &openapi3filter.Options{MultiError: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}))
}

// checkAnswer judges a body by the answer described for its code. A refusal that is not described, of which GitHub gives many, must at
// least have the form of one.
func checkAnswer(r *http.Request, code int, body []byte) error {
	found, _, err := route(r)
	if err != nil {
		if code == http.StatusNotFound {
			return nil
		}
		return err
	}
	described := found.Operation.Responses.Status(code)
	schema := description().Components.Schemas["basic-error"]
	switch {
	case described == nil && code < 300:
		return errors.New("this code is not described")
	case described != nil && described.Value.Content.Get("application/json") != nil:
		schema = described.Value.Content.Get("application/json").Schema
	case described != nil && code < 300:
		schema = nil
	}
	if schema == nil {
		if len(body) > 0 {
			return errors.New("the answer has a body, and the described one has none")
		}
		return nil
	}
	return visit(schema.Value, body)
}

func visit(schema *openapi3.Schema, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return flat(schema.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsResponse()))
}

// checkWebhook finds the payload's description by event and action: pull_request closed is "pull-request-closed".
func checkWebhook(event, action string, body []byte) error {
	name := strings.ReplaceAll(strings.Trim(event+"-"+action, "-"), "_", "-")
	hooks, _ := description().Extensions["x-webhooks"].(map[string]any)
	at := hooks[name]
	for _, step := range []string{"post", "requestBody", "content", "application/json", "schema", "$ref"} {
		o, _ := at.(map[string]any)
		at = o[step]
	}
	ref, _ := at.(string)
	schema := description().Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	if schema == nil {
		return fmt.Errorf("no webhook %q in the description (see webhooks in testkit/githubapi/refresh)", name)
	}
	return visit(schema.Value, body)
}

// flat makes one short line of each violation.
func flat(err error) error {
	if err == nil {
		return nil
	}
	lines := map[string]bool{}
	flatten(err, lines)
	return errors.New("\n  " + strings.Join(slices.Sorted(maps.Keys(lines)), "\n  "))
}

func flatten(err error, into map[string]bool) {
	switch e := err.(type) { //nolint:errorlint // walks the tree, level by level
	case openapi3.MultiError:
		for _, one := range e {
			flatten(one, into)
		}
	case *openapi3.SchemaError:
		if e.Origin != nil {
			flatten(e.Origin, into)
		}
		into["/"+strings.Join(e.JSONPointer(), "/")+": "+short(e.Reason)] = true
	case *openapi3filter.RequestError:
		if e.Err == nil {
			into[e.Error()] = true
			return
		}
		flatten(e.Err, into)
	default:
		into[short(err.Error())] = true
	}
}

// short leaves out the schema and the value, which are longer than anybody reads.
func short(text string) string {
	text, _, _ = strings.Cut(text, "Schema:")
	return strings.Join(strings.Fields(text), " ")
}
