// Package chaos_test kills planlatch at random and looks whether anything was lost or done twice.
//
// A scenario is a fake host with people who push, open, comment, merge and close for as long as it takes, one or several real servers with
// real tofu, and a hand that kills servers and workers with kill -9: at every point that the servers name, and at any moment besides. When the
// killing is over and the dust has settled, the invariants are checked, against what the tool itself wrote down where that is possible. A rule that is
// broken on purpose must show: see broken_test.go.
package chaos_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/helper"
)

// In the environment of a child.
const (
	asServer = "PLANLATCH_CHAOS_SERVE"  // the server.yaml to serve
	asHelper = "PLANLATCH_CHAOS_SHIM"   // the planlatch-shim to execute runs with
	asPoints = "PLANLATCH_CHAOS_POINTS" // whom to ask at every point whether to die there
	asBroken = "PLANLATCH_CHAOS_BROKEN" // the rule to break
)

// TestMain lets the test binary be a shim, a server, or the tests.
func TestMain(m *testing.M) {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	env := app.Environment()
	if file := env[asServer]; file != "" {
		os.Exit(serve(file, env))
	}
	os.Exit(helper.With(asHelper, m.Run))
}

// serve is the child: a real server that asks at every point whether to die.
func serve(file string, env map[string]string) int {
	die := dying(env[asPoints])
	return child.Serve(file, app.ServerOptions{
		Env: env, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Kill: die, Shim: env[asHelper], Reconcile: 3 * time.Second,
		Parts: parts(die, env[asBroken]),
	})
}

// dying asks the hand that kills, and does as it is told.
func dying(address string) func(point string) {
	client := &http.Client{Timeout: 10 * time.Second}
	return func(point string) {
		res, err := client.Get(address + "?point=" + url.QueryEscape(point)) //nolint:noctx // bounded by the client
		if err != nil {
			return // the test has ended, and this process is about to
		}
		word, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(word) == "die" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
}
