// Package blob keeps what is too large for rows: plan files, plan JSON, rescued state. Nothing in it is readable without the key.
//
// It promises that each object is encrypted with a data key of its own, which the configured key wraps; that an object read to its end is
// the object that was put under this very name, whole and unaltered, or an error; that a name once written keeps its content, also when it is encrypted anew under another key; and that an
// object in files survives the loss of power once Put returned. [Sealer] does the same for small values that live in rows.
//
// Names are for the caller to choose, unique for ever. A Store is safe for concurrent use.
package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// Errors of Store and Sealer; compare with errors.Is.
var (
	// ErrNotFound says that no object has this name.
	ErrNotFound = errors.New("object not found")
	// ErrExists says that the name is taken by an object with other content.
	ErrExists = errors.New("object exists with other content")
	// ErrKey says that the data key cannot be unwrapped: encryption_key and old_encryption_keys are not the one it was wrapped with.
	ErrKey = errors.New("encrypted with a key that is not configured")
	// ErrDamaged says that what is stored is not what was put: cut short, altered, or moved to another name.
	ErrDamaged = errors.New("stored data is damaged")
	// ErrName says that a name cannot be one.
	ErrName = errors.New("invalid object name")
)

// Options say where objects live and which key wraps their data keys.
type Options struct {
	URL string   // a bucket: file:///directory, s3://bucket?region=…; empty: Dir
	Dir string   // a directory, made if missing; used when URL is empty
	Key string   // base64key://<32 bytes in base64>; see GeneratedKeys
	Old []string // keys that wrapped data keys before, and still open them
}

// Store is a bucket of encrypted objects.
type Store struct {
	bucket *blob.Bucket
	keys   ring
	dir    string // of a bucket in files, else empty
}

// Open opens a bucket. It does not prove that the bucket can be written; [Store.Check] does.
func Open(ctx context.Context, o Options) (*Store, error) {
	keys, err := openRing(ctx, o.Key, o.Old)
	if err != nil {
		return nil, err
	}
	s := &Store{keys: keys, dir: o.Dir}
	if o.URL != "" {
		var inFiles bool
		if s.dir, inFiles = strings.CutPrefix(o.URL, "file://"); !inFiles {
			s.dir = ""
		}
	}
	if s.dir != "" {
		s.bucket, err = openFiles(s.dir)
	} else {
		s.bucket, err = blob.OpenBucket(ctx, o.URL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open bucket: %w", err), keys.close())
	}
	return s, nil
}

func openFiles(dir string) (*blob.Bucket, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("directory %q is not absolute; write file:///directory", dir)
	}
	return fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir: true, DirFileMode: 0o700, Metadata: fileblob.MetadataDontWrite,
		NoTempDir: true, // a rename across file systems would fail
	})
}

// Close gives the bucket and the key back.
func (s *Store) Close() error { return errors.Join(s.bucket.Close(), s.keys.close()) }

// Check puts, reads and deletes a small object, to tell at the start what else the first plan would tell.
func (s *Store) Check(ctx context.Context) error {
	key := "check/" + rawText()
	if err := s.Put(ctx, key, []byte(key)); err != nil {
		return err
	}
	if _, err := s.Get(ctx, key); err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

// checkName keeps names such that every bucket takes them as they are, and that in files none leaves the directory.
func checkName(key string) error {
	if len(key) > 512 || !name.MatchString(key) {
		return fmt.Errorf("%w: %.80q", ErrName, key)
	}
	return nil
}

// Put stores an object. Putting the same content again is no error, so that a step may be repeated; ErrExists for other content.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.PutReader(ctx, key, bytes.NewReader(data))
}

// PutReader is Put for content that need not fit into memory. When r fails, nothing is stored.
func (s *Store) PutReader(ctx context.Context, key string, r io.Reader) error {
	if err := checkName(key); err != nil {
		return err
	}
	newDir := s.dir != "" && !exists(filepath.Dir(filepath.Join(s.dir, key)))
	digest := sha256.New()
	err := s.write(ctx, key, io.TeeReader(r, digest))
	switch {
	case gcerrors.Code(err) == gcerrors.FailedPrecondition, err != nil && s.refusedEarly(ctx, key):
		return s.same(ctx, key, r, digest)
	case err != nil:
		return fmt.Errorf("put %s: %w", key, err)
	}
	if s.dir == "" {
		return nil
	}
	if err := s.sync(key, newDir); err != nil {
		// A full disk may tell only now. What may not be whole must not have the name.
		return fmt.Errorf("put %s: %w", key, errors.Join(err, ignoreAbsent(os.Remove(filepath.Join(s.dir, key)))))
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) write(ctx context.Context, key string, r io.Reader) (err error) {
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{IfNotExist: true, ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	if err := encrypt(ctx, s.keys, key, w, r); err != nil {
		abort() // makes Close throw away what was written
		return errors.Join(err, ignore(w.Close(), context.Canceled))
	}
	return w.Close()
}

// refusedEarly says whether a failed write to a service failed because the object is there: a service that sees so from the headers may hang
// up before it has read the content, and the client then knows of a broken connection alone.
func (s *Store) refusedEarly(ctx context.Context, key string) bool {
	if s.dir != "" || ctx.Err() != nil {
		return false
	}
	there, err := s.bucket.Exists(ctx, key)
	return err == nil && there
}

// same says whether the object that is there already has the content that was to be put: what was read of it so far, in digest, and the rest.
func (s *Store) same(ctx context.Context, key string, rest io.Reader, digest hash.Hash) error {
	if _, err := io.Copy(digest, rest); err != nil {
		return fmt.Errorf("put %s: %w", key, errors.Join(ErrExists, err))
	}
	there, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer there.Close()
	h := sha256.New()
	if _, err := io.Copy(h, there); err != nil {
		return fmt.Errorf("compare %s: %w", key, err)
	}
	if !bytes.Equal(h.Sum(nil), digest.Sum(nil)) {
		return fmt.Errorf("put %s: %w", key, ErrExists)
	}
	return nil
}

// sync makes a file private, and it and its name durable.
func (s *Store) sync(key string, newDir bool) error {
	path := filepath.Join(s.dir, key)
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if err := syncPath(path); err != nil {
		return err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := syncPath(dir); err != nil {
			return err
		}
		if !newDir || dir == filepath.Clean(s.dir) {
			return nil
		}
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Get reads a whole object. Errors: ErrNotFound, ErrKey, ErrDamaged.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return data, nil
}

// Open reads an object piece by piece. Each piece is proven before it is handed out; only io.EOF proves that none is missing. Errors as
// of Get, from Open or from Read.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkName(key); err != nil {
		return nil, err
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, found(key, err)
	}
	plain, err := decrypt(ctx, s.keys, key, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("get %s: %w", key, err), r.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, r}, nil
}

// Delete removes an object. An absent one is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkName(key); err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// ignore drops an error that only says what we did.
func ignore(err, expected error) error {
	if errors.Is(err, expected) || gcerrors.Code(err) == gcerrors.Canceled {
		return nil
	}
	return err
}
