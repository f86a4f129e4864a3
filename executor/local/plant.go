package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/local/breach"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// planted is what a proof plants, and how to take it away again, last first.
type planted struct {
	canary  string
	targets breach.Targets
	undo    []func() error
}

// plant puts a fresh canary into each of dirs and wherever else an attack looks for it.
func plant(program string, dirs []string) (_ *planted, err error) {
	id := strings.ToLower(rand.Text())
	p := &planted{canary: "planlatch-canary-" + id}
	p.targets = breach.Targets{Reversed: breach.Hide(p.canary), Marker: "planlatch-decoy-" + id, Abstract: "planlatch-breach-" + id}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	for _, dir := range dirs {
		at, err := os.MkdirTemp(dir, "breach-")
		if err != nil {
			return nil, err
		}
		p.undo = append(p.undo, func() error { return removeAll(at) })
		file := filepath.Join(at, "canary")
		if err := os.WriteFile(file, []byte(p.canary+"\n"), 0o600); err != nil {
			return nil, err
		}
		p.targets.Dirs, p.targets.Files = append(p.targets.Dirs, at), append(p.targets.Files, file)
	}
	if err := p.listen(p.targets.Dirs[0]); err != nil {
		return nil, err
	}
	p.share()
	return p, p.decoy(program)
}

func (p *planted) remove() error {
	var all error
	for _, undo := range slices.Backward(p.undo) {
		all = errors.Join(all, undo())
	}
	p.undo = nil
	return all
}

// listen opens sockets that say the canary to everyone.
func (p *planted) listen(dir string) error {
	at, err := os.Open(dir) // a socket's path must be short, and the directory's need not be
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }() // read only
	p.targets.Socket = filepath.Join(dir, "socket")
	for _, where := range [][2]string{
		{"unix", fmt.Sprintf("/proc/self/fd/%d/socket", at.Fd())}, {"unix", "@" + p.targets.Abstract}, {"tcp", "127.0.0.1:0"},
	} {
		l, err := net.Listen(where[0], where[1]) //nolint:noctx // at once or not at all
		if err != nil {
			return err
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it goes with its directory
		}
		done := make(chan struct{})
		go p.speak(l, done)
		p.undo = append(p.undo, func() error {
			err := l.Close()
			<-done
			return err
		})
		p.targets.Address = l.Addr().String()
	}
	return nil
}

func (p *planted) speak(l net.Listener, done chan<- struct{}) {
	defer close(done)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, p.canary) // whoever hung up hears nothing
		_ = c.Close()
	}
}

// share makes a System V segment with the canary. A kernel without them has nothing to protect.
func (p *planted) share() {
	p.targets.Shm = -1
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, os.Getpagesize(), unix.IPC_CREAT|0o600)
	if err != nil {
		return
	}
	p.undo = append(p.undo, func() error {
		_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		return err
	})
	body, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return
	}
	copy(body, p.canary)
	if err := unix.SysvShmDetach(body); err == nil {
		p.targets.Shm = id
	}
}

// decoy starts a process of this user that has the canary in its environment and in an open file, and is not closed to others as the server is.
func (p *planted) decoy(program string) (err error) {
	stdin, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, stdin.Close(), hold.Close())
	}
	secret, err := os.Open(p.targets.Files[0])
	if err != nil {
		return errors.Join(err, stdin.Close(), hold.Close(), null.Close())
	}
	pid, err := syscall.ForkExec(program, shim.BreachArgs(breach.DecoyArgs(p.targets.Marker)), &syscall.ProcAttr{
		Dir: "/", Env: []string{"PLANLATCH_SECRET=" + p.canary}, Files: []uintptr{stdin.Fd(), null.Fd(), null.Fd(), secret.Fd()},
	})
	if err = errors.Join(err, stdin.Close(), null.Close(), secret.Close()); err != nil {
		return errors.Join(err, hold.Close())
	}
	p.targets.PID = pid
	p.undo = append(p.undo, func() error {
		err := hold.Close() // its stdin ends, and with it the decoy
		_, waitErr := unix.Wait4(pid, nil, 0, nil)
		return errors.Join(err, waitErr)
	})
	return nil
}
