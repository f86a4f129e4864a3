package redact

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// Handler returns a handler that hands records on without the secrets of the set: in the message, and in every attribute, errors and values
// that print themselves included.
func (s *Set) Handler(next slog.Handler) slog.Handler { return handler{next, s} }

type handler struct {
	next slog.Handler
	set  *Set
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.set.String(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.next.WithAttrs(h.attrs(attrs)), h.set}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.next.WithGroup(name), h.set} }

func (h handler) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return clean
}

func (h handler) attr(a slog.Attr) slog.Attr {
	a.Key = h.set.String(a.Key)
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.set.String(v.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(h.attrs(v.Group())...)
	case slog.KindAny:
		// What holds a secret becomes text; all else stays what it is, for handlers that encode values.
		a.Value = v
		text := fmt.Sprintf("%+v", v.Any())
		if clean := h.set.String(text); clean != text {
			a.Value = slog.StringValue(clean)
		} else if err, ok := v.Any().(error); ok {
			a.Value = slog.StringValue(h.set.String(err.Error()))
		}
	default:
		a.Value = v
	}
	return a
}

// Lines returns a writer for text that is written in whole messages, as by fmt.Fprintf: nothing is held back between two writes.
func (s *Set) Lines(w io.Writer) io.Writer { return lines{w, s} }

type lines struct {
	w   io.Writer
	set *Set
}

func (l lines) Write(p []byte) (int, error) {
	if _, err := io.WriteString(l.w, l.set.String(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
