package web

import (
	"net/http"
	"time"
)

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
