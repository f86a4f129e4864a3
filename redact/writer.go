package redact

import (
	"errors"
	"io"
)

// lineMost is how much of a line a Writer waits for the end of.
const lineMost = 64 << 10

// Writer redacts a stream. It holds back the line that has not ended, whatever it holds, and what may be the beginning of a secret that its
// writer has until more arrives; so it must be closed. Were less held back, who follows a stream and writes to it could try what a secret
// begins with, character by character.
type Writer struct {
	w   io.Writer
	set *Set

	at    matcher
	lines int64  // raw offset up to which lines have ended and nothing of the writer's own has begun
	line  int64  // raw offset at which the present line begins
	word  int64  // and its last word
	clean int64  // raw bytes that are accounted for in what was written
	held  []byte // raw bytes from offset base on; those of a secret that is still growing are dropped
	base  int64
	sp    spans // secrets found and not yet written as Mark
	out   []byte
	err   error
}

// New returns a Writer that writes to w what it is given, without the secrets. Use [Compile] and [Set.Writer] when the same secrets serve
// several streams.
func New(w io.Writer, secrets []string) *Writer { return Compile(secrets).Writer(w) }

// Writer returns a Writer that redacts the secrets of the set.
func (s *Set) Writer(w io.Writer) *Writer { return &Writer{w: w, set: s, at: matcher{set: s}} }

var errClosed = errors.New("redact: write after close")

// Write takes raw bytes. After an error of the underlying writer, which is returned as it is, everything is refused with the same error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.held = append(w.held, p...)
	for _, b := range p {
		w.at.step(b, &w.sp)
		if blank(b) {
			w.word = w.at.pos
		}
		if b == '\n' {
			w.line, w.lines = w.at.pos, w.at.begun()
		}
	}
	safe := w.lines
	if w.at.pos-w.line > lineMost {
		// No secret found later can begin before. How long the longest is tells nothing of any.
		safe = max(safe, min(w.at.begun(), w.at.pos-w.set.most))
	}
	if err := w.emit(safe); err != nil {
		return 0, err
	}
	return len(p), nil
}

// emit writes everything before the raw offset safe, but stops in front of a secret that reaches beyond it.
func (w *Writer) emit(safe int64) error {
	w.out = w.out[:0]
	done := 0
	for _, x := range w.sp {
		if x.to > safe {
			break
		}
		w.take(x.from)
		w.out = append(w.out, Mark...)
		w.drop(x.to)
		w.clean = x.to
		done++
	}
	w.sp = append(w.sp[:0], w.sp[done:]...)
	if len(w.sp) > 0 && w.sp[0].from < safe {
		w.take(w.sp[0].from)
		w.drop(w.sp[0].to) // never needed again, however long this one grows
	} else {
		w.take(safe)
	}
	if len(w.out) == 0 {
		return nil
	}
	if _, err := w.w.Write(w.out); err != nil {
		w.err = err
		return err
	}
	return nil
}

// take moves raw bytes before the offset to the output.
func (w *Writer) take(to int64) {
	if to > w.clean {
		w.out = append(w.out, w.held[:to-w.base]...)
		w.drop(to)
		w.clean = to
	}
}

func (w *Writer) drop(to int64) {
	if to > w.base {
		w.held = w.held[to-w.base:]
		w.base = to
	}
}

// Close writes what is held back and refuses all later writes. A stream may be cut in the middle of a secret: when its last line has no end, the last
// word of it is withheld if it is long enough to be part of one, whatever it is. It does not close the underlying writer.
func (w *Writer) Close() error {
	if errors.Is(w.err, errClosed) {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	if from := max(w.word, w.clean); w.at.pos-w.word >= MinLength && from < w.at.pos {
		w.sp.add(from, w.at.pos)
	}
	if err := w.emit(w.at.pos); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

// Clean returns the raw offset up to which everything is written and nothing is held back. A new Writer of the same secrets that is fed
// from this offset on continues the stream exactly.
func (w *Writer) Clean() int64 { return w.clean }
