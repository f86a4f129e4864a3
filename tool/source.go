package tool

import (
	"os"
	"path/filepath"

	"github.com/hashicorp/go-version"
)

// fixed is a binary that somebody named.
type fixed map[string]string

func (f fixed) list(product string, _ func(*version.Version) bool) []string {
	if path := f[product]; path != "" {
		return []string{path}
	}
	return nil
}

func (fixed) String() string { return "" }

// machine are directories such as those of PATH.
type machine []string

func (m machine) list(product string, _ func(*version.Version) bool) []string {
	var out []string
	for _, dir := range m {
		if path := filepath.Join(dir, product); filepath.IsAbs(dir) && executable(path) {
			out = append(out, path)
		}
	}
	return out
}

func (machine) String() string { return "the directories of PATH" }

// cache holds one directory for each version: <name>/<version>/<name>.
type cache string

func (c cache) list(product string, fits func(*version.Version) bool) []string {
	entries, err := os.ReadDir(filepath.Join(string(c), product))
	if err != nil {
		return nil // nothing was cached yet
	}
	var out []string
	for _, e := range entries {
		v, err := version.NewVersion(e.Name())
		if err != nil || !fits(v) {
			continue
		}
		if path := filepath.Join(string(c), product, e.Name(), product); executable(path) {
			out = append(out, path)
		}
	}
	return out
}

func (c cache) String() string { return filepath.Join(string(c), "<name>", "<version>", "<name>") }

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
