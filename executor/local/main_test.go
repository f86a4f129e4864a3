package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/planlatch/planlatch/executor/local"
)

func TestMain(m *testing.M) {
	if exit, isShim := local.ShimMain(os.Args); isShim {
		os.Exit(exit)
	}
	if exit, isProgram := programMain(os.Args); isProgram {
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

// builtShim builds the real planlatch-shim once for all tests: the test binary as its own shim is slow and large.
func builtShim(t testing.TB) string {
	t.Helper()
	path, err := buildShim()
	if err != nil {
		t.Fatalf("build planlatch-shim: %v", err)
	}
	return path
}

var buildShim = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "planlatch", "test", "planlatch-shim")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/planlatch-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped: static, and quicker to start
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", &buildError{string(out), err}
	}
	return path, nil
})

type buildError struct {
	out string
	err error
}

func (e *buildError) Error() string { return e.err.Error() + ": " + e.out }
