package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/executor/reach"
)

// networks are the networks that runs can get, the server's first, each with where it is written.
func networks(cfg *config.Config) (names []string, all []config.Network) {
	names, all = []string{"execution.network"}, []config.Network{cfg.Execution.Network}
	for i, r := range cfg.Repos {
		if r.Network.Mode != "" {
			names, all = append(names, fmt.Sprintf("repos[%d].network", i)), append(all, r.Network)
		}
	}
	return names, all
}

// usesOpen says whether some run gets an open network.
func usesOpen(cfg *config.Config) bool {
	_, all := networks(cfg)
	return slices.ContainsFunc(all, func(n config.Network) bool { return n.Mode == "open" })
}

// network says how far runs reach and proves it from a real execution.
func (d *doctor) network(ctx context.Context, cfg *config.Config, x *local.Executor) {
	names, all := networks(cfg)
	for i, n := range all {
		what := fmt.Sprintf("%s: mode %s", names[i], n.Mode)
		if cfg.Execution.Sandbox == string(local.SandboxOff) {
			d.warn("network", what+" is not held: runs reach all that this machine reaches", "set execution.sandbox to required")
			continue
		}
		attempts, err := x.ProveNetwork(ctx, networkOf(n))
		if err != nil {
			d.bad("network", fmt.Errorf("%s: %w", what, err), "")
			continue
		}
		d.reached(cfg, what, n, attempts)
		d.proxy(cfg, what, n)
	}
}

// reached tells what an execution reached that it must not, and what it did not reach although it may.
func (d *doctor) reached(cfg *config.Config, what string, n config.Network, attempts []local.Attempt) {
	closed, answers := 0, 0
	for _, a := range attempts {
		switch {
		case a.Open && a.OK:
			answers++
		case a.Open && a.What == "an allowed target":
			d.warn("network", fmt.Sprintf("%s: the allowed target %s does not answer: %s", what, a.Target, a.Detail), "correct network.allow, or start what is there")
		case a.OK || a.Open:
			closed++
		case cfg.Execution.Sandbox == string(local.SandboxRequired):
			d.bad("network", fmt.Errorf("%s: a run reaches %s (%s): %s", what, a.What, a.Target, a.Detail), "start no run here: this machine does not hold what it says")
		default:
			d.warn("network", fmt.Sprintf("%s: a run reaches %s (%s): %s", what, a.What, a.Target, a.Detail), "set execution.sandbox to required")
		}
	}
	text := fmt.Sprintf("%s: %d attempts to reach this machine and metadata services failed", what, closed)
	if len(n.Allow) > 0 {
		text += fmt.Sprintf(", %d allowed targets answer", answers)
	}
	d.good("network", "%s", text)
	for _, text := range n.Allow {
		e, err := reach.Parse(text)
		if err != nil || !e.Exact() || e.Name != "" {
			continue
		}
		if slices.ContainsFunc(reach.Metadata(), func(p netip.Prefix) bool { return p.Contains(e.Prefix.Addr()) }) {
			d.warn("network", fmt.Sprintf("%s: %s is a metadata service: every run gets this machine's own identity from it", what, text), "remove it, and give credentials by provider_configs")
		}
	}
}

// proxy tells of a proxy that runs hear of: it reaches what it likes, or cannot be reached itself.
func (d *doctor) proxy(cfg *config.Config, what string, n config.Network) {
	const name = "HTTPS_PROXY"
	text, _ := d.t.lookup(name)
	if text == "" || n.Mode == "open" || !slices.Contains(cfg.Execution.Environment, name) {
		return
	}
	at, err := proxyTarget(text)
	if err != nil {
		d.warn("network", fmt.Sprintf("%s: %s is not the URL of a proxy", what, name), "write it as in http://proxy.internal:3128")
		return
	}
	allow, err := reach.ParseList(n.Allow)
	if err != nil {
		return // said before
	}
	if allow.Name(at.Name, at.Port) || at.Name == "" && slices.Contains(allow, at) {
		d.warn("network", fmt.Sprintf("%s: runs are given the proxy %s and may use it: they reach whatever it reaches", what, at), "let the proxy hold the list as well, or take it out of execution.environment")
		return
	}
	d.warn("network", fmt.Sprintf("%s: runs are given the proxy %s, which network.allow does not have", what, at), "add it, or take "+name+" out of execution.environment")
}

func proxyTarget(text string) (reach.Entry, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return reach.Entry{}, errors.New("no host") // never the URL: it may hold a password
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
		if port == "" {
			port = "80"
		}
	}
	return reach.Parse(net.JoinHostPort(u.Hostname(), port))
}
