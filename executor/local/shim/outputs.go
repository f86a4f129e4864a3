package shim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/planlatch/planlatch/executor"
)

// keepOutput copies name from the work directory to path, durably. limit bounds its size, 0 not: a hole in a file takes no disk where it
// is but would here.
func keepOutput(work, name, path string, limit int64) (executor.Artifact, error) {
	from, err := OpenRegular(work, name)
	if err != nil {
		return executor.Artifact{}, err
	}
	defer func() { _ = from.Close() }() // read only
	if info, err := from.Stat(); err != nil || (limit > 0 && info.Size() > limit) {
		return executor.Artifact{}, errors.Join(fmt.Errorf("larger than the disk limit of %d bytes", limit), err)
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
