// Package tool finds the tofu or terraform binary that a project asks for.
//
// It promises that the binary it names is the product and the version asked for, told by the binary itself and never by its file name, so
// that the two products are not mixed up; that what a server does not allow is not found; and that an error says what was looked for, what
// was there instead, and how to get it. Sources are asked in a fixed order (a fixed path, the machine, our cache, and last the publisher or
// its mirror), and within the first that has a match the newest wins: filling the cache never changes what a machine with its own tool
// runs. What is downloaded enters the cache whole, and only after the publisher's signature over its checksum was found right.
//
// A binary is run once to learn its version, without the server's environment; after that its path, size and time of change stand for
// it. What was downloaded is evicted only when no execution of this machine sees it and Resolve did not name it lately. A Finder is safe for concurrent use, and several processes may share a cache.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
)

// Errors of Resolve; compare with errors.Is.
var (
	// ErrNotFound says that no source has a binary that fits.
	ErrNotFound = errors.New("no such tool")
	// ErrNotAllowed says that what is asked for is outside of what the server allows.
	ErrNotAllowed = errors.New("tool is not allowed")
	// ErrDownload says that a version that fits is published and could not be had.
	ErrDownload = errors.New("tool cannot be downloaded")
	// ErrInvalid says that the name or a version constraint cannot be read.
	ErrInvalid = errors.New("invalid tool")
)

// Want is what a project asks for. Empty fields leave the choice to the server's default.
type Want struct {
	Name     string   // tofu or terraform; empty: the server's default, or the other one where only that has a version that the code requires
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
	Path     []string          // directories of the machine, as in PATH; relative ones are passed over
	Cache    string            // our own: <cache>/<name>/<version>/<name>; empty: none
	Fixed    map[string]string // name → a binary that is asked first
	Default  Want              // for projects that ask for nothing. Name defaults to tofu
	Allow    string            // constraint on every version; empty: all
	Download *Download         // fills the cache; nil: nothing is downloaded
}

// Finder finds binaries.
type Finder struct {
	o       Options
	allow   version.Constraints
	sources []source
	probes  *probes
	from    *downloads // nil: nothing is downloaded

	evicting sync.RWMutex // held for reading by who notes that a download is used
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
	if o.Download != nil && o.Cache != "" {
		if f.from, err = newDownloads(*o.Download, cache(o.Cache), f.probes); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Resolve finds the binary for what a project asks for. Errors: ErrNotFound, ErrNotAllowed, ErrDownload, ErrInvalid, or the context's.
func (f *Finder) Resolve(ctx context.Context, w Want) (Tool, error) {
	t, err := f.find(ctx, w)
	if err == nil && !f.claim(t) { // evicted after it was found
		t, err = f.find(ctx, w)
	}
	return t, err
}

func (f *Finder) find(ctx context.Context, w Want) (Tool, error) {
	t, err := f.resolve(ctx, f.complete(w))
	if w.Name != "" || len(f.complete(w).Required) == 0 || (!errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDownload)) {
		return t, err
	}
	// Nobody said which tool, and the code requires a version that only the other one may have: 1.5 was never OpenTofu.
	w.Name = "terraform"
	if f.o.Default.Name == w.Name {
		w.Name = "tofu"
	}
	if other, otherErr := f.resolve(ctx, f.complete(w)); otherErr == nil {
		return other, nil
	}
	return t, err
}

func (f *Finder) resolve(ctx context.Context, w Want) (Tool, error) {
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
	fits := func(v *version.Version) bool { return wanted.Check(v) && f.allow.Check(v) }
	var seen []found
	for _, s := range f.sources {
		best, all, err := f.best(ctx, s, p, fits)
		if err != nil || best != nil {
			return best.tool(), err
		}
		seen = append(seen, all...)
	}
	if f.from == nil {
		return Tool{}, f.nothing(w, wanted, seen)
	}
	v, ok := exact(w.Version)
	if !ok {
		if v, ok, err = f.from.newest(ctx, w.Name, fits); err != nil {
			return Tool{}, f.undelivered(w, wanted, seen, err)
		}
	}
	if !ok || !fits(v) {
		return Tool{}, f.nothing(w, wanted, seen)
	}
	path, err := f.from.install(ctx, p, v)
	if err != nil {
		return Tool{}, f.undelivered(w, wanted, seen, err)
	}
	return Tool{Name: w.Name, Version: v.String(), Path: path}, nil
}

// best is the newest candidate of a source that fits, nil if none does, and all that were looked at.
func (f *Finder) best(ctx context.Context, s source, p product.Product, fits func(*version.Version) bool) (*found, []found, error) {
	all := f.candidates(ctx, s, p, fits)
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("look for %s: %w", p.Name, err)
	}
	var best *found
	for _, c := range all {
		if errors.Is(c.err, errAltered) {
			return nil, nil, fmt.Errorf("%w: %s %w", ErrDownload, c.path, c.err)
		}
		if c.err == nil && fits(c.version) && (best == nil || c.version.GreaterThan(best.version)) {
			best = &c
		}
	}
	return best, all, nil
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

// Published finds the newest allowed version that is published where downloads come from. Error: ErrNotFound if there is none or nothing is
// downloaded; ErrDownload.
func (f *Finder) Published(ctx context.Context, name string) (string, error) {
	if f.from == nil {
		return "", fmt.Errorf("%w: nothing is downloaded", ErrNotFound)
	}
	v, ok, err := f.from.newest(ctx, name, func(v *version.Version) bool { return f.allow.Check(v) })
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrDownload, err)
	case !ok:
		return "", fmt.Errorf("%w: no version of %s that is allowed here is published", ErrNotFound, name)
	}
	return name + " " + v.String(), nil
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

func (f *found) tool() Tool {
	if f == nil {
		return Tool{}
	}
	return Tool{Name: f.name, Version: f.version.String(), Path: f.path}
}

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
