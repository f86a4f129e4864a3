package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/confine"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// plan decides how a checked Spec runs on this machine: which walls, which network. Its errors name what is missing and the fix.
func (e *Executor) plan(ctx context.Context, s executor.Spec) (shim.Launch, error) {
	if err := e.Refusal(ctx); err != nil {
		return shim.Launch{}, err
	}
	actual, err := filepath.EvalSymlinks(s.Source.Dir)
	if err != nil {
		return shim.Launch{}, fmt.Errorf("source: %w", err)
	}
	s.Source.Dir = actual
	if err := checkSource(s.Source); err != nil {
		return shim.Launch{}, err
	}
	p := e.probes()
	l := shim.Launch{
		Protocol: shim.Protocol, Spec: s, Tombstone: e.tombstone(s.Name), Shim: e.shim, Bwrap: e.bwrap, Hostname: hostname(s.Name),
		Namespaces: e.sandbox != SandboxOff && p.namespaces == nil, Walls: e.sandbox != SandboxOff,
		Without: e.without,
	}
	if s.Limits.Memory > 0 || s.Limits.Processes > 0 {
		l.Cgroups = e.cgroups(p.cgroups, s.Name)
	}
	if err := e.network(ctx, &l); err != nil {
		return shim.Launch{}, err
	}
	if err := lendable(l, p.namespaces); err != nil {
		return shim.Launch{}, err
	}
	if err := addDoors(&l); err != nil {
		return shim.Launch{}, err
	}
	if !l.Namespaces {
		l.Offline = l.Walls && s.Network.Mode != executor.NetworkOpen
		if l.Offline && len(l.Relays)+len(s.Lends) > 0 && p.landlock < confine.NetABI {
			return shim.Launch{}, fmt.Errorf("network %s with allowed targets or lent credentials: this kernel's landlock (version %d) cannot bound TCP and there are no "+
				"namespaces (%w); give namespaces, or a kernel with landlock version %d (6.7)", s.Network.Mode, p.landlock, p.namespaces, confine.NetABI)
		}
	}
	return l, nil
}

var phase = regexp.MustCompile(`-(plan-[0-9]+|apply)$`)

// hostname is what a backend lock shows as its holder: planlatch-<run>.
func hostname(n executor.Name) string {
	const limit = 64 // of the kernel
	name := "planlatch-" + phase.ReplaceAllString(string(n), "")
	return name[:min(len(name), limit)]
}

// cgroups names the control groups of an execution. The directory is part of it, for two servers may have a run of one name.
func (e *Executor) cgroups(bases []string, n executor.Name) []string {
	sum := sha256.Sum256([]byte(e.dir))
	var dirs []string
	for _, base := range bases {
		dirs = append(dirs, filepath.Join(base, fmt.Sprintf("planlatch-%x-%s", sum[:4], n)))
	}
	return dirs
}
