package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/planlatch/planlatch/testkit/helper"

	"github.com/planlatch/planlatch/executor/local"
)

func TestMain(m *testing.M) {
	if exit, isShim := local.ShimMain(os.Args); isShim {
		os.Exit(exit)
	}
	if exit, isProgram := programMain(os.Args); isProgram {
		os.Exit(exit)
	}
	if len(os.Args) > 3 && os.Args[1] == privateArg {
		if err := enterPrivate(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "enter a private network:", err)
			os.Exit(1)
		}
		os.Args = append(os.Args[:1], os.Args[3:]...)
		os.Exit(m.Run())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "planlatch-shim-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // best effort
	shimPath = filepath.Join(dir, "planlatch-shim")
	if self, err := os.Executable(); err == nil && exists(filepath.Join(filepath.Dir(self), "planlatch-shim")) {
		shimPath = filepath.Join(filepath.Dir(self), "planlatch-shim") // see TestAsAnOrdinaryUser
	}
	return m.Run()
}

// shimPath is where the tests' planlatch-shim is built to.
var shimPath string

// builtShim builds the real planlatch-shim once for all tests: the test binary as its own shim is slow and large.
func builtShim(t testing.TB) string {
	t.Helper()
	if err := buildShim(); err != nil {
		t.Fatal(err)
	}
	return shimPath
}

var buildShim = sync.OnceValue(func() error { return helper.Build(shimPath) })

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
