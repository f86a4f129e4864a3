// Package redteam_test attacks planlatch as a hostile pull request, commenter, reader or passer-by would: real servers with real tofu, a real
// host and the real sandbox, and canaries wherever a secret lies.
//
// Each attack is a small struct: the row of the threat table that it belongs to, what the attacker does, the wall that stops it, and the wall
// to take away so that the very same attack succeeds. An attack that cannot succeed without the wall proves nothing, so both are shown, and a
// table at the end says for each attack whether the wall held and whether that was shown. docs/redteam.md tells how to run, read and extend it.
//
// Nothing here reaches beyond this machine: attacks connect to loopback and to the machine's own addresses only.
package redteam_test

import (
	"flag"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/helper"
)

// In the environment of the tests and their children.
const (
	asServer  = "PLANLATCH_REDTEAM_SERVE"   // of a child: the server.yaml to serve
	asHelper  = "PLANLATCH_REDTEAM_SHIM"    // the planlatch-shim to execute runs with; built when it is not given
	asWithout = "PLANLATCH_REDTEAM_WITHOUT" // of a child: the wall that it goes without
	asWhole   = "PLANLATCH_REDTEAM"         // of the tests: "whole" also shows that each attack succeeds without its wall
	canaryEnv = "CANARY_OF_THE_SERVER"      // of a child: a secret in its environment
)

const patience = 4 * time.Minute // with a loaded machine; seconds are usual

// TestMain lets the test binary be a shim, a server, or the tests.
func TestMain(m *testing.M) {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	env := app.Environment()
	if file := env[asServer]; file != "" {
		os.Exit(serve(file, env))
	}
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))) // attacks wait for other processes more than they work
	}
	os.Exit(helper.With(asHelper, m.Run))
}

// serve is the child: the server of the product, but for the wall it goes without.
func serve(file string, env map[string]string) int {
	options := app.ServerOptions{
		Env: env, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Shim: env[asHelper], Reconcile: 10 * time.Minute,
	}
	demolish(wall(env[asWithout]), &options)
	return child.Serve(file, options)
}
