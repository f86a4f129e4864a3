package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

// path fills in a route's path.
func path(r web.Route, id run.ID) string {
	return strings.NewReplacer("{id}", string(id), "{name}", "style.css", "{$}", "").Replace(r.Path)
}

// TestNobodyLearnsAnythingWithoutALogin asks for every route in every way, logged out (CVE-2025-58445).
func TestNobodyLearnsAnythingWithoutALogin(t *testing.T) {
	t.Parallel()
	s := setup(t, func(o *web.Options) {
		o.Ignored = func() []web.Ignored { return []web.Ignored{{Reason: "ignored-canary"}} }
	})
	r := s.planning(seed{label: "label-canary", title: "title-canary", author: "author-canary"})
	s.write(r, "plan", 10, "log-canary\n")
	canaries := []string{version, nodeName, "canary", runtime.Version(), "acme/infra", "0.1.0", "build", "commit"}
	if name, err := os.Hostname(); err == nil && strings.ContainsAny(name, "0123456789.-") { // a name that is a word may be one of ours
		canaries = append(canaries, name)
	}
	routes := append(s.handler.Routes(), web.Route{Path: "/"}, web.Route{Path: "/status"}, web.Route{Path: "/assets/"}, web.Route{Path: "/assets/web.go"},
		web.Route{Path: "/api/v1/"}, web.Route{Path: "/api/v1/version"}, web.Route{Path: "/runs/"}, web.Route{Path: "/runs/01NOTTHERE"}, web.Route{Path: "/../../etc/passwd"})
	c := s.browser()
	for _, rt := range routes {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			for _, accept := range []string{"text/html", "application/json", "text/event-stream"} {
				a := s.do(c, method, path(rt, r.ID), nil, http.Header{"Accept": {accept}})
				if a.status < 400 && !rt.Open && a.status != http.StatusSeeOther && (a.status != http.StatusTemporaryRedirect && a.status != http.StatusMovedPermanently) {
					t.Errorf("%s %s (%s) = %d without a login", method, rt.Path, accept, a.status)
				}
				all := strings.ToLower(a.body)
				for k, v := range a.header {
					if k != "Location" {
						all += "\n" + strings.ToLower(k+": "+strings.Join(v, " "))
					}
				}
				for _, canary := range canaries {
					if strings.Contains(all, strings.ToLower(canary)) && !strings.HasPrefix(rt.Path, "/assets/{") {
						t.Errorf("%s %s (%s) tells %q:\n%s", method, rt.Path, accept, canary, a.body)
					}
				}
			}
		}
	}
}

