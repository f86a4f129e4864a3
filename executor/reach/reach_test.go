package reach_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor/reach"
)

func TestParseReadsEveryFormAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"db.internal:5432": "db.internal:5432", "registry.opentofu.org": "registry.opentofu.org:443", "DB.Internal.:5432": "db.internal:5432",
		"*.amazonaws.com:443": "*.amazonaws.com:443", "*.amazonaws.com": "*.amazonaws.com:443", "127.0.0.1:9000": "127.0.0.1:9000",
		"10.0.0.1": "10.0.0.1:443", "10.1.0.0/16:5432": "10.1.0.0/16:5432", "10.1.0.0/16": "10.1.0.0/16:443", "[fd00::1]:443": "[fd00::1]:443",
		"fd00::1": "[fd00::1]:443", "[fd00::1]": "[fd00::1]:443", "[fd00::/64]:80": "[fd00::/64]:80", "::ffff:10.0.0.1": "10.0.0.1:443",
		"_srv.x-1.y": "_srv.x-1.y:443", "localhost:1": "localhost:1",
	} {
		e, err := reach.Parse(text)
		if err != nil || e.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", text, e, err, want)
			continue
		}
		if again, err := reach.Parse(e.String()); err != nil || again != e {
			t.Errorf("Parse(%q) = %v, %v, want %v again", e, again, err, e)
		}
	}
	for text, want := range map[string]string{
		"": "neither a name nor an address", ":443": "neither", "host:0": "port", "host:65536": "port", "host:http": "port", "host:080": "port",
		"*": "neither", "*.": "neither", "a.*.com": "neither", "*x.com": "neither", "*.*.com": "neither", "a..b": "neither", "127.1:80": "neither",
		"0x7f.1": "neither", "2130706433": "neither", "a.0x7f": "neither", "0.0.0.0:80": "to listen on", "[::]:80": "to listen on", "0.0.0.0/0:443": "mode open",
		"::/0": "mode open", "10.1.2.3/16:5432": "10.1.0.0/16 is the network", "a b:443": "neither", "https://a.b": "port", "a:b:c": "host:port",
		"münchen.de": "neither", "fe80::1%eth0": "host:port", "a\x00b": "neither", strings.Repeat("a", 64): "neither",
	} {
		if e, err := reach.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v, want a fault with %q", text, e, err, want)
		}
	}
}

