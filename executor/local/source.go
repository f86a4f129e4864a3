package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// copied is the time of every copied file: two runs of one tree must see the same, or plans that read times differ.
var copied = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// layOut writes everything of the execution into its claimed directory. Its mode keeps others out, so modes below it are the steps' own.
func layOut(l shim.Launch, dir string) error {
	work := l.WorkDir(dir)
	for _, name := range []string{shim.DirOut, shim.DirSealed} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	if err := laySource(l, dir); err != nil {
		return fmt.Errorf("copy source: %w", err)
	}
	for _, f := range l.Spec.Inputs {
		into := work
		if f.Sealed {
			into = filepath.Join(dir, shim.DirSealed)
		}
		if err := layInput(into, f); err != nil {
			return fmt.Errorf("input %s: %w", f.Name, err)
		}
	}
	if l.Namespaces {
		if err := writeEtc(l, filepath.Join(dir, shim.DirEtc)); err != nil {
			return err
		}
	}
	for _, name := range []string{shim.FileLease, shim.FileLog} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			return err
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, shim.FileControl), 0o600); err != nil {
		return fmt.Errorf("make control fifo: %w", err)
	}
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	// Not synced, nor is the directory: what a crash of the machine takes away is lost anyway, and the tombstone tells so.
	return os.WriteFile(filepath.Join(dir, shim.FileLaunch), body, 0o600)
}

// laySource makes the private copy of the work directory, and without namespaces a private tree around it.
func laySource(l shim.Launch, dir string) error {
	tree := filepath.Join(dir, shim.DirSource)
	switch {
	case l.Namespaces:
	case l.Walls:
		if err := errors.Join(makeDir(filepath.Join(dir, shim.DirTmp)), mirror(l.Spec.Source, tree)); err != nil {
			return err
		}
	default: // nothing would keep a step from writing to the shared tree, which other runs read
		return errors.Join(makeDir(filepath.Join(dir, shim.DirTmp)), copyTree(l.Spec.Source.Dir, tree))
	}
	return copyTree(filepath.Join(l.Spec.Source.Dir, l.Spec.Source.Work), l.WorkDir(dir))
}

// checkSource refuses a work directory that is not a real directory of the tree: what is reached through a link would be copied, and laid
// over, somewhere else.
func checkSource(s executor.Source) error {
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("source %q: use an absolute path", s.Dir)
	}
	if !filepath.IsLocal(s.Work) || filepath.Clean(s.Work) != s.Work {
		return fmt.Errorf("work directory %q lies outside the source", s.Work)
	}
	path := s.Dir
	for part := range strings.SplitSeq(filepath.Join(".", s.Work), "/") {
		path = filepath.Join(path, part)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("work directory %q is not in the source", s.Work)
		case err != nil:
			return fmt.Errorf("work directory %q: %w", s.Work, err)
		case !info.IsDir():
			return fmt.Errorf("work directory %q: %s is no directory (a symbolic link is not followed)", s.Work, part)
		}
	}
	return nil
}

// mirror makes at to a private tree: directories on the way to the work directory are real, all else links into the shared tree.
func mirror(s executor.Source, to string) error {
	if err := makeDir(to); err != nil || s.Work == "." {
		return err
	}
	from := s.Dir
	for part := range strings.SplitSeq(s.Work, "/") {
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.Name() == part {
				continue
			}
			if err := os.Symlink(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
				return err
			}
		}
		from, to = filepath.Join(from, part), filepath.Join(to, part)
		if err := makeDir(to); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory whose mode does not depend on our umask. One that exists is taken.
func makeDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, 0o755)
}

// copyTree copies directory from to to: links as links, modes as git knows them, one time for all.
func copyTree(from, to string) error {
	var dirs []string
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch entry.Type() {
		case fs.ModeDir:
			dirs = append(dirs, target)
			return makeDir(target)
		case fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(link, target) //nolint:gosec // below a directory that only we write until the steps start
			}
			return errors.Join(err, settle(target))
		case 0:
			return copyFile(path, target) //nolint:gosec // as above
		default:
			return fmt.Errorf("%s is neither file, directory nor link", name)
		}
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) { // last, because every file made in one touches it
		if err := settle(dir); err != nil {
			return err
		}
	}
	return nil
}

// settle gives path, also a link itself, the time of all copies.
func settle(path string) error {
	at := unix.NsecToTimespec(copied.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

func copyFile(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	info, err := in.Stat()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(mode), out.Close(), settle(to))
}

// layInput copies an input into the work directory and checks what was copied.
func layInput(work string, f executor.File) error {
	in, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	root, err := os.OpenRoot(work)    // the repository may hold links that lead out
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read only
	if parent := filepath.Dir(f.Name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	if err := root.RemoveAll(f.Name); err != nil {
		return err
	}
	out, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err = errors.Join(err, out.Chmod(0o600), out.Close(), root.Chtimes(f.Name, copied, copied)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, f.SHA256) {
		return fmt.Errorf("digest is %s, expected %s: it was altered", got, f.SHA256)
	}
	return nil
}

// writeEtc makes the files of /etc that say who and where the steps are.
func writeEtc(l shim.Launch, dir string) error {
	hosts := "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + l.Hostname + "\n"
	for _, d := range l.Doors {
		if host := hostOf(d.Host); host != listenIP(d.Listen) {
			hosts += listenIP(d.Listen) + " " + host + "\n"
		}
	}
	for _, r := range l.Relays {
		host, _, found := strings.Cut(r.Dial, ":")
		if !found || strings.HasPrefix(r.Dial, "[") || host == "localhost" || behindDoor(l, host) {
			continue
		}
		for _, at := range r.Listen {
			if ip := listenIP(at); ip != host {
				hosts += ip + " " + host + "\n"
			}
		}
	}
	resolv := "# no name service in this network\n"
	switch {
	case l.Names:
		resolv = "nameserver " + names.Server().String() + "\noptions timeout:2 attempts:2\n" // ours, which asks nobody
	case l.Slirp != "":
		resolv = "nameserver 10.0.2.3\n" // the stack's own, which asks this machine's resolver
	}
	files := map[string]string{ //nolint:gosec // a passwd file without passwords
		"hosts":         hosts,
		"resolv.conf":   resolv,
		"passwd":        "root:x:0:0::/:/bin/sh\nplanlatch:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
		"group":         "root:x:0:\nplanlatch:x:1000:\nnogroup:x:65534:\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	for _, name := range shim.EtcNames() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes a tree that a hostile program wrote: one without permissions on its directories gets them back first.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil {
		return nil
	}
	walkErr := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			if chmodErr := os.Chmod(name, 0o700); chmodErr != nil { //nolint:gosec // what wrote the tree has ended
				return chmodErr
			}
			if err != nil { // it could not be listed before
				return errReopened
			}
		}
		return nil
	})
	if errors.Is(walkErr, errReopened) {
		return removeAll(path)
	}
	return errors.Join(walkErr, os.RemoveAll(path))
}

// errReopened says that a directory became readable and the walk must begin again.
var errReopened = errors.New("directory was closed")
