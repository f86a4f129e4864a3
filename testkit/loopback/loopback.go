// Package loopback chooses addresses for servers that tests start in processes of their own. Only tests import it.
package loopback

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Free is an address of this machine where nobody listens, and nobody will: it is not the one that all others use, whose ports also are the
// near ends of their connections. Who stops and starts again finds it free.
func Free() (netip.AddrPort, error) {
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("choose an address: %w", err)
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	if closed := l.Close(); err == nil {
		err = closed
	}
	return at, err
}
