// Package helper builds the planlatch-shim that is installed beside a server, for suites that start servers. A test binary in its place, with
// the race detector, would start three times for every execution and take most of the time of a suite. Only tests import it.
package helper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// With runs the tests of a package, m.Run, with the path of a helper in an environment variable, and returns their exit code. A helper that is
// named there already is taken as it is: where tests run as another user, there is no Go.
func With(variable string, test func() int) int {
	if os.Getenv(variable) != "" { //nolint:forbidigo // of the tests
		return test()
	}
	dir, err := os.MkdirTemp("", "planlatch-shim-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // best effort, in a directory of the system's
	shim := filepath.Join(dir, "planlatch-shim")
	if err := Build(shim); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Setenv(variable, shim)); err != nil { //nolint:gosec // it is executed in sandboxes, too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return test()
}

// Beside runs the tests of a package with a helper beside their own program, where a server looks for it first. The go command removes both.
func Beside(test func() int) int {
	self, err := os.Executable()
	if err == nil {
		err = Build(filepath.Join(filepath.Dir(self), "planlatch-shim"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return test()
}

// Build makes the program of cmd that the last part of a path names, there and as it is shipped, unless it is there.
func Build(at string) error {
	if _, err := os.Stat(at); err == nil {
		return nil
	}
	program := "github.com/planlatch/planlatch/cmd/" + filepath.Base(at)
	cmd := exec.Command("go", "build", "-trimpath", "-o", at, program) //nolint:noctx // as long as it takes
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", program, err, out)
	}
	return nil
}
