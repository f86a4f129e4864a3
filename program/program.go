// Package program finds programs along the PATH of an environment that is not this process's own.
//
// It promises to look at absolute directories only, in order, and to take regular files that somebody may execute. It runs nothing.
package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Find returns where name lies along PATH in env (NAME=value pairs). A name with a slash is its own answer.
func Find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, pair := range env {
		list, ok := strings.CutPrefix(pair, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			at := filepath.Join(dir, name)
			if info, err := os.Stat(at); err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return at, nil
			}
		}
	}
	return "", fmt.Errorf("%s is no program along PATH", name)
}
