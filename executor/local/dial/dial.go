// Package dial tries, from inside an execution, who can be reached from there: it is a step's program, as package breach is.
//
// It promises one answer for each target, in bounded time whatever the target does, and says nothing but a question mark to services over UDP. What
// an answer means is the caller's.
package dial

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Result is what became of one attempt to reach a target from inside an execution.
type Result struct {
	Target string // tcp!host:port or udp!host:port
	Said   string // what the other side said first
	Error  string // why there was no connection, or why it broke at once
}

// How long an attempt may take, and how long it listens to who is there.
const (
	attemptTime = 10 * time.Second
	listenTime  = time.Second
)

// Main tries all targets at once and writes a Result for each, one JSON value per line.
func Main(targets []string, out io.Writer) error {
	results := make([]Result, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() { results[i] = try(target) })
	}
	all.Wait()
	e := json.NewEncoder(out)
	var err error
	for _, r := range results {
		err = errors.Join(err, e.Encode(r))
	}
	return err
}

func try(target string) Result {
	d := Result{Target: target}
	network, address, _ := strings.Cut(target, "!")
	conn, err := net.DialTimeout(network, address, attemptTime) //nolint:noctx // it lives as long as this step
	if err != nil {
		d.Error = err.Error()
		return d
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	if network == "udp" {
		_, err = conn.Write([]byte("?"))
	}
	buffer := make([]byte, 100)
	var n int
	if err = errors.Join(err, conn.SetReadDeadline(time.Now().Add(listenTime))); err == nil {
		n, err = conn.Read(buffer)
	}
	d.Said = string(buffer[:n])
	var timeout net.Error
	if err != nil && (network == "udp" || !errors.As(err, &timeout) || !timeout.Timeout()) { // most wait to be spoken to
		d.Error = err.Error()
	}
	return d
}
