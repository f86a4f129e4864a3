package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/store"
)

// wrapping is the key that wraps data keys, and those that did so before: the configured ones, or those generated into the data directory.
type wrapping struct {
	key string
	old []string
}

func wrappingOf(cfg *config.Config) (w wrapping, err error) {
	if w.key = cfg.EncryptionKey.Reveal(); w.key != "" {
		for _, key := range cfg.OldEncryptionKeys {
			w.old = append(w.old, key.Reveal())
		}
		return w, nil
	}
	w.key, w.old, _, err = blob.GeneratedKey(keyFile(cfg))
	if err != nil {
		return w, fmt.Errorf("encryption_key: %w", err)
	}
	return w, nil
}

// workDir is where the runner of this machine keeps what it needs while runs go on.
func workDir(cfg *config.Config) string { return filepath.Join(cfg.Data, "work") }

// keyFile is where the generated key lies.
func keyFile(cfg *config.Config) string { return filepath.Join(cfg.Data, "key") }

func (w wrapping) blobs(ctx context.Context, cfg *config.Config) (*blob.Store, error) {
	return blob.Open(ctx, blob.Options{URL: cfg.Blobs, Dir: filepath.Join(cfg.Data, "blobs"), Key: w.key, Old: w.old})
}

func (w wrapping) sealer(ctx context.Context) (*blob.Sealer, error) {
	return blob.OpenSealer(ctx, w.key, w.old...)
}

// keys are derived from one random root that lies sealed in the database, so that every replica has the same ones.
type keys struct {
	effect []byte // sensitive values in effect digests
	web    []byte // cookies and signed links
}

const rootMark = "root_key"

func openKeys(ctx context.Context, s *store.Store, sealer *blob.Sealer) (keys, error) {
	text, err := s.Marked(ctx, rootMark)
	if err != nil {
		return keys{}, err
	}
	if text == "" {
		root := make([]byte, 32)
		rand.Read(root) //nolint:errcheck // never fails
		sealed, err := sealer.Seal(ctx, root)
		if err != nil {
			return keys{}, fmt.Errorf("seal the root key: %w", err)
		}
		if text, err = s.MarkFirst(ctx, rootMark, base64.StdEncoding.EncodeToString(sealed)); err != nil {
			return keys{}, err
		}
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return keys{}, fmt.Errorf("read the root key: %w", err)
	}
	root, err := sealer.Open(ctx, sealed)
	if err != nil {
		return keys{}, usage(fmt.Errorf("encryption_key: the database was written with another key: %w. "+
			"Write the key before it under old_encryption_keys; planlatch keys status says when it is needed no more", err))
	}
	var k keys
	if k.effect, err = derived(root, "effect digests"); err != nil {
		return keys{}, err
	}
	k.web, err = derived(root, "web")
	return k, err
}

const adminMark = "admin_token_sha256"

// admin returns the hash of the admin token, and the token if it was generated just now. Only its hash is kept.
func admin(ctx context.Context, cfg *config.Config, s *store.Store) (hash adminHash, fresh string, err error) {
	if want := cfg.AdminToken.Reveal(); want != "" {
		return adminHash(sum(want)), "", nil
	}
	kept, err := s.Marked(ctx, adminMark)
	if err != nil || kept != "" {
		return adminHash(kept), "", err
	}
	fresh = randomText(40)
	return adminHash(sum(fresh)), fresh, s.Mark(ctx, adminMark, sum(fresh))
}

// adminHash is that of the admin token.
type adminHash string

// is checks a token.
func (h adminHash) is(token string) bool {
	return h != "" && subtle.ConstantTimeCompare([]byte(sum(token)), []byte(h)) == 1
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
