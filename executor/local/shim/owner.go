package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/broker"
	"github.com/planlatch/planlatch/executor/local/cgroup"
	"github.com/planlatch/planlatch/executor/local/netns"
	"github.com/planlatch/planlatch/executor/local/process"
)

// startTime is how long any part of a start may take before the execution is given up, with nothing run.
const startTime = time.Minute

// owner is the stage that owns one execution.
type owner struct {
	dir     string
	launch  Launch
	log     *os.File
	control *os.File // requests; open from the start, so that none is lost before the steps run
	brief   *os.File // to the inner: the frame, then requests
	report  *os.File // from the inner
	events  *json.Decoder
	errors  *os.File // what the stages before the inner complain
	network netns.Network
	broker  broker.Broker
	groups  cgroup.Groups
	inner   int // its process
}

// own is the owner stage. It returns an error when nothing ran; whatever happens to the steps is in the result.
func own(dir string) error {
	o := &owner{dir: dir}
	ack := os.NewFile(fdAck, "ack")
	unix.CloseOnExec(fdAck)
	unix.CloseOnExec(fdHeld)
	err := o.prepare()
	if err == nil {
		err = o.launched(ack)
	}
	if err != nil {
		o.abandon()
		if text, _ := io.ReadAll(io.LimitReader(o.complaints(), 4096)); len(text) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(text)))
		}
		return errors.Join(err, json.NewEncoder(ack).Encode(Ack{Error: err.Error()}))
	}
	// The server reads "it runs" and forgets us. It may be dead by now, which is no concern of the execution.
	_ = errors.Join(json.NewEncoder(ack).Encode(Ack{}), ack.Close())
	result := o.supervise()
	o.finish()
	o.keepOutputs(&result)
	return o.patiently(func() error { return writeDurable(dir, FileExit, result) })
}

// The waits for room on a full disk. What a plan leaves can be made again; what an apply leaves may be the only copy of a state, and without
// its result nobody knows how far it came.
const (
	roomEvery = time.Second
	roomPlan  = time.Minute
)

// patiently repeats a write until the disk has room for it.
func (o *owner) patiently(write func() error) error {
	began := time.Now()
	for {
		err := write()
		full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
		if !full || o.launch.Spec.Unattended > 0 && time.Since(began) > roomPlan {
			return err
		}
		time.Sleep(roomEvery) //nolint:forbidigo // room on a disk announces itself to nobody
	}
}

