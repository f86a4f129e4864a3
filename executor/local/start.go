package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// Start claims the name, lays the source and the inputs out, and returns once a detached owner runs the steps.
func (e *Executor) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	e.bury()
	if err := e.check(s, secrets); err != nil {
		return fmt.Errorf("execution %s: %w", s.Name, err)
	}
	launch, err := e.plan(ctx, s)
	if err != nil {
		return fmt.Errorf("execution %s: %w", s.Name, err)
	}
	if err := e.start(ctx, launch, e.path(s.Name), secrets); err != nil {
		return fmt.Errorf("execution %s: %w", s.Name, err)
	}
	return nil
}

// start runs launch in dir. When it returns an error nothing runs, and but for ErrExists nothing is left.
func (e *Executor) start(ctx context.Context, launch shim.Launch, dir string, secrets executor.Secrets) (err error) {
	lock, err := e.claim(launch.Spec.Name, dir)
	if err != nil {
		return err
	}
	// The owner inherits the lock; closing our copy does not open it.
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err = layOut(launch, dir); err == nil {
		err = e.launch(ctx, dir, lock, secrets)
	}
	if err != nil {
		err = errors.Join(err, e.discard(dir)) // we hold its lock: nobody else can take it for theirs meanwhile
	}
	return err
}

// claim makes the execution's directory and takes its lock. A directory whose start died before the first step is taken over.
func (e *Executor) claim(n executor.Name, dir string) (*os.File, error) {
	if used, err := e.started(n); err != nil || used {
		return nil, errors.Join(executor.ErrExists, err)
	}
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("claim the name: %w", err)
		}
		lock, err := os.OpenFile(filepath.Join(dir, shim.FileLock), os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed between the two
		}
		if err != nil {
			return nil, fmt.Errorf("claim the name: %w", err)
		}
		free, err := shim.Lock(lock)
		if err != nil || !free {
			if err == nil {
				err = executor.ErrExists // it runs, or starts at this moment
			}
			return nil, errors.Join(err, lock.Close())
		}
		ours, used, alive, err := e.claimed(n, dir, lock)
		switch {
		case err != nil:
			return nil, errors.Join(err, lock.Close())
		case used || alive:
			return nil, errors.Join(executor.ErrExists, lock.Close(), e.withdraw(dir, used))
		case ours:
			if err := e.clear(dir); err != nil {
				return nil, errors.Join(err, lock.Close())
			}
			return lock, nil
		}
		if err := lock.Close(); err != nil { // the directory was replaced under us
			return nil, err
		}
	}
}

// claimed tells of a lock that we hold whether it is that of the directory, whether the name's steps ever began, and whether its owner lives.
func (e *Executor) claimed(n executor.Name, dir string, lock *os.File) (ours, used, alive bool, err error) {
	ours, err = sameFile(lock, filepath.Join(dir, shim.FileLock))
	used, err2 := e.started(n)
	if err = errors.Join(err, err2); err == nil && ours {
		alive, err = shim.Owned(dir)
	}
	return ours, used, alive, err
}

// abandon frees what a start that died before its first step left, unless that is still going on, or begins anew.
func (e *Executor) abandon(n executor.Name) (err error) {
	dir := e.path(n)
	lock, err := os.OpenFile(filepath.Join(dir, shim.FileLock), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.Remove(dir); errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) { // it died even earlier, or goes on
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if free, err := shim.Lock(lock); err != nil || !free {
		return err
	}
	ours, used, alive, err := e.claimed(n, dir, lock)
	if err != nil || !ours || used || alive {
		return err
	}
	return e.discard(dir)
}

// withdraw removes the empty directory that a claim of a removed name made.
func (e *Executor) withdraw(dir string, used bool) error {
	if _, err := os.Lstat(filepath.Join(dir, shim.FileLaunch)); used && errors.Is(err, os.ErrNotExist) {
		return e.discard(dir)
	}
	return nil
}

func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(a, b), err
}

