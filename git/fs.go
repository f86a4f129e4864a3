package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/project"
)

// Bounds of what is read into memory at once.
const (
	maxRead = 64 << 20 // one file, or one tree object
	maxLink = 4096     // the target of a symlink, as in Linux
)

// exportTime is the time stamp of every file, so that two runs of one tree see the same. It is not before 1980, which zip cannot tell.
var exportTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// git's file modes.
const (
	modeTree    = 0o040000
	modeLink    = 0o120000
	modeGitlink = 0o160000 // a submodule
	modeType    = 0o170000
)

// FS reads a tree without extracting it. It implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS. Symlinks are followed as
// long as they stay inside the tree (project.ErrOutside); a submodule is an empty directory. Files over 64 MiB are refused (ErrTooLarge).
// File names need not be UTF-8.
type FS struct {
	objects *batch
	root    entry
	most    int // entries of one directory
	mu      sync.Mutex
	trees   map[string]tree // by object id
}

// tree is a directory, read.
type tree struct {
	entries []entry // by name
	index   map[string]int
}

type entry struct {
	name string
	mode uint32 // git's
	id   string
}

func (e entry) dir() bool { return e.mode&modeType == modeTree || e.mode&modeType == modeGitlink }

func (e entry) fileMode() fs.FileMode {
	switch {
	case e.dir():
		return fs.ModeDir | 0o555
	case e.mode&modeType == modeLink:
		return fs.ModeSymlink | 0o777
	case e.mode&0o100 != 0:
		return 0o555
	}
	return 0o444
}

// FS opens the tree of a commit, or a tree. It holds a git process until Close, or until ctx ends. Error: ErrObject.
func (m *Mirror) FS(ctx context.Context, treeish string) (*FS, error) {
	m.touch()
	id, err := m.Tree(ctx, treeish)
	if err != nil {
		return nil, err
	}
	b, err := m.startBatch(ctx)
	if err != nil {
		return nil, err
	}
	return &FS{objects: b, root: entry{name: ".", mode: modeTree, id: id}, most: m.ms.o.MaxFiles, trees: map[string]tree{}}, nil
}

// Close ends the git process. A second call does nothing.
func (f *FS) Close() error { return f.objects.close() }

// tree reads a directory.
func (f *FS) tree(e entry) (tree, error) {
	if e.mode&modeType == modeGitlink {
		return tree{}, nil
	}
	f.mu.Lock()
	t, ok := f.trees[e.id]
	f.mu.Unlock()
	if ok {
		return t, nil
	}
	t, err := f.read(e)
	if err != nil {
		return t, err
	}
	f.mu.Lock()
	f.trees[e.id] = t
	f.mu.Unlock()
	return t, nil
}

// read reads a directory from git.
func (f *FS) read(e entry) (tree, error) {
	kind, content, err := f.objects.read(e.id, maxRead)
	if err != nil {
		return tree{}, err
	}
	if kind != "tree" {
		return tree{}, badTree("object %s is a %s where a directory should be", e.id, kind)
	}
	t, err := parseTree(content, len(e.id)/2, f.most)
	if err != nil {
		return tree{}, fmt.Errorf("tree %s: %w", e.id, err)
	}
	return t, nil
}

// parseTree reads git's form of a directory: octal mode, space, name, NUL, raw id, without separators. git checks little of it on
// arrival, so names that would be dangerous as files are refused here.
func parseTree(b []byte, idSize, most int) (tree, error) {
	t := tree{index: map[string]int{}}
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte{0})
		mode, name, found := strings.Cut(string(head), " ")
		if !ok || !found || len(rest) < idSize {
			return tree{}, badTree("a directory is cut short")
		}
		e := entry{name: name, id: hex.EncodeToString(rest[:idSize])}
		b = rest[idSize:]
		for _, d := range []byte(mode) {
			if d < '0' || d > '7' || e.mode > modeType {
				return tree{}, badTree("an entry has mode %.20q", mode)
			}
			e.mode = e.mode<<3 | uint32(d-'0')
		}
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || strings.EqualFold(name, ".git") {
			return tree{}, badTree("an entry is named %.100q", name)
		}
		if len(name) > maxName {
			return tree{}, tooLarge(name, "give it a shorter name", "has a name of more than %d bytes", maxName)
		}
		if len(t.entries) == most {
			return tree{}, tooLarge("", "take generated and vendored files out", "a directory has more than %d entries", most)
		}
		t.entries = append(t.entries, e)
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i, e := range t.entries {
		if _, twice := t.index[e.name]; twice {
			return tree{}, badTree("%.100q is twice in one directory", e.name)
		}
		t.index[e.name] = i
	}
	return t, nil
}

// at finds the entry at a path whose parents are no symlinks. Error: fs.ErrNotExist.
func (f *FS) at(name string) (entry, error) {
	e := f.root
	if name == "." {
		return e, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !e.dir() {
			return entry{}, fs.ErrNotExist
		}
		t, err := f.tree(e)
		if err != nil {
			return entry{}, err
		}
		i, ok := t.index[part]
		if !ok {
			return entry{}, fs.ErrNotExist
		}
		e = t.entries[i]
	}
	return e, nil
}

