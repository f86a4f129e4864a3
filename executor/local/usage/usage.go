// Package usage counts what an execution takes of disks, against a program that hides it.
//
// It promises that no tree makes it leave the tree, read a directory as a whole or walk deeper than MostDeep: directories that the program closed are
// opened again, links are not followed, and files without a name count as long as a process has them open. What comes and goes meanwhile may be
// missed; it is counted at the next look.
package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/process"
)

// Tree is what a tree takes on disk.
type Tree struct {
	Bytes   int64
	Entries int
	Deep    bool // a directory lies deeper than MostDeep, and what is in it was not counted
}

// MostDeep is how far directories may be nested. Paths of programs end at some 2,000.
const MostDeep = 256

// Measure adds up what lies below dir, and stops when it is clear that it is over most in entries (0: never). A hostile program writes there
// meanwhile: it is walked by descriptors and not by paths, links are not followed, no directory is read as a whole.
func Measure(dir string, most int) Tree {
	t := Tree{}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		t.add(fd, 0, most)
	}
	return t
}

// add counts what lies in the directory fd, which it closes.
func (t *Tree) add(fd, depth, most int) {
	dir := os.NewFile(uintptr(fd), "directory")
	defer func() { _ = dir.Close() }() // read only
	if depth > MostDeep {
		t.Deep = true
		return
	}
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // removed meanwhile
			}
			t.Entries++
			t.Bytes += st.Blocks * 512
			if most > 0 && t.Entries > 2*most {
				return
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			if sub, err := openDir(fd, name); err == nil {
				t.add(sub, depth+1, most)
			}
		}
		if err != nil || len(names) == 0 {
			return
		}
	}
}

// openDir opens a directory below fd. One that the program closed to hide what is in it is opened to us again: through its own descriptor, so
// that a link put in its place meanwhile leads nowhere.
func openDir(fd int, name string) (int, error) {
	const how = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|how, 0)
	if !errors.Is(err, unix.EACCES) {
		return sub, err
	}
	at, err := unix.Openat(fd, name, unix.O_PATH|how, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(at) }() // nothing was written
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", at), 0o700); err != nil {
		return 0, err
	}
	return unix.Openat(fd, name, unix.O_RDONLY|how, 0)
}

// Removed is the space on the disk of dir that files take which have no name any more and live as long as a process has them open.
func Removed(dir string, processes []process.Stat) int64 {
	var here unix.Stat_t
	if unix.Stat(dir, &here) != nil {
		return 0
	}
	var bytes int64
	seen := map[uint64]bool{}
	for _, p := range processes {
		open := fmt.Sprintf("/proc/%d/fd", p.PID)
		entries, err := os.ReadDir(open)
		if err != nil {
			continue // gone meanwhile
		}
		for _, entry := range entries {
			var st unix.Stat_t
			if unix.Stat(filepath.Join(open, entry.Name()), &st) != nil || st.Nlink > 0 || st.Dev != here.Dev || seen[st.Ino] {
				continue
			}
			seen[st.Ino] = true
			bytes += st.Blocks * 512
		}
	}
	return bytes
}

// Memory is what those of paths hold that are file systems in memory, as process pid sees them: no process owns those pages.
func Memory(pid int, paths ...string) (bytes int64, entries int) {
	for _, path := range paths {
		var st unix.Statfs_t
		if unix.Statfs(fmt.Sprintf("/proc/%d/root%s", pid, path), &st) != nil || st.Type != unix.TMPFS_MAGIC {
			continue // it just ended, or has none of its own
		}
		bytes += int64(st.Blocks-st.Bfree) * st.Bsize
		entries += int(st.Files - st.Ffree)
	}
	return bytes, entries
}
