package shim

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drainLimit bounds what is still read after a step ended: a process it left behind may write for ever.
const drainLimit = 1 << 20

// output carries what a step prints into the log. The step gets a pipe and not the log itself, because "echo >/dev/stderr" would truncate a
// file, and a hostile step could erase its traces. The pipe is the inner's, which no step outlives in a sandbox, so no step loses its reader.
type output struct {
	read, write *os.File
	copied      chan struct{}
	err         error // of the copy, once it is done
}

func openOutput(log io.Writer) (*output, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The step's end must block when the pipe is full: no program expects EAGAIN from its stdout.
	if err := unix.SetNonblock(int(write.Fd()), false); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	return carry(read, write, lossy{log}), nil
}

// carry copies what comes out of read.
func carry(read, write *os.File, to io.Writer) *output {
	o := &output{read: read, write: write, copied: make(chan struct{})}
	go func() {
		defer close(o.copied)
		_, o.err = io.Copy(to, onlyReader{read}) // ends with the last writer, or when finish says so
		switch {
		case errors.Is(o.err, os.ErrDeadlineExceeded):
			o.err = nil
		case o.err != nil:
			_ = read.Close() // the step must not wait for somebody who reads
		}
	}()
	return o
}

// handed closes our copy of the step's end.
func (o *output) handed() { _ = o.write.Close() } // nothing was written through it

// finish takes what is left in the pipe once the step has ended, without waiting for what it left behind: that may be cut.
func (o *output) finish(to io.Writer) {
	select {
	case <-o.copied: // nobody else holds it
	default:
		_ = o.read.SetReadDeadline(time.Unix(1, 0)) // wakes the copy
		<-o.copied
		o.drain(to)
	}
	_ = o.read.Close() // read only
}

// whole waits until nobody holds the step's end any more, for a moment after the step has ended, and returns why not all of what was written to it
// is there. What goes on is no whole output.
func (o *output) whole() error {
	defer func() { _ = o.read.Close() }() // read only
	select {
	case <-o.copied:
		return o.err
	case <-time.After(wholeTime):
		_ = o.read.SetReadDeadline(time.Unix(1, 0)) // wakes the copy
		<-o.copied
		return errors.Join(o.err, errGoesOn)
	}
}

// wholeTime is how long the end of an output may follow that of its step.
const wholeTime = 5 * time.Second

var errGoesOn = errors.New("a program that the step left behind still has its stdout")

func (o *output) drain(to io.Writer) {
	raw, err := o.read.SyscallConn()
	if err != nil {
		return // closed
	}
	buffer := make([]byte, 64<<10)
	for left := drainLimit; left > 0; {
		var n int
		if err := raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buffer) }); err != nil || n <= 0 {
			return // empty
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
		left -= n
	}
}

// lossy writes what it can. A full disk must not block the step on its own output: an apply has a state to save.
type lossy struct{ io.Writer }

func (l lossy) Write(p []byte) (int, error) {
	_, _ = l.Writer.Write(p) // see above
	return len(p), nil
}

// onlyReader keeps io.Copy from moving pages past the log's append mode.
type onlyReader struct{ io.Reader }