// find finds the entry at a path, following symlinks; the last one only if asked. links collects the object ids of those it passed.
func (f *FS) find(name string, last bool, links *[]string) (entry, error) {
	if name != "." && (strings.HasPrefix(name, "/") || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../")) {
		return entry{}, fs.ErrInvalid
	}
	// Most paths pass no symlink; then one walk tells, where following each part would take a walk for every one.
	if e, err := f.at(name); err == nil && (!last || e.mode&modeType != modeLink) {
		return e, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return entry{}, err
	}
	var failed error
	readlink := func(p string) (string, bool) {
		e, err := f.at(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
		if err != nil || e.mode&modeType != modeLink {
			return "", false
		}
		_, target, err := f.objects.read(e.id, maxLink)
		if err != nil {
			failed = err
			return "", false
		}
		if links != nil {
			*links = append(*links, e.id)
		}
		return string(target), true
	}
	follow := name
	if !last {
		follow = path.Dir(name)
	}
	target, err := project.Resolve(follow, readlink)
	if failed != nil {
		return entry{}, failed
	}
	if err != nil {
		return entry{}, err
	}
	if !last {
		target = path.Join(target, path.Base(name))
	}
	return f.at(target)
}

// Open opens a file or directory. What a file holds is read by the first Read.
func (f *FS) Open(name string) (fs.File, error) {
	e, err := f.find(name, true, nil)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e.dir() {
		list, err := f.ReadDir(name)
		return &openDir{info: fileInfo{name: path.Base(name), mode: e.fileMode()}, list: list}, err
	}
	return &openFile{f: f, e: e, name: path.Base(name)}, nil
}

// ReadFile returns the content of a file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	e, err := f.find(name, true, nil)
	if err == nil && e.dir() {
		err = errors.New("is a directory")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	content, err := f.content(e)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return content, nil
}

// content reads a file. Its size is asked for first: git would unpack a large one only for us to refuse it.
func (f *FS) content(e entry) ([]byte, error) {
	if size, err := f.objects.size(e.id); err != nil {
		return nil, err
	} else if size > maxRead {
		return nil, tooLarge("", "take it out of the repository", "a file has %d bytes, more than %d", size, maxRead)
	}
	_, content, err := f.objects.read(e.id, maxRead)
	return content, err
}

// ReadDir lists a directory by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.find(name, true, nil)
	if err == nil && !e.dir() {
		err = errors.New("is not a directory")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	t, err := f.tree(e)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, len(t.entries))
	for i, e := range t.entries {
		list[i] = dirEntry{f: f, e: e}
	}
	return list, nil
}

// Stat describes what a path leads to.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.statPath("stat", name, true) }

// Lstat describes what stands at a path, a symlink itself included.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.statPath("lstat", name, false) }

func (f *FS) statPath(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := f.find(name, follow, nil)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	info, err := f.stat(e, path.Base(name))
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return info, nil
}

// ReadLink returns the target of a symlink.
func (f *FS) ReadLink(name string) (string, error) {
	e, err := f.find(name, false, nil)
	if err == nil && e.mode&modeType != modeLink {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	_, target, err := f.objects.read(e.id, maxLink)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

func (f *FS) stat(e entry, name string) (fileInfo, error) {
	if e.dir() {
		return fileInfo{name: name, mode: e.fileMode()}, nil
	}
	size, err := f.objects.size(e.id)
	return fileInfo{name: name, mode: e.fileMode(), size: size}, err
}

type fileInfo struct {
	name string
	mode fs.FileMode
	size int64
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return exportTime }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

// dirEntry asks git for the size only when somebody wants to know it.
type dirEntry struct {
	f *FS
	e entry
}

func (d dirEntry) Name() string               { return d.e.name }
func (d dirEntry) IsDir() bool                { return d.e.dir() }
func (d dirEntry) Type() fs.FileMode          { return d.e.fileMode().Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.f.stat(d.e, d.e.name) }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }

type openFile struct {
	f    *FS
	e    entry
	name string
	r    *bytes.Reader
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.f.stat(o.e, o.name) }
func (o *openFile) Close() error               { return nil }

func (o *openFile) Read(p []byte) (int, error) {
	if o.r == nil {
		content, err := o.f.content(o.e)
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: o.name, Err: err}
		}
		o.r = bytes.NewReader(content)
	}
	return o.r.Read(p)
}

type openDir struct {
	info fileInfo
	list []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openDir) Close() error               { return nil }

func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.name, Err: errors.New("is a directory")}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		list := o.list
		o.list = nil
		return list, nil
	}
	if len(o.list) == 0 {
		return nil, io.EOF
	}
	list := o.list[:min(n, len(o.list))]
	o.list = o.list[len(list):]
	return list, nil
}

// Objects returns, for each path of a tree, a text that is the same as long as what stands there is the same: the object id, or "" where
// nothing is. On a path through symlinks their ids are part of it. A path "!dir" takes dir out of the directories that contain it, and has
// no entry of its own in the answer. A name that really begins with "!" is written "./!name". Error: ErrObject for the tree itself.
func (m *Mirror) Objects(ctx context.Context, treeish string, paths []string) (map[string]string, error) {
	f, err := m.FS(ctx, treeish)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // what was read is whole, or there was an error
	without := map[string]bool{}
	for _, p := range paths {
		if dir, ok := strings.CutPrefix(p, "!"); ok {
			without[path.Clean(dir)] = true
		}
	}
	found := map[string]string{}
	for _, p := range paths {
		if strings.HasPrefix(p, "!") {
			continue
		}
		id, err := f.identity(path.Clean(p), without)
		if err != nil {
			return nil, fmt.Errorf("identify %q: %w", p, err)
		}
		found[p] = id
	}
	return found, nil
}

// identity is what Objects says of one path.
func (f *FS) identity(name string, without map[string]bool) (string, error) {
	var links []string
	e, err := f.find(name, true, &links)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, project.ErrOutside) || errors.Is(err, project.ErrLoop) || errors.Is(err, fs.ErrInvalid):
		return strings.Join(links, "+"), nil
	case err != nil:
		return "", err
	}
	id, err := f.reduced(name, e, without)
	return strings.Join(append(links, id), "+"), err
}
