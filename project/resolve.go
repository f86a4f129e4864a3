package project

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Errors of Resolve; compare with errors.Is.
var (
	// ErrOutside says that a path leaves the tree, by itself or through a symlink.
	ErrOutside = errors.New("leads outside the repository")
	// ErrLoop says that symlinks lead to each other.
	ErrLoop = errors.New("is a loop of symlinks")
)

// maxHops is how many symlinks one path may pass, as in the Linux kernel, and maxSteps how many parts of names on the way: forty links of
// two thousand parts each would take as long as they can.
const (
	maxHops  = 40
	maxSteps = 4096
)

// Resolve follows the symlinks in a slash-separated path, as an operating system would whose root directory has no way out but an error.
// readlink tells the target of a path that is a symlink. Components that do not exist are taken as they are, so the result need not exist.
// "." is the root. Errors: ErrOutside, ErrLoop.
func Resolve(name string, readlink func(name string) (target string, ok bool)) (string, error) {
	if path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q %w", name, ErrOutside)
	}
	// What is still to walk is kept reversed, so that the target of a link is pushed in front of the rest.
	rest := reversed(nil, name)
	at := ""
	for hops, steps := 0, 0; len(rest) > 0; {
		if steps++; steps > maxSteps {
			return "", fmt.Errorf("%.200q %w", name, ErrLoop)
		}
		part := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return "", fmt.Errorf("%q %w", name, ErrOutside)
			}
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, part)
		target, ok := readlink(next)
		if !ok {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return "", fmt.Errorf("%q %w", name, ErrLoop)
		}
		if path.IsAbs(target) {
			return "", fmt.Errorf("%q %w", name, ErrOutside)
		}
		rest = reversed(rest, target)
	}
	if at == "" {
		return ".", nil
	}
	return at, nil
}

func reversed(to []string, name string) []string {
	parts := strings.Split(name, "/")
	for _, part := range slices.Backward(parts) {
		to = append(to, part)
	}
	return to
}

// clean joins a path from configuration or code to the directory it is relative to. ok is false when it is absolute or leaves the root
// before any symlink is looked at.
func clean(dir, name string) (string, bool) {
	if path.IsAbs(name) || strings.ContainsRune(name, 0) || strings.Contains(name, `\`) {
		return "", false
	}
	p := path.Join(dir, name)
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", false
	}
	return p, true
}

// within says whether a path is a directory or below it.
func within(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir) && name[len(dir)] == '/'
}