// clear empties a claimed directory but for its lock.
func (e *Executor) clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != shim.FileLock {
			if err := removeAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// ackTime is how long an owner may take between the word to go and its answer: two writes to disk.
const ackTime = 30 * time.Second

// launch starts the owner and sees it through to running steps. When ctx ends before the word to go, nothing ran.
func (e *Executor) launch(ctx context.Context, dir string, lock *os.File, secrets executor.Secrets) error {
	stdinRead, stdin, err := os.Pipe()
	if err != nil {
		return err
	}
	ack, ackWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdinRead.Close(), stdin.Close())
	}
	defer func() { _ = ack.Close() }() // read only
	pid, err := e.spawn(dir, stdinRead, ackWrite, lock)
	if err = errors.Join(err, stdinRead.Close(), ackWrite.Close()); err != nil {
		return errors.Join(err, stdin.Close())
	}
	goes, err := e.converse(ctx, stdin, ack, secrets)
	err = errors.Join(err, stdin.Close()) // before the word to go, its end makes the owner give up
	if err == nil {
		e.adopt(pid)
		return nil
	}
	if goes { // it had the word and did not answer: what counts now is whether the tombstone was written
		_ = unix.Kill(pid, unix.SIGKILL) // our own child, not yet waited for
	}
	if _, waitErr := unix.Wait4(pid, nil, 0, nil); waitErr != nil && !errors.Is(waitErr, unix.ECHILD) {
		err = errors.Join(err, waitErr)
	}
	if began, beganErr := e.started(executor.Name(filepath.Base(dir))); began || beganErr != nil {
		// Not ours to take back. Attach tells what became of it.
		e.log.Warn("execution began, but its owner did not answer", "execution", filepath.Base(dir), "error", errors.Join(err, beganErr))
		return beganErr
	}
	return err
}

// adopt remembers a child that is to be buried one day.
func (e *Executor) adopt(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.children[pid] = true
}

func (e *Executor) spawn(dir string, stdin, ack, lock *os.File) (pid int, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	complaints, err := os.OpenFile(filepath.Join(dir, shim.FileErrors), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, complaints.Close()) }()
	// A session of its own: no signal to our group, and no end of our terminal, reaches it. No parent-death signal, for the same reason.
	pid, err = syscall.ForkExec(e.shim, shim.OwnerArgs(dir), &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Sys: &syscall.SysProcAttr{Setsid: true},
		Files: []uintptr{stdin.Fd(), null.Fd(), complaints.Fd(), ack.Fd(), lock.Fd()},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", e.shim, err)
	}
	return pid, nil
}

// converse sends the secrets, waits until everything is ready, gives the word to go and waits until the steps run. goes says whether the
// word was given: until then the end of stdin means that nothing will run.
func (e *Executor) converse(ctx context.Context, stdin, ack *os.File, secrets executor.Secrets) (goes bool, err error) {
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = errors.Join(stdin.SetDeadline(past), ack.SetDeadline(past)) // wakes the read or write below, which reports
	})
	defer stop()
	answers := json.NewDecoder(ack)
	writeErr := shim.WriteFrame(stdin, secrets)
	if err := readAck(answers); err != nil { // the owner's own word says more than a broken pipe
		if cause := context.Cause(ctx); cause != nil {
			return false, cause
		}
		return false, err
	}
	if writeErr != nil {
		return false, fmt.Errorf("hand secrets over: %w", writeErr)
	}
	if !stop() { // ctx ended: without the word to go nothing runs
		return false, context.Cause(ctx)
	}
	if err := errors.Join(stdin.SetDeadline(time.Time{}), ack.SetDeadline(time.Now().Add(ackTime))); err != nil {
		return false, err
	}
	if _, err := stdin.Write([]byte{'g'}); err != nil {
		return true, fmt.Errorf("start the steps: %w", err)
	}
	return true, readAck(answers)
}

