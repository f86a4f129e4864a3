package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"golang.org/x/sync/singleflight"
)

// products are the two tools, in the words of hc-install, so that its installers can take them over. Its finders do not fit: they search
// the process's own PATH, stop at the first match, run each binary each time and hand it the whole environment of the server; and
// terraform's "version -json" looks the same from both products.
var products = map[string]product.Product{
	"tofu":      define("tofu", "OpenTofu"),
	"terraform": define("terraform", "Terraform"),
}

func define(name, title string) product.Product {
	return product.Product{
		Name:       name,
		BinaryName: func() string { return name },
		GetVersion: func(ctx context.Context, path string) (*version.Version, error) { return ask(ctx, path, title) },
	}
}

// errSays is an answer that will be the same next time.
var errSays = errors.New("it says")

// banner is the first thing "version" prints, after warnings if there are any.
var banner = regexp.MustCompile(`(?m)^(OpenTofu|Terraform) v([0-9][0-9A-Za-z.+-]*)\s*$`)

// probeTimeout bounds one run of a binary; a busy machine takes seconds to start one.
const probeTimeout = 30 * time.Second

// A program that was written a moment ago cannot be run while a process that we start meanwhile has a copy of the descriptor that wrote it,
// which it has until it runs its own program.
const (
	busyFor = 5 * time.Second
	busyAsk = 10 * time.Millisecond
)

// ask runs a binary to learn what it is. It gets none of our environment, and no configuration file of the user.
func ask(ctx context.Context, path, title string) (*version.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := output(ctx, path)
	for begun := time.Now(); errors.Is(err, syscall.ETXTBSY) && time.Since(begun) < busyFor; out, err = output(ctx, path) {
		select {
		case <-ctx.Done():
		case <-time.After(busyAsk):
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", path, context.Cause(ctx))
	}
	m := banner.FindSubmatch(out)
	switch {
	case m == nil && err != nil:
		if _, exited := errors.AsType[*exec.ExitError](err); exited {
			return nil, fmt.Errorf("%w no version and fails: %w", errSays, err)
		}
		return nil, fmt.Errorf("cannot be run: %w", err)
	case m == nil:
		return nil, fmt.Errorf("%w no version", errSays)
	case string(m[1]) != title:
		return nil, fmt.Errorf("%w that it is %s %s", errSays, m[1], m[2])
	}
	v, err := version.NewVersion(string(m[2]))
	if err != nil {
		return nil, fmt.Errorf("%w the version %q", errSays, m[2])
	}
	return v, nil
}

// output runs a binary for its version.
func output(ctx context.Context, path string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "TF_CLI_CONFIG_FILE=/dev/null", "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1"}
	cmd.WaitDelay = time.Second
	return cmd.Output()
}

// probes remembers what binaries said for as long as their files do not change.
type probes struct {
	flight singleflight.Group
	mu     sync.Mutex
	known  map[probeKey]answer
}

// probeKey stands for the content of a file. Names of products differ because the question does.
type probeKey struct {
	product string
	path    string
	size    int64
	changed time.Time
	touched time.Time // when anything of it changed last, which nobody can set back
}

type answer struct {
	version *version.Version
	err     error
}

func newProbes() *probes { return &probes{known: map[probeKey]answer{}} }

func (p *probes) recall(key probeKey) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.known[key]
	return a, ok
}

// version returns what a binary says, running it at most once however many ask. What may pass, such as a busy file or an ended context, is
// not remembered.
func (p *probes) version(ctx context.Context, of product.Product, path string) (*version.Version, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if !executable(path) {
		return nil, &fs.PathError{Op: "run", Path: path, Err: errors.New("not an executable file")}
	}
	key := probeKey{of.Name, path, info.Size(), info.ModTime(), touched(info)}
	if a, ok := p.recall(key); ok {
		return a.version, a.err
	}
	// The one who runs it must not fail the others when only its own context ends.
	ch := p.flight.DoChan(fmt.Sprint(key), func() (any, error) {
		if a, ok := p.recall(key); ok { // it was run between our look and our turn
			return a.version, a.err
		}
		if err := unaltered(path); err != nil {
			return nil, err
		}
		v, err := of.GetVersion(context.WithoutCancel(ctx), path)
		if err == nil || errors.Is(err, errSays) {
			p.mu.Lock()
			p.known[key] = answer{v, err}
			p.mu.Unlock()
		}
		return v, err
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s for its version: %w", path, ctx.Err())
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		v, _ := r.Val.(*version.Version)
		return v, nil
	}
}
