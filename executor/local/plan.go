package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/planlatch/planlatch/executor"
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
	if l.Relays, err = relays(ctx, s.Network.Allow, l.Namespaces); err != nil {
		return shim.Launch{}, err
	}
	if !l.Namespaces {
		l.Offline = l.Walls && s.Network.Mode == executor.NetworkNone
		if l.Offline && len(l.Relays) > 0 && p.landlock < shim.NetABI {
			return shim.Launch{}, fmt.Errorf("network none with allowed targets: this kernel's landlock (version %d) cannot bound TCP and there are no "+
				"namespaces (%w); give namespaces, or a kernel with landlock version %d (6.7)", p.landlock, p.namespaces, shim.NetABI)
		}
		return l, nil
	}
	if s.Network.Mode == executor.NetworkOpen {
		err = e.open(&l)
	}
	return l, err
}

// open gives the execution a network stack of its own, with the places closed that trust whoever reaches them.
func (e *Executor) open(l *shim.Launch) error {
	if missing := e.noSlirp(); missing != nil {
		if e.sandbox == SandboxRequired {
			return fmt.Errorf("network open: %w; %s, or set network.mode to none and list targets in network.allow", missing, fixSlirp)
		}
		e.log.Warn("network falls back to none and the allowed targets", "execution", l.Spec.Name, "reason", missing, "fix", fixSlirp)
		return nil
	}
	l.Slirp = e.slirp
	l.Closed = []string{"169.254.0.0/16", "100.100.100.200/32", "fd00:ec2::/32"} // metadata services of the clouds
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list this machine's addresses: %w", err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue // loopback is the stack's own; link-local is closed above or never routed
		}
		addr := p.Addr().Unmap()
		l.Closed = append(l.Closed, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return nil
}

// relays resolves the allowed targets. With namespaces each is listened for inside at the address it has outside.
func relays(ctx context.Context, allow []string, namespaces bool) ([]shim.Relay, error) {
	var all []shim.Relay
	for _, target := range allow {
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			return nil, fmt.Errorf("allowed target %q: use host:port", target)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || host == "" {
			return nil, fmt.Errorf("allowed target %q: use host:port", target)
		}
		r := shim.Relay{Dial: target}
		if namespaces {
			addrs, err := resolve(ctx, host)
			if err != nil {
				return nil, fmt.Errorf("allowed target %q: %w", target, err)
			}
			for _, addr := range addrs {
				r.Listen = append(r.Listen, netip.AddrPortFrom(addr, uint16(number)).String())
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// resolve looks a host up as this machine sees it and keeps the addresses that can exist inside.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, err
	}
	_, noSix := os.Stat("/proc/net/if_inet6")
	var kept []netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap().WithZone("")
		if addr.IsUnspecified() || addr.IsMulticast() || (addr.Is6() && noSix != nil) {
			continue
		}
		kept = append(kept, addr)
	}
	if len(kept) == 0 {
		return nil, errors.New("it has no address that can be connected to")
	}
	return kept, nil
}

func listenIP(at string) string {
	p, err := netip.ParseAddrPort(at)
	if err != nil {
		return ""
	}
	return p.Addr().String()
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
