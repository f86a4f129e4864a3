// Package shim is the small inner half of the local executor: the processes that own, wall in and run one execution.
//
// There are three stages, each a re-execution of the same program. The owner leaves the server's session, holds the execution's locks,
// watches its limits and writes its result. The stage is born in a user and network namespace of its own, sets that network up and becomes
// bubblewrap. The inner runs as process 1 of the sandbox, closes landlock and seccomp behind itself and runs the steps.
//
// The package promises that no step starts before the tombstone of the name is on disk, that the result is published only when nothing of
// the execution lives, and that secrets pass from stage to stage through pipes alone. It leaves to package local the choice of walls, the
// copy of the source and the claim of the name.
//
// What the stages close, set up, lend and count with is in the packages beside it (confine, netns, broker, cgroup, process, usage). They know no
// Launch: this package says to each what it means there.
package shim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/planlatch/planlatch/executor/local/breach"
	"github.com/planlatch/planlatch/executor/local/dial"
)

// hiddenArg is the hidden first argument that makes a program a stage.
const hiddenArg = "__planlatch-shim"

// The stages.
const (
	stageOwner = "owner"
	stageNet   = "stage"
	stageInner = "inner"

	stageBreach = "breach" // not one of an execution, but a step in one: see package breach
	stageDial   = "dial"   // the same: see package dial
)

// frameLimit bounds a frame: secrets are some environment variables, never a payload.
const frameLimit = 8 << 20

// Main runs the stage that args (as os.Args) ask for. isShim is false when they ask for none; then nothing was done.
func Main(args []string) (exit int, isShim bool) {
	if len(args) < 3 || args[1] != hiddenArg {
		return 0, false
	}
	// Nothing outside decides when a stage ends but its own pipes. Notify, not Ignore: an ignored signal stays ignored in the tool.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	var err error
	switch {
	case args[2] == stageOwner && len(args) == 4:
		go drain(signals) // lives as long as the process
		err = own(args[3])
	case args[2] == stageNet:
		go drain(signals) // lives until the process becomes bubblewrap
		err = enterNetwork()
	case args[2] == stageInner:
		err = runInner(signals)
	case args[2] == stageDial:
		signal.Reset()
		err = dial.Main(args[3:], os.Stdout)
	case args[2] == stageBreach:
		signal.Reset()
		err = breach.Main(args[3:], BreachArgs(nil), os.Stdout)
	default:
		err = fmt.Errorf("unknown stage %q", args[2:])
	}
	if err != nil {
		// The reader is the owner or a file in the execution's directory; it may be gone, then there is nobody to tell.
		_, _ = fmt.Fprintf(os.Stderr, "planlatch-shim: %v\n", err)
		return 1, true
	}
	return 0, true
}

// OwnerArgs is the argv of the stage that owns the execution in dir. Its descriptors: 0 the frame of secrets and then one byte to go on,
// 3 takes two Acks, 4 the held lock. Argv[0] shows in ps.
func OwnerArgs(dir string) []string { return []string{"planlatch-shim", hiddenArg, stageOwner, dir} }

// BreachArgs is the argv of a step that tries to break out.
func BreachArgs(args []string) []string {
	return append([]string{"planlatch-shim", hiddenArg, stageBreach}, args...)
}

// DialArgs is the argv of a step that tries targets.
func DialArgs(targets []string) []string {
	return append([]string{"planlatch-shim", hiddenArg, stageDial}, targets...)
}

// The owner's descriptors besides stdin.
const (
	fdAck  = 3
	fdHeld = 4
)

// Ack is what the owner tells who started it, one JSON value each time: first that everything is ready, then that the steps run.
type Ack struct {
	Error string `json:",omitempty"`
}

// WriteFrame writes v as one length-prefixed JSON value.
func WriteFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > frameLimit {
		return fmt.Errorf("a frame of %d bytes is too long, the limit is %d", len(body), frameLimit)
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// errCut says that the writer of a frame died before it was whole.
var errCut = errors.New("the frame ends early: whoever wrote it is gone")

// readFrame reads one frame into v and not a byte further.
func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return errCut
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameLimit {
		return fmt.Errorf("a frame of %d bytes is too long, the limit is %d", size, frameLimit)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return errCut
	}
	return json.Unmarshal(body, v)
}

func drain(signals <-chan os.Signal) {
	for range signals { //nolint:revive // the point is to take them and do nothing
	}
}
