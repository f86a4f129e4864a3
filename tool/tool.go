// Package tool finds the tofu or terraform binary that a project asks for.
//
// It promises that the binary it names is the product and the version asked for, told by the binary itself and never by its file name, so
// that the two products are not mixed up; that what a server does not allow is not found; and that an error says what was looked for, what
// was there instead, and how to get it. Sources are asked in a fixed order (a fixed path, the machine, our cache), and within the first
// that has a match the newest wins: filling the cache never changes what a machine with its own tool runs.
//
// A binary is run once to learn its version, without the server's environment; after that its path, size and time of change stand for
// it. A Finder is safe for concurrent use.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
)

// Errors of Resolve; compare with errors.Is.
var (
	// ErrNotFound says that no source has a binary that fits.
	ErrNotFound = errors.New("no such tool")
	// ErrNotAllowed says that what is asked for is outside of what the server allows.
	ErrNotAllowed = errors.New("tool is not allowed")
	// ErrInvalid says that the name or a version constraint cannot be read.
	ErrInvalid = errors.New("invalid tool")
)

// Want is what a project asks for. Empty fields leave the choice to the server's default.
type Want struct {
	Name     string   // tofu or terraform
	Version  string   // exact, or a constraint such as "~> 1.12"; from the project's pin
	Required []string // required_version constraints found in the code; they hold beside Version
}

// Tool is a binary.
type Tool struct {
	Name    string // tofu or terraform
	Version string // 1.12.6
	Path    string // absolute, symbolic links resolved
}

// String is how people write it: "tofu 1.12.6".
func (t Tool) String() string { return t.Name + " " + t.Version }

// Options say where to look and what is allowed.
type Options struct {
	Path    []string          // directories of the machine, as in PATH; relative ones are passed over
	Cache   string            // our own: <cache>/<name>/<version>/<name>; empty: none
	Fixed   map[string]string // name → a binary that is asked first
	Default Want              // for projects that ask for nothing. Name defaults to tofu
	Allow   string            // constraint on every version; empty: all
}

// Finder finds binaries.
type Finder struct {
	o       Options
	allow   version.Constraints
	sources []source
	probes  *probes
}

// source is one place where binaries are. list returns every candidate for a product; those whose version can be told from where they lie
// and does not pass fits are left out, so that they are not run.
type source interface {
	list(product string, fits func(*version.Version) bool) []string
	String() string
}

// New makes a Finder. Error: ErrInvalid, for constraints that cannot be read.
func New(o Options) (*Finder, error) {
	if o.Default.Name == "" {
		o.Default.Name = "tofu"
	}
	f := &Finder{o: o, probes: newProbes()}
	var err error
	if f.allow, err = constraints(o.Allow); err != nil {
		return nil, fmt.Errorf("tools.allow: %w", err)
	}
	if _, err := constraints(o.Default.Version); err != nil {
		return nil, fmt.Errorf("tools.default: %w", err)
	}
	if _, ok := products[o.Default.Name]; !ok {
		return nil, fmt.Errorf("tools.default: %w: %q; write tofu or terraform", ErrInvalid, o.Default.Name)
	}
	f.sources = []source{fixed(o.Fixed), machine(o.Path)}
	if o.Cache != "" {
		f.sources = append(f.sources, cache(o.Cache))
	}
	return f, nil
}

// Resolve finds the binary for what a project asks for. Errors: ErrNotFound, ErrNotAllowed, ErrInvalid, or the context's.
func (f *Finder) Resolve(ctx context.Context, w Want) (Tool, error) {
	w = f.complete(w)
	p, ok := products[w.Name]
	if !ok {
		return Tool{}, fmt.Errorf("%w: %q; write tofu or terraform", ErrInvalid, w.Name)
	}
	wanted, err := constraints(append([]string{w.Version}, w.Required...)...)
	if err != nil {
		return Tool{}, err
	}
	if v, err := version.NewVersion(w.Version); err == nil && !f.allow.Check(v) {
		return Tool{}, fmt.Errorf("%w: %s %s is pinned, but this server allows %s; pin another version or change tools.allow", ErrNotAllowed, w.Name, v, f.o.Allow)
	}
	var seen []found
	for _, s := range f.sources {
		var fit []found
		for _, c := range f.candidates(ctx, s, p, func(v *version.Version) bool { return wanted.Check(v) && f.allow.Check(v) }) {
			if c.err == nil && wanted.Check(c.version) && f.allow.Check(c.version) {
				fit = append(fit, c)
			}
			seen = append(seen, c)
		}
		if err := ctx.Err(); err != nil {
			return Tool{}, fmt.Errorf("look for %s: %w", w.Name, err)
		}
		if len(fit) > 0 {
			return slices.MaxFunc(fit, func(a, b found) int { return a.version.Compare(b.version) }).tool(), nil
		}
	}
	return Tool{}, f.nothing(w, wanted, seen)
}