func TestWhetherARunExistsIsNotTold(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	c := s.browser()
	for _, suffix := range []string{"", "/log", "/log/live", "?grant=1.x"} {
		there, missing := s.get(c, "/runs/"+string(r.ID)+suffix), s.get(c, "/runs/01NOTTHERE"+suffix)
		if there.status != missing.status || there.body != strings.ReplaceAll(missing.body, "01NOTTHERE", string(r.ID)) {
			t.Errorf("GET /runs/…%s: %d for a run that exists, %d for one that does not", suffix, there.status, missing.status)
		}
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.settled(s.planning(seed{}), views.Kept{Plan: replaced()}, run.PlanOutcome{})
	other := s.planning(seed{label: "prod/other"})
	link := s.linker.Run(s.repo, r.ID, false)
	grant := "?" + strings.SplitN(link, "?", 2)[1]
	c := s.browser()

	t.Run("OpensPageLogAndLiveLogOfItsRun", func(t *testing.T) {
		for _, address := range []string{link, s.linker.Run(s.repo, r.ID, true)} {
			if a := s.get(c, address); a.status != http.StatusOK {
				t.Errorf("GET %s = %d, want 200", address, a.status)
			}
		}
		if a := s.do(c, "HEAD", "/runs/"+string(r.ID)+"/log/live"+grant, nil, nil); a.status != http.StatusOK {
			t.Errorf("HEAD live log = %d, want 200", a.status)
		}
	})
	t.Run("IsCarriedOnByThePageAndShowsNoNavigation", func(t *testing.T) {
		p := s.page(c, link)
		if got := attr(find(p, "run")[0], "data-live"); !strings.HasSuffix(got, grant) {
			t.Errorf("data-live = %q, want it to end with the grant", got)
		}
		if n := find(p, "<nav"); len(n) > 0 {
			t.Errorf("a page opened by a link has navigation: %s", text(n[0]))
		}
		if all := text(p); strings.Contains(all, version) || strings.Contains(all, nodeName) {
			t.Errorf("a page opened by a link names version or node: %s", all)
		}
	})
	t.Run("OpensNothingElse", func(t *testing.T) {
		for _, rt := range s.handler.Routes() {
			if rt.Open || rt.Reader {
				continue
			}
			if a := s.get(c, path(rt, r.ID)+grant); a.status < 300 {
				t.Errorf("GET %s with a grant = %d", rt.Path, a.status)
			}
		}
		for _, p := range []string{"/runs/" + string(other.ID), "/runs/" + string(other.ID) + "/log", "/runs/" + string(other.ID) + "/log/live"} {
			if a := s.get(c, p+grant); a.status != http.StatusUnauthorized {
				t.Errorf("GET %s with the grant of another run = %d, want 401", p, a.status)
			}
		}
	})
	t.Run("IsRefusedWhenTamperedWith", func(t *testing.T) {
		value := strings.TrimPrefix(grant, "?grant=")
		days, sign, _ := strings.Cut(value, ".")
		for _, bad := range []string{"", ".", "x", value + "x", value[:len(value)-1], days + ".", "." + sign, "99999." + sign, "0" + value, "+" + value, " " + value,
			strings.ToUpper(value), days + "." + strings.ToLower(sign) + "A", strings.Repeat("9", 400) + "." + sign} {
			if a := s.get(c, "/runs/"+string(r.ID)+"?grant="+url.QueryEscape(bad)); a.status < 300 || a.status == http.StatusOK {
				t.Errorf("GET with grant %q = %d", bad, a.status)
			}
		}
		foreign := web.NewLinker([]byte("another key of thirty-two bytes!"), s.server.URL, nil).Run(s.repo, r.ID, false)
		if a := s.get(c, foreign); a.status != http.StatusUnauthorized {
			t.Errorf("GET with a grant of another key = %d, want 401", a.status)
		}
	})
	t.Run("IsNoSession", func(t *testing.T) {
		value := strings.TrimPrefix(grant, "?grant=")
		if a := s.do(c, "GET", "/", nil, http.Header{"Cookie": {"planlatch=" + value}}); a.status == http.StatusOK {
			t.Error("a grant as a cookie opens the start page")
		}
	})
	t.Run("EndsWithItsDays", func(t *testing.T) {
		s.pass(29 * 24 * time.Hour)
		if a := s.get(c, link); a.status != http.StatusOK {
			t.Errorf("GET after 29 days = %d, want 200", a.status)
		}
		s.pass(2 * 24 * time.Hour)
		if a := s.get(c, link); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "expired") {
			t.Errorf("GET after 31 days = %d, want 401 that says why", a.status)
		}
	})
}

func TestGrantIsVoidWhereLinksNeedALogin(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	old := s.linker.Run(s.repo, r.ID, false)
	s.mu.Lock()
	s.login = true
	s.mu.Unlock()
	if a := s.get(s.browser(), old); a.status != http.StatusUnauthorized {
		t.Errorf("GET with a grant of before = %d, want 401", a.status)
	}
	if got := s.linker.Run(s.repo, r.ID, true); strings.Contains(got, "grant") || !strings.HasSuffix(got, "/log") {
		t.Errorf("Run() = %s, want an address without a grant", got)
	}
	if a := s.get(s.member(), old); a.status != http.StatusOK {
		t.Errorf("GET when logged in = %d, want 200", a.status)
	}
}

