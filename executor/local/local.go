// Package local runs executions on this machine, each in a sandbox of its own.
//
// It promises what the port promises, across kill -9 of the server at any instant: an execution is a detached process that owns a directory,
// and all that this package knows about it is in that directory. A name is used once ever: a tombstone, written durably before the first
// step, stays when the execution is removed. A start that died before the tombstone ran nothing; Attach answers ErrAbsent for it and Start may use
// the name again. After the tombstone Start answers ErrExists, and Attach follows, returns the result, or answers ErrLost when nothing of the
// execution lives and no result was written.
//
// Inside, the source is at /src, read-only but for the private copy of the work directory, in which the steps run; /tmp is private; the rest
// is the read-only system of this machine, and the binds at their own paths. Without namespaces (sandbox auto or off) there is no /src: paths
// that begin with /src or /tmp in Argv and in the values of Env (also behind the "=" of an option) are replaced by where the private tree
// and the private directory lie, so callers write the same Spec. What a file contains is not replaced.
//
// A network of mode none has loopback and the allowed targets, which a relay outside dials. Mode open adds slirp4netns. Where it is missing,
// required refuses and auto falls back to none. Without namespaces, none is approximated: IP is refused but for TCP to the allowed ports.
//
// An Executor is safe for concurrent use, and several (also of several processes) may share a directory. Callers call ShimMain first thing
// in main, and renew what they set Unattended on.
package local

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// Sandbox says how strictly executions are walled in.
type Sandbox string

// The modes of the sandbox.
const (
	SandboxRequired Sandbox = "required" // every wall, or no execution starts
	SandboxAuto     Sandbox = "auto"     // namespaces when the machine gives them; landlock, seccomp and the empty environment always
	SandboxOff      Sandbox = "off"      // an empty environment and limits, no wall
)

// Options of an executor.
type Options struct {
	Dir     string       // keeps the executions; made with mode 0700
	Sandbox Sandbox      // empty: required
	Shim    string       // path of planlatch-shim; empty: beside our own program, else our own program again (ShimMain)
	Bwrap   string       // path of bubblewrap; empty: found on PATH
	Slirp   string       // path of slirp4netns; empty: found on PATH
	Log     *slog.Logger // nil: nothing is logged

	// Cgroups is where control groups are mounted; empty: /sys/fs/cgroup.
	Cgroups string

	// Without leaves walls out, so that a test can show what each is good for; see the constants of package shim. Refused in every program
	// that "go test" did not make.
	Without []string
}

// Executor implements executor.Executor in a directory:
//
//	runs/<name>/   an execution; see package shim for the files in it
//	names/<name>   its tombstone, an empty file, kept until Expire
//	trash/         what is being removed
type Executor struct {
	dir     string
	sandbox Sandbox
	shim    string
	bwrap   string
	slirp   string
	log     *slog.Logger
	without []string
	groups  string        // where control groups are mounted
	probes  func() probes // each probed once, when first needed
	noSlirp func() error

	mu       sync.Mutex
	children map[int]bool // owners that we started and have not buried
}

var _ executor.Executor = (*Executor)(nil)

// The subdirectories of Options.Dir.
const (
	dirRuns  = "runs"
	dirNames = "names"
	dirTrash = "trash"
)

// New opens the directory of executions and clears what a killed Start or Remove left. It starts nothing and probes nothing: see Walls and Refusal.
func New(o Options) (*Executor, error) {
	if o.Sandbox == "" {
		o.Sandbox = SandboxRequired
	}
	if o.Sandbox != SandboxRequired && o.Sandbox != SandboxAuto && o.Sandbox != SandboxOff {
		return nil, fmt.Errorf("sandbox %q is unknown: use required, auto or off", o.Sandbox)
	}
	if o.Cgroups == "" {
		o.Cgroups = "/sys/fs/cgroup"
	}
	if len(o.Without) > 0 && !testing.Testing() {
		return nil, errors.New("walls are left out in tests alone")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Executor{sandbox: o.Sandbox, log: o.Log, without: o.Without, groups: o.Cgroups, children: make(map[int]bool)}
	for _, sub := range []string{dirRuns, dirNames, dirTrash} {
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("directory of executions: %w", err)
		}
	}
	// Mounts and landlock know only where things really are.
	actual, err := filepath.EvalSymlinks(o.Dir)
	if err == nil {
		e.dir, err = filepath.Abs(actual)
	}
	if err != nil {
		return nil, fmt.Errorf("directory of executions: %w", err)
	}
	if system := inSystem(e.dir); system != "" && e.sandbox != SandboxOff {
		return nil, fmt.Errorf("directory of executions %s lies in %s, which every run can read: move the data directory", e.dir, system)
	}
	if e.shim, err = findShim(o.Shim); err != nil {
		return nil, err
	}
	e.bwrap, e.slirp = find(o.Bwrap, "bwrap"), find(o.Slirp, "slirp4netns")
	e.probes, e.noSlirp = sync.OnceValue(e.probe), sync.OnceValue(e.probeSlirp)
	return e, errors.Join(e.emptyTrash(), e.abandonDead())
}