// Available lists every binary of every source, in the order of the sources, for people who look into what a server has.
func (f *Finder) Available(ctx context.Context) ([]Tool, error) {
	var out []Tool
	for _, s := range f.sources {
		for _, name := range []string{"tofu", "terraform"} {
			for _, c := range f.candidates(ctx, s, products[name], func(*version.Version) bool { return true }) {
				if c.err == nil {
					out = append(out, c.tool())
				}
			}
		}
	}
	return out, ctx.Err()
}

// complete fills in the server's default: its version only for its own product, and only when the project says nothing about versions.
func (f *Finder) complete(w Want) Want {
	if w.Name == "" {
		w.Name = f.o.Default.Name
	}
	w.Required = slices.DeleteFunc(slices.Clone(w.Required), func(s string) bool { return strings.TrimSpace(s) == "" })
	if w.Version == "" && len(w.Required) == 0 && w.Name == f.o.Default.Name {
		w.Version = f.o.Default.Version
	}
	return w
}

// found is a candidate and what running it told.
type found struct {
	name    string
	path    string
	version *version.Version
	err     error
}

func (f found) tool() Tool { return Tool{Name: f.name, Version: f.version.String(), Path: f.path} }

// candidates asks each binary of a source for its version. Another product under this name is an error of that candidate.
func (f *Finder) candidates(ctx context.Context, s source, p product.Product, fits func(*version.Version) bool) []found {
	var out []found
	for _, path := range s.list(p.BinaryName(), fits) {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		c := found{name: p.Name, path: target}
		c.version, c.err = f.probes.version(ctx, p, target)
		if errors.Is(c.err, os.ErrNotExist) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// nothing says what was looked for, what was there instead, and how to get it.
func (f *Finder) nothing(w Want, wanted version.Constraints, seen []found) error {
	ask := w.Name
	if len(wanted) > 0 {
		ask += " " + wanted.String()
	}
	var have []string
	sentinel, allowed := ErrNotFound, ""
	for _, c := range seen {
		switch {
		case c.err != nil:
			have = append(have, fmt.Sprintf("%s (%v)", c.path, c.err))
		case wanted.Check(c.version) && !f.allow.Check(c.version):
			sentinel, allowed = ErrNotAllowed, f.o.Allow
			have = append(have, fmt.Sprintf("%s (%s)", c.path, c.version))
		default:
			have = append(have, fmt.Sprintf("%s (%s)", c.path, c.version))
		}
	}
	there := "none of its versions is here"
	if len(have) > 0 {
		there = "found only " + strings.Join(slices.Compact(have), ", ")
	}
	if allowed != "" {
		return fmt.Errorf("%w: %s is asked for and %s, but this server allows %s; ask for an allowed version or change tools.allow", sentinel, ask, there, allowed)
	}
	var places []string
	for _, s := range f.sources {
		if p := s.String(); p != "" {
			places = append(places, p)
		}
	}
	return fmt.Errorf("%w: %s is asked for, %s; looked in %s; install it there or ask for a version that is", sentinel, ask, there, strings.Join(places, ", "))
}

// constraints reads several constraints that hold together; empty ones say nothing.
func constraints(texts ...string) (version.Constraints, error) {
	var all version.Constraints
	for _, t := range texts {
		if strings.TrimSpace(t) == "" {
			continue
		}
		c, err := version.NewConstraint(t)
		if err != nil {
			return nil, fmt.Errorf(`%w: %.60q is not a version or constraint; write "1.12.6", "~> 1.12" or ">= 1.5, < 2"`, ErrInvalid, t)
		}
		all = append(all, c...)
	}
	return all, nil
}
