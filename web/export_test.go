package web

import "time"

// Route is a route as tests see it.
type Route struct {
	Method, Path string
	Open         bool
	Reader       bool
}

// Routes lists everything that is served, so that a new route cannot be forgotten by a test that walks all of them.
func (h *Handler) Routes() []Route {
	var out []Route
	for _, r := range h.routes() {
		out = append(out, Route{r.method, r.path, r.access == open, r.access == reader})
	}
	return out
}

// NewLinkerAt is a Linker with another clock.
func NewLinkerAt(key []byte, url string, login func(host, repo string) bool, now func() time.Time) *Linker {
	return newLinker(key, url, login, now)
}

// Paint renders the pieces of a log one after the other.
func Paint(plain bool, pieces ...string) string {
	p := painter{plain: plain}
	out := ""
	for i, piece := range pieces {
		out += p.paint([]byte(piece), i == len(pieces)-1)
	}
	return out
}

// Local is where a login goes on to.
func Local(next string) string { return local(next) }

// Streams counts the live logs that are open.
func (h *Handler) Streams() int {
	h.streams.mu.Lock()
	defer h.streams.mu.Unlock()
	return h.streams.all
}
