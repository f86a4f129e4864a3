package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed templates assets
var files embed.FS //nolint:gochecknoglobals // embedded files are read-only

// templates are parsed once: a fault in one is a fault of the program and shows in its first test.
var templates = template.Must(template.New("").Funcs(template.FuncMap{ //nolint:gochecknoglobals // never changed
	"short": short,
	"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).ParseFS(files, "templates/*.html"))

// page is what every page has around its content.
type page struct {
	Title   string
	Base    string
	Member  bool
	Version string
	Content any
}

// render writes a page.
func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, name, title string, content any) error {
	p := page{Title: title, Base: h.base, Content: content}
	if visitorOf(r).member {
		p.Member, p.Version = true, h.Version
	}
	return p.write(w, status, name)
}

func (p page) write(w http.ResponseWriter, status int, name string) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name+".html", p); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(shown(b.String()))) // whoever asked may be gone
	return nil
}

type problemView struct {
	Status int
	Text   string
	Detail string
	Login  bool
}

// answer answers with an error: application/problem+json for the API and for programs, a page for people. The detail is shown as it is, so it
// names no internal cause.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, status int, detail string) {
	p := page{Base: h.base}
	if visitorOf(r).member || h.sessions.hold(r, h.Now()) {
		p.Member, p.Version = true, h.Version
	}
	problem(w, r, status, detail, p)
}

func problem(w http.ResponseWriter, r *http.Request, status int, detail string, p page) {
	text := http.StatusText(status)
	if wantsHTML(r) {
		p.Title = text
		p.Content = problemView{Status: status, Text: text, Detail: detail, Login: !p.Member && status == http.StatusUnauthorized}
		if p.write(w, status, "problem") == nil {
			return
		}
	}
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", text, status, detail})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked may be gone
}

// wantsHTML says whether a person asks, with a browser.
func wantsHTML(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// The files that pages load, and nothing else.
var assets = map[string]string{ //nolint:gochecknoglobals // never changed
	"style.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}

// GET /assets/{name}
func (h *Handler) asset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	kind, ok := assets[name]
	if !ok {
		return &refusal{http.StatusNotFound, "There is nothing at this address."}
	}
	body, err := files.ReadFile("assets/" + name)
	if err != nil {
		return fmt.Errorf("read asset: %w", err)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body) //nolint:gosec // one of our files; whoever asked may be gone
	return nil
}
