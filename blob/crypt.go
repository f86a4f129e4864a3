package blob

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// An object is
//
//	magic | length of the wrapped key (2 bytes) | wrapped data key | pieces
//
// and each piece is AES-256-GCM over up to pieceSize bytes. Its nonce is its number and whether it is the last one, so that pieces cannot
// be dropped, doubled, reordered or cut off; its additional data is everything before the pieces and the object's name, so that they
// cannot be moved into another object. A nonce is used once because a data key is used for one object.
const (
	magic     = "PLB\x01"
	pieceSize = 64 << 10
	keySize   = 32
	mostKey   = 4 << 10 // bytes of a wrapped key
)

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up AES: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up GCM: %w", err)
	}
	return aead, nil
}

// header is what an object begins with.
func header(wrapped []byte) []byte {
	h := append([]byte(magic), 0, 0)
	binary.BigEndian.PutUint16(h[len(magic):], uint16(len(wrapped))) //nolint:gosec // at most mostKey
	return append(h, wrapped...)
}

func pieceNonce(number uint64, last bool) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce, number)
	if last {
		nonce[11] = 1
	}
	return nonce
}

// encrypt writes the object of a name.
func encrypt(ctx context.Context, keys ring, name string, w io.Writer, r io.Reader) error {
	aead, wrapped, err := keys.newDataKey(ctx)
	if err != nil {
		return err
	}
	head := header(wrapped)
	if _, err := w.Write(head); err != nil {
		return err
	}
	bound := slices.Concat(head, []byte(name))
	in := bufio.NewReaderSize(r, pieceSize+1)
	plain, sealed := make([]byte, pieceSize), make([]byte, 0, pieceSize+aead.Overhead())
	for number := uint64(0); ; number++ {
		n, last, err := fill(in, plain)
		if err != nil {
			return fmt.Errorf("read what is to be stored: %w", err)
		}
		sealed = aead.Seal(sealed[:0], pieceNonce(number, last), plain[:n], bound)
		if _, err := w.Write(sealed); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// fill reads one piece and says whether it is the last. Only io.EOF itself ends an object: io.ReadFull would take a connection that broke
// with io.ErrUnexpectedEOF for the end.
func fill(in *bufio.Reader, piece []byte) (n int, last bool, err error) {
	for n < len(piece) {
		m, err := in.Read(piece[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	_, err = in.Peek(1)
	if errors.Is(err, io.EOF) {
		return n, true, nil
	}
	return n, false, err
}

// decrypt reads the object of a name.
func decrypt(ctx context.Context, keys ring, name string, r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, pieceSize+64)
	wrapped, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	aead, _, err := keys.unwrap(ctx, wrapped)
	if err != nil {
		return nil, err
	}
	return &opener{in: in, aead: aead, bound: append(header(wrapped), name...), sealed: make([]byte, pieceSize+aead.Overhead())}, nil
}

// readHeader reads what an object begins with, up to and with the wrapped data key, which it returns.
func readHeader(in io.Reader) (wrapped []byte, err error) {
	head := make([]byte, len(magic)+2)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, damaged(err)
	}
	size := binary.BigEndian.Uint16(head[len(magic):])
	if string(head[:len(magic)]) != magic || size > mostKey {
		return nil, fmt.Errorf("%w: it does not begin like one of our objects", ErrDamaged)
	}
	wrapped = make([]byte, size)
	if _, err := io.ReadFull(in, wrapped); err != nil {
		return nil, damaged(err)
	}
	return wrapped, nil
}

// opener hands out proven pieces.
type opener struct {
	in     *bufio.Reader
	aead   cipher.AEAD
	bound  []byte
	sealed []byte
	plain  []byte // proven and not yet handed out
	number uint64
	err    error
}

func (o *opener) Read(p []byte) (int, error) {
	for len(o.plain) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.next()
	}
	n := copy(p, o.plain)
	o.plain = o.plain[n:]
	return n, nil
}

// next opens one piece; after the last one, or a bad one, err is set.
func (o *opener) next() {
	n, err := io.ReadFull(o.in, o.sealed)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		o.err = damaged(err)
		return
	}
	_, more := o.in.Peek(1)
	if more != nil && !errors.Is(more, io.EOF) {
		o.err = more
		return
	}
	last := more != nil
	plain, err := o.aead.Open(o.sealed[:0], pieceNonce(o.number, last), o.sealed[:n], o.bound)
	if err != nil {
		o.err = fmt.Errorf("%w: piece %d does not verify", ErrDamaged, o.number)
		return
	}
	o.plain = plain
	o.number++
	if last {
		o.err = io.EOF
	}
}

// damaged tells an object that is too short from a bucket that failed.
func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	return err
}
