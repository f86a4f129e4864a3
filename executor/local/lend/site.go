package lend

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// discovery is where a registry says what it offers: the same for everyone.
const discovery = "/.well-known/terraform.json"

// Site is a scheme, host and port that places of kind HTTPS lie on.
type Site struct {
	Scheme string
	Host   string // host:port
	// Through says that other requests go on to the site as they are, without a credential: the network of the program lets it reach the
	// site anyway.
	Through bool
	// Certificate is shown for it, where the scheme is https.
	Certificate *tls.Certificate
}

// Sites lists the sites of the places of kind HTTPS, each once.
func Sites(places []Place) ([]Site, error) {
	var out []Site
	seen := map[string]bool{}
	for _, p := range places {
		u, err := url.Parse(p.URL)
		if err != nil {
			return nil, err
		}
		s := Site{Scheme: u.Scheme, Host: hostPort(u)}
		if key := s.Scheme + s.Host; p.Kind == HTTPS && !seen[key] {
			seen[key] = true
			out = append(out, s)
		}
	}
	return out, nil
}

// ServeSite serves a site on l until that is closed.
func (r *Relay) ServeSite(l net.Listener, s Site) error {
	var t *tls.Config
	if s.Scheme == "https" {
		t = &tls.Config{Certificates: []tls.Certificate{*s.Certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	return r.serve(l, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.site(w, req, s) }), t)
}

// IsOpen says whether requests are let through.
func (r *Relay) IsOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open != nil
}

// site answers a request for a site: with the credential of the narrowest place that it reads from, or as the program could have asked itself.
func (r *Relay) site(w http.ResponseWriter, req *http.Request, s Site) {
	path, query, ok := split(req.RequestURI)
	if !ok || !s.named(req.Host) {
		refuse(w, http.StatusForbidden, "a request like this is not passed on to %s", s.Host)
		return
	}
	target := &url.URL{Scheme: s.Scheme, Host: s.dial(), RawQuery: query}
	if err := setPath(target, path); err != nil {
		refuse(w, http.StatusBadRequest, "the path cannot be read")
		return
	}
	within, done, open := r.while(req.Context())
	defer done()
	if !open {
		refuse(w, http.StatusForbidden, "credentials are lent to init alone")
		return
	}
	req = req.WithContext(within)
	if p, ok := r.placeOf(s, path); ok && reads(req.Method) && req.ContentLength == 0 && req.Header.Get("Upgrade") == "" && !speaksForItself(req.Header, p) {
		r.forward(within, p, target, false).ServeHTTP(w, req)
		return
	}
	public := path == discovery && reads(req.Method)
	if !s.Through && !public {
		refuse(w, http.StatusForbidden, "%s lends no credential for this request, and the network of this run does not reach it: GET below the url of a module credential is all it may do",
			strings.TrimSuffix(s.Host, ":443"))
		return
	}
	r.pass(target, public).ServeHTTP(w, req)
}

// named says whether a Host header names the site.
func (s Site) named(host string) bool {
	u := url.URL{Scheme: s.Scheme, Host: host}
	return u.Hostname() != "" && hostPort(&u) == s.Host
}

// dial is the site's host as a URL has it: servers and certificates know themselves without the usual port.
func (s Site) dial() string {
	usual := map[string]string{"https": ":443", "http": ":80"}[s.Scheme]
	return strings.TrimSuffix(s.Host, usual)
}

// placeOf returns the narrowest place that a path lies in.
func (r *Relay) placeOf(s Site, path string) (best place, found bool) {
	for _, p := range r.places {
		at := p.at.EscapedPath()
		if p.Kind == HTTPS && p.at.Scheme == s.Scheme && p.at.Host == s.Host && below(path, at) && (!found || len(at) > len(best.at.EscapedPath())) {
			best, found = p, true
		}
	}
	return best, found
}

// speaksForItself says whether a request brings a credential of its own, which is then the one that counts.
func speaksForItself(h http.Header, p place) bool {
	return h.Get("Authorization") != "" || h.Get(p.Header) != "" || h.Get("Cookie") != ""
}

// pass asks target as the program did, without a credential. Where a site's addresses are closed to the program, public pages are not.
func (r *Relay) pass(target *url.URL, public bool) *httputil.ReverseProxy {
	via := r.plain
	if public {
		via = r.lent
	}
	return &httputil.ReverseProxy{
		Transport: via, FlushInterval: -1, ErrorLog: quiet,
		Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.URL, pr.Out.Host = target, "" },
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			failed(req.Context(), w, "", target, err)
		},
	}
}
