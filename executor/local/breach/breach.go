// Package breach holds the attacks that a run can try on the walls around it, each a named thing that really tries.
//
// It promises that an attack harms nothing when it gets through: it opens and does not write, makes a file and removes it, sends signal 0.
// What it may find is planted for it (Targets), so that nothing of a real server leaves the run. The same attacks prove an installation in
// planlatch doctor and are shown to get through in tests that take walls away. The package runs in the small program that walls runs in, so
// it imports no more than that; it is not safe for concurrent use.
package breach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Wall groups attacks by what they are after.
type Wall string

// The walls.
const (
	Files       Wall = "files"       // what lies outside of the run
	Processes   Wall = "processes"   // of the server, of other runs and of this machine
	Kernel      Wall = "kernel"      // calls that no tool needs
	Privileges  Wall = "privileges"  // rights and devices
	Channels    Wall = "channels"    // sockets and memory by which others can be talked to
	Descriptors Wall = "descriptors" // left open by whoever started the run
)

// Walls are all walls in the order in which people read them.
func Walls() []Wall { return []Wall{Files, Processes, Kernel, Privileges, Channels, Descriptors} }

// State is what became of an attack.
type State string

// The states.
const (
	Held   State = "held"
	Broken State = "broken"
	Absent State = "absent" // this machine does not have what it attacks
)

// Verdict is one attack's end, one line of JSON.
type Verdict struct {
	Attack string
	Wall   Wall
	State  State
	Detail string // one sentence for people
}

// Attack is one attempt at one wall.
type Attack struct {
	Name string // what it tries, to follow "attempt to"
	Wall Wall
	Root bool // without any wall only root gets through: the kernel keeps an ordinary user from it
	try  func(*Targets) (State, string)
}

// Targets is what is planted outside of a run for its attacks. It is plain data.
type Targets struct {
	Reversed string   // the canary, back to front, so that this description of it is not taken for a find
	Files    []string // hold the canary
	Dirs     []string // theirs: to be neither listed nor written
	Shared   string   // the directory "beside" the run's work directory, as seen from outside
	Bind     string   // a directory that the run may read
	PID      int      // a process of this user, with the canary in its environment
	Marker   string   // in the arguments of that process
	Abstract string   // socket without a file; it says the canary
	Socket   string   // socket with a file; the same
	Address  string   // TCP on loopback; the same
	Shm      int      // System V segment that holds the canary; negative: the machine has none
}

// Hide returns the canary's form for Targets, and the canary for that form.
func Hide(canary string) string {
	b := []byte(canary)
	slices.Reverse(b)
	return string(b)
}

func (t *Targets) found(in string) bool { return strings.Contains(in, Hide(t.Reversed)) }

// Attacks are all attacks.
func Attacks() []Attack {
	return slices.Concat(fileAttacks(), processAttacks(), kernelAttacks(), privilegeAttacks(), channelAttacks(), []Attack{
		{"use a descriptor that was left open", Descriptors, false, leftOpen},
	})
}

// Args are the arguments, to follow what makes a program the breach stage, of a run that tries every attack on the targets in a file.
func Args(file string) []string { return []string{"try", file} }

// DecoyArgs are the arguments of a process that does nothing but be a target until its stdin ends.
func DecoyArgs(marker string) []string { return []string{"decoy", marker} }

// Main is the breach stage. self is how it starts itself again, but for the arguments; out takes verdicts, one JSON value a line.
func Main(args, self []string, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "try":
		body, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		var t Targets
		if err := json.Unmarshal(body, &t); err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		again = self
		return all(&t, out)
	case len(args) == 2 && args[0] == "decoy":
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case len(args) >= 2 && args[0] == "child":
		return child(args[1], args[2:])
	}
	return fmt.Errorf("unknown breach %q", args)
}

func all(t *Targets, out io.Writer) error {
	to := json.NewEncoder(out)
	for _, a := range Attacks() {
		state, detail := a.try(t)
		if err := to.Encode(Verdict{Attack: a.Name, Wall: a.Wall, State: state, Detail: detail}); err != nil {
			return err
		}
	}
	return nil
}

// Read reads the verdicts of a whole run of every attack. One that is missing is broken: it may be what ended the run.
func Read(r io.Reader) ([]Verdict, error) {
	got := map[string]Verdict{}
	var all error
	for from := json.NewDecoder(r); ; {
		var v Verdict
		err := from.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			all = fmt.Errorf("verdicts: %w", err)
			break
		}
		got[v.Attack] = v
	}
	var verdicts []Verdict
	for _, a := range Attacks() {
		v, ok := got[a.Name]
		if !ok {
			v = Verdict{Attack: a.Name, Wall: a.Wall, State: Broken, Detail: "it did not report"}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, all
}

// held and broken are the two ends of most attacks.
func held(err error) (State, string) {
	if err == nil {
		return Held, "nothing was found"
	}
	return Held, err.Error()
}

func broken(format string, args ...any) (State, string) {
	return Broken, fmt.Sprintf(format, args...)
}
