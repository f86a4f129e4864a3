package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
)

// This file keeps what is judged from those it is about. Programs that a plan started may still live while the plan is shown, and everything in
// the work directory is theirs: what a step is to print or to read unchanged lies in a directory of its own, into which the inner alone writes,
// through descriptors that it opened before its walls stood. Sealed inputs lie there from the start.

// DirSealed in an execution's directory has the sealed inputs and outputs, each by its name.
const DirSealed = "sealed"

// sealedOutputs lists the outputs of a Spec that no step can change.
func sealedOutputs(s executor.Spec) []string {
	var names []string
	for _, step := range s.Steps {
		for _, name := range []string{step.Seals, step.Stdout} {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// openSealed makes the files of sealed outputs in the directory behind a descriptor, which it closes: there is no way to it from inside.
func openSealed(dir int, names []string) (map[string]*os.File, error) {
	files := map[string]*os.File{}
	for _, name := range names {
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make the sealed output %s: %w", name, err)
		}
		files[name] = os.NewFile(uintptr(fd), name)
	}
	return files, unix.Close(dir)
}

// seal copies an output as it is now from the working directory. What was sealed stays; what is not there is left to the step to miss.
func (in *inner) seal(name string) error {
	to := in.sealed[name]
	if to == nil || in.full[name] {
		return nil
	}
	from, err := openRegular(".", name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // read only
	info, err := from.Stat()
	if most := in.brief.Limits.FileSize; err == nil && most > 0 && uint64(info.Size()) > most { // a hole takes no disk, and its copy does
		err = fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), most)
	}
	if err == nil {
		_, err = io.Copy(to, from)
	}
	in.full[name] = true
	return err
}

// openKept is an output that nobody but its step can write to: what lies in a pipe's place is a socket, because a pipe can be opened again by
// every process that may look at one that has it.
func openKept(to io.Writer) (*output, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]), unix.Close(pair[1]))
	}
	return carry(os.NewFile(uintptr(pair[0]), "stdout"), os.NewFile(uintptr(pair[1]), "stdout"), to), nil
}

func (l Launch) seals(name string) bool { return slices.Contains(sealedOutputs(l.Spec), name) }

// placeOf is the directory in which an output lies.
func (l Launch) placeOf(dir, name string) string {
	if l.seals(name) {
		return filepath.Join(dir, DirSealed)
	}
	return l.WorkDir(dir)
}

// streams are where a step's words go.
type streams struct {
	log  *output
	kept *output // of a step whose stdout is an output; nil: stdout is in the log
	name string
}

func (in *inner) open(s executor.Step) (streams, error) {
	log, err := openOutput(in.log)
	if err != nil || s.Stdout == "" {
		return streams{log: log}, err
	}
	kept, err := openKept(in.sealed[s.Stdout])
	return streams{log: log, kept: kept, name: s.Stdout}, err
}

func (s streams) handed() {
	s.log.handed()
	if s.kept != nil {
		s.kept.handed()
	}
}

// finish says why an output is not whole.
func (s streams) finish(in *inner) error {
	var err error
	if s.kept != nil {
		if err = s.kept.whole(); err != nil {
			_, _ = fmt.Fprintf(in.log, "planlatch: %s is not whole: %v\n", s.name, err) // a full disk shows elsewhere
		}
	}
	s.log.finish(lossy{in.log})
	return err
}
