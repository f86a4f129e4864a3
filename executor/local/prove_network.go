package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/dial"
	"github.com/planlatch/planlatch/executor/local/shim"
	"github.com/planlatch/planlatch/executor/reach"
)

// Attempt is one target that an execution tried to reach.
type Attempt struct {
	Target string // host:port
	What   string // what is there, for people
	Open   bool   // it is allowed, so it ought to answer
	OK     bool   // it is as it ought to be
	Detail string // what happened, when it is not
}

// mostTargets is how many allowed targets are tried.
const mostTargets = 50

// ProveNetwork tries, from a real execution with network n, to reach what must be closed (listeners of ours on loopback and on every address of this
// machine, metadata services) and what is allowed. It connects to nobody else. An error says that the proof could not be made.
func (e *Executor) ProveNetwork(ctx context.Context, n executor.Network) (attempts []Attempt, err error) {
	allow, err := reach.ParseList(n.Allow)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	dir, err := os.MkdirTemp(filepath.Join(e.dir, dirTrash), "proof-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	b := baits{token: "planlatch-" + rand.Text(), gateway: n.Mode == executor.NetworkOpen && e.noSlirp() == nil}
	defer b.close()
	if err := b.lay(ctx); err != nil {
		return nil, err
	}
	attempts = append(attempts, b.attempts...)
	for _, at := range []string{"169.254.169.254:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "168.63.129.16:80"} {
		attempts = append(attempts, Attempt{Target: "tcp!" + at, What: "a metadata service", Open: allow.Literal(netip.MustParseAddrPort(at))})
	}
	for _, entry := range allow {
		if entry.Exact() && len(attempts) < len(b.attempts)+mostTargets {
			attempts = append(attempts, Attempt{Target: "tcp!" + entry.String(), What: "an allowed target", Open: true})
		}
	}
	said, err := e.dialFrom(ctx, dir, n, attempts)
	if err != nil {
		return nil, err
	}
	for i := range attempts {
		attempts[i].judge(said[attempts[i].Target], b.token)
		_, attempts[i].Target, _ = strings.Cut(attempts[i].Target, "!")
	}
	return attempts, nil
}

// judge compares what happened with what ought to.
func (a *Attempt) judge(d dial.Result, token string) {
	switch {
	case d.Target == "":
		a.Detail = "it was not tried"
	case a.Open:
		a.OK, a.Detail = d.Error == "", d.Error
	case d.Error == "" || strings.Contains(d.Said, token):
		a.Detail = "it answered"
	default:
		a.OK = true
	}
}

// dialFrom tries the targets from inside. A line of the network on a target tells more than what the target's end of the relay saw.
func (e *Executor) dialFrom(ctx context.Context, dir string, n executor.Network, attempts []Attempt) (map[string]dial.Result, error) {
	source := filepath.Join(dir, "source")
	if err := makeDir(source); err != nil {
		return nil, err
	}
	var targets []string
	for _, a := range attempts {
		targets = append(targets, a.Target)
	}
	launch, err := e.plan(ctx, executor.Spec{
		Name: "network-plan-1", Source: executor.Source{Dir: source, Work: "."}, Network: n, Unattended: proofTime,
		Env: []string{"PATH=/usr/bin:/bin"}, Limits: executor.Limits{Wall: proofTime / 2},
		Steps: []executor.Step{{Label: "dial", Argv: append([]string{shim.InsideShim}, shim.DialArgs(targets)[1:]...)}},
	})
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	result, err := e.alone(ctx, launch, dir, &log)
	if err == nil && !result.OK(1) {
		err = fmt.Errorf("the attempts ended %s: %s %s", result.Ended, result.Reason, strings.TrimSpace(log.String()))
	}
	if err != nil {
		return nil, err
	}
	said, notes := make(map[string]dial.Result), make(map[string]string)
	for line := range strings.Lines(log.String()) {
		if note, ok := strings.CutPrefix(line, "planlatch: network: "); ok {
			target, _, _ := strings.Cut(note, " ")
			notes["tcp!"+target] = strings.TrimSpace(note)
			continue
		}
		var d dial.Result
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			return nil, fmt.Errorf("the attempts said %q: %w", line, err)
		}
		said[d.Target] = d
	}
	for target, note := range notes {
		if d, ok := said[target]; ok {
			d.Error = note
			said[target] = d
		}
	}
	return said, nil
}

// baits are listeners of ours that no execution may reach.
type baits struct {
	token    string
	gateway  bool // there is slirp4netns, whose gateway stands for loopback if it is let
	attempts []Attempt
	sockets  []io.Closer
	work     sync.WaitGroup
}

// lay listens on loopback and on every address of this machine.
func (b *baits) lay(ctx context.Context) error {
	addrs, err := reach.Own()
	if err != nil {
		return err
	}
	var config net.ListenConfig
	for _, addr := range addrs {
		what := "an address of this machine"
		if addr.IsLoopback() {
			what = "loopback of this machine"
		}
		if addr.IsLinkLocalUnicast() {
			continue // it means nothing without an interface
		}
		at := netip.AddrPortFrom(addr, 0).String()
		l, err := config.Listen(ctx, "tcp", at)
		if err != nil {
			continue // one that is on its way out, or not there yet
		}
		b.sockets = append(b.sockets, l)
		b.attempts = append(b.attempts, Attempt{Target: "tcp!" + l.Addr().String(), What: what})
		b.work.Go(func() { b.speak(l) })
		packets, err := config.ListenPacket(ctx, "udp", at)
		if err != nil {
			continue // as above
		}
		b.sockets = append(b.sockets, packets)
		b.attempts = append(b.attempts, Attempt{Target: "udp!" + packets.LocalAddr().String(), What: what})
		b.work.Go(func() { b.echo(packets) })
		if addr.IsLoopback() && addr.Is4() && b.gateway {
			_, port, _ := net.SplitHostPort(l.Addr().String())
			b.attempts = append(b.attempts, Attempt{Target: "tcp!" + net.JoinHostPort("10.0.2.2", port), What: "the gateway to this machine"})
		}
	}
	if len(b.attempts) == 0 {
		return errors.New("this machine has no address to listen on")
	}
	return nil
}

func (b *baits) speak(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		_ = c.SetDeadline(time.Now().Add(time.Second)) // best effort, as all that follows: whoever it was has gone
		_, _ = io.WriteString(c, b.token)
		_ = c.Close()
	}
}

func (b *baits) echo(packets net.PacketConn) {
	buffer := make([]byte, 16)
	for {
		_, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		_, _ = packets.WriteTo([]byte(b.token), from) // whoever it was has gone
	}
}

func (b *baits) close() {
	for _, s := range b.sockets {
		_ = s.Close() // ends who reads from it
	}
	b.work.Wait()
}
