package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// stepFiles is the first descriptor of a step that is a secret file; before it are stdin, stdout, stderr and the lock.
const stepFiles = 4

// layFiles puts the secret files where the steps find them, and adds the variables with their paths to the environment. In a sandbox with a
// mount namespace that is a tmpfs of its own, which goes with it. Without one every place in the file system outlives a crash and is a
// place that others see, so the files are anonymous memory that the steps inherit: it goes with the last process that has it open.
func (in *inner) layFiles() error {
	for i, f := range in.brief.Files {
		path := filepath.Join(insideFiles, f.Variable)
		if in.brief.Private {
			if err := writeFresh(path, f.Content); err != nil {
				return err
			}
		} else {
			file, err := sealed(f.Content)
			if err != nil {
				return err
			}
			in.files = append(in.files, file)
			path = fmt.Sprintf("/proc/self/fd/%d", stepFiles+i)
		}
		in.brief.Env = append(in.brief.Env, f.Variable+"="+path)
	}
	if in.brief.Private {
		return os.Chmod(insideFiles, 0o500) //nolint:gosec // a directory that is read
	}
	return nil
}

func writeFresh(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// sealed returns a file in memory that nobody can change any more.
func sealed(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("planlatch", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.3
		fd, err = unix.MemfdCreate("planlatch", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "secret")
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("file in memory: %w", err), f.Close())
	}
	return f, nil
}

// inherited lists the descriptors of secret files that a step gets; one whose variable it is without is closed there.
func (in *inner) inherited(without []string) []uintptr {
	var fds []uintptr
	for i, f := range in.files {
		fd := f.Fd()
		if slices.Contains(without, in.brief.Files[i].Variable) {
			fd = ^uintptr(0)
		}
		fds = append(fds, fd)
	}
	return fds
}
