package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// batch is one long-lived git cat-file that hands out objects by id.
type batch struct {
	mu     sync.Mutex // one question and its answer at a time
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	ended  func() error // not nil once the context has ended it
	closed bool
}

// startBatch starts it. It ends with ctx, or with close.
func (m *Mirror) startBatch(ctx context.Context) (*batch, error) {
	cmd, stderr := m.command(ctx, call{args: []string{"cat-file", "--batch-command"}})
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return &batch{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), stderr: stderr, ended: ctx.Err}, nil
}

// close ends git and waits for it. A second call does nothing.
func (b *batch) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	_ = b.in.Close() // git ends by it; a broken pipe says that it has ended
	// git may stand in the middle of an answer that nobody wants any more.
	_, _ = io.Copy(io.Discard, b.out)
	if err := b.cmd.Wait(); err != nil && b.ended() == nil {
		return fmt.Errorf("read objects: %w %s", err, b.stderr.text())
	}
	return nil
}

// header reads the first line of an answer: the type and size of an object. Error: ErrObject.
func (b *batch) header(id string) (kind string, size int64, err error) {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return "", 0, b.broken(err)
	}
	words := strings.Fields(line)
	if len(words) == 2 && words[1] == "missing" {
		return "", 0, fmt.Errorf("object %s: %w", id, ErrObject)
	}
	if len(words) != 3 || words[0] != id {
		return "", 0, b.broken(fmt.Errorf("git answered %q", line))
	}
	if size, err = strconv.ParseInt(words[2], 10, 64); err != nil {
		return "", 0, b.broken(err)
	}
	return words[1], size, nil
}

// body copies the content that follows a header, and the line end after it.
func (b *batch) body(w io.Writer, size int64) error {
	if _, err := io.CopyN(w, b.out, size); err != nil {
		return b.broken(err)
	}
	if _, err := b.out.Discard(1); err != nil {
		return b.broken(err)
	}
	return nil
}

func (b *batch) broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("git ended early")
	}
	if text := b.stderr.text(); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return fmt.Errorf("read objects: %w", err)
}

// size tells the size of an object. Error: ErrObject.
func (b *batch) size(id string) (size int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.in, "info %s\n", id); err != nil {
		return 0, b.broken(err)
	}
	_, size, err = b.header(id)
	return size, err
}

// read returns an object of at most limit bytes. Errors: ErrObject, ErrTooLarge.
func (b *batch) read(id string, limit int64) (kind string, content []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.in, "contents %s\n", id); err != nil {
		return "", nil, b.broken(err)
	}
	kind, size, err := b.header(id)
	if err != nil {
		return "", nil, err
	}
	if size > limit {
		if err := b.body(io.Discard, size); err != nil {
			return "", nil, err
		}
		return "", nil, tooLarge("", "make it smaller", "object %s has %d bytes, more than %d", id, size, limit)
	}
	content = make([]byte, 0, size)
	into := (*slice)(&content)
	return kind, content[:size], b.body(into, size)
}

// slice is a writer that fills a slice of known capacity.
type slice []byte

func (s *slice) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
