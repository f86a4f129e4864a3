package shim

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/process"
	"github.com/planlatch/planlatch/executor/local/usage"
)

// How often the limits are looked at. Disk use is a walk over the tree, so its pause also grows with what the walk costs.
const (
	watchEvery = 50 * time.Millisecond
	diskEvery  = 250 * time.Millisecond
	diskSeldom = 5 * time.Second
)

// supervision is the running part of an owner: which steps ran and what is ending them. One goroutine uses it.
type supervision struct {
	*owner
	result  executor.Result
	running bool             // the last step of result has not ended
	grace   <-chan time.Time // fires when an interrupted execution is killed
	lease   time.Time        // last seen renewal, as the file system tells it
	renewed time.Time        // when we saw it, on a clock that does not jump
	diskAt  time.Time        // next look
	waited  string           // what the grace was given for
	done    bool             // the inner said that no step follows
	dead    bool             // kill was called
}

// supervise follows the steps to their end, or to the end it brings about, and returns the result without outputs.
func (o *owner) supervise() executor.Result {
	s := &supervision{owner: o, renewed: time.Now()}
	s.lease, _ = s.leaseTime()
	// With room for all: what is lent to a step is lent when it starts, however busy we are.
	events := make(chan event, 2*len(o.launch.Spec.Steps)+1)
	go o.readEvents(events) // ends when the sandbox does
	requests := make(chan byte)
	stop := make(chan struct{})
	defer close(stop)
	go o.readRequests(requests, stop) // ends with this process: a fifo that we hold open ourselves never ends
	var wall <-chan time.Time
	if d := o.launch.Spec.Limits.Wall; d > 0 {
		wall = time.After(d)
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case e, more := <-events:
			if !more {
				return s.end()
			}
			s.note(e)
			if s.done {
				return s.end()
			}
		case r := <-requests:
			s.request(r)
		case <-wall:
			s.interrupt(executor.EndTimeout, fmt.Sprintf("the time limit of %s was reached", o.launch.Spec.Limits.Wall))
		case <-s.grace:
			s.kill(executor.EndKilled, fmt.Sprintf("%s, and the grace of %s ran out", s.waited, o.launch.Spec.Grace))
		case <-tick.C:
			s.watch()
		}
		if s.dead {
			return s.end()
		}
	}
}

// readEvents decodes the inner's report. It closes the channel when the inner is gone.
func (o *owner) readEvents(events chan<- event) {
	defer close(events)
	for {
		var e event
		if err := o.events.Decode(&e); err != nil {
			return
		}
		if e.Kind == "start" && e.Step < len(o.launch.Spec.Steps) && o.launch.Spec.Steps[e.Step].Lent {
			o.broker.Open()
		} else {
			o.broker.Shut()
		}
		events <- e
	}
}

func (o *owner) readRequests(requests chan<- byte, stop <-chan struct{}) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(o.control, b[:]); err != nil {
			return
		}
		select {
		case requests <- b[0]:
		case <-stop:
			return
		}
	}
}

func (s *supervision) note(e event) {
	steps := s.launch.Spec.Steps
	switch e.Kind {
	case "done":
		s.done = true
	case "start":
		s.result.Steps = append(s.result.Steps, executor.StepResult{Label: steps[e.Step].Label, Exit: -1, Started: time.Now().UTC()})
		s.running = true
	case "unstartable":
		s.running = false
		if s.result.Ended == "" {
			s.result.Ended, s.result.Reason = executor.EndStart, e.Text
		}
	case "end":
		last := &s.result.Steps[len(s.result.Steps)-1]
		last.Exit, last.Took, s.running = e.Exit, e.Took, false
		last.OK = e.Exit == 0
		if ok := steps[e.Step].OK; len(ok) > 0 {
			last.OK = slices.Contains(ok, e.Exit)
		}
	}
}

func (s *supervision) request(r byte) {
	switch r {
	case RequestInterrupt:
		if s.result.Ended == "" {
			s.result.Ended, s.result.Reason = executor.EndCanceled, "canceled"
		}
		s.ask()
	case RequestKill:
		s.kill(executor.EndKilled, executor.KilledOnRequest)
	}
}

// ask passes an interrupt to the running step. The inner passes on only the first.
func (s *supervision) ask() {
	_, _ = s.brief.Write([]byte{RequestInterrupt}) // a dead inner shows as the end of its report
}

// interrupt ends the execution for a reason of its own: an interrupt now, a kill after the grace. The first reason stays.
func (s *supervision) interrupt(why executor.End, reason string) {
	if s.grace != nil || s.dead {
		return
	}
	if s.result.Ended == "" || s.result.Ended == executor.EndCanceled {
		s.result.Ended, s.result.Reason = why, reason
	}
	s.waited = reason
	s.ask()
	s.grace = time.After(s.launch.Spec.Grace)
}

// kill ends everything. The supervision returns right after it.
func (s *supervision) kill(why executor.End, reason string) {
	s.grace = nil
	switch s.result.Ended {
	case executor.EndDisk, executor.EndLog, executor.EndInodes, executor.EndFiles: // the limit stays the name of it
	default:
		s.result.Ended, s.result.Reason = why, reason
	}
	s.dead = true
}

