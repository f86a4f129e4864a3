package web

import (
	"crypto/hmac"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sessionFor is how long a login lasts.
const sessionFor = 12 * time.Hour

const cookieName = "planlatch"

// sessions are logins, kept in signed cookies: "<end in seconds since 1970>.<signature>". Nothing is stored here, so the way to log out
// everybody is another admin token or key.
type sessions struct {
	key    []byte
	secure bool
}

func newSessions(key []byte, login string, secure bool) sessions {
	return sessions{key: purpose(purpose(key, "session"), login), secure: secure}
}

func (s sessions) cookie(value, path string, age time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure unless the server is reached without TLS
		Name: cookieName, Value: value, Path: path + "/", MaxAge: int(age.Seconds()), HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
}

func (s sessions) begin(path string, now time.Time) *http.Cookie {
	end := strconv.FormatInt(now.Add(sessionFor).Unix(), 10)
	return s.cookie(end+"."+signature(s.key, end), path, sessionFor)
}

// hold says whether a request comes from somebody who is logged in.
func (s sessions) hold(r *http.Request, now time.Time) bool {
	for _, c := range r.CookiesNamed(cookieName) {
		digits, sign, ok := strings.Cut(c.Value, ".")
		end, err := strconv.ParseInt(digits, 10, 64)
		if ok && err == nil && hmac.Equal([]byte(sign), []byte(signature(s.key, digits))) && now.Unix() < end {
			return true
		}
	}
	return false
}

type loginView struct {
	Next  string
	Error string
}

// GET /login
func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) error {
	next := local(r.URL.Query().Get("next"))
	if h.sessions.hold(r, h.Now()) {
		http.Redirect(w, r, h.base+next, http.StatusSeeOther) //nolint:gosec // local keeps it on this server
		return nil
	}
	return h.render(w, r, http.StatusOK, "login", "Log in", loginView{Next: next})
}

// POST /login
func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	next := local(r.PostForm.Get("next"))
	var no *refusal
	if err := h.try(w, r, strings.TrimSpace(r.PostForm.Get("token"))); errors.As(err, &no) {
		w.Header().Del("WWW-Authenticate") // a form asks, not the browser
		return h.render(w, r, no.status, "login", "Log in", loginView{Next: next, Error: no.detail})
	}
	http.SetCookie(w, h.sessions.begin(h.base, h.Now()))
	http.Redirect(w, r, h.base+next, http.StatusSeeOther) //nolint:gosec // local keeps it on this server
	return nil
}

// POST /logout
func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, h.sessions.cookie("", h.base, -time.Second))
	http.Redirect(w, r, h.base+"/login", http.StatusSeeOther)
	return nil
}

// local is a path of ours to go on to; anything that a browser could take for another site becomes the start page.
func local(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\?#\n\t") || shown(next) != next {
		return "/"
	}
	return next
}

// limiter bounds wrong tokens per address: ten at once, then one every six seconds.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	used float64
	at   time.Time
}

const (
	attemptsAtOnce = 10
	attemptEvery   = 6 * time.Second
	addressesMax   = 10_000 // that are remembered; beyond it the rest shares one bucket
)

func newLimiter() *limiter { return &limiter{buckets: map[string]bucket{}} }

// take uses up one attempt, if there is one left.
func (l *limiter) take(who string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.buckets[who]; !known && len(l.buckets) >= addressesMax {
		for key, b := range l.buckets {
			if b.left(now) >= attemptsAtOnce {
				delete(l.buckets, key)
			}
		}
		if len(l.buckets) >= addressesMax {
			who = ""
		}
	}
	b := l.buckets[who]
	if b.left(now) < 1 {
		return false
	}
	l.buckets[who] = bucket{used: attemptsAtOnce - b.left(now) + 1, at: now}
	return true
}

// giveBack returns the attempt of somebody who was right.
func (l *limiter) giveBack(who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, known := l.buckets[who]; known {
		b.used = max(0, b.used-1)
		l.buckets[who] = b
	}
}

func (b bucket) left(now time.Time) float64 {
	refilled := now.Sub(b.at).Seconds() / attemptEvery.Seconds()
	return attemptsAtOnce - max(0, b.used-max(0, refilled))
}

// attempter names the address of a request. The networks of one IPv6 customer count as one.
func attempter(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
