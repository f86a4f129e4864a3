package local

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/broker"
	"github.com/planlatch/planlatch/executor/local/lend"
	"github.com/planlatch/planlatch/executor/local/shim"
)

var (
	headerName  = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	insteadOf   = regexp.MustCompile(`^[A-Za-z0-9@:/._~+%-]{8,}[:/]$|^[A-Za-z0-9@:/._~+%-]{8,}\.git$`)
	headerValue = regexp.MustCompile(`^[\x20-\x7e]+$`)
)

// checkLends refuses places that cannot be lent, before anything is touched.
func checkLends(lends []executor.Lend, secrets []string) error {
	if len(lends) != len(secrets) {
		return fmt.Errorf("lent credentials: %d places and %d secrets", len(lends), len(secrets))
	}
	if len(lends) > 100 {
		return fmt.Errorf("lent credentials: %d are too many, the limit is 100", len(lends))
	}
	var places []lend.Place
	for i, l := range lends {
		if !headerName.MatchString(l.Header) || http.CanonicalHeaderKey(l.Header) == "Host" || !headerValue.MatchString(secrets[i]) {
			return fmt.Errorf("lent credential %s: the header or its value cannot be one", l.Name) // never the value
		}
		for _, from := range l.InsteadOf {
			if l.Kind != executor.LendGit || !insteadOf.MatchString(from) {
				return fmt.Errorf("lent credential %s: %q cannot stand for its url", l.Name, from)
			}
		}
		places = append(places, lend.Place{Name: l.Name, Kind: lend.Kind(l.Kind), URL: l.URL})
	}
	if _, err := lend.New(places, lend.Options{}); err != nil {
		return fmt.Errorf("lent credentials: %w", err)
	}
	return nil
}

// lendable says why a machine without namespaces cannot lend what an execution needs.
func lendable(l shim.Launch, missing error) error {
	if l.Namespaces {
		return nil
	}
	i := slices.IndexFunc(l.Spec.Lends, func(p executor.Lend) bool { return p.Kind != executor.LendGit })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("the module credential %s is of kind https, which needs namespaces to be lent without being shown (%w); %s, "+
		"or narrow its projects", l.Spec.Lends[i].Name, errOr(missing, "the sandbox is off"), fixUser)
}

func errOr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

// addDoors decides where inside the namespace the sites of lent credentials are reached: a name at an address of the namespace's own
// loopback, an address at itself.
func addDoors(l *shim.Launch) error {
	var places []lend.Place
	for _, p := range l.Spec.Lends {
		places = append(places, lend.Place{Kind: lend.Kind(p.Kind), URL: p.URL})
	}
	sites, err := lend.Sites(places)
	if err != nil {
		return err
	}
	inside := map[string]netip.Addr{}
	next := netip.MustParseAddr("127.77.0.1")
	for _, s := range sites {
		host, port := hostOf(s.Host), s.Host[strings.LastIndex(s.Host, ":")+1:]
		addr, known := inside[host]
		if literal, err := netip.ParseAddr(host); err == nil {
			addr, known = literal, true
		}
		if !known {
			next = next.Next()
			addr, inside[host] = next, next
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return err
		}
		l.Doors = append(l.Doors, broker.Door{Host: s.Host, Listen: netip.AddrPortFrom(addr, uint16(number)).String()})
	}
	for i, r := range l.Relays { // another port of such a name, which now stands for an address of ours
		if addr, ok := inside[strings.ToLower(hostOf(r.Dial))]; ok {
			_, port, err := net.SplitHostPort(r.Dial)
			if err != nil {
				return err
			}
			l.Relays[i].Listen = append(slices.Clone(r.Listen), net.JoinHostPort(addr.String(), port))
		}
	}
	return nil
}

func hostOf(target string) string {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return ""
	}
	return host
}

// behindDoor says whether a name stands for the door of a site.
func behindDoor(l shim.Launch, host string) bool {
	return slices.ContainsFunc(l.Doors, func(d broker.Door) bool { return strings.EqualFold(hostOf(d.Host), host) })
}
