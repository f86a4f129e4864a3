package local_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// echo answers every packet to addr.
func echo(t *testing.T, addr string) (port string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // ends with conn
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer[:n], from)
		}
	}()
	_, port, err = net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reaches runs a dialer and compares what became of each address. It returns the whole log.
func reaches(t *testing.T, e *local.Executor, s executor.Spec, want map[string]string) string {
	t.Helper()
	r, log := executortest.Finish(t, e, s)
	for addr, text := range want {
		line := ""
		for l := range strings.Lines(log) {
			if strings.HasPrefix(l, addr+": ") {
				line = l
			}
		}
		if !strings.Contains(line, text) {
			t.Errorf("%s: got %q, want %q; result %+v; log:\n%s", addr, line, text, r, log)
		}
	}
	return log
}

func keys(m map[string]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestAllowListReachesWhatItNamesAndNothingElse(t *testing.T) {
	if !privately(t) {
		return
	}
	web, beside := speaker(t, "0.0.0.0:0"), speaker(t, "0.0.0.0:0")
	dns := serveNames(t, map[string]string{
		"api.example.com": "198.51.100.10", "deep.api.example.com": "198.51.100.11", "db.internal": "198.51.100.12", "meta.example.com": "169.254.169.254",
		"loop.example.com": "127.0.0.1", "own.example.com": "198.51.100.1", "loop.internal": "127.0.0.1", "denied.example.com": "198.51.100.77",
		"secret.evil.test": "198.51.100.66",
	})
	want := map[string]string{
		"api.example.com:" + web: "said hello", "API.Example.com:" + web: "said hello", "deep.api.example.com:" + web: "said hello",
		"db.internal:" + web: "said hello", "localhost:" + web: "said hello", "198.51.100.33:" + web: "said hello", "198.51.100.129:" + web: "said hello",
		"127.0.0.1:" + web: "said hello", "tcp-lookup!api.example.com": "found 198.18.",
		// the port beside, the address beside, the name beside
		"api.example.com:" + beside: "refused", "db.internal:" + beside: "refused", "198.51.100.33:" + beside: "refused", "198.51.100.34:" + web: "unreachable",
		"198.51.100.129:" + beside: "refused", "example.com:" + web: "no such host", "secret.evil.test:" + web: "no such host",
		"tcp-lookup!secret.evil.test": "no such host", "udp!198.51.100.33:" + web: "refused",
		// names that lead where nobody may go: the connection breaks
		"meta.example.com:" + web: "reset", "loop.example.com:" + web: "reset", "own.example.com:" + web: "reset", "loop.internal:" + web: "reset",
		"denied.example.com:" + web: "reset", "gone.example.com:" + web: "reset",
		"169.254.169.254:" + web: "unreachable", "198.51.100.1:" + web: "unreachable", "127.0.0.1:" + beside: "refused",
	}
	s := dialer(t, "r1-plan-1", keys(want)...)
	s.Network = executor.Network{
		Mode: executor.NetworkAllowList, Deny: []string{"198.51.100.77"},
		Allow: []string{"*.example.com:" + web, "db.internal:" + web, "loop.internal:" + web, "localhost:" + web, "198.51.100.33:" + web, "198.51.100.128/26:" + web},
	}
	began := time.Now()
	log := reaches(t, open(t, local.Options{}), s, want)
	if took := time.Since(began); took > 2*answers {
		t.Errorf("it took %v: refusals must be quick, and not be times that ran out", took)
	}
	for _, line := range []string{
		"planlatch: network: secret.evil.test is not in network.allow\n", "planlatch: network: example.com is not in network.allow\n",
		"planlatch: network: meta.example.com:" + web + " leads to 169.254.169.254, which is a metadata or link-local address; if that is meant, write 169.254.169.254:" + web,
		"planlatch: network: loop.internal:" + web + " leads to 127.0.0.1, which is loopback",
		"planlatch: network: own.example.com:" + web + " leads to 198.51.100.1, which is an address of planlatch's own machine",
		"planlatch: network: denied.example.com:" + web + " leads to 198.51.100.77, which is in network.deny",
		"planlatch: network: gone.example.com:" + web + " could not be reached: there is no such name\n",
	} {
		if strings.Count(log, line) != 1 {
			t.Errorf("log has %q %d times, want once:\n%s", line, strings.Count(log, line), log)
		}
	}
	for _, name := range []string{"secret.evil.test", "example.com"} {
		if n := dns.count(name); n != 0 {
			t.Errorf("%s was asked for outside %d times: what a run looks up must not leave", name, n)
		}
	}
}

func TestAllowListLooksNamesUpAnewForEachConnection(t *testing.T) {
	if !privately(t) {
		return
	}
	port := speaker(t, "0.0.0.0:0")
	dns := serveNames(t, map[string]string{"a.example.com": "198.51.100.10"})
	s := executortest.Spec(t, "r1-plan-1")
	one := dialer(t, "x", "a.example.com:"+port)
	s.Binds = one.Binds
	s.Steps = []executor.Step{one.Steps[0], {Label: "wait", Argv: []string{"/bin/sh", "-c", "echo first; while ! [ -e go ]; do sleep 0.02; done"}}, one.Steps[0]}
	s.Network = executor.Network{Mode: executor.NetworkAllowList, Allow: []string{"a.example.com:" + port}}
	dir := t.TempDir()
	e := open(t, local.Options{Dir: dir})
	executortest.Start(t, e, s)
	executortest.WaitLog(t, e, s.Name, "first\n")
	dns.set("a.example.com", "127.0.0.1") // its owner turns hostile between two connections
	executortest.Write(t, dir+"/runs/r1-plan-1/work/go", "")
	_, log := executortest.Follow(t, e, s.Name)
	if !strings.HasPrefix(log, "a.example.com:"+port+": said hello\nfirst\n") || !strings.Contains(log, "reset") || !strings.Contains(log, "leads to 127.0.0.1") {
		t.Errorf("log = %q, want an answer and then a refusal", log)
	}
}

func TestOpenNetworkIsClosedWhereItMatters(t *testing.T) {
	if !privately(t) {
		return
	}
	port, packets, there := speaker(t, "0.0.0.0:0"), echo(t, "0.0.0.0:0"), echo(t, "198.51.100.10:0")
	serveNames(t, map[string]string{
		"web.example.com": "198.51.100.10", "meta.example.com": "169.254.169.254", "own.example.com": "198.51.100.1", "loop.example.com": "127.0.0.1",
	})
	const gone = "no route"
	want := map[string]string{
		// what makes the rest a proof
		"198.51.100.10:" + port: "said hello", "web.example.com:" + port: "said hello", "udp!198.51.100.10:" + there: "said ping",
		"198.51.100.1:" + port: gone, "udp!198.51.100.1:" + packets: gone, "own.example.com:" + port: gone,
		"169.254.169.254:" + port: gone, "169.254.0.1:" + port: gone, "udp!169.254.169.254:" + packets: gone, "meta.example.com:" + port: gone,
		"127.0.0.1:" + port: "refused", "0.0.0.0:" + port: "refused", "loop.example.com:" + port: "refused",
		"[::ffff:127.0.0.1]:" + port: "refused", "[::ffff:169.254.169.254]:" + port: gone, "[::ffff:198.51.100.1]:" + port: gone,
		"100.100.100.200:" + port: gone, "168.63.129.16:" + port: gone, "192.0.0.192:" + port: gone, "[fd00:ec2::254]:" + port: "connect:",
		"10.0.2.2:" + port: "unreachable", "10.0.2.3:" + port: "unreachable", "udp!10.0.2.2:" + packets: "unreachable", "udp!10.0.2.3:" + packets: "unreachable",
		"198.51.100.70:" + port: gone, "udp!198.51.100.70:" + packets: gone, // denied
	}
	s := dialer(t, "r1-plan-1", keys(want)...)
	s.Network = executor.Network{Mode: executor.NetworkOpen, Deny: []string{"198.51.100.64/26", "10.0.0.0/8"}}
	reaches(t, open(t, local.Options{}), s, want)
}

func TestOpenNetworkClosesAddressesThatThisMachineGetsLater(t *testing.T) {
	if !privately(t) {
		return
	}
	port := speaker(t, "0.0.0.0:0")
	one := dialer(t, "x", "203.0.113.9:"+port, "closes!203.0.113.1:"+port) // the kernel tells of the address when it is there
	s := executortest.Spec(t, "r1-plan-1")
	s.Binds, s.Network.Mode = one.Binds, executor.NetworkOpen
	s.Steps = []executor.Step{
		{Label: "wait", Argv: []string{"/bin/sh", "-c", "echo first; while ! [ -e go ]; do sleep 0.02; done"}}, one.Steps[0],
	}
	dir := t.TempDir()
	e := open(t, local.Options{Dir: dir})
	executortest.Start(t, e, s)
	executortest.WaitLog(t, e, s.Name, "first\n")
	if err := address("lo:9", "203.0.113.1"); err != nil {
		t.Fatal(err)
	}
	executortest.Write(t, dir+"/runs/r1-plan-1/work/go", "")
	_, log := executortest.Follow(t, e, s.Name)
	if !strings.Contains(log, "203.0.113.9:"+port+": said hello\n") || !strings.Contains(log, "closes!203.0.113.1:"+port+": dial tcp 203.0.113.1:"+port+": connect: no route") {
		t.Errorf("log = %q, want the host beside to answer and the new address closed", log)
	}
}

func TestTargetsThatNameACloserPlaceThanTheyShould(t *testing.T) {
	if !privately(t) {
		return
	}
	port := speaker(t, "0.0.0.0:0")
	serveNames(t, map[string]string{"loop.internal": "127.0.0.1", "own.internal": "198.51.100.1", "far.internal": "198.51.100.10"})
	for _, mode := range []executor.NetworkMode{executor.NetworkNone, executor.NetworkOpen} {
		for i, name := range []string{"loop.internal", "own.internal"} {
			s := dialer(t, executor.Name("r"+string(mode[0])+string(rune('0'+i))+"-plan-1"), name+":"+port)
			s.Network = executor.Network{Mode: mode, Allow: []string{name + ":" + port}}
			e := open(t, local.Options{})
			if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "network.allow as well") {
				t.Errorf("Start() with %s in mode %s = %v, want a refusal with the fix", name, mode, err)
			}
			s.Network.Allow = append(s.Network.Allow, "127.0.0.1:"+port, "198.51.100.1:"+port)
			reaches(t, e, s, map[string]string{name + ":" + port: "said hello"})
		}
		s := dialer(t, "r1-plan-1", "far.internal:"+port)
		s.Network = executor.Network{Mode: mode, Allow: []string{"far.internal:" + port}}
		reaches(t, open(t, local.Options{}), s, map[string]string{"far.internal:" + port: "said hello"})
	}
}

func TestAllowListRefusesWhatItCannotHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o       local.Options
		network executor.Network
		want    string
	}{
		"WildcardInNone":           {network: executor.Network{Mode: executor.NetworkNone, Allow: []string{"*.example.com"}}, want: "needs network.mode allow_list"},
		"NetworkInOpen":            {network: executor.Network{Mode: executor.NetworkOpen, Allow: []string{"10.0.0.0/8"}}, want: "needs network.mode allow_list"},
		"WildcardWithoutNamespace": {o: local.Options{Sandbox: local.SandboxAuto, Bwrap: nowhere}, network: executor.Network{Mode: executor.NetworkAllowList, Allow: []string{"*.example.com"}}, want: "needs namespaces"},
		"AddressesOfNames":         {network: executor.Network{Mode: executor.NetworkAllowList, Allow: []string{"198.18.0.0/16:80"}}, want: "198.18.0.0/15"},
		"Garbage":                  {network: executor.Network{Mode: executor.NetworkNone, Allow: []string{"a b"}}, want: "neither a name nor an address"},
		"Deny":                     {network: executor.Network{Mode: executor.NetworkOpen, Deny: []string{"inside"}}, want: "network.deny"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := executortest.Spec(t, "r1-plan-1", "true")
			s.Network = c.network
			if err := open(t, c.o).Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start() = %v, want a refusal with %q", err, c.want)
			}
		})
	}
}

