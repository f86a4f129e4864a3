// Package provider keeps the providers of the tools in one store that every run shares and none can change.
//
// It promises that a package enters the store only by a process that runs no code of a repository: an init of a configuration that we
// write, walled like any run, whose result must have a checksum that the tool itself accepted for the project's lock file. It promises
// that a run is told to take from the store exactly the locked providers that are there, and everything else from the configured mirror or
// its registry into the run's own directory. It leaves to the tool to verify a package against the lock file each time it uses it: a
// package that was changed on disk is refused there. What cannot be had is left to the run's own init, which says why.
//
// A package is never changed, so any number of runs may use it while others are added. One is evicted only when no execution on this machine
// has it among what it sees, and no View gave it out lately; whoever needs it then gets it fetched again. A Store is safe for concurrent use, and several
// processes may share a directory.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/project"
)

// Options of a Store.
type Options struct {
	Dir         string // keeps packages and CLI configurations; made with mode 0700
	Mirror      string // where providers come from: an absolute directory laid out as a filesystem mirror, or an https URL; empty: registries
	Exec        executor.Executor
	Network     executor.Network
	Limits      executor.Limits
	Environment []string        // NAME=value of every fetch: a proxy, certificates
	Binds       []executor.Bind // that every fetch sees
	Timeout     time.Duration   // of one fetch; 0: 10 minutes
	Log         *slog.Logger    // nil: nothing is logged
}

// Store is the shared store of one machine:
//
//	packages/<host>@<namespace>@<type>@<version>/   a filesystem mirror of one package: what runs see
//	sums/                                           its checksum, and which lock files' checksums were found to mean it
//	cli/                                            CLI configurations, named by their content
//	incoming/  locks/                               fetches in progress, and what is being evicted
type Store struct {
	o      Options
	flight singleflight.Group
	now    func() time.Time

	mu     sync.Mutex
	failed map[string]failure
	active map[executor.Name]bool
}

// failure is kept for a while, so that each run of many does not wait for the same fetch to fail.
type failure struct {
	err   error
	until time.Time
}

const (
	defaultTimeout = 10 * time.Minute
	retryAfter     = 5 * time.Minute
	fetchesAtOnce  = 4
)

// New opens a store.
func New(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	for _, sub := range []string{dirPackages, dirSums, dirCLI, dirIncoming, dirLocks} {
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("provider store: %w", err)
		}
	}
	// Tools put links to it into their working directory, and walls know only where things really are.
	actual, err := filepath.EvalSymlinks(o.Dir)
	if err == nil {
		o.Dir, err = filepath.Abs(actual)
	}
	if err != nil {
		return nil, fmt.Errorf("provider store: %w", err)
	}
	return &Store{o: o, now: time.Now, failed: map[string]failure{}, active: map[executor.Name]bool{}}, nil
}

// View is what one run gets.
type View struct {
	Config string          // path of its CLI configuration
	Binds  []executor.Bind // what it must see, read-only
	Lock   []byte          // its lock file with checksums that the tool found to be right; nil: as it was
}

// View fetches the locked providers that the store lacks, and says how a run that uses a tool (tofu or terraform, at binary) gets its
// providers. lock is the project's lock file; nil if it has none. That a provider cannot be fetched is no error.
func (s *Store) View(ctx context.Context, product, binary string, lock []byte, only []string) (View, error) {
	var locks []project.Lock
	if len(lock) > 0 {
		var err error
		if locks, err = project.ReadLocks(lock); err != nil {
			s.o.Log.Info("a lock file is left to the tool", "error", err)
		}
	}
	for range 3 { // a package may be evicted after it was found; hardly twice
		sums, err := s.have(ctx, product, binary, locks)
		if err != nil {
			return View{}, err
		}
		v, whole, err := s.claim(ctx, locks, sums, only)
		if err != nil || whole {
			return v, err
		}
	}
	return s.view(locks, make([]string, len(locks)), only) // left to the run's own init
}

