package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/confine"
	"github.com/planlatch/planlatch/program"
)

// The inner's descriptors: 0 brings the brief and then one byte per request, 2 takes complaints until the brief is read.
const (
	fdReport = 3 // events
	fdLog    = 4
	fdLock   = 5
	fdHold   = 6 // the network stack of the execution lives until the last copy of this closes
	fdSealed = 7 // the directory of sealed outputs
)

// ownerGone is the request that nobody writes: the pipe ended. A running step of an apply is finished, no other is started.
const ownerGone = 0

// brief is the frame that the inner reads: the only place where secrets and steps meet.
type brief struct {
	Steps   []executor.Step
	Env     []string
	Files   []executor.SecretFile
	Private bool           // Files go to the tmpfs of this sandbox; false: there is none
	Walls   *confine.Walls `json:",omitempty"`
	Stops   bool           // stop when the owner dies: a plan. An apply finishes its running step
	Limits  confine.Limits
	Inherit bool // see WithoutDescriptors
	Sealed  []string
}

// event is one line of the inner's report.
type event struct {
	Kind string // ready, start, end, unstartable, done
	Step int
	Exit int
	Took time.Duration
	Text string `json:",omitempty"`
}

// inner is the state of the running inner stage. One goroutine reads requests, the main one runs the steps.
type inner struct {
	brief    brief
	files    []*os.File // secret files without a place of their own; the steps inherit them
	sealed   map[string]*os.File
	full     map[string]bool // what was sealed already
	report   *json.Encoder
	log      *os.File
	requests chan byte
	stopped  bool // no further step
	asked    bool // the running step was interrupted
}

// runInner walls this process in and runs the steps. It returns an error only before the first step.
func runInner(signals <-chan os.Signal) error {
	// Landlock gives each thread a domain of its own, and no thread may signal what another one started: start and signal on one thread.
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) // of this thread; nobody may refuse to step back
	in := &inner{report: json.NewEncoder(os.NewFile(fdReport, "report")), log: os.NewFile(fdLog, "log"), requests: make(chan byte, 4), full: map[string]bool{}}
	stdin := os.NewFile(0, "brief")
	if err := readFrame(stdin, &in.brief); err != nil {
		return fmt.Errorf("read brief: %w", err)
	}
	if !in.brief.Inherit {
		if err := unix.CloseRange(fdReport, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
			return fmt.Errorf("mark descriptors: %w", err)
		}
	}
	unix.Umask(0o022) // what a step writes must not depend on who started the server
	if err := in.brief.Limits.Set(); err != nil {
		return err
	}
	if err := in.layFiles(); err != nil { // before the walls: nobody writes there afterwards
		return fmt.Errorf("lay secret files: %w", err)
	}
	var err error
	if in.sealed, err = openSealed(fdSealed, in.brief.Sealed); err != nil {
		return err
	}
	if in.brief.Walls != nil {
		if err := in.brief.Walls.Raise(); err != nil {
			return err
		}
	}
	// From here on another process of this user cannot read the secrets in our memory, or write to our descriptors.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close this process to others: %w", err)
	}
	in.tell(event{Kind: "ready"})
	if _, err := io.ReadFull(stdin, make([]byte, 1)); err != nil {
		return errors.New("the owner is gone before the first step")
	}
	go in.listen(stdin, signals) // lives as long as the process
	for i := range in.brief.Steps {
		in.drain()
		if in.stopped || !in.step(i) {
			break
		}
	}
	in.tell(event{Kind: "done"})
	return nil
}

// listen turns requests of the owner, and SIGINT from a server that outlived it, into requests.
func (in *inner) listen(stdin io.Reader, signals <-chan os.Signal) {
	bytes := make(chan byte)
	go func() {
		defer close(bytes)
		var b [1]byte
		for {
			if _, err := io.ReadFull(stdin, b[:]); err != nil {
				return
			}
			bytes <- b[0]
		}
	}()
	for {
		select {
		case b, ok := <-bytes:
			if !ok {
				bytes = nil
				in.requests <- ownerGone
				continue
			}
			in.requests <- b
		case s := <-signals:
			if s == os.Interrupt {
				in.requests <- RequestInterrupt
			}
		}
	}
}