func TestNotesAreBoundedAndPrintable(t *testing.T) {
	if !privately(t) {
		return
	}
	var asked []string
	for i := range 60 {
		asked = append(asked, "x"+strings.Repeat("y", i)+".test:80")
	}
	asked = append(asked, "raw!a\x1b[31mb\nplanlatch: fake\x01.test")
	s := dialer(t, "r1-plan-1", asked[60])
	s.Steps = append(s.Steps, dialer(t, "x", asked[:60]...).Steps...)
	s.Network = executor.Network{Mode: executor.NetworkAllowList, Allow: []string{"a.example.com"}}
	_, log := executortest.Finish(t, open(t, local.Options{}), s)
	if n := strings.Count(log, "planlatch: network: "); n != 21 || !strings.Contains(log, "planlatch: network: there is more that is not told\n") {
		t.Errorf("log has %d lines of the network, want 20 and one for the rest:\n%s", n, log)
	}
	if !strings.Contains(log, `planlatch: network: "a\x1b[31mb\nplanlatch: fake\x01.test" is not in network.allow`) {
		t.Errorf("log lacks the odd name, escaped:\n%q", log)
	}
}

func TestProofOfTheNetworkSeesAHole(t *testing.T) {
	if !privately(t) {
		return
	}
	port := speaker(t, "0.0.0.0:0")
	prove := func(o local.Options, n executor.Network) (right, wrong map[string]int) {
		t.Helper()
		attempts, err := open(t, o).ProveNetwork(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		right, wrong = map[string]int{}, map[string]int{}
		for _, a := range attempts {
			if a.OK {
				right[a.What]++
			} else {
				wrong[a.What]++
			}
		}
		return right, wrong
	}
	for _, n := range []executor.Network{
		{Mode: executor.NetworkOpen, Allow: []string{"127.0.0.1:" + port}},
		{Mode: executor.NetworkAllowList, Allow: []string{"127.0.0.1:" + port, "*.example.com:" + port}},
		{Mode: executor.NetworkNone, Allow: []string{"127.0.0.1:" + port}},
	} {
		right, wrong := prove(local.Options{}, n)
		if len(wrong) > 0 || right["an allowed target"] != 1 || right["loopback of this machine"] == 0 || right["an address of this machine"] == 0 || right["a metadata service"] == 0 {
			t.Errorf("mode %s: right %v, wrong %v", n.Mode, right, wrong)
		}
	}
	// Without walls the same attempts get through.
	_, wrong := prove(local.Options{Sandbox: local.SandboxOff}, executor.Network{Mode: executor.NetworkNone})
	if wrong["loopback of this machine"] == 0 || wrong["an address of this machine"] == 0 {
		t.Errorf("with the sandbox off wrong is %v, so the proof proves nothing", wrong)
	}
}

// lookup asks over a stream, as resolvers do for long answers.
func lookup(name string) string {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, server string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server)
	}}
	addrs, err := r.LookupHost(context.Background(), name)
	if err != nil {
		return err.Error()
	}
	return "found " + strings.Join(addrs, " ")
}
