package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
)

// programMain makes the test binary a server that starts an execution, or a tool inside a sandbox.
func programMain(args []string) (exit int, isProgram bool) {
	if len(args) < 3 || args[1] != "__program" {
		return 0, false
	}
	if err := program(args[2], args[3:]); err != nil {
		fmt.Println("error:", err)
		return 1, true
	}
	return 0, true
}

// order is what a starter is told on stdin.
type order struct {
	Options local.Options
	Spec    executor.Spec
	Secrets executor.Secrets
}

func program(name string, args []string) error {
	switch name {
	case "start": // the server that is going to be killed
		if err := local.Harden(); err != nil {
			return err
		}
		var o order
		if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
			return err
		}
		e, err := local.New(o.Options)
		if err != nil {
			return err
		}
		fmt.Println("begin")
		if err := e.Start(context.Background(), o.Spec, o.Secrets); err != nil {
			return err
		}
		fmt.Println("started")
		select {}
	case "dial": // says what became of a connection to each address
		for _, addr := range args {
			fmt.Printf("%s: %s\n", addr, dial(addr))
		}
		return nil
	case "open": // opens as many files as it gets
		var kept []*os.File
		for len(kept) < 100_000 {
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			kept = append(kept, f)
		}
		fmt.Println("opened", len(kept))
		return syscall.Pause() // hold them
	case "threads": // one process, so many of them
		most, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		for range most {
			go func() {
				runtime.LockOSThread()
				_ = syscall.Pause()
			}()
		}
		return syscall.Pause()
	case "eat": // takes so much memory
		size, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		var kept [][]byte
		for taken := 0; taken < size; taken += 1 << 20 {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
		}
		fmt.Println("ate", len(kept))
		select {} // hold it
	}
	return fmt.Errorf("unknown program %q", name)
}

// answers is how long an answer may take that comes through relays on a starved machine. What is closed refuses at once.
const answers = 30 * time.Second

func dial(addr string) string {
	if name, ok := strings.CutPrefix(addr, "tcp-lookup!"); ok {
		return lookup(name)
	}
	if name, ok := strings.CutPrefix(addr, "raw!"); ok {
		return rawQuestion(name)
	}
	if at, ok := strings.CutPrefix(addr, "closes!"); ok { // sooner or later
		said := dial(at)
		for deadline := time.Now().Add(answers); said == "said hello" && time.Now().Before(deadline); said = dial(at) {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polling the network
		}
		return said
	}
	if at, ok := strings.CutPrefix(addr, "udp!"); ok {
		return ping(at)
	}
	c, err := net.DialTimeout("tcp", addr, answers)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }() // read only
	if err := c.SetDeadline(time.Now().Add(answers)); err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return "said " + string(body)
}

// ping sends one packet and waits for its answer.
func ping(addr string) string {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }() // nothing is buffered
	buffer := make([]byte, 10)
	if err := errors.Join(c.SetDeadline(time.Now().Add(answers)), second(c.Write([]byte("ping")))); err != nil {
		return err.Error()
	}
	n, err := c.Read(buffer)
	if err != nil {
		return err.Error()
	}
	return "said " + string(buffer[:n])
}

func second(_ int, err error) error { return err }

// rawQuestion asks the name service for what no resolver would.
func rawQuestion(name string) string {
	c, err := net.Dial("udp", "198.18.0.1:53")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }() // nothing is buffered
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return err.Error()
	}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	packed, err := m.Pack()
	if err != nil {
		return err.Error()
	}
	if err := errors.Join(c.SetDeadline(time.Now().Add(answers)), second(c.Write(packed)), second(c.Read(packed))); err != nil {
		return err.Error()
	}
	return "answered"
}
