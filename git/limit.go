package git

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Bounds of one tree besides those of Options. Nobody's repository comes near them but one that means harm.
const (
	maxDepth  = 200       // directories within directories: each costs a step on the way to everything below it
	maxName   = 255       // bytes of a file name, as in Linux
	maxPath   = 4000      // bytes of a path, a little less than in Linux
	maxLinks  = 50_000    // symlinks of one tree
	maxOutput = 128 << 20 // bytes that one git command may print
	maxMemory = 2 << 30   // bytes that a git which compares commits may take
)

// LimitError says that what a repository holds is more than is taken here, or is no tree that an honest git writes. Its words are for
// people, and Path is what the pull request named it. It is ErrTooLarge or ErrBadTree.
type LimitError struct {
	Path string // where it is, as far as that is known
	What string // what is too much
	Fix  string // what to do about it
	kind error
}

func (e *LimitError) Error() string {
	if e.Path == "" {
		return e.What
	}
	return fmt.Sprintf("%.200q: %s", e.Path, e.What)
}

// Unwrap returns ErrTooLarge or ErrBadTree.
func (e *LimitError) Unwrap() error { return e.kind }

func tooLarge(path, fix, what string, args ...any) error {
	return &LimitError{Path: path, What: fmt.Sprintf(what, args...), Fix: fix, kind: ErrTooLarge}
}

func badTree(what string, args ...any) error {
	return &LimitError{What: fmt.Sprintf(what, args...), Fix: "write the commit again with git", kind: ErrBadTree}
}

func (ms *Mirrors) tooManyFiles() error {
	return tooLarge("", "take generated and vendored files out, or split the repository", "the repository has more than %d files", ms.o.MaxFiles)
}

// extent is how far a tree unfolds.
type extent struct {
	files int // and directories
	depth int
	path  int // bytes of its longest path
}

// Bounded checks that the trees of commits can be walked in bounded time: by git itself when it compares them, and by us. A tree of a few
// kilobytes can unfold to billions of files, which git would list one by one. Every tree object is read once, however often it is in it.
// Errors: a *LimitError, ErrObject.
func (m *Mirror) Bounded(ctx context.Context, treeish ...string) error {
	var f *FS
	seen := map[string]extent{}
	for _, t := range treeish {
		id, err := m.Tree(ctx, t)
		if err != nil {
			return err
		}
		if m.ms.bounded.has(id) {
			continue
		}
		if f == nil {
			b, err := m.startBatch(ctx)
			if err != nil {
				return err
			}
			f = &FS{objects: b, most: m.ms.o.MaxFiles, trees: map[string]tree{}}
			defer func() { _ = f.Close() }() // what was read is whole, or there was an error
		}
		all, err := f.measure(ctx, entry{name: ".", mode: modeTree, id: id}, 0, seen)
		if err != nil {
			return fmt.Errorf("look at tree %s: %w", id, err)
		}
		if all.files > m.ms.o.MaxFiles {
			return m.ms.tooManyFiles()
		}
		m.ms.bounded.add(id)
	}
	return nil
}

// measure finds how far a directory unfolds.
func (f *FS) measure(ctx context.Context, e entry, depth int, seen map[string]extent) (extent, error) {
	if x, ok := seen[e.id]; ok {
		if depth+x.depth > maxDepth {
			return x, tooDeep()
		}
		return x, nil
	}
	if depth > maxDepth {
		return extent{}, tooDeep()
	}
	if err := ctx.Err(); err != nil {
		return extent{}, err
	}
	t, err := f.read(e)
	if err != nil {
		return extent{}, err
	}
	x := extent{files: len(t.entries)}
	for _, child := range t.entries {
		below := extent{}
		if child.mode&modeType == modeTree {
			if below, err = f.measure(ctx, child, depth+1, seen); err != nil {
				return x, err
			}
		}
		x.files = min(x.files+below.files, f.most+1) // it would overflow soon
		x.depth = max(x.depth, below.depth+1)
		x.path = max(x.path, len(child.name)+1+below.path)
		if x.path > maxPath {
			return x, tooLarge("", "use shorter names", "a path has more than %d bytes", maxPath)
		}
	}
	seen[e.id] = x
	if len(seen) > f.most {
		return x, tooLarge("", "split the repository", "the repository has more than %d directories", f.most)
	}
	return x, nil
}

func tooDeep() error {
	return tooLarge("", "put them less deep", "directories are nested more than %d deep", maxDepth)
}

// known remembers the last trees that were found bounded: the base of a pull request is compared with at each push.
type known struct {
	mu   sync.Mutex
	ids  map[string]bool
	last []string
}

func (k *known) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ids[id]
}

func (k *known) add(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids[id] {
		return
	}
	if k.ids == nil {
		k.ids = map[string]bool{}
	}
	if len(k.last) == 1000 {
		delete(k.ids, k.last[0])
		k.last = k.last[1:]
	}
	k.ids[id] = true
	k.last = append(k.last, id)
}

// atMost passes on so many bytes and then fails, which ends the command that writes them.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(p []byte) (int, error) {
	if a.left -= len(p); a.left < 0 {
		return 0, a.over()
	}
	return a.w.Write(p)
}

func (a *atMost) over() error {
	return tooLarge("", "split the change", "what git has to say of it is longer than %d MiB", maxOutput>>20)
}