// end completes the result. Steps that all ran well are a success, even if somebody asked for an end meanwhile.
func (s *supervision) end() executor.Result {
	complete := !s.running && len(s.result.Steps) == len(s.launch.Spec.Steps)
	for _, step := range s.result.Steps {
		complete = complete && step.OK
	}
	if s.running {
		last := &s.result.Steps[len(s.result.Steps)-1]
		last.Took = time.Since(last.Started)
	}
	if !complete && s.result.Ended == "" { // a write that failed at a limit can end a step before anybody looks
		s.watchDisk(nil, s.launch.Spec.Limits)
	}
	switch {
	case complete:
		s.result.Ended, s.result.Reason = executor.EndExit, ""
	case s.groups.Starved() && !s.dead:
		s.result.Ended, s.result.Reason = executor.EndMemory, s.memoryReason()
	case s.crowded() && !s.dead:
		s.result.Ended, s.result.Reason = executor.EndProcesses, s.crowdReason()
	case s.result.Ended == "" && !s.done:
		s.result.Ended, s.result.Reason = executor.EndLost, "the execution was killed from outside"
	case s.result.Ended == "":
		s.result.Ended = executor.EndExit
	}
	return s.result
}

// watch looks at every limit and at the lease.
func (s *supervision) watch() {
	buryAll()
	limits := s.launch.Spec.Limits
	s.watchLease()
	if limits.Log > 0 {
		if info, err := s.log.Stat(); err == nil {
			s.bound(executor.EndLog, info.Size(), limits.Log, "log limit of "+sizeText(limits.Log))
		}
	}
	processes, err := process.Descendants(os.Getpid(), s.network.Stack())
	if err != nil {
		return // no /proc for a moment: the next look tells
	}
	s.watchProcesses(processes, limits)
	if time.Now().After(s.diskAt) {
		began := time.Now()
		s.watchDisk(processes, limits)
		s.diskAt = time.Now().Add(min(max(diskEvery, 20*time.Since(began)), diskSeldom))
	}
}

// bound interrupts what passes its limit, and kills what goes on past it by a quarter.
func (s *supervision) bound(why executor.End, used, limit int64, what string) {
	reason := "the " + what + " was reached"
	if used > limit {
		s.interrupt(why, reason)
	}
	if used > overrun(limit) && s.result.Ended == why {
		s.kill(why, reason)
	}
}

// watchDisk bounds what the execution has written: its directory, what it holds open there without a name, and the entries of its memory disks.
func (s *supervision) watchDisk(processes []process.Stat, limits executor.Limits) {
	if limits.Disk == 0 && limits.Inodes == 0 {
		return
	}
	used := usage.Measure(s.dir, limits.Inodes)
	if limits.Disk > 0 {
		s.bound(executor.EndDisk, used.Bytes+usage.Removed(s.dir, processes), limits.Disk, "disk limit of "+sizeText(limits.Disk))
	}
	if limits.Inodes > 0 {
		_, inMemory := s.tmpfs()
		what := fmt.Sprintf("limit of %d files and directories", limits.Inodes)
		s.bound(executor.EndInodes, int64(used.Entries+inMemory), int64(limits.Inodes), what)
		if used.Deep { // nobody can count what is in there
			s.kill(executor.EndInodes, fmt.Sprintf("the limit of directories %d deep was reached", usage.MostDeep))
		}
	}
}

func (s *supervision) watchProcesses(processes []process.Stat, limits executor.Limits) {
	var memory int64
	for _, p := range processes {
		memory += p.RSS
		if limits.Files > 0 && p.PID != s.inner && process.OpenFiles(p.PID) >= limits.Files {
			s.interrupt(executor.EndFiles, fmt.Sprintf("the limit of %d open files was reached", limits.Files))
		}
	}
	switch {
	case limits.Processes > 0 && len(processes) > limits.Processes+scaffold(s.launch):
		s.kill(executor.EndProcesses, fmt.Sprintf("the limit of %d processes was reached", limits.Processes))
	case s.crowded():
		s.kill(executor.EndProcesses, s.crowdReason())
	}
	if limits.Memory == 0 {
		return
	}
	if !s.groups.Memory { // the kernel counts for a control group what no process owns; else it is added
		inFiles, _ := s.tmpfs()
		memory += inFiles
	}
	if s.groups.Starved() || (memory > limits.Memory && !s.groups.Memory) {
		s.kill(executor.EndMemory, s.memoryReason())
	}
}

// tmpfs is what the sandbox's own file systems in memory hold.
func (s *supervision) tmpfs() (bytes int64, entries int) {
	return usage.Memory(s.inner, insideTmp, "/dev/shm")
}

func (s *supervision) memoryReason() string {
	return fmt.Sprintf("the memory limit of %s was reached (%s)", sizeText(s.launch.Spec.Limits.Memory), s.groups.Holder())
}

// crowded says that the kernel refused a process or a thread. It may do so before we have counted the processes, and we count no threads.
func (s *supervision) crowded() bool { return s.launch.Spec.Limits.Processes > 0 && s.groups.Crowded() }

func (s *supervision) crowdReason() string {
	processes := s.launch.Spec.Limits.Processes
	return fmt.Sprintf("the limit of %d processes was reached (%d with all threads)", processes, tasks(processes))
}

// scaffold is how many processes of an execution are ours: the inner, and bubblewrap around it.
func scaffold(l Launch) int {
	if l.Namespaces {
		return 2
	}
	return 1
}

// watchLease ends an unattended execution that nobody renewed. It measures the time between changes that it saw, so that neither a set
// clock nor the sleep of the machine counts.
func (s *supervision) watchLease() {
	limit := s.launch.Spec.Unattended
	if limit == 0 {
		return
	}
	if at, err := s.leaseTime(); err == nil && !at.Equal(s.lease) {
		s.lease, s.renewed = at, time.Now()
	}
	if time.Since(s.renewed) > limit {
		s.interrupt(executor.EndLost, fmt.Sprintf("nobody attended to it for %s", limit))
	}
}

func (s *supervision) leaseTime() (time.Time, error) {
	info, err := os.Stat(filepath.Join(s.dir, FileLease))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
