package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/planlatch/planlatch/run"
)

// Bounds of what is read from one tree. Nobody's repository comes near them but one that means harm.
const (
	maxEntries  = 500_000  // files and directories looked at
	maxDepth    = 200      // directories within directories
	maxLinks    = 50_000   // symlinks
	maxFiles    = 20_000   // configuration files parsed
	maxFileSize = 2 << 20  // of one configuration file
	maxParsed   = 64 << 20 // of all of them
)

// tree is one state of the repository, read as far as it was needed.
type tree struct {
	fsys    fs.FS
	dirs    map[string]*listing
	links   map[string]string // symlinks and their targets
	modules map[moduleKey]*module
	entries int
	files   int
	bytes   int64
	limit   *run.Problem // the bound that was reached
	err     error        // the first failure to read
	ended   func() error // why to go no further, from whoever asked
}

// listing is what a directory holds that matters here.
type listing struct {
	config []string // names of configuration files
	other  []string // variable files and version files
}

func newTree(fsys fs.FS, ended func() error) *tree {
	return &tree{fsys: fsys, ended: ended, dirs: map[string]*listing{}, links: map[string]string{}, modules: map[moduleKey]*module{}}
}

// skipped are directories that tools fill and nobody writes in.
func skipped(name string) bool {
	switch name {
	case ".git", ".terraform", ".terragrunt-cache", "node_modules":
		return true
	}
	return false
}

// scan lists every directory once.
func (t *tree) scan() {
	t.walk(".", 0)
}

func (t *tree) walk(dir string, depth int) {
	if depth > maxDepth {
		t.bound(clip(dir), fmt.Sprintf("directories are nested more than %d deep", maxDepth), "put them less deep")
		return
	}
	below, err := t.list(dir)
	if err != nil {
		t.fail(err)
		return
	}
	for _, name := range below {
		if t.limit == nil && !t.failed() {
			t.walk(path.Join(dir, name), depth+1)
		}
	}
}

// list notes what one directory holds, and returns the names of the directories in it.
func (t *tree) list(dir string) (below []string, err error) {
	list, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		return nil, err
	}
	here := &listing{}
	for _, d := range list {
		if t.entries++; t.entries > maxEntries {
			t.bound("", fmt.Sprintf("the repository has more than %d files", maxEntries), "split it")
			return nil, nil
		}
		name := d.Name()
		switch {
		case d.IsDir():
			// JSON and the messages of every host are UTF-8: such a directory could not be spoken of.
			if !skipped(name) && utf8.ValidString(name) {
				below = append(below, name)
			}
			continue
		case d.Type()&fs.ModeSymlink != 0:
			if len(t.links) == maxLinks {
				t.bound("", fmt.Sprintf("the repository has more than %d symlinks", maxLinks), "replace them with what they lead to")
				return nil, nil
			}
			full := path.Join(dir, name)
			if t.links[full], err = fs.ReadLink(t.fsys, full); err != nil {
				return nil, err
			}
		}
		switch {
		case isConfig(name):
			here.config = append(here.config, name)
		case isVersionFile(name) || isVarFile(name) || name == wrapperFile:
			here.other = append(here.other, name)
		}
	}
	if len(here.config)+len(here.other) > 0 {
		t.dirs[dir] = here
	}
	return below, nil
}

// failed says whether to go no further. Loops ask it whose length a repository decides.
func (t *tree) failed() bool {
	if t.err == nil {
		t.err = t.ended()
	}
	return t.err != nil
}

func (t *tree) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tree) bound(file, message, fix string) {
	if t.limit == nil {
		t.limit = &run.Problem{File: file, Message: message, Fix: fix}
	}
}

