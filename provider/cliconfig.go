package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/project"
)

// sources say where init looks for which provider. Each provider has exactly one: the tools ask every source that may have a provider for
// its versions, even for a locked one, and fail if one of them does not answer.
type sources struct {
	stored   []place  // providers of the store
	dir      string   // a mirror on disk
	mirrored []string // addresses that come from there
	url      string   // a mirror of everything else; empty: the registries
	only     []string // what may be had; nil: everything
}

// place is a filesystem mirror that has one provider.
type place struct{ address, dir string }

// sources finds out where everything is that is not stored.
func (s *Store) sources(stored []project.Lock, only []string) (sources, error) {
	from := sources{dir: s.mirrorDir(), only: only}
	for _, l := range stored {
		from.stored = append(from.stored, place{l.Address(), s.mirrorOf(l)})
	}
	slices.SortFunc(from.stored, func(a, b place) int { return strings.Compare(a.address, b.address) })
	if from.dir == "" {
		from.url = s.o.Mirror
		return from, nil
	}
	all, err := addressesIn(from.dir)
	if err != nil {
		return from, fmt.Errorf("tools.provider_mirror: %w", err)
	}
	from.mirrored = slices.DeleteFunc(all, func(a string) bool {
		return !within(only, a) || slices.ContainsFunc(stored, func(l project.Lock) bool { return l.Address() == a })
	})
	return from, nil
}

// addressesIn lists the providers of a filesystem mirror: its directories host/namespace/type.
func addressesIn(dir string) ([]string, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*", "*", "*"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, path := range found {
		info, err := os.Stat(path)
		rel, relErr := filepath.Rel(dir, path)
		if err == nil && relErr == nil && info.IsDir() && plainAddress(rel) {
			all = append(all, rel)
		}
	}
	return all, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// plainAddress says whether an address can be written into a configuration as it is.
func plainAddress(a string) bool {
	return !strings.ContainsFunc(a, func(r rune) bool {
		return !(r == '/' || r == '.' || r == '-' || r == '_' || r == ':' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
}

// text is the CLI configuration. An explicit provider_installation is what keeps the tools from the terraform.d/plugins of a repository,
// and from the caches and files of a home directory.
func (f sources) text() string {
	var b strings.Builder
	b.WriteString("provider_installation {\n")
	method := func(name string, settings ...string) {
		fmt.Fprintf(&b, "  %s {\n", name)
		for _, s := range settings {
			if s != "" {
				fmt.Fprintf(&b, "    %s\n", s)
			}
		}
		b.WriteString("  }\n")
	}
	elsewhere := slices.Clone(f.mirrored)
	for _, p := range f.stored {
		method("filesystem_mirror", "path = "+quoted(p.dir), list("include", []string{p.address}))
		elsewhere = append(elsewhere, p.address)
	}
	if len(f.mirrored) > 0 {
		method("filesystem_mirror", "path = "+quoted(f.dir), list("include", f.mirrored))
	}
	if f.url != "" {
		method("network_mirror", "url = "+quoted(strings.TrimSuffix(f.url, "/")+"/"), list("include", f.only), list("exclude", elsewhere))
	} else {
		method("direct", list("include", f.only), list("exclude", elsewhere))
	}
	b.WriteString("}\ndisable_checkpoint = true\n")
	return b.String()
}

func list(name string, items []string) string {
	if len(items) == 0 {
		return ""
	}
	all := make([]string, len(items))
	for n, item := range items {
		all[n] = quoted(item)
	}
	return name + " = [" + strings.Join(all, ", ") + "]"
}

// quoted writes a text so that no part of it is an expression.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}

// config returns the path of a CLI configuration with a text. Runs that start together may share it: it appears whole.
func (s *Store) config(text string) (string, error) {
	sum := sha256.Sum256([]byte(text))
	path := filepath.Join(s.o.Dir, dirCLI, hex.EncodeToString(sum[:8])+".tfrc")
	now := s.now()
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return path, os.Chtimes(path, time.Time{}, now) // it is in use: Sweep leaves it
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), ".tfrc-*")
	if err != nil {
		return "", err
	}
	_, err = fresh.WriteString(text)
	err = errors.Join(err, fresh.Chmod(0o644), fresh.Close()) // read by runs, holds no secret
	if err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(fresh.Name()))
	}
	return path, nil
}
