package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Current is the key that new objects need.
func (s *Store) Current() KeyID { return s.keys.current() }

// Key says which key an object needs; only its beginning is read. Errors: ErrNotFound, ErrDamaged, and ErrKey if no known one opens it.
func (s *Store) Key(ctx context.Context, key string) (KeyID, error) {
	if err := checkName(key); err != nil {
		return KeyID{}, err
	}
	r, err := s.bucket.NewRangeReader(ctx, key, 0, int64(len(magic))+2+mostKey, nil)
	if err != nil {
		return KeyID{}, found(key, err)
	}
	defer r.Close()
	wrapped, err := readHeader(r)
	if err != nil {
		return KeyID{}, fmt.Errorf("get %s: %w", key, err)
	}
	id, err := s.keys.owner(ctx, wrapped)
	if err != nil {
		return id, fmt.Errorf("get %s: %w", key, err)
	}
	return id, nil
}

// Rekey encrypts an object anew, under the current key and with a fresh data key. It is replaced as a whole or not at all, once it is proven to
// its end, so a process that dies in the middle loses nothing. Errors as of Get. One that is deleted meanwhile may come back: whoever deletes
// looks again.
func (s *Store) Rekey(ctx context.Context, key string) error {
	r, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	if s.dir != "" {
		err = s.replaceFile(ctx, key, r)
	} else {
		err = s.replaceObject(ctx, key, r)
	}
	if err != nil {
		return fmt.Errorf("encrypt %s anew: %w", key, err)
	}
	return nil
}

func (s *Store) replaceObject(ctx context.Context, key string, r io.Reader) error {
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	if err := encrypt(ctx, s.keys, key, w, r); err != nil {
		abort() // makes Close throw away what was written
		return errors.Join(err, ignore(w.Close(), context.Canceled))
	}
	return w.Close()
}

// replaceFile writes beside the file and renames only what has reached the disk: after a loss of power either of the two is there, whole.
// The driver would rename first. The name is one that List leaves out and Sweep removes.
func (s *Store) replaceFile(ctx context.Context, key string, r io.Reader) (err error) {
	path := filepath.Join(s.dir, key)
	half := path + "." + strconv.FormatInt(time.Now().UnixNano(), 16) + ".tmp"
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreAbsent(os.Remove(half)))
		}
	}()
	err = encrypt(ctx, s.keys, key, f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return ErrNotFound // deleted meanwhile
	}
	if err := os.Rename(half, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// found gives a bucket's error its name.
func found(key string, err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("get %s: %w", key, ErrNotFound)
	}
	return fmt.Errorf("get %s: %w", key, err)
}

// Rekey encrypts a sealed value anew, under the current key and with a data key of this process.
func (s *Sealer) Rekey(ctx context.Context, sealed []byte) ([]byte, error) {
	plain, err := s.Open(ctx, sealed)
	if err != nil {
		return nil, err
	}
	again, err := s.Seal(ctx, plain)
	if err != nil {
		return nil, err
	}
	if back, err := s.Open(ctx, again); err != nil || !bytes.Equal(back, plain) {
		return nil, errors.Join(ErrDamaged, err)
	}
	return again, nil
}
