package lend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// quiet takes what net/http has to say: a hostile client can make it say anything.
var quiet = log.New(io.Discard, "", 0)

// refuse answers with a sentence. Git shows a plain text that comes with an error to people.
func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Connection", "close")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, "planlatch: "+format+"\n", args...) // a client that is gone needs no answer
}

// git answers <root><name>/<path below the place>.
func (r *Relay) git(w http.ResponseWriter, req *http.Request) {
	path, query, ok := split(req.RequestURI)
	rest, known := strings.CutPrefix(path, r.root)
	name, rest, _ := strings.Cut(rest, "/")
	i := slices.IndexFunc(r.places, func(p place) bool { return p.Name == name && p.Kind == Git })
	if !known || i < 0 {
		refuse(w, http.StatusNotFound, "there is nothing here")
		return
	}
	p := r.places[i]
	switch {
	case !ok:
		refuse(w, http.StatusForbidden, "the credential %s is not lent for a path like this", p.Name)
		return
	case !fetches(req.Method, path, query, req.Header) || req.Header.Get("Upgrade") != "":
		refuse(w, http.StatusForbidden, "the credential %s is lent for git fetch alone: no push, no other page of the host", p.Name)
		return
	}
	target := *p.at
	full := joined(p.at.EscapedPath(), rest)
	if full == "" || !plain(full) || !below(full, p.at.EscapedPath()) {
		refuse(w, http.StatusForbidden, "the credential %s is not lent for this path", p.Name)
		return
	}
	if err := setPath(&target, full); err != nil {
		refuse(w, http.StatusBadRequest, "the path cannot be read")
		return
	}
	target.RawQuery = query
	within, done, open := r.while(req.Context())
	defer done()
	if !open {
		refuse(w, http.StatusForbidden, "the credential %s is lent to init alone", p.Name)
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, maxAsk)
	r.forward(within, p, &target, true).ServeHTTP(w, req.WithContext(within))
}

// joined is a path below a place. The place of a single repository is written with .git: what follows is a part of it.
func joined(place, rest string) string {
	if strings.HasSuffix(place, "/") {
		return place + rest
	}
	return place + "/" + rest
}

func setPath(u *url.URL, escaped string) (err error) {
	u.RawPath = escaped
	u.Path, err = url.PathUnescape(escaped)
	return err
}

// forward asks target with the credential of p.
func (r *Relay) forward(ctx context.Context, p place, target *url.URL, git bool) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: r.lent, FlushInterval: -1, ErrorLog: quiet,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host, pr.Out.Trailer = target, "", nil
			pr.Out.Header = lentHeader(pr.In.Header)
			pr.Out.Header.Set(p.Header, p.Secret)
		},
		ModifyResponse: func(res *http.Response) error {
			if git {
				r.keepRedirect(p, target, res)
				explain(p, target, res)
			}
			clean(res)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { failed(ctx, w, p.Name, target, err) },
	}
}

func clean(res *http.Response) {
	for _, name := range withheld {
		res.Header.Del(name)
	}
	res.Trailer = nil
}

// keepRedirect sends a client that is told to look elsewhere in the places back to the relay, and makes other targets absolute, so that it
// asks those itself.
func (r *Relay) keepRedirect(p place, from *url.URL, res *http.Response) {
	location := res.Header.Get("Location")
	if location == "" {
		return
	}
	to, err := from.Parse(location)
	if err != nil {
		res.Header.Del("Location")
		return
	}
	kept := to.String()
	if strings.EqualFold(to.Scheme, p.at.Scheme) && hostPort(to) == p.at.Host && to.User == nil && plain(to.EscapedPath()) {
		for i, other := range r.places {
			if rest, ok := strings.CutPrefix(to.EscapedPath(), other.at.EscapedPath()); ok && other.Kind == Git && other.at.Host == p.at.Host &&
				other.at.Scheme == p.at.Scheme && below(to.EscapedPath(), other.at.EscapedPath()) {
				kept = r.Path(i) + rest
				if to.RawQuery != "" {
					kept += "?" + to.RawQuery
				}
				break
			}
		}
	}
	res.Header.Set("Location", kept)
}

// explain says in words what a host's refusal means, for git would ask for a password or show a number.
func explain(p place, target *url.URL, res *http.Response) {
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		return
	}
	what := strings.TrimSuffix(strings.TrimSuffix(target.Path, suffixRefs), suffixUpload)
	text := fmt.Sprintf("planlatch: %s answers %d for %s: it does not exist, or the credential %s may not read it\n", target.Hostname(), res.StatusCode, what, p.Name)
	_ = res.Body.Close() // not read: the connection is not used again
	if res.StatusCode == http.StatusUnauthorized {
		res.StatusCode, res.Status = http.StatusForbidden, ""
	}
	res.Header = http.Header{"Content-Type": {"text/plain"}, "Content-Length": {strconv.Itoa(len(text))}}
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

// failed tells a client, without anything of the machine's network, why its request came to nothing.
func failed(ctx context.Context, w http.ResponseWriter, name string, target *url.URL, err error) {
	why := "could not be reached"
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		why = "was asked too late: the step has ended"
	case certificate:
		why = "has a certificate that this machine does not trust"
	}
	if name != "" {
		name = " with the credential " + name
	}
	refuse(w, http.StatusBadGateway, "%s%s %s", target.Hostname(), name, why)
}
