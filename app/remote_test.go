package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
)

const token = "an-admin-token-of-the-tests-0123456789"

// serving starts a real server and returns the environment of an operator.
func serving(t *testing.T) map[string]string {
	t.Helper()
	file, _ := write(t, good+"admin_token: "+token+"\n")
	cfg, err := config.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	s, err := app.NewServer(t.Context(), cfg, app.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() error = %v", err)
		}
	})
	return map[string]string{"PLANLATCH_SERVER": s.URL(), "PLANLATCH_TOKEN": token}
}

func TestAFreezeIsBegunListedAndEnded(t *testing.T) {
	t.Parallel()
	env := serving(t)
	for _, c := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"pause", 2, "", "--reason"},
		{"pause --list", 0, "", "Nothing is paused"},
		{"pause --match a:b// --reason x", 2, "", "selector"},
		{"pause --match //prod/** --reason audit", 0, "planlatch resume --match '//prod/**'", ""},
		{"pause --list", 0, "//prod/**", ""},
		{"resume", 1, "", "//prod/**"},
		{"resume --match //prod/**", 0, "Resumed", ""},
		{"resume --match //prod/**", 1, "", "nothing is paused"},
		{"runs", 0, "", "No run fits"},
		{"runs --repo acme/infra", 2, "", "github/acme/infra"},
		{"runs --pull 3", 2, "", "--repo"},
		{"runs --state done", 2, "", `no state "done"`},
		{"runs 01AB", 1, "", "there is no run 01AB"},
		{"locks", 0, "", "Nothing is held"},
		{"cancel 01AB", 1, "", "there is no run 01AB"},
		{"apply 01AB", 1, "", "there is no run 01AB"},
		{"unlock acme/infra", 1, "", "there is no run"},
		{"unlock acme/infra#1", 2, "", "github/acme/infra#12"},
		{"unlock gitea/acme/infra#1", 1, "", "no repository acme/infra of gitea"},
		{"state pull 01AB", 1, "", "there is no run 01AB"},
		{"audit --outcome done", 0, "resume", ""},
	} {
		code, out, said := run(t, env, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(strings.ToLower(said), strings.ToLower(c.err)) {
			t.Errorf("planlatch %s = %d\n%s%s\nwant %d with %q and %q", c.args, code, out, said, c.code, c.out, c.err)
		}
	}
	_, out, _ := run(t, env, "audit", "--json", "--actor", "admin")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 4 {
		t.Errorf("audit --json = %q, want a line for each pause, resume and refusal", out)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("audit --json prints %q, want JSON", line)
		}
	}
	if _, out, _ := run(t, env, "pause", "--list", "--json"); !json.Valid([]byte(out)) {
		t.Errorf("pause --list --json = %q, want JSON", out)
	}
}

func TestAnUnusableServerIsToldFromAWrongToken(t *testing.T) {
	t.Parallel()
	env := serving(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		server, token string
		code          int
		want          string
	}{
		"TokenFromAFile":  {env["PLANLATCH_SERVER"], "file:" + file, 0, ""},
		"NoSuchFile":      {env["PLANLATCH_SERVER"], "file:" + file + "x", 2, "--token"},
		"WrongToken":      {env["PLANLATCH_SERVER"], "another", 2, "admin_token"},
		"NobodyListens":   {"http://127.0.0.1:1", token, 3, "does not answer"},
		"NotAnAddress":    {"planlatch.example.com", token, 2, "https://"},
		"NotAPlanlatch":   {elsewhere.URL, token, 1, "is it the address of a planlatch server?"},
		"NoServerAtAll":   {"", token, 2, "--server"},
		"EmptyTokenValue": {env["PLANLATCH_SERVER"], " ", 2, "--token is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := map[string]string{"PLANLATCH_TOKEN": c.token}
			if c.server != "" {
				mine["PLANLATCH_SERVER"] = c.server
			}
			code, _, said := run(t, mine, "locks")
			if code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code = %d, said %q; want %d and %q", code, said, c.code, c.want)
			}
			if strings.Contains(said, token) {
				t.Errorf("said the token: %q", said)
			}
		})
	}
}

// TestWhatAServerSaysDoesNothingToATerminal: its errors quote tools, and so what pull requests made them say.
func TestWhatAServerSaysDoesNothingToATerminal(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"title": "Conflict", "status": 409, "detail": "not pushed:\n\tC:\\tmp \u001b]52;c;cm0gLXJmIH4=\u0007\u202e\u009b2J"}`)
	}))
	t.Cleanup(server.Close)
	code, _, said := run(t, map[string]string{"PLANLATCH_TOKEN": token, "PLANLATCH_SERVER": server.URL}, "locks")
	if code != 1 || strings.ContainsAny(said, "\x1b\a\u202e\u009b") || !strings.Contains(said, "not pushed:\n\t") {
		t.Errorf("exit code = %d, said %q", code, said)
	}
}