func TestLinksOfOneDayAreTheSame(t *testing.T) {
	t.Parallel()
	at := func(s string) string {
		now, err := time.Parse(time.RFC3339, s)
		return web.NewLinkerAt(key(), "https://x.example/p/", nil, func() time.Time { return must(t, now, err) }).Run(run.Repo{}, "01RUN", false)
	}
	morning, evening, next := at("2026-11-22T00:00:00Z"), at("2026-11-22T23:59:59Z"), at("2026-11-23T00:00:00Z")
	if morning != evening || evening == next {
		t.Errorf("links: %s, %s, next day %s", morning, evening, next)
	}
	if !strings.HasPrefix(morning, "https://x.example/p/runs/01RUN?grant=") {
		t.Errorf("Run() = %s", morning)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	t.Run("TakesPeopleBackToWhereTheyWere", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		r := s.queued(seed{})
		c := s.browser()
		a := s.get(c, "/runs/"+string(r.ID))
		if a.status != http.StatusSeeOther {
			t.Fatalf("GET = %d, want 303", a.status)
		}
		form := s.page(c, a.header.Get("Location"))
		next := ""
		for _, in := range find(form, "<input") {
			if attr(in, "name") == "next" {
				next = attr(in, "value")
			}
		}
		a = s.do(c, "POST", "/login", url.Values{"token": {adminToken}, "next": {next}}, nil)
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != "/runs/"+string(r.ID) {
			t.Errorf("POST /login = %d to %q, want 303 to the run", a.status, got)
		}
		cookie := a.header.Get("Set-Cookie")
		for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("Set-Cookie = %q, want %s", cookie, want)
			}
		}
		if a = s.get(c, "/"); a.status != http.StatusOK || !strings.Contains(a.body, version) {
			t.Errorf("GET / when logged in = %d, want the page with the version", a.status)
		}
		s.do(c, "POST", "/logout", url.Values{}, nil)
		if a = s.get(c, "/"); a.status != http.StatusSeeOther {
			t.Errorf("GET / after logging out = %d, want 303", a.status)
		}
	})
	t.Run("EndsAfterTwelveHours", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		a := s.do(s.browser(), "POST", "/login", url.Values{"token": {adminToken}}, nil)
		cookie := http.Header{"Cookie": {strings.SplitN(a.header.Get("Set-Cookie"), ";", 2)[0]}}
		c := s.browser()
		if a := s.do(c, "GET", "/", nil, cookie); a.status != http.StatusOK {
			t.Fatalf("GET / = %d, want 200", a.status)
		}
		s.pass(12*time.Hour + time.Second)
		if a := s.do(c, "GET", "/", nil, cookie); a.status != http.StatusSeeOther {
			t.Errorf("GET / with the cookie of yesterday = %d, want 303", a.status)
		}
	})
	t.Run("IsRefusedWithAnotherToken", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		c := s.browser()
		a := s.do(c, "POST", "/login", url.Values{"token": {adminToken + "x"}}, nil)
		if a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" || !strings.Contains(a.body, "not the admin token") {
			t.Errorf("POST /login = %d with cookie %q", a.status, a.header.Get("Set-Cookie"))
		}
	})
	t.Run("EndsWithAnotherAdminToken", func(t *testing.T) {
		t.Parallel()
		s := setup(t, func(o *web.Options) { o.Login = "a hash" })
		c := s.member()
		if a := s.get(c, "/api/v1/runs"); a.status != http.StatusOK {
			t.Fatalf("GET /api = %d, want 200", a.status)
		}
		for login, want := range map[string]int{"a hash": http.StatusOK, "another hash": http.StatusUnauthorized} {
			next, err := web.New(web.Options{Store: s.store, Views: s.viewer, AdminToken: func(string) bool { return false }, Login: login, Key: key(), URL: s.server.URL})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(next.Close)
			req := httptest.NewRequest(http.MethodGet, "/api/v1/runs", nil)
			u, err := url.Parse(s.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range c.Jar.Cookies(u) {
				req.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			next.ServeHTTP(w, req)
			if w.Code != want {
				t.Errorf("after a restart with %s GET /api = %d, want %d", login, w.Code, want)
			}
		}
	})
	t.Run("IsOpenForALongTokenWhoeverGuesses", func(t *testing.T) { // behind a proxy guesses come from the address that all have
		t.Parallel()
		long := strings.Repeat("0123456789abcdef", 2)
		s := setup(t, func(o *web.Options) { o.AdminToken = func(token string) bool { return token == long } })
		c := s.browser()
		for range 12 {
			s.do(c, "GET", "/api/v1/runs", nil, http.Header{"Authorization": {"Bearer " + strings.Repeat("guess", 8)}})
		}
		if a := s.do(c, "GET", "/api/v1/runs", nil, http.Header{"Authorization": {"Bearer guess"}}); a.status != http.StatusTooManyRequests {
			t.Errorf("GET /api after twelve guesses = %d, want 429", a.status)
		}
		if a := s.do(c, "GET", "/api/v1/runs", nil, http.Header{"Authorization": {"Bearer " + long}}); a.status != http.StatusOK {
			t.Errorf("GET /api with the token after twelve guesses = %d, want 200", a.status)
		}
	})
	t.Run("IsSlowForThoseWhoGuess", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		c := s.browser()
		for range 10 {
			s.do(c, "POST", "/login", url.Values{"token": {"guess"}}, nil)
		}
		a := s.do(c, "POST", "/login", url.Values{"token": {adminToken}}, nil)
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
			t.Errorf("POST /login after ten guesses = %d, want 429", a.status)
		}
		if a := s.do(c, "GET", "/api/v1/runs", nil, http.Header{"Authorization": {"Bearer " + adminToken}}); a.status != http.StatusTooManyRequests {
			t.Errorf("GET /api after ten guesses = %d, want 429", a.status)
		}
		// Every address that takes a token counts: one that did not would be where guesses go.
		for _, rt := range s.handler.Routes() {
			if !strings.HasPrefix(rt.Path, "/api/") {
				continue
			}
			if a := s.do(c, rt.Method, path(rt, "01NOTTHERE"), nil, http.Header{"Authorization": {"Bearer " + adminToken}}); a.status != http.StatusTooManyRequests {
				t.Errorf("%s %s after ten guesses = %d, want 429", rt.Method, rt.Path, a.status)
			}
		}
		s.pass(time.Minute)
		if a := s.do(c, "POST", "/login", url.Values{"token": {adminToken}}, nil); a.status != http.StatusSeeOther {
			t.Errorf("POST /login a minute later = %d, want 303", a.status)
		}
	})
	t.Run("CookieIsOnlyForHTTPSWhereTheServerIs", func(t *testing.T) {
		t.Parallel()
		s := setup(t, func(o *web.Options) { o.URL = "https://planlatch.example.com/infra" })
		a := s.do(s.browser(), "POST", "/login", url.Values{"token": {adminToken}, "next": {"/runs/x"}}, nil)
		if got := a.header.Get("Set-Cookie"); !strings.Contains(got, "Secure") || !strings.Contains(got, "Path=/infra/") {
			t.Errorf("Set-Cookie = %q, want Secure and the path of the server", got)
		}
		if got := a.header.Get("Location"); got != "/infra/runs/x" {
			t.Errorf("Location = %q, want /infra/runs/x", got)
		}
	})
}