func readAck(answers *json.Decoder) error {
	var a shim.Ack
	err := answers.Decode(&a)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("planlatch-shim ended without a word")
	case err != nil:
		return fmt.Errorf("planlatch-shim: %w", err)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

var pairPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// check refuses what no execution can be made of, before anything is touched.
func (e *Executor) check(s executor.Spec, secrets executor.Secrets) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkName(s.Name); err != nil {
		faults = append(faults, err)
	}
	for _, pair := range slices.Concat(s.Env, secrets.Env) {
		if name, _, _ := strings.Cut(pair, "="); !pairPattern.MatchString(pair) || strings.ContainsRune(pair, 0) {
			fault("environment: %q is no NAME=value", name) // never the value
		}
	}
	faults = append(faults, checkFiles(secrets.Files), checkLends(s.Lends, secrets.Lent))
	faults = append(faults, checkSteps(s), checkPaths(s))
	for _, b := range s.Binds {
		if err := e.checkBind(b); err != nil {
			faults = append(faults, err)
		}
	}
	if m := s.Network.Mode; m != executor.NetworkOpen && m != executor.NetworkAllowList && m != executor.NetworkNone {
		fault("network mode %q is unknown: use open, allow_list or none", m)
	}
	return errors.Join(faults...)
}

func checkSteps(s executor.Spec) error {
	var faults []error
	for _, step := range s.Steps {
		if len(step.Argv) == 0 || step.Argv[0] == "" || strings.Contains(step.Argv[0], "/") && !filepath.IsAbs(step.Argv[0]) {
			faults = append(faults, fmt.Errorf("step %q: argv[0] must be an absolute path or a name without a slash", step.Label))
		}
		for _, name := range []string{step.Seals, step.Stdout} {
			if name != "" && (filepath.Base(name) != name || !slices.Contains(s.Outputs, name)) {
				faults = append(faults, fmt.Errorf("step %q: %q is no output without a slash", step.Label, name))
			}
		}
	}
	return errors.Join(faults...)
}

// checkPaths refuses inputs and outputs that lie elsewhere, or in each other's place.
func checkPaths(s executor.Spec) error {
	var faults []error
	for _, f := range s.Inputs {
		if !filepath.IsLocal(f.Name) || f.Name == "." {
			faults = append(faults, fmt.Errorf("input %q lies outside the work directory", f.Name))
		}
		if f.Sealed && (filepath.Base(f.Name) != f.Name || slices.Contains(s.Outputs, f.Name)) {
			faults = append(faults, fmt.Errorf("input %q cannot be sealed: it has a slash in its name, or is an output as well", f.Name))
		}
	}
	for _, name := range s.Outputs {
		if !filepath.IsLocal(name) || name == "." {
			faults = append(faults, fmt.Errorf("output %q lies outside the work directory", name))
		}
	}
	return errors.Join(faults...)
}

// checkFiles refuses secret files that would overwrite each other or not fit into the memory set aside for them.
func checkFiles(files []executor.SecretFile) error {
	seen, size := map[string]bool{}, 0
	for _, f := range files {
		if !pairPattern.MatchString(f.Variable+"=") || seen[f.Variable] {
			return fmt.Errorf("secret file: %q is no name of a variable, or is given twice", f.Variable)
		}
		seen[f.Variable] = true
		size += len(f.Content)
	}
	if size > executor.MaxSecretFiles {
		return fmt.Errorf("secret files: they have %d bytes, the limit is %d", size, executor.MaxSecretFiles)
	}
	return nil
}

// checkBind refuses binds that would hide the sandbox's own places or show what runs must never see.
func (e *Executor) checkBind(b executor.Bind) error {
	if !filepath.IsAbs(b.Path) || filepath.Clean(b.Path) != b.Path {
		return fmt.Errorf("bind %q: use a clean absolute path", b.Path)
	}
	for _, own := range []string{"/proc", "/dev", "/sys", "/src", "/run/planlatch-shim", "/run/planlatch-secrets", "/run/planlatch-lent.crt", executor.SealedAt} {
		if within(b.Path, own) || within(own, b.Path) {
			return fmt.Errorf("bind %s: the sandbox has its own %s", b.Path, own)
		}
	}
	actual, err := filepath.EvalSymlinks(b.Path)
	if err != nil {
		return fmt.Errorf("bind %s: %w", b.Path, err)
	}
	if within(e.dir, actual) || within(actual, e.dir) {
		return fmt.Errorf("bind %s: it would show the directory of executions", b.Path)
	}
	return nil
}