func list(t testing.TB, texts ...string) reach.List {
	t.Helper()
	l, err := reach.ParseList(texts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAListAllowsWhatItNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	l := list(t, "db.internal:5432", "*.amazonaws.com:443", "10.1.0.0/16:5432", "[fd00::1]:443", "127.0.0.1:9000")
	for name, want := range map[string]bool{
		"db.internal:5432": true, "db.internal:5433": false, "x.db.internal:5432": false, "s3.amazonaws.com:443": true,
		"b.s3.eu-west-1.amazonaws.com:443": true, "amazonaws.com:443": false, "xamazonaws.com:443": false, "s3.amazonaws.com:80": false,
		"s3.amazonaws.com.evil.example:443": false, "evil.example:443": false, "10.1.0.1:5432": false,
	} {
		host, port, _ := strings.Cut(name, ":")
		at := netip.MustParseAddrPort("1.1.1.1:" + port)
		if got := l.Name(host, at.Port()); got != want {
			t.Errorf("Name(%s) = %v, want %v", name, got, want)
		}
	}
	for at, want := range map[string]bool{
		"10.1.0.1:5432": true, "10.1.255.255:5432": true, "10.2.0.0:5432": false, "10.1.0.1:5433": false, "[fd00::1]:443": true, "[fd00::2]:443": false,
		"[::ffff:10.1.0.1]:5432": true, "127.0.0.1:9000": true, "127.0.0.2:9000": false,
	} {
		if got := l.Address(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("Address(%s) = %v, want %v", at, got, want)
		}
	}
	if reach.List(nil).Name("a", 443) || reach.List(nil).Address(netip.MustParseAddrPort("10.0.0.1:443")) || reach.List(nil).Named("a") {
		t.Error("an empty list allows something")
	}
}

func TestANameNeverLeadsToAPlaceThatTrustsItsCallers(t *testing.T) {
	t.Parallel()
	g := reach.Guard{
		Allow: list(t, "*.example.com:443", "db.internal:5432", "localhost:5432", "127.0.0.1:9000", "10.0.0.0/8:443", "10.9.9.9:443", "own.internal:7000", "192.0.2.9:7000"),
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.66.0.0/16")},
		Own: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("10.5.5.5"), netip.MustParseAddr("fd00::9")}, nil
		},
	}
	for _, c := range []struct{ target, at, refused string }{
		{"a.example.com:443", "203.0.113.1:443", ""},
		{"a.example.com:443", "10.1.1.1:443", ""}, // a private endpoint
		{"a.example.com:443", "127.0.0.1:443", "loopback"},
		{"a.example.com:443", "[::1]:443", "loopback"},
		{"a.example.com:443", "[::ffff:127.0.0.1]:443", "loopback"},
		{"a.example.com:443", "0.0.0.0:443", "loopback"},
		{"a.example.com:443", "[::]:443", "loopback"},
		{"a.example.com:443", "0.1.2.3:443", "no address"},
		{"a.example.com:443", "255.255.255.255:443", "no address"},
		{"a.example.com:443", "224.0.0.1:443", "no address"},
		{"a.example.com:443", "169.254.169.254:443", "metadata"},
		{"a.example.com:443", "100.100.100.200:443", "metadata"},
		{"a.example.com:443", "168.63.129.16:443", "metadata"},
		{"a.example.com:443", "[fd00:ec2::254]:443", "metadata"},
		{"a.example.com:443", "[::ffff:169.254.169.254]:443", "metadata"},
		{"a.example.com:443", "[64:ff9b::a9fe:a9fe]:443", "metadata"},
		{"a.example.com:443", "[64:ff9b:1::a9fe:a9fe]:443", "metadata"},
		{"a.example.com:443", "[2002:7f00:1::]:443", "loopback"},
		{"a.example.com:443", "[fe80::1%eth0]:443", "link-local"},
		{"a.example.com:443", "192.0.2.9:443", "own machine"},
		{"a.example.com:443", "[fd00::9]:443", "own machine"},
		{"a.example.com:443", "10.66.1.1:443", "network.deny"},
		{"db.internal:5432", "127.0.0.1:5432", "loopback"}, // an exact name as well
		{"db.internal:9000", "127.0.0.1:9000", ""},         // that very place is written down
		{"localhost:5432", "127.0.0.1:5432", ""},
		{"localhost:5432", "[::1]:5432", ""},
		{"localhost:5432", "192.0.2.9:5432", "own machine"},
		{"localhost:5433", "127.0.0.1:5433", "loopback"},
		{"x.localhost:443", "127.0.0.1:443", "loopback"},
		{"own.internal:7000", "192.0.2.9:7000", ""},
		{"10.5.5.5:443", "10.5.5.5:443", "own machine"}, // within a network that is allowed
		{"10.66.1.1:443", "10.66.1.1:443", "network.deny"},
		{"10.9.9.9:443", "10.9.9.9:443", ""},
	} {
		err := g.Check(c.target, netip.MustParseAddrPort(c.at))
		var refused *reach.Refused
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("Check(%s, %s) = %v, want nil", c.target, c.at, err)
		case c.refused != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "network.allow")):
			t.Errorf("Check(%s, %s) = %v, want refused as %q with the fix", c.target, c.at, err, c.refused)
		}
	}
}

func TestADialerChecksEveryAddressBeforeItConnects(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	at := netip.MustParseAddrPort(l.Addr().String())
	dial := func(g reach.Guard) error {
		d := net.Dialer{ControlContext: g.Control("a.example.com:443")}
		c, err := d.DialContext(t.Context(), "tcp", at.String())
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	var refused *reach.Refused
	if err := dial(reach.Guard{}); !errors.As(err, &refused) || refused.At != at {
		t.Errorf("dial = %v, want refused", err)
	}
	if err := dial(reach.Guard{Allow: list(t, at.String())}); err != nil {
		t.Errorf("dial of what is written down = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"db.internal:5432", "*.a.b", "10.0.0.0/8:1", "[::1]:80", "a:b:c", "[", "*", "::ffff:1.2.3.4/100"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := reach.Parse(text)
		if err != nil {
			return
		}
		if again, err := reach.Parse(e.String()); err != nil || again != e {
			t.Errorf("Parse(%q) = %v, which reads back as %v, %v", text, e, again, err)
		}
		if (e.Name == "") == (e.Prefix.Bits() < 0 || !e.Prefix.IsValid()) || e.Port == 0 {
			t.Errorf("Parse(%q) = %+v, want a name or a prefix, and a port", text, e)
		}
		if e.Name != "" && !reach.IsName(e.Name) {
			t.Errorf("Parse(%q) has the name %q", text, e.Name)
		}
	})
}
