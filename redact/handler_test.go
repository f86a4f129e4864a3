package redact_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/redact"
)

type valuer struct{ text string }

func (v valuer) LogValue() slog.Value { return slog.GroupValue(slog.String("inner", v.text)) }

// TestHandlerWithholdsSecretsWhereverTheyStand in a record, for both of the handlers that the server logs with.
func TestHandlerWithholdsSecretsWhereverTheyStand(t *testing.T) {
	t.Parallel()
	const canary = "canary/of+the server"
	set := redact.Compile([]string{canary})
	cause := &url.Error{Op: "Get", URL: "https://h/?sig=" + url.QueryEscape(canary), Err: errors.New(canary)}
	for name, say := range map[string]func(*slog.Logger){
		"Message":   func(l *slog.Logger) { l.Info("token " + canary) },
		"String":    func(l *slog.Logger) { l.Info("x", "v", canary) },
		"Error":     func(l *slog.Logger) { l.Info("x", "error", fmt.Errorf("ask: %w", cause)) },
		"Joined":    func(l *slog.Logger) { l.Info("x", "error", errors.Join(errors.New("a"), cause)) },
		"Bytes":     func(l *slog.Logger) { l.Info("x", "v", base64.StdEncoding.EncodeToString([]byte("user:"+canary))) },
		"Struct":    func(l *slog.Logger) { l.Info("x", "v", struct{ Token string }{canary}) },
		"Slice":     func(l *slog.Logger) { l.Info("x", "v", []string{"a", canary}) },
		"Map":       func(l *slog.Logger) { l.Info("x", "v", map[string]any{"k": canary}) },
		"Group":     func(l *slog.Logger) { l.Info("x", slog.Group("g", "v", canary)) },
		"Valuer":    func(l *slog.Logger) { l.Info("x", "v", valuer{canary}) },
		"With":      func(l *slog.Logger) { l.With("v", canary).Info("x") },
		"WithGroup": func(l *slog.Logger) { l.WithGroup("g").With("error", cause).Info("x") },
		"Key":       func(l *slog.Logger) { l.Info("x", canary, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			for _, next := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				out.Reset()
				say(slog.New(set.Handler(next)))
				if strings.Contains(out.String(), "canary") || strings.Contains(out.String(), "Y2FuYXJ5") || !strings.Contains(out.String(), redact.Mark) {
					t.Errorf("logged %s", &out)
				}
			}
		})
	}
	var out bytes.Buffer
	slog.New(set.Handler(slog.NewJSONHandler(&out, nil))).Info("said", "n", 3, "list", []string{"a", "b"})
	if !strings.Contains(out.String(), `"msg":"said","n":3,"list":["a","b"]`) {
		t.Errorf("a record without secrets is %s, want it as it was", &out)
	}
}
