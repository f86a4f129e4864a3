package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// access says who may use a route.
type access int

const (
	open    access = iota // everybody
	member                // people who are logged in
	reader                // as well, and those who have a grant for the run in the path
	program               // people who are logged in and programs that send the admin token
	token                 // programs that send the admin token, which no browser does by itself
)

// visitor is who asks.
type visitor struct {
	member bool
	grant  string // that let them in; goes into the links of the page
}

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

// guarded serves a route to those who may have it and turns its error into an answer.
func (h *Handler) guarded(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitor{member: h.sessions.hold(r, h.Now())}
		var err error
		switch {
		case rt.access == token:
			err = h.bearer(w, r)
		case rt.access == open || v.member:
		case rt.access == program:
			err = h.bearer(w, r)
		case rt.access == reader:
			v.grant, err = h.granted(w, r)
		default:
			err = h.toLogin(w, r)
		}
		if err == nil {
			err = rt.serve(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
		}
		h.fail(w, r, err)
	})
}

// errAnswered says that the answer is written already.
var errAnswered = errors.New("answered")

// refusal is an error that is told to whoever asked.
type refusal struct {
	status int
	detail string
}

func (e *refusal) Error() string { return e.detail }

// fail answers an error. Causes that are ours go to the log and nowhere else.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	switch {
	case err == nil, errors.Is(err, errAnswered):
	case errors.As(err, &no):
		h.answer(w, r, no.status, no.detail)
	case errors.Is(err, run.ErrNotFound):
		h.answer(w, r, http.StatusNotFound, "There is nothing at this address.")
	case r.Context().Err() != nil: // whoever asked is gone
	default:
		h.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		h.answer(w, r, http.StatusInternalServerError, "Something broke here. The server's log says what.")
	}
}

// toLogin sends people to the login page, and back afterwards.
func (h *Handler) toLogin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet || !wantsHTML(r) {
		return &refusal{http.StatusUnauthorized, "Log in first."}
	}
	http.Redirect(w, r, h.base+"/login?"+url.Values{"next": {r.URL.Path}}.Encode(), http.StatusSeeOther)
	return errAnswered
}

// granted returns the grant of the request if it allows reading the run in the path. Which runs exist is not told.
func (h *Handler) granted(w http.ResponseWriter, r *http.Request) (string, error) {
	grant := r.URL.Query().Get(grantParam)
	if grant == "" {
		return "", h.toLogin(w, r)
	}
	id := run.ID(r.PathValue("id"))
	if !h.grants.holds(grant, id, h.Now()) {
		return "", &refusal{http.StatusUnauthorized, "This link has expired or is not whole. Log in, or take a newer one from the pull request."}
	}
	rn, err := h.Store.Run(r.Context(), id)
	if err != nil {
		return "", err
	}
	repo, err := h.Store.Repo(r.Context(), rn.Repo)
	if err != nil {
		return "", err
	}
	if h.LinksLogin(repo.Host, repo.Name) {
		return "", &refusal{http.StatusUnauthorized, "Reading this run needs a login."}
	}
	return grant, nil
}

// bearer lets programs in that send the admin token.
func (h *Handler) bearer(w http.ResponseWriter, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{http.StatusUnauthorized, "Send the admin token: Authorization: Bearer …"}
	}
	return h.try(w, r, token)
}

// unguessable is how long a token is that nobody finds by trying, however fast.
const unguessable = 32

// try checks a token, slowly for those who guess. Behind a proxy all have one address: somebody who sends wrong tokens must not keep out who has the
// right one, and does not where that is long.
func (h *Handler) try(w http.ResponseWriter, r *http.Request, token string) error {
	if len(token) >= unguessable && h.AdminToken(token) {
		return nil
	}
	who := attempter(r)
	if !h.attempts.take(who, h.Now()) {
		w.Header().Set("Retry-After", "60")
		return &refusal{http.StatusTooManyRequests, "Too many wrong tokens came from your address. Wait a minute."}
	}
	if !h.AdminToken(token) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{http.StatusUnauthorized, "That is not the admin token."}
	}
	h.attempts.giveBack(who)
	return nil
}
