package blob

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
)

// Sealer encrypts small values that live in rows. A data key is made once for a process and wrapped once, so that sealing asks no key
// service; each value carries its wrapped key, about 100 bytes, so that nothing else must be kept. It is safe for concurrent use.
type Sealer struct {
	keys ring

	mu      sync.Mutex
	current cipher.AEAD
	wrapped []byte
	used    uint64                 // values sealed with current
	opened  map[string]cipher.AEAD // by wrapped key
}

// A sealed value is
//
//	version | length of the wrapped key (2 bytes) | wrapped key | nonce | AES-256-GCM
const sealVersion = 1

// Nonces are random, so a data key is left long before two of them could meet; and the cache of others is bounded.
const (
	mostSeals  = 1 << 28
	mostOpened = 1024
)

// OpenSealer opens a sealer with keys as of [Options].
func OpenSealer(ctx context.Context, key string, old ...string) (*Sealer, error) {
	keys, err := openRing(ctx, key, old)
	if err != nil {
		return nil, err
	}
	return &Sealer{keys: keys, opened: map[string]cipher.AEAD{}}, nil
}

// Close gives the key back.
func (s *Sealer) Close() error { return s.keys.close() }

// Seal encrypts a value.
func (s *Sealer) Seal(ctx context.Context, plain []byte) ([]byte, error) {
	aead, wrapped, err := s.key(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 3+len(wrapped)+aead.NonceSize()+len(plain)+aead.Overhead())
	out = append(out, sealVersion)
	out = binary.BigEndian.AppendUint16(out, uint16(len(wrapped))) //nolint:gosec // at most mostKey
	out = append(out, wrapped...)
	head := len(out)
	out = out[:head+aead.NonceSize()]
	rand.Read(out[head:]) // never fails: it ends the program instead
	return aead.Seal(out, out[head:], plain, out[:head]), nil
}

// Open decrypts a value that Seal made, in whatever process. Errors: ErrKey, ErrDamaged.
func (s *Sealer) Open(ctx context.Context, sealed []byte) ([]byte, error) {
	head, err := sealHead(sealed)
	if err != nil {
		return nil, err
	}
	aead, err := s.known(ctx, sealed[3:head])
	if err != nil {
		return nil, err
	}
	if len(sealed) < head+aead.NonceSize() {
		return nil, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	body := sealed[head+aead.NonceSize():]
	plain, err := aead.Open(nil, sealed[head:head+aead.NonceSize()], body, sealed[:head])
	if err != nil {
		return nil, fmt.Errorf("%w: it does not verify", ErrDamaged)
	}
	return plain, nil
}

// sealHead returns how much of a sealed value stands before the nonce.
func sealHead(sealed []byte) (int, error) {
	if len(sealed) < 3 || sealed[0] != sealVersion {
		return 0, fmt.Errorf("%w: it does not begin like a sealed value", ErrDamaged)
	}
	head := 3 + int(binary.BigEndian.Uint16(sealed[1:]))
	if len(sealed) < head {
		return 0, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	return head, nil
}

// Key says which key a sealed value needs. ErrKey: none that is known.
func (s *Sealer) Key(ctx context.Context, sealed []byte) (KeyID, error) {
	head, err := sealHead(sealed)
	if err != nil {
		return KeyID{}, err
	}
	return s.keys.owner(ctx, sealed[3:head])
}

// Current is the key that seals.
func (s *Sealer) Current() KeyID { return s.keys.current() }

// Keys lists the known keys, the current one first.
func (s *Sealer) Keys() []KeyID {
	ids := make([]KeyID, len(s.keys))
	for i, k := range s.keys {
		ids[i] = k.id
	}
	return ids
}

// key returns the current data key, or a fresh one.
func (s *Sealer) key(ctx context.Context) (cipher.AEAD, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.used >= mostSeals {
		aead, wrapped, err := s.keys.newDataKey(ctx)
		if err != nil {
			return nil, nil, err
		}
		s.current, s.wrapped, s.used = aead, wrapped, 0
		s.remember(wrapped, aead)
	}
	s.used++
	return s.current, s.wrapped, nil
}

// known returns the data key that a wrapped one stands for.
func (s *Sealer) known(ctx context.Context, wrapped []byte) (cipher.AEAD, error) {
	s.mu.Lock()
	aead, ok := s.opened[string(wrapped)]
	s.mu.Unlock()
	if ok {
		return aead, nil
	}
	aead, _, err := s.keys.unwrap(ctx, wrapped)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(wrapped, aead)
	return aead, nil
}

func (s *Sealer) remember(wrapped []byte, aead cipher.AEAD) {
	if len(s.opened) >= mostOpened {
		clear(s.opened)
	}
	s.opened[string(wrapped)] = aead
}
