package blob

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"gocloud.dev/secrets"
)

// KeyID names a key without telling it: the beginning of a hash of the key, or of its URL if a service keeps it.
type KeyID [8]byte

// String writes the id as people see it.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A wrapped data key tells which key opens it, since a service may open what any of its keys closed:
//
//	keyMagic | id of the key | what the key made of the data key
//
// Earlier versions kept the last part alone; which key opens it is then found by trying.
const keyMagic = "PLK\x01"

// ring is the keys that open data keys. The first one wraps new ones.
type ring []ringKey

type ringKey struct {
	id     KeyID
	keeper *secrets.Keeper
}

// openRing opens the current key and those that were current before. A key that is given twice counts once.
func openRing(ctx context.Context, current string, old []string) (r ring, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	for n, url := range append([]string{current}, old...) {
		keeper, id, err := openKeeper(ctx, url)
		if err != nil && n > 0 {
			return r, fmt.Errorf("old_encryption_keys[%d]: %w", n-1, err)
		} else if err != nil {
			return r, fmt.Errorf("encryption_key: %w", err)
		}
		if slices.ContainsFunc(r, func(k ringKey) bool { return k.id == id }) {
			err = keeper.Close()
		} else {
			r = append(r, ringKey{id, keeper})
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r ring) close() error {
	var faults []error
	for _, k := range r {
		faults = append(faults, k.keeper.Close())
	}
	return errors.Join(faults...)
}

// current is the id of the key that wraps.
func (r ring) current() KeyID { return r[0].id }

// newDataKey returns a fresh key, ready for use and wrapped.
func (r ring) newDataKey(ctx context.Context) (cipher.AEAD, []byte, error) {
	key := make([]byte, keySize)
	rand.Read(key) // never fails: it ends the program instead
	text, err := r[0].keeper.Encrypt(ctx, key)
	if err != nil {
		return nil, nil, fmt.Errorf("wrap data key: %w", err)
	}
	wrapped := slices.Concat([]byte(keyMagic), r[0].id[:], text)
	if len(wrapped) > mostKey {
		return nil, nil, fmt.Errorf("wrap data key: the key service returned %d bytes", len(text))
	}
	aead, err := newAEAD(key)
	return aead, wrapped, err
}

// unwrap turns a wrapped key back and says which key did it.
func (r ring) unwrap(ctx context.Context, wrapped []byte) (cipher.AEAD, KeyID, error) {
	named, text := split(wrapped)
	unknown := true
	var fault error
	for _, k := range r {
		if named != nil && k.id != *named {
			continue
		}
		unknown = false
		key, err := k.keeper.Decrypt(ctx, text)
		if err != nil {
			fault = err
			continue
		}
		if len(key) != keySize {
			return nil, k.id, fmt.Errorf("%w: data key has %d bytes", ErrDamaged, len(key))
		}
		aead, err := newAEAD(key)
		return aead, k.id, err
	}
	switch {
	case ctx.Err() != nil:
		return nil, KeyID{}, fmt.Errorf("unwrap data key: %w", ctx.Err())
	case unknown:
		return nil, *named, fmt.Errorf("%w: it needs key %s; name it under old_encryption_keys", ErrKey, named)
	}
	return nil, KeyID{}, fmt.Errorf("%w, or altered: %w", ErrKey, fault)
}

// split takes a wrapped key apart. Without a name all of it is what a key made.
func split(wrapped []byte) (named *KeyID, text []byte) {
	rest, ok := bytes.CutPrefix(wrapped, []byte(keyMagic))
	if !ok || len(rest) < len(KeyID{}) {
		return nil, wrapped
	}
	id := KeyID(rest[:len(KeyID{})])
	return &id, rest[len(id):]
}

// owner says which key a wrapped data key needs, asking no key if it tells by itself.
func (r ring) owner(ctx context.Context, wrapped []byte) (KeyID, error) {
	if named, _ := split(wrapped); named != nil {
		return *named, nil
	}
	_, id, err := r.unwrap(ctx, wrapped)
	return id, err
}

// idOf names a key.
func idOf(secret []byte) KeyID {
	sum := sha256.Sum256(append([]byte("planlatch key id\x00"), secret...))
	return KeyID(sum[:len(KeyID{})])
}
