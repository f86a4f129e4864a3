package names_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/planlatch/planlatch/executor/local/names"
	"github.com/planlatch/planlatch/executor/reach"
)

func zone(t testing.TB, note func(string)) *names.Zone {
	t.Helper()
	allow, err := reach.ParseList([]string{"db.internal:5432", "*.amazonaws.com:443", "10.1.0.0/16:5432"})
	if err != nil {
		t.Fatal(err)
	}
	return names.New(allow, []string{"db.internal"}, note)
}

func query(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	n, err := dnsmessage.NewName(name)
	if err != nil {
		t.Fatal(err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func ask(t testing.TB, z *names.Zone, name string, kind dnsmessage.Type) (dnsmessage.RCode, netip.Addr) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(z.Answer(query(t, name, kind))); err != nil {
		t.Fatalf("answer for %s: %v", name, err)
	}
	if m.ID != 7 || !m.Response || len(m.Questions) != 1 || m.Questions[0].Name.String() != name {
		t.Errorf("answer for %s = %+v", name, m)
	}
	for _, a := range m.Answers {
		if body, ok := a.Body.(*dnsmessage.AResource); ok {
			return m.RCode, netip.AddrFrom4(body.A)
		}
	}
	return m.RCode, netip.Addr{}
}

func TestAllowedNamesGetAnAddressThatTellsTheName(t *testing.T) {
	t.Parallel()
	z := zone(t, func(name string) { t.Errorf("refused %s", name) })
	if code, addr := ask(t, z, "DB.internal.", dnsmessage.TypeA); code != 0 || addr != names.Fixed(0) {
		t.Errorf("db.internal is %v, %v, want %v", code, addr, names.Fixed(0))
	}
	seen := map[netip.Addr]string{}
	for _, name := range []string{"s3.amazonaws.com", "a.b.amazonaws.com", "S3.Amazonaws.com", "db.internal"} {
		code, addr := ask(t, z, name+".", dnsmessage.TypeA)
		if code != 0 || !names.Range().Contains(addr) || addr == names.Server() {
			t.Fatalf("%s is %v, %v", name, code, addr)
		}
		if got, ok := z.Name(addr); !ok || got != strings.ToLower(name) {
			t.Errorf("Name(%v) = %q, %v, want %s", addr, got, ok, name)
		}
		if other, ok := seen[addr]; ok && other != strings.ToLower(name) {
			t.Errorf("%s and %s share %v", name, other, addr)
		}
		seen[addr] = strings.ToLower(name)
	}
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.Type(65)} {
		if code, addr := ask(t, z, "s3.amazonaws.com.", kind); code != 0 || addr.IsValid() {
			t.Errorf("%v of a known name is %v, %v, want no records and no error", kind, code, addr)
		}
	}
	if _, ok := z.Name(names.Fixed(9)); ok {
		t.Error("an address that was never given has a name")
	}
}

func TestOtherNamesDoNotExistAndAreTold(t *testing.T) {
	t.Parallel()
	var refused []string
	z := zone(t, func(name string) { refused = append(refused, name) })
	for _, name := range []string{
		"evil.example.com.", "amazonaws.com.", "internal.", "xdb.internal.", "a\x1b[31m\n.example.", "1.1.168.192.in-addr.arpa.", strings.Repeat("abcdefg.", 20),
	} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeTXT} {
			if code, addr := ask(t, z, name, kind); code != dnsmessage.RCodeNameError || addr.IsValid() {
				t.Errorf("%v of %q is %v, %v, want that it does not exist", kind, name, code, addr)
			}
		}
	}
	if refused = slices.Compact(refused); len(refused) != 6 || refused[0] != "evil.example.com" || refused[4] != `"a\x1b[31m\n.example"` || len(refused[5]) > 120 {
		t.Errorf("told of %q", refused)
	}
}

func TestARunLearnsOnlySoManyNames(t *testing.T) {
	t.Parallel()
	z := zone(t, func(string) {})
	last := dnsmessage.RCodeSuccess
	for i := 0; i < 20000 && last == dnsmessage.RCodeSuccess; i++ {
		last, _ = ask(t, z, "x"+strings.Repeat("y", i%50)+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676%26))+".amazonaws.com.", dnsmessage.TypeA)
	}
	if last != dnsmessage.RCodeServerFailure {
		t.Errorf("the last of 20,000 names is %v", last)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"db.internal.", "evil.example.", "."} {
		f.Add(query(f, name, dnsmessage.TypeA))
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xc0, 0x0c}, 40))
	z := zone(f, func(name string) {
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' && r != '…' }) {
			panic("not printable: " + name)
		}
	})
	f.Fuzz(func(t *testing.T, message []byte) {
		answer := z.Answer(message)
		if answer == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil || !m.Response || m.ID != uint16(message[0])<<8|uint16(message[1]) {
			t.Fatalf("answer %x to %x: %+v, %v", answer, message, m, err)
		}
		for _, a := range m.Answers {
			if body, ok := a.Body.(*dnsmessage.AResource); !ok || !names.Range().Contains(netip.AddrFrom4(body.A)) {
				t.Fatalf("answer %+v to %x", m, message)
			}
		}
	})
}
