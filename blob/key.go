package blob

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

const localScheme = "base64key://"

// openKeeper opens what wraps data keys. Errors never repeat the key.
func openKeeper(ctx context.Context, url string) (*secrets.Keeper, KeyID, error) {
	url = strings.TrimSpace(url)
	text, local := strings.CutPrefix(url, localScheme)
	if !local {
		scheme, _, ok := strings.Cut(url, "://")
		if !ok {
			return nil, KeyID{}, errors.New("is not a URL; write base64key:// and 32 random bytes in base64")
		}
		if !secrets.DefaultURLMux().ValidKeeperScheme(scheme) {
			return nil, KeyID{}, fmt.Errorf("this version does not know %s://; write base64key:// and 32 random bytes in base64", scheme)
		}
		keeper, err := secrets.OpenKeeper(ctx, url)
		if err != nil {
			return nil, KeyID{}, fmt.Errorf("open %s://…: %w", scheme, err)
		}
		return keeper, idOf([]byte(url)), nil
	}
	// Both alphabets and missing padding are taken: people make keys with openssl as well as with our own code.
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != keySize {
		return nil, KeyID{}, errors.New("is not base64key:// and 32 bytes in base64; make one with: openssl rand -base64 32")
	}
	return localsecrets.NewKeeper([keySize]byte(raw)), idOf(raw), nil
}

// GeneratedKey returns the key in a file, which it makes with a fresh one if there is none, and those behind it, which were current before.
// Losing the file loses everything encrypted, so it is durable before it is used; a file that others may read is refused. Processes that race
// agree on one key.
func GeneratedKey(path string) (key string, old []string, created bool, err error) {
	keys, err := readKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", nil, false, fmt.Errorf("make encryption key: %w", err)
		}
		err := writeKeys(path, []string{freshKey()}, os.Link)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", nil, false, fmt.Errorf("make encryption key: %w", err)
		}
		created = err == nil
		keys, err = readKeys(path)
		if err != nil {
			return "", nil, created, err
		}
	} else if err != nil {
		return "", nil, false, err
	}
	return keys[0], keys[1:], created, nil
}

// NextKey makes a fresh key the first of a file of GeneratedKey, and keeps the one before it as an old one. If the file has an old one already,
// an earlier change has not ended, and nothing is made. The same goes for LastKey: no other process may use the file.
func NextKey(path string) (made bool, err error) {
	keys, err := readKeys(path)
	if err != nil || len(keys) > 1 {
		return false, err
	}
	if err := writeKeys(path, append([]string{freshKey()}, keys...), os.Rename); err != nil {
		return false, fmt.Errorf("write encryption key: %w", err)
	}
	return true, nil
}

// LastKey leaves the first key of a file of GeneratedKey alone in it. What stood behind it is added to the file kept, for backups that still
// need it.
func LastKey(path, kept string) error {
	keys, err := readKeys(path)
	if err != nil || len(keys) == 1 {
		return err
	}
	before, err := readKeys(kept)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, key := range keys[1:] {
		if !slices.Contains(before, key) {
			before = append(before, key)
		}
	}
	if err := writeKeys(kept, before, os.Rename); err != nil {
		return fmt.Errorf("keep the old encryption key: %w", err)
	}
	if err := writeKeys(path, keys[:1], os.Rename); err != nil {
		return fmt.Errorf("write encryption key: %w", err)
	}
	return nil
}

// readKeys reads a file of one key a line.
func readKeys(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read encryption key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("encryption key %s can be read by others; run: chmod 600 %s", path, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read encryption key: %w", err)
	}
	keys := strings.Fields(string(text))
	if len(keys) == 0 || slices.ContainsFunc(keys, func(k string) bool { return !strings.HasPrefix(k, localScheme) || len(k) <= len(localScheme) }) {
		return nil, fmt.Errorf("encryption key %s does not hold a key; restore it from a backup: what was encrypted with it cannot be read without it", path)
	}
	return keys, nil
}

func freshKey() string {
	raw := make([]byte, keySize)
	rand.Read(raw) // never fails: it ends the program instead
	return localScheme + base64.URLEncoding.EncodeToString(raw)
}

// writeKeys puts keys under a name, whole or not at all: as a new file (os.Link) or in place of the old one (os.Rename).
func writeKeys(path string, keys []string, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // what was put stays
	_, err = f.WriteString(strings.Join(keys, "\n") + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func rawText() string { return rand.Text() }
