package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/project"
)

// Export extracts a tree into dir, which appears whole or not at all: everything read-only, with fixed modes and one time stamp, so that
// every run of the tree sees the same. A directory that an earlier Export made is left as it is, which makes the call cheap to repeat and
// safe to race. The tools' own .terraform, and symlinks that do not stay inside the tree, are left out; submodules are empty directories. RemoveExport
// removes it. Errors: ErrObject, ErrTooLarge, ErrBadTree.
func (m *Mirror) Export(ctx context.Context, tree, dir string) error {
	if done, err := exported(dir); err != nil || done {
		return err
	}
	f, err := m.FS(ctx, tree)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // what was read is whole, or there was an error
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("extract %s: %w", tree, err)
	}
	// A sibling, because a read-only directory can be renamed only below the same parent.
	tmp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".tmp-*")
	if err != nil {
		return fmt.Errorf("extract %s: %w", tree, err)
	}
	x := &extraction{f: f, most: m.ms, dir: tmp, files: m.ms.o.MaxFiles, bytes: m.ms.o.MaxBytes}
	err = x.run(ctx)
	if err == nil {
		for _, l := range x.dropped {
			m.ms.o.Log.Info("left out a symlink that does not stay inside the repository", "path", l)
		}
		err = publish(tmp, dir)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // and not that git, which it killed, ended early
		}
		if gone := removeTree(tmp); gone != nil {
			err = errors.Join(err, gone)
		}
		return fmt.Errorf("extract %s: %w", tree, err)
	}
	return nil
}

// bootFile names this boot of the machine. What was written before a crash of the machine may have lost its content, though never its
// name; rather than wait for the disk at each extraction, those of an earlier boot are made again.
const bootFile = "/proc/sys/kernel/random/boot_id"

func boot() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return "unknown" // no Linux, or no proc: then nothing is made again
	}
	return strings.TrimSpace(string(id))
}

// exported says whether dir is whole. What an earlier boot left is removed.
func exported(dir string) (bool, error) {
	mark, err := os.ReadFile(dir + ".boot")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at an extracted tree: %w", err)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look at an extracted tree: %w", err)
	}
	if string(mark) == boot() {
		return true, nil
	}
	return false, RemoveExport(dir)
}

