package shim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
)

// OpenOutput opens an output of Spec.Outputs in the work directory.
func OpenOutput(work, name string) (*os.File, error) {
	base, anywhere := strings.CutPrefix(name, "**/")
	if !anywhere {
		return openRegular(work, name)
	}
	found, looked := "", 0
	err := filepath.WalkDir(work, func(at string, entry fs.DirEntry, err error) error {
		if looked++; looked > mostLooked {
			return fs.SkipAll
		}
		switch {
		case err != nil: // a directory that a hostile program closed has nothing for us
			return nil //nolint:nilerr // as said above
		case entry.Type().IsRegular() && entry.Name() == base:
			if found, err = filepath.Rel(work, at); err == nil {
				err = fs.SkipAll
			}
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found == "" {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return openRegular(work, found)
}

// mostLooked is how many files are looked at for an output.
const mostLooked = 500_000

// keepOutput copies name from the work directory to path, durably. limit bounds its size, 0 not: a hole in a file takes no disk where it
// is but would here.
func keepOutput(work, name, path string, limit int64) (executor.Artifact, error) {
	from, err := OpenOutput(work, name)
	if err != nil {
		return executor.Artifact{}, err
	}
	defer func() { _ = from.Close() }() // read only
	if info, err := from.Stat(); err != nil || (limit > 0 && info.Size() > limit) {
		return executor.Artifact{}, errors.Join(fmt.Errorf("larger than the disk limit of %d bytes", limit), err)
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600) // again, when the disk was full
	if err != nil {
		return executor.Artifact{}, err
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, sum), from)
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return executor.Artifact{}, err
	}
	return executor.Artifact{Name: name, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// keepOutputs copies the outputs that exist to where no step can reach, and adds them to the result.
func (o *owner) keepOutputs(r *executor.Result) {
	out := filepath.Join(o.dir, DirOut)
	for i, name := range o.launch.Spec.Outputs {
		var a executor.Artifact
		err := o.patiently(func() (err error) {
			a, err = keepOutput(o.launch.placeOf(o.dir, name), name, filepath.Join(out, fmt.Sprint(i)), o.launch.Spec.Limits.Disk)
			if err == nil && a.Size == 0 && o.launch.seals(name) { // its step never came
				err = os.ErrNotExist
			}
			return err
		})
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil { // an output that cannot be kept makes the result no success, for it may be the only copy of a state
			if r.Ended == executor.EndExit {
				r.Ended = executor.EndDisk
			}
			r.Reason = strings.TrimPrefix(fmt.Sprintf("%s; output %s could not be kept: %v", r.Reason, name, err), "; ")
			continue
		}
		r.Outputs = append(r.Outputs, a)
	}
	if len(r.Outputs) > 0 {
		_ = syncDir(out) // best effort: each file is synced, and a lost entry shows as a missing output
	}
}
