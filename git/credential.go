package git

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/planlatch/planlatch/vcs"
)

// The credential helper is a line of sh that knows no secret: it carries git's question to the socket it inherited and the answer back.
// We hold the other end. Compared with the usual askpass script, the password stands in no environment (which every process of the same
// user can read), no file needs the right to be executed, and the question names scheme and host, so a redirect to another machine gets
// no answer.
//
// The socket is descriptor 4, after the lock, which is 3.
const credentialHelper = `credential.helper=!f() { test "$1" = get || exit 0; cat >&4 && echo >&4; ` +
	`while IFS= read -r l <&4 && test -n "$l"; do printf '%s\n' "$l"; done; }; f`

// credentials answers one git's questions until it is closed.
type credentials struct {
	child  *os.File // for git to inherit
	socket net.Conn
	done   chan struct{}
}

func answerCredentials(r vcs.Remote, to *url.URL) (*credentials, error) {
	if strings.ContainsAny(r.Username+r.Password, "\n\r\x00") {
		return nil, fmt.Errorf("the credential for %s contains a line break, which git cannot take", to.Host)
	}
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("make a socket for the credential: %w", err)
	}
	ours := os.NewFile(uintptr(pair[0]), "credential")
	socket, err := net.FileConn(ours)
	_ = ours.Close() // FileConn has its own copy
	c := &credentials{child: os.NewFile(uintptr(pair[1]), "credential"), socket: socket, done: make(chan struct{})}
	if err != nil {
		_ = c.child.Close() // the error above is the one to tell
		return nil, fmt.Errorf("make a socket for the credential: %w", err)
	}
	go func() {
		defer close(c.done)
		c.serve(r, to)
	}()
	return c, nil
}

// serve reads questions, each some lines of key=value and an empty one, until the socket closes.
func (c *credentials) serve(r vcs.Remote, to *url.URL) {
	lines := bufio.NewScanner(c.socket)
	asked := map[string]string{}
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			asked[key] = value
			continue
		}
		answer := "quit=1\n\n"
		if asked["protocol"] == to.Scheme && asked["host"] == to.Host {
			answer = "username=" + r.Username + "\npassword=" + r.Password + "\n\n"
		}
		clear(asked)
		if _, err := c.socket.Write([]byte(answer)); err != nil {
			return // git is gone, and says itself why
		}
	}
}

// close ends the answering and waits for it.
func (c *credentials) close() {
	// Both ends are ours alone by now; nothing is lost by an error.
	_ = c.child.Close()
	_ = c.socket.Close()
	<-c.done
}
