package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/broker"
	"github.com/planlatch/planlatch/executor/local/netns"
	"github.com/planlatch/planlatch/executor/local/process"
)

// Names inside an execution's directory.
const (
	FileLaunch  = "launch.json" // Launch; written once before the owner starts
	FileLock    = "lock"        // see HeldBy
	FileLog     = "log"         // raw output of the steps
	FileExit    = "exit.json"   // executor.Result; last, by rename
	FileLease   = "lease"       // its time of change is the last renewal
	FileControl = "control"     // fifo: one byte per request
	FileProcs   = "procs.json"  // Procs
	FileErrors  = "shim.err"    // what a dying owner had to say
	DirWork     = "work"        // private copy of the work directory (with namespaces)
	DirSource   = "src"         // the whole private tree (without namespaces); its work directory is the private copy
	DirTmp      = "tmp"         // stands for /tmp (without namespaces)
	DirEtc      = "etc"         // synthetic files for /etc
	DirOut      = "out"         // kept outputs, named by their index in Spec.Outputs
)

// Requests through the control fifo.
const (
	RequestInterrupt = 'i'
	RequestKill      = 'k'
)

// Protocol changes with Launch and with what passes between the server and the owner. A program that is replaced under a running server is told
// from its predecessor by it.
const Protocol = 4

// Launch is all that the owner is told but secrets. It is plain data in FileLaunch.
type Launch struct {
	Protocol   int
	Spec       executor.Spec
	Tombstone  string // file to create before the first step
	Namespaces bool   // bubblewrap; false: the steps run beside us
	Walls      bool   // landlock, seccomp, no-new-privileges; false only with the sandbox off
	Shim       string // this program, as seen from outside
	Bwrap      string
	Slirp      string // empty: nothing but loopback and Relays
	Offline    bool   // without namespaces: refuse IP but for TCP to the ports of Relays
	Relays     []netns.Relay
	Patterns   []string      // the other entries of an allow-list: wildcards and networks
	Names      bool          // the network has a name service of its own, for an allow-list
	Doors      []broker.Door // to the sites of Spec.Lends
	Closed     []string      // prefixes that answer "unreachable" in an open network, besides this machine's own addresses
	Hostname   string
	Cgroups    []string // control groups to make for it, one per hierarchy; none: limits are polled
	Without    []string `json:",omitempty"` // walls that are left out, in tests that show what each is good for
}

// The walls that a test can leave out. Namespaces are left out by Launch.Namespaces.
const (
	WithoutMounts      = "mounts"      // the machine's directories are mounted writable, not chosen ones to be read
	WithoutLandlock    = "landlock"    // no landlock
	WithoutSeccomp     = "seccomp"     // no filter of system calls
	WithoutCgroups     = "cgroups"     // no control groups: what they hold is watched
	WithoutDescriptors = "descriptors" // steps inherit what is open
)

// has says whether a wall was not left out.
func (l Launch) has(wall string) bool { return !slices.Contains(l.Without, wall) }

// rules say what there is in the network of the execution.
func (l Launch) rules() netns.Rules {
	return netns.Rules{
		Allow: l.Spec.Network.Allow, Deny: l.Spec.Network.Deny, Relays: l.Relays, Patterns: l.Patterns, Names: l.Names, Closed: l.Closed, Stack: l.Slirp != "",
	}
}

// lending says what is lent to the steps of the execution in dir.
func (l Launch) lending(dir string, network *netns.Network) broker.Options {
	return broker.Options{
		Lends: l.Spec.Lends, Env: l.Spec.Env, Network: network, Shared: !l.Namespaces, Doors: l.Doors,
		Bundle: filepath.Join(dir, DirEtc, fileAuthority), InsideBundle: insideAuthority,
	}
}

// WorkDir is where the private copy of the work directory lies in the execution's directory.
func (l Launch) WorkDir(dir string) string {
	if l.Namespaces {
		return filepath.Join(dir, DirWork)
	}
	return filepath.Join(dir, DirSource, l.Spec.Source.Work)
}

// Procs are the processes that a cancel without a living owner needs.
type Procs struct {
	Root  process.ID // first process of the sandbox, ancestor of all steps
	Inner process.ID
}

// Byte ranges of the lock file. The execution's byte is locked through a descriptor that every process of it inherits, so it is free only
// when none lives. The owner's byte is its own, because a hostile step could unlock the inherited one.
const (
	lockExecution = 0
	lockOwner     = 1
	lockBoth      = -1
)

// Lock takes the execution's byte of an open lock file without waiting. The lock belongs to the open file and everyone who inherits it.
func Lock(f *os.File) (bool, error) { return lockByte(f.Fd(), lockExecution) }

func lockByte(fd uintptr, at int64) (bool, error) {
	err := unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take lock: %w", err)
	}
	return true, nil
}

// Alive says whether anything of the execution in dir lives: its owner or any process of its sandbox. It takes no lock.
func Alive(dir string) (bool, error) { return held(dir, lockBoth) }

// Owned says whether the owner of the execution in dir lives.
func Owned(dir string) (bool, error) { return held(dir, lockOwner) }

func held(dir string, at int64) (bool, error) {
	f, err := os.Open(filepath.Join(dir, FileLock))
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // read only
	probe := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	if at == lockBoth {
		probe.Start, probe.Len = 0, 2
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &probe); err != nil {
		return false, fmt.Errorf("probe %s: %w", f.Name(), err)
	}
	return probe.Type != unix.F_UNLCK, nil
}

// writeDurable makes name in dir hold v, whole or not at all, also across a crash of the machine.
func writeDurable(dir, name string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadJSON reads name in dir into v.
func ReadJSON(dir, name string, v any) error {
	body, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s in %s: %w", name, dir, err)
	}
	return nil
}

// openRegular opens a regular file beneath dir for reading. What is no regular file or lies outside is fs.ErrNotExist to the caller's
// eyes or an error of os.Root: the tree was written by a hostile program.
func openRegular(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // read only
	// Not blocking: a fifo in the place of an output would hold us for ever.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(&os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}, err, f.Close())
	}
	return f, nil
}

// place maps a path inside the sandbox to where it lies without namespaces: /src to the private tree, /tmp to the private directory.
// Other strings, and paths in a bind, stay as they are. An option may carry the path after its first "=".
func (l Launch) place(dir, s string) string {
	if l.Namespaces {
		return s
	}
	lead, path := "", s
	if before, after, ok := strings.Cut(s, "="); ok && strings.HasPrefix(after, "/") && !strings.HasPrefix(s, "/") {
		lead, path = before+"=", after
	}
	for _, b := range l.Spec.Binds { // these are where they are
		if path == b.Path || strings.HasPrefix(path, b.Path+"/") {
			return s
		}
	}
	if path == InsideShim {
		return lead + l.Shim
	}
	for inside, outside := range map[string]string{"/src": DirSource, "/tmp": DirTmp, insideSealed: DirSealed} {
		if path == inside || strings.HasPrefix(path, inside+"/") {
			return lead + filepath.Join(dir, outside) + path[len(inside):]
		}
	}
	return s
}
