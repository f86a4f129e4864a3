// Package pinned finds the programs that tests run, in the versions that tools/build.sh pins, and has it build what this machine never built.
// Only tests import it.
package pinned

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Path is where a program is: tofu, terraform, gitea and so on, as tools/build.sh names them. The test fails when it cannot be had.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Find is Path for where there is no test. Each program is asked for once by each test program.
func Find(name string) (path string, err error) {
	find, _ := found.LoadOrStore(name, sync.OnceValues(func() (string, error) { return build(name) }))
	return find.(func() (string, error))() //nolint:forcetypeassert // nothing else is stored
}

var found sync.Map // name → func() (path string, err error)

func build(name string) (path string, err error) {
	script, err := script()
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	cmd := exec.Command("sh", script, name) //nolint:noctx // as long as it takes: the tests have their own limit
	cmd.Stderr = &said
	out, err := cmd.Output()
	path, ok := strings.CutPrefix(strings.TrimSpace(string(out)), name+" ")
	if err == nil && !ok {
		err = errors.New("it printed no path")
	}
	if err != nil {
		return "", fmt.Errorf("sh %s %s: %w\n%s%s", script, name, err, out, &said)
	}
	return path, nil
}

// script is tools/build.sh in the nearest directory above the test's own.
func script() (string, error) {
	begin, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := begin; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "tools", "build.sh")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no tools/build.sh in %s or above it: run the test from inside the repository", begin)
		}
	}
}
