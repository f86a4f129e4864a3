package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/planlatch/planlatch/project"
)

// Bounds of what is read of one project. Beyond them it is not understood.
const (
	maxDirs     = 500          // directories of modules
	maxEntries  = 20_000       // of one directory
	maxFiles    = 5_000        // configuration files
	maxFileSize = 2 << 20      // of one
	maxBytes    = 32 << 20     // of all
	maxItems    = 20_000       // listed
	maxText     = 1_000        // bytes of a name or address
	maxLockFile = 1 << 20      // bytes
	maxUnknown  = 200          // problems listed; one more says that there are others
	ownDir      = ".terraform" // where init puts what it downloads
)

// reader is one inventory being taken.
type reader struct {
	fsys  fs.FS
	o     Options
	inv   Inventory
	links map[string]link
	top   *module // the root module

	templates map[string]bool // files that were looked at as such
	files     int
	bytes     int
	items     int
	full      bool // a bound was reached, and it was said
}

// link is what is known of a path: whether it is a symlink, and to what.
type link struct {
	target string
	is     bool
}

func (r *reader) readlink(name string) (string, bool) {
	l, known := r.links[name]
	if !known {
		if info, err := fs.Lstat(r.fsys, name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			target, err := fs.ReadLink(r.fsys, name)
			if err != nil {
				target = "/" // leads outside, which is what is done with one that cannot be read
			}
			l = link{target, true}
		}
		r.links[name] = l
	}
	return l.target, l.is
}

// unknown notes what is not understood. Nothing that is noted is ever forgotten: past the bound one entry stands for the rest.
func (r *reader) unknown(at Place, format string, args ...any) {
	switch n := len(r.inv.Unknown); {
	case n < maxUnknown:
		r.inv.Unknown = append(r.inv.Unknown, Unknown{Place: at, What: clip(fmt.Sprintf(format, args...))})
	case n == maxUnknown:
		r.inv.Unknown = append(r.inv.Unknown, Unknown{What: "there is more that could not be understood"})
	}
}

// spent says that a bound is reached, once.
func (r *reader) spent(at Place, what string) {
	if !r.full {
		r.full = true
		r.unknown(at, "%s: the rest was not read", what)
	}
}

// item says whether one more may be listed.
func (r *reader) item(at Place) bool {
	if r.items++; r.items > maxItems {
		r.spent(at, fmt.Sprintf("there are more than %d blocks", maxItems))
		return false
	}
	return true
}

