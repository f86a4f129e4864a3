// Package s3 starts a real S3 gateway (versitygw on a directory) for tests, on a loopback port, with people of its own.
//
// It promises one gateway per test binary, started when it is first needed, one bucket per call of [New], and users who may do only what
// their test granted. The gateway ends with the test binary, also when that is killed: a small shell waits on a pipe that only the binary
// holds open, then stops the gateway and removes its directory. It needs no network and works as root and as an ordinary user. When the
// gateway cannot be built or started, New fails the test and says why; it never skips.
//
// All of it is safe for parallel tests. Only tests import it.
package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/planlatch/planlatch/testkit/loopback"
	"github.com/planlatch/planlatch/testkit/pinned"
)

const (
	readyWithin = 4 * time.Minute // normally a third of a second
	callWithin  = 2 * time.Minute
	region      = "us-east-1"
	requestLog  = "requests"
)

// gateway is one running versitygw.
type gateway struct {
	address string // host:port
	owner   Identity
	binary  string
	dir     string
	pipe    io.Closer // closing it, or dying, ends the gateway and removes its directory
	http    *http.Client
	next    atomic.Int64
	people  sync.Mutex // held while an account is made: the gateway keeps them in one file
}

// shared is the one gateway of a test binary. No test's context bounds it: the first test that asks must not end it for the others.
var shared = sync.OnceValues(func() (*gateway, error) { return launch(context.Background()) })

var errPort = errors.New("port taken")

func launch(ctx context.Context) (*gateway, error) {
	binary, err := pinned.Find("versitygw")
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		g, err := start(ctx, binary)
		// Between choosing a port and listening on it somebody else may have taken it.
		if err == nil || attempt == 3 || !errors.Is(err, errPort) {
			return g, err
		}
	}
}

// supervise runs the gateway and waits. When stdin ends, because somebody closed it or because the test binary is gone, it kills the
// gateway and removes the directory. When the gateway ends by itself it says so in the file "ended" and keeps the log until stdin ends.
const supervise = `dir=$1; shift
"$@" </dev/null >"$dir/log" 2>&1 & child=$!
exec 3<&0
(read -r _ <&3; kill -KILL $child) & reader=$!
wait $child
if kill $reader 2>/dev/null; then : >"$dir/ended"; read -r _ <&3; fi
rm -rf "$dir"`

func start(ctx context.Context, binary string) (*gateway, error) {
	at, err := loopback.Free()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "planlatch-s3-")
	if err != nil {
		return nil, err
	}
	g := &gateway{
		address: at.String(), binary: binary, dir: dir,
		owner: Identity{AccessKey: "owner", SecretKey: rand.Text()},
		// No kept-alive connections: they would count as leaked goroutines in packages that look for those.
		http: &http.Client{Timeout: callWithin, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, sub := range []string{"buckets", "meta", "people"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	// Metadata lies beside the objects in files of its own, since not every temporary directory has extended attributes.
	cmd := exec.Command("sh", "-c", supervise, "sh", dir, binary, "--port", g.address, "--region", region, "--quiet", //nolint:noctx // it outlives the call
		"--access-log", filepath.Join(dir, requestLog), "--iam-dir", filepath.Join(dir, "people"),
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "buckets"))
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ROOT_ACCESS_KEY=" + g.owner.AccessKey, "ROOT_SECRET_KEY=" + g.owner.SecretKey, //nolint:forbidigo // test support
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of Ctrl-C: the shell ends it
	if g.pipe, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", binary, err), os.RemoveAll(dir))
	}
	if err := g.ready(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log")) // best effort: without it there is still the error
		err = errors.Join(err, g.pipe.Close())
		_ = cmd.Wait() // it was killed on purpose: its exit says nothing
		if strings.Contains(string(log), "address already in use") {
			return nil, errPort
		}
		return nil, fmt.Errorf("%w; its log: %s", err, bytes.TrimSpace(log))
	}
	return g, nil
}

// ready waits until the gateway answers, or ended, or is too slow.
func (g *gateway) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := g.http.Do(req); err == nil { // an unsigned request is refused, by somebody who is there
			return resp.Body.Close()
		}
		if _, err := os.Stat(filepath.Join(g.dir, "ended")); err == nil {
			return errors.New("versitygw ended at once")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("versitygw is not ready after %s", readyWithin)
		case <-tick.C:
		}
	}
}