func TestLoginGoesOnOnlyToOurselves(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/runs/x": "/runs/x", "": "/", "https://evil.example": "/", "//evil.example": "/", "/\\evil.example": "/", "\\\\evil": "/", "javascript:alert(1)": "/",
		"/\n/evil.example": "/", "/\r/evil.example": "/", "/\u202e": "/", "/runs/x?grant=1": "/",
	} {
		if got := web.Local(next); got != want {
			t.Errorf("local(%q) = %q, want %q", next, got, want)
		}
	}
}

func TestOtherSitesCannotChangeAnything(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for name, header := range map[string]http.Header{
		"Sec-Fetch-Site": {"Sec-Fetch-Site": {"cross-site"}},
		"Origin":         {"Origin": {"https://evil.example"}},
		"null":           {"Origin": {"null"}},
	} {
		for _, p := range []string{"/login", "/logout"} {
			if a := s.do(s.browser(), "POST", p, url.Values{"token": {adminToken}}, header); a.status != http.StatusForbidden {
				t.Errorf("POST %s from another site (%s) = %d, want 403", p, name, a.status)
			}
		}
	}
	if a := s.do(s.browser(), "POST", "/login", url.Values{"token": {adminToken}}, http.Header{"Origin": {s.server.URL}}); a.status != http.StatusSeeOther {
		t.Errorf("POST /login from our own page = %d, want 303", a.status)
	}
	if a := s.do(s.browser(), "POST", "/login", url.Values{"token": {strings.Repeat("x", 1<<20)}}, nil); a.status != http.StatusBadRequest {
		t.Errorf("POST /login with a megabyte = %d, want 400", a.status)
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{})
	c := s.member()
	paths := []string{"/nothing", "/api/v1/nothing"}
	for _, rt := range s.handler.Routes() {
		if rt.Method == http.MethodGet && !strings.HasSuffix(rt.Path, "/live") {
			paths = append(paths, path(rt, r.ID))
		}
	}
	for _, p := range paths {
		a := s.get(c, p)
		csp := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("GET %s: Content-Security-Policy = %q, want %s", p, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") != "same-origin" ||
			a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("Server") != "" {
			t.Errorf("GET %s: headers %v", p, a.header)
		}
	}
}

func TestWhatIsNotThereSaysSoInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.member()
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/nothing", 404}, {"GET", "/assets/", 404}, {"GET", "/assets/nothing.js", 404}, {"GET", "/runs/01NOTTHERE", 404}, {"GET", "/runs/01NOTTHERE/log", 404},
		{"DELETE", "/", 405}, {"POST", "/runs/01NOTTHERE", 405}, {"GET", "/logout", 405},
	} {
		a := s.do(c, tt.method, tt.path, nil, nil)
		if a.status != tt.status || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, http.StatusText(tt.status)) {
			t.Errorf("%s %s = %d %s, want a page with %d", tt.method, tt.path, a.status, a.header.Get("Content-Type"), tt.status)
		}
		if (tt.status == 405) != (a.header.Get("Allow") != "") {
			t.Errorf("%s %s: Allow = %q", tt.method, tt.path, a.header.Get("Allow"))
		}
	}
	for _, p := range []string{"/api/v1/nothing", "/api/v1/runs/01NOTTHERE"} {
		if a := s.get(c, p); a.status != 404 || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET %s = %d %s, want a problem with 404", p, a.status, a.header.Get("Content-Type"))
		}
	}
}

func TestNewRefusesWhatItCannotServeWith(t *testing.T) {
	t.Parallel()
	s := setup(t)
	whole := web.Options{Store: s.store, Views: s.viewer, AdminToken: func(string) bool { return true }, Key: key(), URL: "https://x.example"}
	for name, spoil := range map[string]func(*web.Options){
		"no store": func(o *web.Options) { o.Store = nil }, "no token": func(o *web.Options) { o.AdminToken = nil },
		"short key": func(o *web.Options) { o.Key = o.Key[:31] }, "no address": func(o *web.Options) { o.URL = "x" },
	} {
		o := whole
		spoil(&o)
		if _, err := web.New(o); err == nil {
			t.Errorf("New() with %s succeeds", name)
		}
	}
}
