package breach

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func fileAttacks() []Attack {
	const up = "../../../../../../../../../../../../../../../../../../../.."
	return []Attack{
		{"read a file of the server by its path", Files, false, read(func(at string) string { return at })},
		{"read it through ../..", Files, false, read(func(at string) string { return up + at })},
		{"read it through a symbolic link", Files, false, readLinked},
		{"read it through a hard link", Files, false, readHardLinked},
		{"read it through the root of process 1", Files, true, read(func(at string) string { return "/proc/1/root" + at })},
		{"read it through the root of what started it", Files, true, read(func(at string) string { return fmt.Sprintf("/proc/%d/root%s", os.Getppid(), at) })},
		{"read it through /proc/self/root", Files, false, read(func(at string) string { return "/proc/self/root" + at })},
		{"read it through the root, directory or descriptors of a process", Files, false, readThroughProcesses},
		{"list a directory of the server", Files, false, list},
		{"read files of /etc that say who lives here", Files, false, readEtc},
		{"write into a directory of the server", Files, false, writeTargets},
		{"write over a file of the server", Files, false, overwrite},
		{"change the mode of a file of the server", Files, false, changeMode},
		{"rename a file of the server", Files, false, rename},
		{"write beside its work directory, where other runs read", Files, false, writeBeside},
		{"write into a bind that is to be read", Files, false, writeBind},
		{"write to the system", Files, true, writeSystem},
	}
}

// readCanary says whether a file could be read and has the canary.
func (t *Targets) readCanary(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // read only
	body, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return t.found(string(body)), err
}

// read tries to reach each file by another path.
func read(by func(string) string) func(*Targets) (State, string) {
	return func(t *Targets) (State, string) {
		var last error
		for _, file := range t.Files {
			got, err := t.readCanary(by(file))
			if got {
				return broken("%s was read", by(file))
			}
			last = err
		}
		return held(last)
	}
}

func readLinked(t *Targets) (State, string) {
	return t.linked(os.Symlink)
}

func readHardLinked(t *Targets) (State, string) {
	return t.linked(os.Link)
}

func (t *Targets) linked(link func(string, string) error) (State, string) {
	var last error
	for _, file := range t.Files {
		const name = "breach-link"
		if last = link(file, name); last != nil {
			continue
		}
		got, err := t.readCanary(name)
		if last = errors.Join(err, os.Remove(name)); got {
			return broken("a link to %s was read", file)
		}
	}
	return held(last)
}

// readThroughProcesses goes through what /proc shows of others: it leads past mounts.
func readThroughProcesses(t *Targets) (State, string) {
	for _, process := range others() {
		ways := []string{}
		for _, file := range t.Files {
			ways = append(ways, process+"/root"+file, process+"/cwd"+file)
		}
		open, _ := filepath.Glob(process + "/fd/*") // the pattern is good
		for _, way := range append(ways, open...) {
			if info, err := os.Stat(way); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if got, _ := t.readCanary(way); got {
				return broken("%s was read", way)
			}
		}
	}
	return held(nil)
}

// others are the directories of every process but this one.
func others() []string {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	self := fmt.Sprintf("/proc/%d", os.Getpid())
	kept := all[:0]
	for _, process := range all {
		if process != self {
			kept = append(kept, process)
		}
	}
	return kept
}

func list(t *Targets) (State, string) {
	var last error
	for _, dir := range t.Dirs {
		names, err := os.ReadDir(dir)
		if len(names) > 0 {
			return broken("%s was listed", dir)
		}
		last = err
	}
	return held(last)
}

func readEtc(*Targets) (State, string) {
	for _, name := range []string{"/etc/shadow", "/etc/gshadow", "/etc/fstab", "/etc/hostname", "/etc/machine-id", "/etc/passwd-", "/etc/group-"} {
		if body, err := os.ReadFile(name); err == nil && len(bytes.TrimSpace(body)) > 0 {
			return broken("%s was read", name)
		}
	}
	return held(nil)
}

// makeIn makes a file in a directory and removes it.
func makeIn(dir string) error {
	name := filepath.Join(dir, fmt.Sprintf("planlatch-breach-%d", os.Getpid()))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(name))
}

func writeInto(dirs []string) (State, string) {
	var last error
	for _, dir := range dirs {
		if last = makeIn(dir); last == nil {
			return broken("a file was made in %s", dir)
		}
	}
	return held(last)
}

func writeTargets(t *Targets) (State, string) { return writeInto(t.Dirs) }

func writeBind(t *Targets) (State, string) {
	if _, err := os.ReadDir(t.Bind); err != nil {
		return broken("the run cannot read its own bind (%v), so nothing was proven", err)
	}
	return writeInto([]string{t.Bind})
}

func overwrite(t *Targets) (State, string) {
	return each(t.Files, "opened for writing", func(file string) error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// changeMode is of its own: landlock does not know it, so the mounts alone hold it.
func changeMode(t *Targets) (State, string) {
	return each(t.Files, "given a mode", func(file string) error {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		return os.Chmod(file, info.Mode().Perm())
	})
}

func rename(t *Targets) (State, string) {
	return each(t.Files, "renamed and named back", func(file string) error {
		if err := os.Rename(file, file+"-moved"); err != nil {
			return err
		}
		return os.Rename(file+"-moved", file)
	})
}

// each tries something on each path until it gets through.
func each(paths []string, what string, try func(string) error) (State, string) {
	var last error
	for _, path := range paths {
		if last = try(path); last == nil {
			return broken("%s was %s", path, what)
		}
	}
	return held(last)
}

// writeBeside is broken by a file that is seen where other runs read. Without namespaces the directory beside may be a private copy.
func writeBeside(t *Targets) (State, string) {
	if state, detail := writeInto([]string{t.Shared}); state == Broken {
		return state, detail
	}
	err := makeIn("../beside")
	if err == nil && inSource() {
		return broken("a file was made in ../beside")
	}
	return held(err)
}

// inSource says whether the run is where only namespaces can have it.
func inSource() bool {
	dir, err := os.Getwd()
	return err == nil && strings.HasPrefix(dir, "/src/")
}

func writeSystem(*Targets) (State, string) {
	return writeInto([]string{"/", "/usr", "/usr/bin", "/etc", "/run", "/var", "/root", "/home", "/boot", "/opt", "/srv"})
}
