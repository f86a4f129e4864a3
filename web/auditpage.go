package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// auditView is the page of who did what.
type auditView struct {
	Now    time.Time
	Error  string
	Asked  map[string]string // what the form was filled in with
	Fields []auditField
	Rows   []auditLine
	Next   string // address of the next page; empty on the last
}

type auditField struct{ Name, Label, Hint string }

type auditLine struct {
	auditJSON
	Href  string // of the run
	Place string
	Badge badge
	Age   string
}

// auditFields are the filters that the page offers.
func auditFields() []auditField {
	return []auditField{
		{"actor", "Who", "alice"}, {"action", "What", "confirm, override, pause …"}, {"outcome", "Outcome", "done or refused"}, {"run", "Run", "01K…"},
		{"since", "Since", "2026-11-22"}, {"until", "Before", "2026-11-23"},
	}
}

// GET /audit: who did what and what came of it, newest first.
func (h *Handler) auditPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := auditView{Now: h.Now(), Asked: map[string]string{}, Fields: auditFields()}
	q := url.Values{}
	for name, values := range r.URL.Query() {
		if value := strings.TrimSpace(values[0]); value != "" { // an empty field of the form asks for nothing
			q.Set(name, value)
			v.Asked[name] = value
		}
	}
	f, err := h.auditFilter(ctx, q)
	if no, ok := errors.AsType[*refusal](err); ok {
		v.Error = no.detail
		return h.render(w, r, no.status, "audit", "Audit", v)
	}
	if err != nil {
		return err
	}
	rows, next, err := h.auditRows(ctx, f)
	if err != nil {
		return err
	}
	n := h.names()
	for _, a := range rows {
		j, err := auditRow(ctx, n, a)
		if err != nil {
			return err
		}
		v.Rows = append(v.Rows, h.auditLine(j, v.Now))
	}
	if next != 0 {
		q.Set("before", strconv.FormatInt(next, 10))
		v.Next = h.base + "/audit?" + q.Encode()
	}
	return h.render(w, r, http.StatusOK, "audit", "Audit", v)
}

func (h *Handler) auditLine(j auditJSON, now time.Time) auditLine {
	l := auditLine{auditJSON: j, Place: j.Repo, Badge: badge{j.Outcome, "ok"}, Age: ago(now, j.At)}
	if j.Outcome == "refused" {
		l.Badge.Class = "warn"
	}
	if j.Pull != 0 {
		l.Place += "#" + strconv.Itoa(j.Pull)
	}
	if j.Run != "" {
		l.Href = h.base + runPath(j.Run)
	}
	if l.Actor == "" {
		l.Actor = "planlatch"
	}
	return l
}
