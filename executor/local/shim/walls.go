package shim

import (
	"net"
	"path/filepath"
	"strconv"

	"github.com/planlatch/planlatch/executor/local/confine"
)

// wallsFor lists what the execution in dir may touch.
func wallsFor(l Launch, dir string, ports ...uint16) *confine.Walls {
	if !l.Walls {
		return nil
	}
	// The second wall does not lean on the first: it names what is to be seen, also where there is nothing else to see.
	w := &confine.Walls{
		Files: devices(), Read: append([]string{"/proc"}, Shown()...), Ports: ports,
		NoLandlock: !l.has(WithoutLandlock), NoSeccomp: !l.has(WithoutSeccomp),
	}
	for _, name := range EtcNames() {
		w.Read = append(w.Read, "/etc/"+name)
	}
	if l.Namespaces {
		w.Read = append(w.Read, InsideShim, insideSource, insideFiles, insideAuthority, insideSealed)
		w.Write = []string{insideTmp, "/dev/shm", filepath.Join(insideSource, l.Spec.Source.Work)}
	} else {
		w.Read = append(w.Read, l.Shim, l.Spec.Source.Dir, filepath.Join(dir, DirSource), filepath.Join(dir, DirSealed))
		w.Write = []string{filepath.Join(dir, DirTmp), l.WorkDir(dir)}
		w.Offline = l.Offline
		for _, r := range l.Relays {
			w.Ports = append(w.Ports, portOf(r.Dial))
		}
	}
	for _, b := range l.Spec.Binds {
		if b.Write {
			w.Write = append(w.Write, b.Path)
		} else {
			w.Read = append(w.Read, b.Path)
		}
	}
	return w
}

// portOf is the port of a host:port that was checked before.
func portOf(target string) uint16 {
	_, text, err := net.SplitHostPort(target)
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}
