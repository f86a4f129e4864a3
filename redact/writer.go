package redact

import (
	"errors"
	"io"
)

// Writer redacts a stream. It holds back what may be the beginning of a secret until more arrives, so it must be closed.
type Writer struct {
	w   io.Writer
	set *Set

	at    int32  // state of the automaton
	pos   int64  // raw bytes seen
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
func (s *Set) Writer(w io.Writer) *Writer { return &Writer{w: w, set: s} }

var errClosed = errors.New("redact: write after close")

// Write takes raw bytes. After an error of the underlying writer, which is returned as it is, everything is refused with the same error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.held = append(w.held, p...)
	for _, b := range p {
		w.at = w.set.step(w.at, b)
		w.pos++
		if n := int64(w.set.nodes[w.at].longest); n > 0 {
			w.sp.add(w.pos-n, w.pos)
		}
	}
	// No secret found later can begin before the longest beginning that we are in.
	if err := w.emit(w.pos - int64(w.set.nodes[w.at].depth)); err != nil {
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

// Flush writes what is held back, as if the stream ended here: a tail of MinLength or more bytes that begins like a secret counts as one,
// since a log may be cut in the middle of it. What is written later starts afresh.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if tail := int64(w.set.nodes[w.at].depth); tail >= MinLength {
		w.sp.add(w.pos-tail, w.pos)
	}
	w.at = 0
	return w.emit(w.pos)
}

// Close flushes and refuses all later writes. It does not close the underlying writer.
func (w *Writer) Close() error {
	if errors.Is(w.err, errClosed) {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

// Clean returns the raw offset up to which everything is written and nothing is held back. A new Writer of the same secrets that is fed
// from this offset on continues the stream exactly.
func (w *Writer) Clean() int64 { return w.clean }