// clip bounds a text that somebody else wrote, and makes it one that JSON can carry.
func clip(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// root reads the root module and, each once, the local modules that it calls, directly or not.
func (r *reader) root(dir string) {
	at, err := project.Resolve(dir, r.readlink)
	if err != nil {
		r.unknown(Place{File: dir}, "the directory %v", unwrapped(err))
		return
	}
	seen := map[string]bool{at: true}
	queue := []string{at}
	for n := 0; n < len(queue); n++ {
		if n >= maxDirs {
			r.spent(Place{File: queue[n]}, fmt.Sprintf("there are more than %d module directories", maxDirs))
			return
		}
		for _, next := range r.module(queue[n], n == 0) {
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	r.lockFile(at)
	r.localState(at)
}

// unwrapped is why a path cannot be followed, in words.
func unwrapped(err error) error {
	for _, known := range []error{project.ErrLoop, project.ErrOutside} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

// module reads one directory and returns those of the modules that it calls.
func (r *reader) module(dir string, top bool) []string {
	names, ok := r.list(dir, r.configuration)
	if !ok {
		return nil
	}
	m := &module{r: r, dir: dir, readings: r.readings(names)}
	for _, name := range names {
		if r.full {
			break
		}
		m.file(path.Join(dir, name))
	}
	if m.now = m.readings; top {
		r.top = m
		m.beside()
		m.backendConfig(dir, r.o.BackendConfig)
	}
	m.implied()
	return m.calls
}

// list returns the names of those files in a directory that are wanted.
func (r *reader) list(dir string, wanted func(name string) bool) ([]string, bool) {
	here := Place{File: dir}
	entries, err := r.entries(dir)
	switch {
	case errors.Is(err, errTooMany):
		r.unknown(here, "the directory has more than %d entries", maxEntries)
		return nil, false
	case err != nil:
		r.unknown(here, "the directory cannot be read")
		return nil, false
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && wanted(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, true
}

func (r *reader) isDir(name string) bool {
	info, err := fs.Stat(r.fsys, name)
	return err == nil && info.IsDir()
}

var errTooMany = errors.New("too many entries")

func (r *reader) entries(dir string) ([]fs.DirEntry, error) {
	f, err := r.fsys.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	list, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, fs.ErrInvalid
	}
	entries, err := list.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, errTooMany
	}
	return entries, nil
}

// configuration says whether a tool reads a file of this name. OpenTofu reads main.tofu instead of main.tf, but not in every release that may
// be chosen, so both count.
func (r *reader) configuration(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	if strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") {
		return true
	}
	alone := r.o.Terraform && r.o.Steps.Empty() // a step may call the other tool
	return !alone && (strings.HasSuffix(name, ".tofu") || strings.HasSuffix(name, ".tofu.json"))
}

// read returns a file of the tree, its symlinks followed.
func (r *reader) read(name string, limit int64) ([]byte, bool) {
	at := Place{File: name}
	if !utf8.ValidString(name) {
		r.unknown(at, "a file with a name that is not UTF-8")
		return nil, false
	}
	target, err := project.Resolve(name, r.readlink)
	if err != nil {
		r.unknown(at, "a symlink that %v", unwrapped(err))
		return nil, false
	}
	f, err := r.fsys.Open(target)
	if err != nil {
		r.unknown(at, "it cannot be opened")
		return nil, false
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		r.unknown(at, "it is not a file")
		return nil, false
	}
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		r.unknown(at, "it cannot be read")
		return nil, false
	case int64(len(src)) > limit:
		r.unknown(at, "it has more than %d bytes", limit)
		return nil, false
	}
	return src, true
}

// source reads a file of the project.
func (r *reader) source(name string) ([]byte, bool) {
	r.files++
	if r.files > maxFiles || r.bytes > maxBytes {
		r.spent(Place{File: name}, fmt.Sprintf("the project has more than %d configuration files, or %d MiB of them", maxFiles, maxBytes>>20))
		return nil, false
	}
	src, ok := r.read(name, maxFileSize)
	r.bytes += len(src)
	return src, ok
}

// parse reads and parses a configuration file. What is wrong with it is noted; what could be understood is returned all the same.
func (r *reader) parse(name string) (*hcl.File, []byte) {
	src, ok := r.source(name)
	if !ok {
		return nil, nil
	}
	file, diags := project.Parse(name, src)
	r.faults(name, diags)
	if file == nil || file.Body == nil {
		return nil, nil
	}
	return file, src
}

// faults notes what a parser complained of. Warnings do not keep the tools from going on, and neither us.
func (r *reader) faults(name string, diags hcl.Diagnostics) {
	for n, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := Place{File: name}
		if d.Subject != nil {
			at.Line = d.Subject.Start.Line
		}
		text := d.Summary
		if d.Detail != "" {
			text += ": " + d.Detail
		}
		r.unknown(at, "%s", text)
		if n >= 10 {
			return
		}
	}
}

// lockFile lists the providers that the lock file selects: they are fetched before the tool says that nobody needs them.
func (r *reader) lockFile(dir string) {
	name := path.Join(dir, project.LockFile)
	if _, err := fs.Lstat(r.fsys, name); errors.Is(err, fs.ErrNotExist) {
		return
	}
	src, ok := r.read(name, maxLockFile)
	if !ok {
		return
	}
	locks, err := project.ReadLocks(src)
	if err != nil {
		r.unknown(Place{File: name}, "%v", err)
		return
	}
	for _, l := range locks {
		at := Place{File: name, Line: lineOf(src, l.Address())}
		r.inv.Providers = append(r.inv.Providers, Provider{
			Place: at, Name: l.Type, Address: withoutPublicHost(l.Host, l.Namespace+"/"+l.Type), Version: l.Version, From: "lock file",
		})
	}
}

// localState notes a state file of the repository that the tool would take for its own: a state names providers, which init installs.
func (r *reader) localState(dir string) {
	local := func(r *reading) bool { return len(r.backends) == 0 || slices.Contains(r.backends, "local") }
	if r.top != nil && !slices.ContainsFunc(r.top.readings, local) {
		return
	}
	for _, c := range r.o.BackendConfig {
		key, value, pair := strings.Cut(c, "=")
		if !pair || slices.Contains(localPaths, strings.TrimSpace(key)) && !elsewhere(value) {
			r.unknown(Place{File: dir}, "backend_config of a local backend, which may lead to a state in the repository that names any provider")
		}
	}
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.d"} {
		at := path.Join(dir, name)
		if _, err := fs.Lstat(r.fsys, at); !errors.Is(err, fs.ErrNotExist) {
			r.unknown(Place{File: at}, "a state in the repository, which may name any provider")
		}
	}
}

// body is the native form of a body; nil for JSON.
func body(b hcl.Body) *hclsyntax.Body {
	native, _ := b.(*hclsyntax.Body)
	return native
}

func lineOf(src []byte, text string) int {
	before, _, ok := strings.Cut(string(src), text)
	if !ok {
		return 0
	}
	return 1 + strings.Count(before, "\n")
}
