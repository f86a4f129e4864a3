package tool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
)

// missing is an error about a tool that is not there. Its text has paths of this machine, but for ErrNotAllowed.
type missing struct {
	kind error // ErrNotFound, ErrNotAllowed, ErrDownload
	text string
	have []string
	err  error // why it could not be had
}

func (m *missing) Error() string { return m.kind.Error() + ": " + m.text }

func (m *missing) Unwrap() []error {
	if m.err == nil {
		return []error{m.kind}
	}
	return []error{m.kind, m.err}
}

// Have lists the versions that were there when a tool was not found, as in "tofu 1.12.6": what somebody could ask for instead.
func Have(err error) []string {
	if m, ok := errors.AsType[*missing](err); ok {
		return m.have
	}
	return nil
}

// asked writes what is looked for.
func asked(w Want, wanted version.Constraints) string {
	if len(wanted) == 0 {
		return w.Name
	}
	return w.Name + " " + wanted.String()
}

// nothing says what was looked for, what was there instead, and how to get it.
func (f *Finder) nothing(w Want, wanted version.Constraints, seen []found) error {
	m := &missing{kind: ErrNotFound}
	var there []string
	for _, c := range seen {
		if c.err != nil {
			there = append(there, fmt.Sprintf("%s (%v)", c.path, c.err))
			continue
		}
		if wanted.Check(c.version) && !f.allow.Check(c.version) {
			m.kind = ErrNotAllowed
		} else {
			m.have = append(m.have, c.tool().String())
		}
		there = append(there, fmt.Sprintf("%s (%s)", c.path, c.version))
	}
	for _, v := range f.cached(w.Name) {
		if wanted.Check(v) && !f.allow.Check(v) {
			m.kind = ErrNotAllowed
		} else {
			m.have = append(m.have, w.Name+" "+v.String())
		}
		there = append(there, v.String()+" in the cache")
	}
	m.have = slices.Compact(m.have)
	has := "none of its versions is here"
	if len(there) > 0 {
		has = "found only " + strings.Join(slices.Compact(there), ", ")
	}
	if m.kind == ErrNotAllowed { //nolint:errorlint // it was set above
		m.text = fmt.Sprintf("%s is asked for, but this server allows %s; ask for an allowed version or change tools.allow", asked(w, wanted), f.o.Allow)
		return m
	}
	var places []string
	for _, s := range f.sources {
		if p := s.String(); p != "" {
			places = append(places, p)
		}
	}
	if f.from != nil {
		places = append(places, "what is published")
	}
	m.text = fmt.Sprintf("%s is asked for, %s; looked in %s; install it there or ask for a version that is", asked(w, wanted), has, strings.Join(places, ", "))
	return m
}

// undelivered says that what is looked for is nowhere here and could not be downloaded.
func (f *Finder) undelivered(w Want, wanted version.Constraints, seen []found, err error) error {
	m := &missing{kind: ErrDownload, err: err}
	here := "none of its versions is"
	if nothing, ok := errors.AsType[*missing](f.nothing(w, wanted, seen)); ok && len(nothing.have) > 0 {
		m.have = nothing.have
		here = "only " + strings.Join(m.have, ", ")
	}
	m.text = fmt.Sprintf("%s is asked for and %s here: %v; put it at %s, or look at tools.mirror and tools.download", asked(w, wanted), here, err,
		filepath.Join(f.o.Cache, w.Name, "<version>", w.Name))
	return m
}

// cached lists the versions in the cache by their names, without running them.
func (f *Finder) cached(name string) []*version.Version {
	if f.o.Cache == "" {
		return nil
	}
	var all []*version.Version
	for _, path := range cache(f.o.Cache).list(name, func(*version.Version) bool { return true }) {
		if v, err := version.NewVersion(filepath.Base(filepath.Dir(path))); err == nil {
			all = append(all, v)
		}
	}
	return all
}
