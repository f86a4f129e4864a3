package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/cgroup"
	"github.com/planlatch/planlatch/executor/local/confine"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// Wall is one protection of the runs and whether it is in force.
type Wall struct {
	Name   string // for people: "namespaces", "landlock", …
	Force  bool
	Detail string // what was found, one sentence
	Fix    string // what to do; empty when it is in force
}

// The fixes, for a person at a shell.
const (
	fixBwrap = "install bubblewrap (the package is called bubblewrap everywhere)"
	fixUser  = "allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=15000 and " +
		"kernel.apparmor_restrict_unprivileged_userns=0 where they exist; in a container: security_opt seccomp=unconfined and " +
		"apparmor=unconfined, systempaths=unconfined"
	fixLandlock = "boot a kernel of 5.13 or later with landlock in lsm= on its command line"
	fixSeccomp  = "boot a kernel with CONFIG_SECCOMP_FILTER"
	fixSlirp    = "install slirp4netns and give access to /dev/net/tun"
)

// probes is what this machine gives. Errors say why not.
type probes struct {
	namespaces error
	inner      error // landlock, seccomp, no-new-privileges
	landlock   int   // version, 0: none
	cgroups    []string
}

// probeTime bounds one probe.
const probeTime = 30 * time.Second

// probe starts a real execution without steps, so that it tells exactly what a run would meet.
func (e *Executor) probe() probes {
	p := probes{landlock: confine.LandlockABI(), cgroups: cgroup.Bases(e.groups)}
	if slices.Contains(e.without, shim.WithoutCgroups) {
		p.cgroups = nil
	}
	if e.sandbox == SandboxOff {
		return p
	}
	p.namespaces = errors.New("bubblewrap was not found")
	if e.bwrap != "" {
		p.namespaces = e.try(shim.Launch{Walls: true, Namespaces: true})
	}
	if p.namespaces != nil { // which of the walls is it?
		p.inner = e.try(shim.Launch{Walls: true})
	}
	return p
}

// probeSlirp does the same with an open network.
func (e *Executor) probeSlirp() error {
	switch {
	case e.probes().namespaces != nil:
		return errors.New("there are no namespaces")
	case e.slirp == "":
		return errors.New("slirp4netns was not found")
	}
	return e.try(shim.Launch{Walls: true, Namespaces: true, Slirp: e.slirp})
}

// try runs an execution without steps in a directory of its own and forgets it.
func (e *Executor) try(l shim.Launch) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime) // asked for once, on behalf of every caller
	defer cancel()
	dir, err := os.MkdirTemp(filepath.Join(e.dir, dirTrash), "probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	source := filepath.Join(dir, "source")
	if err := makeDir(source); err != nil {
		return err
	}
	l.Spec = executor.Spec{Name: "probe", Source: executor.Source{Dir: source, Work: "."}}
	_, err = e.alone(ctx, l, dir, io.Discard)
	return err
}

// alone runs an execution to its end in a directory of its own below dir, which holds nothing of ours, and says how it ended.
func (e *Executor) alone(ctx context.Context, l shim.Launch, dir string, log io.Writer) (executor.Result, error) {
	name := l.Spec.Name
	l.Protocol, l.Shim, l.Bwrap, l.Hostname, l.Without = shim.Protocol, e.shim, e.bwrap, hostname(name), e.without
	lone := &Executor{dir: dir, shim: e.shim, log: e.log, children: make(map[int]bool)}
	for _, sub := range []string{dirRuns, dirNames, dirTrash} {
		if err := makeDir(filepath.Join(dir, sub)); err != nil {
			return executor.Result{}, err
		}
	}
	l.Tombstone = lone.tombstone(name)
	if err := lone.start(ctx, l, lone.path(name), executor.Secrets{}); err != nil {
		return executor.Result{}, err
	}
	result, err := lone.Attach(ctx, name, log, 0)
	for pid := range lone.children {
		_, waitErr := unix.Wait4(pid, nil, 0, nil)
		err = errors.Join(err, waitErr)
	}
	return result, err
}

// Refusal says why no execution can start here under the configured sandbox, naming what is missing and the fix; nil when they can.
func (e *Executor) Refusal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.sandbox == SandboxOff {
		return nil
	}
	p := e.probes()
	switch {
	case p.landlock == 0:
		return fmt.Errorf("sandbox %s: this kernel has no landlock; %s, or set execution.sandbox to off", e.sandbox, fixLandlock)
	case p.inner != nil:
		return fmt.Errorf("sandbox %s: %w; %s, or set execution.sandbox to off", e.sandbox, p.inner, fixSeccomp)
	case e.sandbox == SandboxRequired && e.bwrap == "":
		return fmt.Errorf("sandbox required: bubblewrap was not found; %s, or set execution.sandbox to auto", fixBwrap)
	case e.sandbox == SandboxRequired && p.namespaces != nil:
		return fmt.Errorf("sandbox required: no namespaces (%w); %s; or set execution.sandbox to auto", p.namespaces, fixUser)
	}
	return nil
}

// Walls probes every protection for real, once in the life of e, and tells which are in force. With the sandbox off none is.
func (e *Executor) Walls(context.Context) []Wall {
	p := e.probes()
	wall := func(name string, missing error, there, fix string) Wall {
		switch {
		case e.sandbox == SandboxOff:
			return Wall{Name: name, Detail: "execution.sandbox is off", Fix: "set execution.sandbox to required"}
		case missing != nil:
			return Wall{Name: name, Detail: oneLine(missing), Fix: fix}
		}
		return Wall{Name: name, Force: true, Detail: there}
	}
	fixSpaces := fixUser
	if e.bwrap == "" {
		fixSpaces = fixBwrap
	}
	var noLandlock, noSeccomp, noSlirp error
	if e.sandbox != SandboxOff {
		noSlirp = e.noSlirp()
	}
	if p.landlock == 0 {
		noLandlock, noSeccomp = errors.New("this kernel has no landlock"), errors.New("not tried, for landlock comes first")
	} else {
		noSeccomp = p.inner
	}
	all := []Wall{
		wall("namespaces", p.namespaces, "user, pid, ipc, uts, mount, network and cgroup namespaces by "+e.bwrap, fixSpaces),
		wall("landlock", noLandlock, fmt.Sprintf("version %d", p.landlock), fixLandlock),
		wall("seccomp", noSeccomp, "a filter and no-new-privileges", fixSeccomp),
		wall("network", noSlirp, "an open network goes through "+e.slirp+", without metadata, loopback and our own addresses", fixSlirp),
	}
	return append(all, e.limits(p))
}

// limits tells who holds the limits of memory and processes. The other limits hold alike everywhere.
func (e *Executor) limits(p probes) Wall {
	w := Wall{Name: "limits", Force: true}
	processes := "processes are watched"
	if p.namespaces == nil && e.sandbox != SandboxOff {
		processes += " and bounded per user namespace"
	}
	if memory := cgroup.Holds(e.groups, p.cgroups, "memory"); memory != "" {
		if cgroup.Holds(e.groups, p.cgroups, "pids") != "" {
			processes += " and by the same"
		}
		w.Detail = "memory is held by cgroup " + memory + ", " + processes
		return w
	}
	w.Force, w.Detail = false, "memory is watched, not held: a run may pass its limit for a moment; "+processes
	w.Fix = "delegate a cgroup with the controllers memory, pids and cpu (systemd: Delegate=yes, DelegateSubgroup=server)"
	return w
}

// Limits says in one sentence who holds the limits of memory and processes here, for the log at the start.
func (e *Executor) Limits() string { return e.limits(e.probes()).Detail }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