// have has the packages of locks in the store and returns their checksums; empty for those that cannot be had.
func (s *Store) have(ctx context.Context, product, binary string, locks []project.Lock) ([]string, error) {
	sums := make([]string, len(locks))
	var group errgroup.Group
	group.SetLimit(fetchesAtOnce)
	for n, l := range locks {
		group.Go(func() error {
			sum, err := s.ensure(ctx, product, binary, l)
			if err != nil && ctx.Err() == nil {
				s.o.Log.Warn("a provider could not be put into the shared store; the run's own init tries", "provider", l.Address(), "version", l.Version, "error", err)
				return nil
			}
			sums[n] = sum
			return err
		})
	}
	return sums, group.Wait()
}

// view makes a View of which sums[n] is the checksum of the stored package of locks[n], or empty.
func (s *Store) view(locks []project.Lock, sums, only []string) (View, error) {
	var v View
	var stored []project.Lock
	added := false
	for n, l := range locks {
		if sums[n] == "" {
			continue
		}
		stored = append(stored, l)
		v.Binds = append(v.Binds, executor.Bind{Path: s.mirrorOf(l)})
		if !slices.Contains(l.Hashes, sums[n]) {
			locks[n].Hashes = append(slices.Clone(l.Hashes), sums[n])
			added = true
		}
	}
	if added {
		v.Lock = project.WriteLocks(locks)
	}
	sources, err := s.sources(stored, only)
	if err != nil {
		return View{}, err
	}
	if dir := s.mirrorDir(); dir != "" {
		v.Binds = append(v.Binds, executor.Bind{Path: dir})
	}
	v.Config, err = s.config(sources.text())
	v.Binds = append(v.Binds, executor.Bind{Path: v.Config})
	return v, err
}

// mirrorDir is the mirror if it is a directory.
func (s *Store) mirrorDir() string {
	if strings.Contains(s.o.Mirror, "://") {
		return ""
	}
	return s.o.Mirror
}

// ensure has the package of a lock in the store and returns its checksum; empty without error if it is not worth fetching.
func (s *Store) ensure(ctx context.Context, product, binary string, l project.Lock) (string, error) {
	sum, err := s.vouched(l)
	if err != nil || sum != "" {
		return sum, err
	}
	if product == "tofu" && l.Host == "registry.terraform.io" {
		return "", nil // a lock file of the other tool: tofu looks for these in its own registry, and knows better which it needs
	}
	key := l.Address() + " " + l.Version + " " + setDigest(l.Hashes)
	if err := s.failedLately(key); err != nil {
		return "", err
	}
	// The one who fetches must not fail the others when only its own context ends.
	ch := s.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), s.o.Timeout, fmt.Errorf("it took longer than %s", s.o.Timeout))
		defer cancel()
		sum, err := s.fetch(ctx, binary, l)
		if err != nil {
			s.remember(key, err)
		}
		return sum, err
	})
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-ch:
		sum, _ := r.Val.(string)
		return sum, r.Err
	}
}

func (s *Store) failedLately(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.failed[key]
	if !ok {
		return nil
	}
	if s.now().After(f.until) {
		delete(s.failed, key)
		return nil
	}
	return fmt.Errorf("not tried again before %s: %w", f.until.Format(time.TimeOnly), f.err)
}

func (s *Store) remember(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, f := range s.failed { // pull requests can make up any number of providers
		if s.now().After(f.until) {
			delete(s.failed, k)
		}
	}
	s.failed[key] = failure{err, s.now().Add(retryAfter)}
}

// unusedFor is how long a CLI configuration stays that no run asked for.
const unusedFor = 48 * time.Hour

// Sweep removes what fetches left that were killed, and CLI configurations that nobody uses. Call it now and then.
func (s *Store) Sweep(ctx context.Context) error {
	faults := []error{s.sweepExecutions(ctx)}
	old := func(dir string, age time.Duration) {
		entries, err := os.ReadDir(filepath.Join(s.o.Dir, dir))
		if err != nil {
			faults = append(faults, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && s.now().Sub(info.ModTime()) > age {
				faults = append(faults, os.RemoveAll(filepath.Join(s.o.Dir, dir, e.Name())))
			}
		}
	}
	old(dirCLI, unusedFor)
	old(dirIncoming, 2*s.o.Timeout)
	return errors.Join(faults...)
}
