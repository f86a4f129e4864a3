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
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

const localScheme = "base64key://"

// openKeeper opens what wraps data keys. Errors never repeat the key.
func openKeeper(ctx context.Context, url string) (*secrets.Keeper, error) {
	text, local := strings.CutPrefix(strings.TrimSpace(url), localScheme)
	if !local {
		scheme, _, ok := strings.Cut(url, "://")
		if !ok {
			return nil, errors.New("encryption_key: is not a URL; write base64key:// and 32 random bytes in base64")
		}
		if !secrets.DefaultURLMux().ValidKeeperScheme(scheme) {
			return nil, fmt.Errorf("encryption_key: this version does not know %s://; write base64key:// and 32 random bytes in base64", scheme)
		}
		keeper, err := secrets.OpenKeeper(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("encryption_key: open %s://…: %w", scheme, err)
		}
		return keeper, nil
	}
	// Both alphabets and missing padding are taken: people make keys with openssl as well as with our own code.
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != keySize {
		return nil, errors.New("encryption_key: is not base64key:// and 32 bytes in base64; make one with: openssl rand -base64 32")
	}
	return localsecrets.NewKeeper([keySize]byte(raw)), nil
}

// GeneratedKey returns the key in a file, which it makes with a fresh one if there is none. Losing the file loses everything encrypted, so
// it is durable before it is used; a file that others may read is refused. Processes that race agree on one key.
func GeneratedKey(path string) (key string, created bool, err error) {
	key, err = readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", false, fmt.Errorf("make encryption key: %w", err)
	}
	if err := writeKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", false, fmt.Errorf("make encryption key: %w", err)
	} else if err == nil {
		created = true
	}
	key, err = readKey(path)
	return key, created, err
}

func readKey(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read encryption key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("encryption key %s can be read by others; run: chmod 600 %s", path, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read encryption key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if !strings.HasPrefix(key, localScheme) || len(key) <= len(localScheme) {
		return "", fmt.Errorf("encryption key %s does not hold a key; restore it from a backup: what was encrypted with it cannot be read without it", path)
	}
	return key, nil
}

// writeKey puts a fresh key under a name that must not exist, whole or not at all.
func writeKey(path string) error {
	raw := make([]byte, keySize)
	rand.Read(raw)                                        // never fails: it ends the program instead
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the link, if it was made, stays
	_, err = f.WriteString(localScheme + base64.URLEncoding.EncodeToString(raw) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func rawText() string { return rand.Text() }