// configDirs are the directories that have configuration, sorted.
func (t *tree) configDirs() []string {
	var dirs []string
	for dir, l := range t.dirs {
		if len(l.config) > 0 {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

func (t *tree) hasConfig(dir string) bool {
	l := t.dirs[dir]
	return l != nil && len(l.config) > 0
}

// has says whether a directory holds a variable or version file of this name.
func (t *tree) has(dir, name string) bool {
	l := t.dirs[dir]
	return l != nil && slices.Contains(l.other, name)
}

// resolve follows symlinks inside the tree.
func (t *tree) resolve(name string) (string, error) {
	if len(t.links) == 0 {
		return path.Clean(name), nil
	}
	return Resolve(name, func(p string) (string, bool) { target, ok := t.links[p]; return target, ok })
}

// exists says whether something stands at a path, where its symlinks lead.
func (t *tree) exists(name string) (info fs.FileInfo, ok bool) {
	target, err := t.resolve(name)
	if err != nil || !fs.ValidPath(target) {
		return nil, false
	}
	info, err = fs.Stat(t.fsys, target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
		t.fail(err)
	}
	return info, err == nil
}

// read returns a file of at most limit bytes. A problem says what is wrong with it; ok is false then, and after a failure to read.
func (t *tree) read(name string, limit int64) (content []byte, problem *run.Problem, ok bool) {
	target, err := t.resolve(name)
	if err != nil {
		return nil, &run.Problem{File: name, Message: "is a symlink that " + reason(err), Fix: "replace it with the file itself"}, false
	}
	f, err := t.fsys.Open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &run.Problem{File: name, Message: "is a symlink that leads to nothing", Fix: "remove it, or add what it leads to"}, false
	}
	if err != nil {
		t.fail(err)
		return nil, nil, false
	}
	defer func() { _ = f.Close() }() // only read
	tooLong := &run.Problem{File: name, Message: fmt.Sprintf("has more than %d bytes", limit), Fix: "split it"}
	// Asked first, because reading a part of a file costs as much as reading all of it where it comes from git.
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > limit {
		return nil, tooLong, false
	}
	content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		t.fail(fmt.Errorf("read %q: %w", name, err))
		return nil, nil, false
	}
	if int64(len(content)) > limit {
		return nil, tooLong, false
	}
	return content, nil, true
}

// reason is what Resolve found, in words.
func reason(err error) string {
	if errors.Is(err, ErrLoop) {
		return "leads to itself"
	}
	return ErrOutside.Error()
}

// isConfig says whether the tools read a file of this name as configuration.
func isConfig(name string) bool {
	if strings.HasPrefix(name, ".") { // editors' backups (x.tf~, #x.tf#) end in another way
		return false
	}
	_, ext := splitExt(name)
	return ext != ""
}

// splitExt takes the extension of a configuration file off; it is "" for other files.
func splitExt(name string) (base, ext string) {
	for _, ext := range []string{".tf.json", ".tofu.json", ".tf", ".tofu"} {
		if base, ok := strings.CutSuffix(name, ext); ok && base != "" {
			return base, ext
		}
	}
	return name, ""
}

func isVarFile(name string) bool {
	return strings.HasSuffix(name, ".tfvars") || strings.HasSuffix(name, ".tfvars.json")
}

// isAutoVarFile says whether the tools read a variable file without being told.
func isAutoVarFile(name string) bool {
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" ||
		strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}

// The files that pin a tool.
const (
	tofuVersionFile      = ".opentofu-version"
	terraformVersionFile = ".terraform-version"
	toolVersionsFile     = ".tool-versions"
)

func isVersionFile(name string) bool {
	return name == tofuVersionFile || name == terraformVersionFile || name == toolVersionsFile
}

// The tools.
const (
	tofu      = "tofu"
	terraform = "terraform"
)

// configFiles are the files of a directory that a tool reads, overrides last. For tofu, a .tofu file takes the place of the .tf file of the
// same name.
func (t *tree) configFiles(dir, tool string) []string {
	l := t.dirs[dir]
	if l == nil {
		return nil
	}
	var files, overrides []string
	for _, name := range l.config {
		base, ext := splitExt(name)
		if tool == terraform && strings.HasPrefix(ext, ".tofu") {
			continue
		}
		if tool != terraform && strings.HasPrefix(ext, ".tf") && slices.Contains(l.config, base+".tofu"+strings.TrimPrefix(ext, ".tf")) {
			continue
		}
		if base == "override" || strings.HasSuffix(base, "_override") {
			overrides = append(overrides, name)
		} else {
			files = append(files, name)
		}
	}
	return append(files, overrides...)
}