// prepare takes what the execution needs of this process before it has secrets.
func (o *owner) prepare() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper: %w", err)
	}
	// Both locks are held until this process ends, after the result is written: bare descriptors, for a collected os.File closes its own.
	own, err := unix.Open(filepath.Join(o.dir, FileLock), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if ok, err := lockByte(uintptr(own), lockOwner); err != nil || !ok {
		return errors.Join(errors.New("another owner lives"), err)
	}
	if err := ReadJSON(o.dir, FileLaunch, &o.launch); err != nil {
		return err
	}
	if o.launch.Protocol != Protocol {
		return fmt.Errorf("the server speaks version %d and planlatch-shim version %d: one was upgraded; restart the server", o.launch.Protocol, Protocol)
	}
	if o.control, err = os.OpenFile(filepath.Join(o.dir, FileControl), os.O_RDWR, 0); err != nil {
		return err
	}
	o.log, err = os.OpenFile(filepath.Join(o.dir, FileLog), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	return err
}

// launched brings the sandbox up, waits for the word to go, and lets the steps begin.
func (o *owner) launched(ack io.Writer) error {
	root, err := o.spawn()
	if err != nil {
		return err
	}
	// Only now: a process that others cannot inspect cannot give its child a user namespace either.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close this process to others: %w", err)
	}
	var secrets executor.Secrets
	stdin := os.NewFile(0, "secrets")
	if err := readFrame(stdin, &secrets); err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	if err := o.broker.Take(secrets.Lent); err != nil {
		return err
	}
	if err := o.handOver(secrets); err != nil {
		return err
	}
	if err := o.remember(root); err != nil {
		return err
	}
	if err := o.network.AwaitStack(startTime); err != nil {
		return err
	}
	if err := json.NewEncoder(ack).Encode(Ack{}); err != nil {
		return fmt.Errorf("tell the server: %w", err)
	}
	if _, err := io.ReadFull(stdin, make([]byte, 1)); err != nil {
		return errors.New("whoever started this is gone or changed its mind")
	}
	_ = stdin.Close() // nothing more will come
	// From here on the name is used, whatever happens.
	f, err := os.OpenFile(o.launch.Tombstone, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("take the name: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(o.launch.Tombstone))); err != nil {
		return errors.Join(fmt.Errorf("take the name: %w", err), os.Remove(o.launch.Tombstone))
	}
	if _, err := o.brief.Write([]byte{'g'}); err != nil {
		return errors.Join(fmt.Errorf("start the steps: %w", err), os.Remove(o.launch.Tombstone))
	}
	return nil
}

// spawn starts the first process of the sandbox: the network stage, or the inner itself without namespaces.
func (o *owner) spawn() (pid int, err error) {
	briefRead, brief, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	report, reportWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	complaints, complaintsWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	exit, hold, err := os.Pipe() // the network stack ends when the last copy of hold closes; the inner inherits one, so it outlives a killed owner
	if err != nil {
		return 0, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	o.brief, o.report, o.errors, o.events = brief, report, complaints, json.NewDecoder(report)
	sealed, err := os.Open(filepath.Join(o.dir, DirSealed))
	if err != nil {
		return 0, err
	}
	files := []uintptr{
		briefRead.Fd(), null.Fd(), complaintsWrite.Fd(), reportWrite.Fd(), o.log.Fd(), fdHeld, hold.Fd(), sealed.Fd(),
	}
	defer func() {
		// The copies of the other side: its end must be visible here.
		err = errors.Join(err, briefRead.Close(), null.Close(), complaintsWrite.Close(), reportWrite.Close(), exit.Close(), hold.Close(), sealed.Close())
	}()
	if o.groups, err = cgroup.Make(o.launch.Cgroups, o.launch.Spec.Limits.Memory, tasks(o.launch.Spec.Limits.Processes)); err != nil {
		return 0, err
	}
	if err := o.broker.Prepare(o.launch.lending(o.dir, &o.network)); err != nil {
		return 0, fmt.Errorf("lend credentials: %w", err)
	}
	if !o.launch.Namespaces {
		if err := o.broker.Outside(); err != nil {
			return 0, fmt.Errorf("lend credentials: %w", err)
		}
		pid, err := syscall.ForkExec(o.launch.Shim, []string{"planlatch-shim", hiddenArg, stageInner}, &syscall.ProcAttr{
			Dir: o.launch.WorkDir(o.dir), Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true},
		})
		if err == nil {
			err = o.groups.Add(pid)
			stepBack(pid)
		}
		return pid, err
	}
	return o.spawnSandbox(files, exit, complaintsWrite)
}

// spawnSandbox starts the stage in new user and network namespaces and sets its network up from both sides.
func (o *owner) spawnSandbox(files []uintptr, exit, complaints *os.File) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	pid, err := syscall.ForkExec(o.launch.Shim, []string{"planlatch-shim", hiddenArg, stageNet}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: append(files, theirs.Fd()),
		Sys: &syscall.SysProcAttr{
			Setpgid:    true,
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			// Root in there, so that the capabilities over the network survive the execution of the stage. bubblewrap drops them all.
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	})
	if err = errors.Join(err, theirs.Close()); err != nil {
		return 0, errors.Join(fmt.Errorf("make user and network namespaces: %w", err), ours.Close())
	}
	if err := o.groups.Add(pid); err != nil {
		return 0, err
	}
	stepBack(pid)
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // the stage is bubblewrap by then
	if err := conn.SetDeadline(time.Now().Add(startTime)); err != nil {
		return 0, err
	}
	if err := o.network.Prepare(o.launch.rules(), o.log); err != nil {
		return 0, err
	}
	if err := o.broker.Inside(); err != nil {
		return 0, err
	}
	if o.launch.Slirp != "" {
		if err := o.network.StartStack(o.launch.Slirp, string(o.launch.Spec.Name), pid, exit, complaints); err != nil {
			return 0, err
		}
	}
	if err := WriteFrame(conn, orders{Setup: o.network.Setup(), Bwrap: o.launch.Bwrap, Args: bwrapArgs(o.launch, o.dir)}); err != nil {
		return 0, fmt.Errorf("instruct the network stage: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("control socket: not a unix socket")
	}
	return pid, o.network.Serve(socket)
}

// handOver gives the inner its brief and waits until its walls stand.
func (o *owner) handOver(secrets executor.Secrets) error {
	b := brief{
		Walls: wallsFor(o.launch, o.dir, o.broker.Ports()...), Stops: o.launch.Spec.Unattended > 0, Inherit: !o.launch.has(WithoutDescriptors),
		Limits: limitsOf(o.launch),
		Files:  secrets.Files, Private: o.launch.Namespaces, Sealed: sealedOutputs(o.launch.Spec),
	}
	for _, s := range o.launch.Spec.Steps {
		for i, arg := range s.Argv {
			s.Argv[i] = o.launch.place(o.dir, arg)
		}
		for i, pair := range s.Env {
			s.Env[i] = o.launch.place(o.dir, pair)
		}
		if s.Lent {
			s.Env = append(s.Env, o.broker.Environment()...)
		}
		b.Steps = append(b.Steps, s)
	}
	for _, pair := range o.launch.Spec.Env {
		b.Env = append(b.Env, o.launch.place(o.dir, pair))
	}
	if !o.launch.Namespaces {
		if !slices.ContainsFunc(b.Env, func(pair string) bool { return strings.HasPrefix(pair, "TMPDIR=") }) {
			b.Env = append(b.Env, "TMPDIR="+filepath.Join(o.dir, DirTmp))
		}
	}
	b.Env = append(b.Env, secrets.Env...)
	if err := o.brief.SetWriteDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if err := WriteFrame(o.brief, b); err != nil {
		return fmt.Errorf("the sandbox did not start: %w", err)
	}
	if err := errors.Join(o.brief.SetWriteDeadline(time.Time{}), o.report.SetReadDeadline(time.Now().Add(startTime))); err != nil {
		return err
	}
	var e event
	if err := o.events.Decode(&e); err != nil || e.Kind != "ready" {
		return errors.New("the sandbox did not start")
	}
	return o.report.SetReadDeadline(time.Time{})
}

// remember writes down which processes a cancel needs when this one is gone.
func (o *owner) remember(root int) error {
	p, err := process.Identify(root)
	if err != nil {
		return err
	}
	procs := Procs{Root: p, Inner: p}
	// With bubblewrap the inner is the child of the first process.
	below, err := process.Descendants(root, 0)
	if err != nil {
		return err
	}
	for _, s := range below {
		if s.Parent == root {
			procs.Inner = s.ID
		}
	}
	o.inner = procs.Inner.PID
	body, err := json.Marshal(procs)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.dir, FileProcs), body, 0o600)
}

// complaints is what the failed stages said.
func (o *owner) complaints() io.Reader {
	if o.errors == nil {
		return strings.NewReader("")
	}
	return o.errors
}

// abandon ends what was started when the execution does not begin.
func (o *owner) abandon() {
	if o.brief != nil {
		_ = o.brief.Close() // the inner takes it as the end
	}
	o.finish()
}

// finishPause is how long the killed get to die before the next look.
const finishPause = 200 * time.Microsecond

// finish kills everything below this process and returns when nothing of it lives: only then a result may be seen.
func (o *owner) finish() {
	for !buryAll() {
		below, err := process.Descendants(os.Getpid(), 0)
		for _, s := range below {
			err = errors.Join(err, s.Signal(unix.SIGKILL))
		}
		pause := finishPause
		if err != nil {
			pause *= 100 // the next round sees whether it was for good
		}
		time.Sleep(pause) //nolint:forbidigo // descendants that are no children yet announce their end to nobody
	}
	o.broker.Close()
	o.network.Close()
	o.groups.Remove()
}

// buryAll reaps what died and says whether no child is left. Orphans of the execution become our children.
func buryAll() bool {
	for {
		got, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return true
		case err != nil || got == 0:
			return false
		}
	}
}