// tell reports to the owner. When it is gone nobody listens, and the step that runs matters more.
func (in *inner) tell(e event) { _ = in.report.Encode(e) } //nolint:errchkjson // as said above

// step runs one step and says whether the next may run.
func (in *inner) step(i int) bool {
	s := in.brief.Steps[i]
	started := time.Now()
	in.tell(event{Kind: "start", Step: i})
	streams, err := in.open(s)
	var pid int
	if err == nil {
		pid, err = in.start(s, streams)
	}
	if err != nil {
		in.tell(event{Kind: "unstartable", Step: i, Text: fmt.Sprintf("%s could not be started: %v", s.Argv[0], err)})
		return false
	}
	exited := make(chan int, 1)
	go func() { exited <- reap(pid) }()
	exit := in.wait(pid, exited)
	// What the step left behind in its group is not part of the next one.
	_ = unix.Kill(-pid, unix.SIGKILL) // best effort: usually nobody is left
	if err := streams.finish(in); err != nil {
		exit = -1 // half of an output is none
	}
	in.tell(event{Kind: "end", Step: i, Exit: exit, Took: time.Since(started)})
	ok := exit == 0
	if len(s.OK) > 0 {
		ok = slices.Contains(s.OK, exit)
	}
	return ok
}

// wait follows a step to its end and passes at most one interrupt on: the second makes tofu stop without saving state.
func (in *inner) wait(pid int, exited <-chan int) int {
	for {
		select {
		case exit := <-exited:
			in.drain()
			return exit
		case b := <-in.requests:
			in.take(b, pid)
		}
	}
}

// drain takes requests that came while a step ended, so that they stop the next one.
func (in *inner) drain() {
	for {
		select {
		case b := <-in.requests:
			in.take(b, 0)
		default:
			return
		}
	}
}

// take acts on one request; group is the running step's or 0.
func (in *inner) take(b byte, group int) {
	in.stopped = true
	switch {
	case b == ownerGone && in.brief.Stops:
		// Nobody watches the lease any more, so a second plan may start. With us goes all that is in our namespace.
		if group > 0 {
			_ = unix.Kill(-group, unix.SIGKILL) // best effort: it may have just ended
		}
		os.Exit(1)
	case b == RequestInterrupt && group > 0 && !in.asked:
		in.asked = true
		_ = unix.Kill(-group, unix.SIGINT) // best effort: it may have just ended
	}
}

// start starts a step in a process group of its own.
func (in *inner) start(s executor.Step, streams streams) (int, error) {
	defer streams.handed()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }() // the step has its own copy
	if s.Seals != "" {
		if err := in.seal(s.Seals); err != nil {
			return 0, fmt.Errorf("seal %s: %w", s.Seals, err)
		}
	}
	log := streams.log.write.Fd()
	out := log
	if streams.kept != nil {
		out = streams.kept.write.Fd()
	}
	at, err := program.Find(s.Argv[0], in.brief.Env)
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(at, s.Argv, &syscall.ProcAttr{
		Env:   append(without(in.brief.Env, slices.Concat(s.Without, variables(s.Env))), s.Env...),
		Files: append([]uintptr{null.Fd(), out, log, fdLock}, in.inherited(s.Without)...),
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
}

// without is an environment but for some variables.
func without(env, names []string) []string {
	if len(names) == 0 {
		return env
	}
	return slices.DeleteFunc(slices.Clone(env), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(names, name)
	})
}

// variables are the names in an environment.
func variables(env []string) []string {
	var all []string
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		all = append(all, name)
	}
	return all
}

// reap waits for pid and buries whatever else dies: as process 1 we inherit every orphan. It returns -1 when a signal ended pid.
func reap(pid int) int {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return -1
		case got == pid && status.Exited():
			return status.ExitStatus()
		case got == pid && status.Signaled():
			return -1
		}
	}
}