// ShimMain runs a helper stage if args (as os.Args) ask for one. Every program that uses New calls it first thing in main or TestMain, and
// exits with exit when isShim is true.
func ShimMain(args []string) (exit int, isShim bool) { return shim.Main(args) }

// Harden closes this process to others of the same user: no debugger, no /proc/<pid>/environ, no core. Without namespaces it is what keeps the
// server's secrets from the runs.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close this process to others: %w", err)
	}
	return nil
}

// Visible says whether every run sees a path without a bind, because it is part of this machine's system. The path is clean and absolute.
func Visible(path string) bool {
	return slices.ContainsFunc(shim.Shown(), func(shown string) bool { return within(path, shown) })
}

// inSystem names the system directory that dir lies in, or "".
func inSystem(dir string) string {
	for _, system := range shim.SystemDirs() {
		if actual, err := filepath.EvalSymlinks(system); err == nil && within(dir, actual) {
			return system
		}
	}
	return ""
}

// within says whether path is dir or lies in it. Both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

func findShim(given string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	if given == "" {
		given = filepath.Join(filepath.Dir(self), "planlatch-shim")
		if _, err := os.Stat(given); err != nil {
			given = self
		}
	}
	path, err := filepath.EvalSymlinks(given)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("find planlatch-shim: %w", err)
	}
	return path, nil
}

// find returns the absolute path of a program, or "". The server's environment may be wiped, so the usual places count as PATH.
func find(given, name string) string {
	candidates := []string{given}
	if given == "" {
		if path, err := exec.LookPath(name); err == nil {
			candidates = []string{path}
		}
		candidates = append(candidates, "/usr/local/bin/"+name, "/usr/bin/"+name, "/bin/"+name)
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil {
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// path of an execution's directory.
func (e *Executor) path(n executor.Name) string { return filepath.Join(e.dir, dirRuns, string(n)) }

func (e *Executor) tombstone(n executor.Name) string {
	return filepath.Join(e.dir, dirNames, string(n))
}

// started says whether the name's steps ever began.
func (e *Executor) started(n executor.Name) (bool, error) {
	_, err := os.Lstat(e.tombstone(n))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// checkName refuses what is no file name of ours.
func checkName(n executor.Name) error {
	ok := n != "" && len(n) <= 200 && n[0] != '-'
	for _, c := range []byte(n) {
		ok = ok && (c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return fmt.Errorf("execution name %q: use letters, digits and dashes", n)
	}
	return nil
}

func (e *Executor) emptyTrash() error {
	left, err := os.ReadDir(filepath.Join(e.dir, dirTrash))
	if err != nil {
		return fmt.Errorf("directory of executions: %w", err)
	}
	for _, entry := range left {
		if err := removeAll(filepath.Join(e.dir, dirTrash, entry.Name())); err != nil {
			e.log.Warn("leftover of a removed execution stays", "error", err)
		}
	}
	return nil
}

// abandonDead frees what starts that died left: of a run that was to end meanwhile nobody will ever start that name again.
func (e *Executor) abandonDead() error {
	left, err := os.ReadDir(filepath.Join(e.dir, dirRuns))
	if err != nil {
		return fmt.Errorf("directory of executions: %w", err)
	}
	for _, entry := range left {
		n := executor.Name(entry.Name())
		began, err := e.started(n)
		if err == nil && !began {
			err = e.abandon(n)
		}
		if err != nil {
			e.log.Warn("leftover of a start that died stays", "execution", n, "error", err)
		}
	}
	return nil
}

// bury reaps owners of ours that ended: each is a child of this process until then.
func (e *Executor) bury() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for pid := range e.children {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || errors.Is(err, unix.ECHILD) {
			delete(e.children, pid)
		}
	}
}
