package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/planlatch/planlatch/project"
)

// The subdirectories of Options.Dir.
const (
	dirPackages = "packages"
	dirSums     = "sums"
	dirCLI      = "cli"
	dirIncoming = "incoming"
	dirLocks    = "locks"
)

// platform is what the tools of this machine ask for.
const platform = runtime.GOOS + "_" + runtime.GOARCH

// mirrorOf is a filesystem mirror that holds one version of one provider and nothing else, so that a run need not see any other.
func (s *Store) mirrorOf(l project.Lock) string {
	return filepath.Join(s.o.Dir, dirPackages, strings.Join([]string{l.Host, l.Namespace, l.Type, l.Version}, "@"))
}

func (s *Store) packageDir(l project.Lock) string {
	return filepath.Join(s.mirrorOf(l), l.Host, l.Namespace, l.Type, l.Version, platform)
}

func (s *Store) sumsFile(l project.Lock) string {
	return filepath.Join(s.o.Dir, dirSums, l.Host, l.Namespace, l.Type, l.Version, platform+".txt")
}

// setDigest stands for a set of checksums.
func setDigest(hashes []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(slices.Sorted(slices.Values(hashes))), "\n")))
	return hex.EncodeToString(sum[:])
}

// entry is what is known of a stored package.
type entry struct {
	sum  string   // h1:…, of its content
	sets []string // digests of sets of checksums for which a tool accepted this very package
}

// entry reads what is known; the zero entry if the package is not stored whole.
func (s *Store) entry(l project.Lock) (entry, error) {
	text, err := os.ReadFile(s.sumsFile(l))
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, fmt.Errorf("provider store: %w", err)
	}
	lines := strings.Fields(string(text))
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "h1:") {
		return entry{}, nil
	}
	if info, err := os.Lstat(s.packageDir(l)); err != nil || !info.IsDir() {
		return entry{}, nil //nolint:nilerr // somebody cleaned up: it is fetched again
	}
	return entry{sum: lines[0], sets: lines[1:]}, nil
}

// vouched returns the checksum of the stored package if a lock means it: it names the checksum, or a tool accepted the package for the
// checksums that it names instead, such as those of archives.
func (s *Store) vouched(l project.Lock) (string, error) {
	e, err := s.entry(l)
	if err != nil || e.sum == "" {
		return "", err
	}
	if slices.Contains(l.Hashes, e.sum) || slices.Contains(e.sets, setDigest(l.Hashes)) {
		return e.sum, nil
	}
	return "", nil
}

// add publishes a package that a tool accepted for a lock, whose content has the checksum sum. The caller holds the package's lock.
func (s *Store) add(l project.Lock, sum, content string) error {
	e, err := s.entry(l)
	if err != nil {
		return err
	}
	dir := s.packageDir(l)
	switch {
	case e.sum == sum: // the same again, accepted for other checksums
	case e.sum != "":
		return fmt.Errorf("its source now serves other content than the stored %s; remove %s if the new one is right", e.sum, dir)
	default:
		if err := os.RemoveAll(dir); err != nil { // never offered to anybody: it has no sums
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // read by runs
			return err
		}
		if err := os.Rename(content, dir); err != nil {
			return err
		}
		if err := errors.Join(syncDir(filepath.Dir(dir)), s.touch(l)); err != nil {
			return err
		}
	}
	return s.record(l, sum, append(e.sets, setDigest(l.Hashes)))
}

// record writes what is known of a package, whole or not at all.
func (s *Store) record(l project.Lock, sum string, sets []string) error {
	file := s.sumsFile(l)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	fresh := file + ".new" // the caller holds the lock
	if err := os.WriteFile(fresh, []byte(sum+"\n"+strings.Join(sets, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}

// sumOf is the checksum of a package's content as the tools compute it for lock files.
func sumOf(dir string) (string, error) { return dirhash.HashDir(dir, "", dirhash.Hash1) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
