package web

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Prompt gives the body of every request so long to arrive, read or not: a connection that sends a byte now and then would be kept for ever. It is
// for the whole server; a handler that gives a body less, or more, has the last word.
func Prompt(next http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			// Best effort, as is its end: who serves without connections, as tests do, has none to keep.
			_ = control.SetReadDeadline(time.Now().Add(patience))
			r.Body = &arriving{r.Body, control}
		}
		next.ServeHTTP(w, r)
	})
}

// arriving is a body. Once it is there the connection may be quiet, as long as the answer takes.
type arriving struct {
	io.ReadCloser

	control *http.ResponseController
}

func (a *arriving) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		_ = a.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// patient bounds how long whoever asked may take to read an answer, since what is not yet read is held in memory: a part of WritePatience for each
// megabyte, and one more. Nothing bounds how long an answer takes to begin.
type patient struct {
	http.ResponseWriter

	control  *http.ResponseController
	patience time.Duration
	large    bool // more was written than the server keeps back
}

func newPatient(w http.ResponseWriter, patience time.Duration) *patient {
	return &patient{ResponseWriter: w, control: http.NewResponseController(w), patience: patience}
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	p.large = p.large || len(b) > 1024
	p.hurry(len(b))
	return p.ResponseWriter.Write(b)
}

func (p *patient) hurry(size int) {
	// Best effort: who serves without connections, as tests do, needs no hurry.
	_ = p.control.SetWriteDeadline(time.Now().Add(p.patience + p.patience*time.Duration(size)/(1<<20)))
}

// end sends what the server keeps back, and lets the connection serve another request.
func (p *patient) end() {
	if p.large {
		p.hurry(0)
		_ = p.control.Flush() // whoever asked may be gone
	}
	_ = p.control.SetWriteDeadline(time.Time{})
}
