package breach

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func channelAttacks() []Attack {
	return []Attack{
		{"talk to a socket without a file", Channels, false, func(t *Targets) (State, string) { return t.talk("unix", "@"+t.Abstract) }},
		{"talk to a socket that is a file", Channels, false, talkFile},
		{"talk to the machine's loopback without being allowed", Channels, false, func(t *Targets) (State, string) { return t.talk("tcp", t.Address) }},
		{"read memory that processes of this machine share", Channels, false, shared},
	}
}

// talkTime bounds what may never answer. Who answers may be on a machine that is very busy: then a wall that is missing must show.
const talkTime = 10 * time.Second

func (t *Targets) talk(network, address string) (State, string) {
	dialer := net.Dialer{Timeout: talkTime}
	c, err := dialer.Dial(network, address) //nolint:noctx // bounded above, and nobody waits but the attacks that follow
	if err != nil {
		return held(err)
	}
	defer func() { _ = c.Close() }()            // read only
	_ = c.SetDeadline(time.Now().Add(talkTime)) // fails on a closed connection alone, as the read does
	body, err := io.ReadAll(io.LimitReader(c, 4096))
	if t.found(string(body)) {
		return broken("%s answered", address)
	}
	return held(err)
}

// talkFile reaches the socket through its directory, for a socket's path must be short.
func talkFile(t *Targets) (State, string) {
	dir, err := unix.Open(filepath.Dir(t.Socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return held(err)
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	return t.talk("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(t.Socket)))
}

func shared(t *Targets) (State, string) {
	if t.Shm < 0 {
		return Absent, "this kernel has no such memory"
	}
	body, err := unix.SysvShmAttach(t.Shm, 0, unix.SHM_RDONLY)
	if err != nil {
		return held(err)
	}
	got := t.found(string(body))
	err = unix.SysvShmDetach(body)
	if got {
		return broken("segment %d was read", t.Shm)
	}
	return held(err)
}