// publish gives an extracted tree its name. The mark is there first, so that a tree without one is never taken for whole.
func publish(tmp, dir string) error {
	mark := tmp + ".boot"
	if err := os.WriteFile(mark, []byte(boot()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(mark, dir+".boot"); err != nil {
		return err
	}
	err := os.Rename(tmp, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return removeTree(tmp) // somebody else extracted the same tree meanwhile
	}
	return err
}

// RemoveExport removes what Export made; nothing there is no error.
func RemoveExport(dir string) error {
	if err := os.Remove(dir + ".boot"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an extracted tree: %w", err)
	}
	if err := removeTree(dir); err != nil {
		return fmt.Errorf("remove an extracted tree: %w", err)
	}
	return nil
}

// removeTree removes a tree whose directories are read-only.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o700) //nolint:gosec // only we write below an export, and the commands on it have ended
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// extraction writes one tree. It reads the directories, then streams the files, then makes the symlinks, when nothing more is written
// that could pass through them, and at last takes the rights to write away.
type extraction struct {
	f       *FS
	most    *Mirrors // what they allow
	dir     string
	files   int   // how many more entries are allowed
	bytes   int64 // how many more bytes are allowed
	dirs    []string
	blobs   []placed
	links   []placed
	dropped []string
}

type placed struct {
	path string
	entry
}

func (x *extraction) run(ctx context.Context) error {
	if err := x.list(ctx, ".", x.f.root); err != nil {
		return err
	}
	for _, d := range x.dirs {
		if err := os.Mkdir(x.name(d), 0o700); err != nil {
			return err
		}
	}
	if err := x.stream(ctx); err != nil {
		return err
	}
	if err := x.link(ctx); err != nil {
		return err
	}
	for _, dir := range slices.Backward(x.dirs) {
		if err := seal(x.name(dir)); err != nil {
			return err
		}
	}
	return seal(x.dir)
}

func (x *extraction) name(p string) string { return filepath.Join(x.dir, filepath.FromSlash(p)) }

// workDir is where the tools keep the modules, providers and backend settings that init found. One that was committed would be taken for
// init's own work, with whatever a pull request put there (semantics 34), so none is extracted.
const workDir = ".terraform"

// list walks the directories, parents first.
func (x *extraction) list(ctx context.Context, dir string, e entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := x.f.tree(e)
	if err != nil {
		return err
	}
	for _, child := range t.entries {
		if x.files--; x.files < 0 {
			return x.most.tooManyFiles()
		}
		if child.name == workDir {
			continue
		}
		p := path.Join(dir, child.name)
		if len(p) > maxPath {
			return tooLarge(p[:100]+"…", "use shorter names", "the path has more than %d bytes", maxPath)
		}
		if len(x.links) > maxLinks {
			return tooLarge("", "replace them with what they lead to", "the repository has more than %d symlinks", maxLinks)
		}
		switch {
		case child.dir():
			x.dirs = append(x.dirs, p)
			if err := x.list(ctx, p, child); err != nil {
				return err
			}
		case child.mode&modeType == modeLink:
			x.links = append(x.links, placed{p, child})
		default:
			x.blobs = append(x.blobs, placed{p, child})
		}
	}
	return nil
}

// stream asks git for all files at once and writes them as they come, instead of waiting a round trip for each.
func (x *extraction) stream(ctx context.Context) error {
	b := x.f.objects
	b.mu.Lock()
	defer b.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		w := bufio.NewWriter(b.in)
		for _, f := range x.blobs {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the reader tells why
			}
			if _, err := fmt.Fprintf(w, "contents %s\n", f.id); err != nil {
				return b.broken(err)
			}
		}
		if err := w.Flush(); err != nil {
			return b.broken(err)
		}
		return nil
	})
	g.Go(func() error {
		for _, f := range x.blobs {
			if err := x.write(f); err != nil {
				// git is in the middle of its answers: end it, or the other half would wait for ever.
				_ = b.cmd.Process.Kill() // an ended process is as good
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func (x *extraction) write(p placed) error {
	b := x.f.objects
	kind, size, err := b.header(p.id)
	if err != nil {
		return err
	}
	if kind != "blob" {
		return badTree("%.100q is a %s where a file should be", p.path, kind)
	}
	if x.bytes -= size; x.bytes < 0 {
		return tooLarge(p.path, "keep large files elsewhere", "with it the repository has more than %d bytes", x.most.o.MaxBytes)
	}
	// Nothing can stand there: names are unique in a tree, and the directory is ours alone.
	f, err := os.OpenFile(x.name(p.path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = b.body(f, size)
	if err == nil {
		err = f.Chmod(p.fileMode().Perm()) // whatever the umask
	}
	if err == nil {
		t := unix.NsecToTimeval(exportTime.UnixNano())
		err = os.NewSyscallError("futimes", unix.Futimes(int(f.Fd()), []unix.Timeval{t, t}))
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// seal makes a directory read-only and fixes its time stamp.
func seal(name string) error {
	if err := os.Chmod(name, 0o555); err != nil {
		return err
	}
	return os.Chtimes(name, exportTime, exportTime)
}

// link makes the symlinks that stay inside the tree, also by way of each other.
func (x *extraction) link(ctx context.Context) error {
	targets := map[string]string{}
	for _, l := range x.links {
		_, target, err := x.f.objects.read(l.id, maxLink)
		if err != nil {
			return fmt.Errorf("symlink %q: %w", l.path, err)
		}
		targets[l.path] = string(target)
	}
	readlink := func(p string) (string, bool) { t, ok := targets[p]; return t, ok }
	for _, l := range x.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := targets[l.path]
		if _, err := project.Resolve(l.path, readlink); err != nil || target == "" || strings.ContainsRune(target, 0) {
			x.dropped = append(x.dropped, l.path)
			continue
		}
		name := x.name(l.path)
		if err := os.Symlink(target, name); err != nil {
			return err
		}
		ts := unix.NsecToTimespec(exportTime.UnixNano())
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "utimes", Path: l.path, Err: err}
		}
	}
	return nil
}
