package git

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/planlatch/planlatch/disk"
)

// recent is how long a mirror stays after it was used: whoever asks it several questions fetches first.
const recent = time.Hour

// gone ends the name of a mirror that is being removed.
const gone = ".gone"

// touch notes that the mirror is used now. A mirror that is not there has nothing to note.
func (m *Mirror) touch() {
	now := time.Now()
	if info, err := os.Lstat(m.dir); err == nil && now.Sub(info.ModTime()) > time.Minute {
		_ = os.Chtimes(m.dir, now, now) // best effort: at worst it is fetched once more
	}
}

// Items lists the mirrors. busy says of which the objects are needed without another fetch.
func (ms *Mirrors) Items(ctx context.Context, busy func(ctx context.Context, dir string) (bool, error)) ([]disk.Item, error) {
	found, err := filepath.Glob(filepath.Join(ms.o.Dir, "*.git"))
	if err != nil {
		return nil, err
	}
	var items []disk.Item
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil {
			continue // removed meanwhile
		}
		items = append(items, disk.Item{
			Part: "mirrors", Name: filepath.Base(dir), Bytes: disk.Usage(ctx, dir), Used: info.ModTime(),
			Drop: func(ctx context.Context) (bool, error) { return ms.evict(ctx, dir, busy) },
		})
	}
	return items, nil
}

// evict removes a mirror that nobody used lately. The next fetch makes it again.
func (ms *Mirrors) evict(ctx context.Context, dir string, busy func(ctx context.Context, dir string) (bool, error)) (bool, error) {
	name := strings.TrimSuffix(filepath.Base(dir), ".git")
	m := ms.named(name)
	_, release, err := m.lock(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || time.Since(info.ModTime()) < recent {
		return false, err
	}
	if used, err := busy(ctx, dir); err != nil || used {
		return false, err
	}
	away := strings.TrimSuffix(dir, ".git") + gone
	if err := os.RemoveAll(away); err != nil {
		return false, err
	}
	if err := os.Rename(dir, away); err != nil {
		return false, err
	}
	return true, os.RemoveAll(away)
}

// Sweep removes what evictions left that were killed. Call it when none is under way.
func (ms *Mirrors) Sweep() error {
	found, err := filepath.Glob(filepath.Join(ms.o.Dir, "*"+gone))
	faults := []error{err}
	for _, dir := range found {
		faults = append(faults, os.RemoveAll(dir))
	}
	return errors.Join(faults...)
}
