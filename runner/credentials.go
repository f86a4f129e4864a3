package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/flock"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
)

// Grant is what provider configurations give to a run.
type Grant struct {
	Values  []string // NAME=value, for all to see
	Secrets executor.Secrets
	Lends   []executor.Lend // what init may fetch with; their values are Secrets.Lent
}

// hidden lists what must not leave a run that has the grant.
func (g Grant) hidden() []string {
	var all []string
	for _, pair := range g.Secrets.Env {
		if _, value, ok := strings.Cut(pair, "="); ok {
			all = append(all, redact.InFile(value)...)
		}
	}
	for _, f := range g.Secrets.Files {
		all = append(all, redact.InFile(string(f.Content))...)
	}
	all = append(all, lentForms(g.Secrets.Lent)...)
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// entitle gets the credentials of a phase, which may take a while and may last for a while only. It comes last before an execution starts.
func (r *Runner) entitle(ctx context.Context, g *ground, phase string) error {
	var err error
	if g.grant, err = r.o.Grants(ctx, facts.Target(g.repo, g.run), phase, g.run.ID); err != nil {
		if ctx.Err() != nil { // it was asked to end, which is no fault of the credentials
			return ctx.Err()
		}
		return refuse("%v", err)
	}
	g.hidden = slices.Concat(r.o.Secrets, g.grant.hidden())
	return nil
}

// Sealer encrypts what is kept of credentials. Open tells what cannot be opened any more by ErrUnsealed.
type Sealer interface {
	Seal(ctx context.Context, plain []byte) ([]byte, error)
	Open(ctx context.Context, sealed []byte) ([]byte, error)
}

// ErrUnsealed says that a sealed value is damaged, or sealed with a key that is gone.
var ErrUnsealed = errors.New("it cannot be unsealed")

// dirHidden keeps, by the name of each execution, what must not leave it: sealed, from before its start until it is removed. An execution
// outlives this process, and what a command printed for it is written nowhere else; what is written in the configuration may be another by
// then.
const dirHidden = "hidden"

// hiding is the content of a file in dirHidden.
type hiding struct {
	Execution executor.Name // a file that was moved to another name says so
	Secrets   []string
}

// remember keeps what an execution must not show. What an earlier start of the same name had is kept as well, for it may be the one that
// runs.
func (r *Runner) remember(ctx context.Context, name executor.Name, secrets []string) (err error) {
	if len(secrets) == 0 {
		return nil
	}
	if err := os.MkdirAll(r.o.Dir, 0o700); err != nil {
		return err
	}
	lock, err := flock.Shared(ctx, lockOfHidden(r.o.Dir)) // each execution has one start at a time, so starts may be beside each other
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	before, err := r.recalled(ctx, name)
	if errors.Is(err, ErrUnsealed) {
		r.Log.Warn("what an execution must not show is kept anew", "execution", name, "error", err)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := slices.Concat(before, secrets)
	slices.Sort(all)
	plain, err := json.Marshal(hiding{name, slices.Compact(all)})
	if err != nil {
		return err
	}
	if r.Sealer == nil {
		return errors.New("there is no key to keep the secrets of an execution with")
	}
	sealed, err := r.Sealer.Seal(ctx, plain)
	if err != nil {
		return fmt.Errorf("seal what an execution must not show: %w", err)
	}
	return writeWhole(filepath.Join(r.o.Dir, dirHidden), string(name), sealed)
}

// recalled reads what remember kept. Errors: fs.ErrNotExist, ErrUnsealed.
func (r *Runner) recalled(ctx context.Context, name executor.Name) ([]string, error) {
	sealed, err := os.ReadFile(filepath.Join(r.o.Dir, dirHidden, string(name)))
	if err != nil {
		return nil, err
	}
	if r.Sealer == nil {
		return nil, ErrUnsealed
	}
	plain, err := r.Sealer.Open(ctx, sealed)
	if err != nil {
		return nil, fmt.Errorf("read what an execution must not show: %w", err)
	}
	var h hiding
	if err := json.Unmarshal(plain, &h); err != nil || h.Execution != name {
		return nil, fmt.Errorf("%w: it is not of execution %s", ErrUnsealed, name)
	}
	return h.Secrets, nil
}

// hiddenIn lists what a plan was given and must not show, as long as the plan itself is kept: policy may quote it at any time.
func (r *Runner) hiddenIn(ctx context.Context, planned run.Run) ([]string, error) {
	if planned.Blobs[blobHidden] == "" {
		return nil, nil
	}
	text, err := r.Blobs.Get(ctx, planned.Blobs[blobHidden])
	if err != nil {
		return nil, fmt.Errorf("read what a plan must not show: %w", err)
	}
	var secrets []string
	if err := json.Unmarshal(text, &secrets); err != nil {
		return nil, fmt.Errorf("read what a plan must not show: %w", err)
	}
	return secrets, nil
}

// errForgotten says that nobody knows any more which secrets an execution was given, so that nothing of what it says may be shown.
var errForgotten = errors.New("the server no longer knows which secrets this run was given, so nothing that it printed is shown")

// hiddenFrom lists what must not leave an execution, whoever started it. Error: errForgotten.
func (r *Runner) hiddenFrom(ctx context.Context, p phase) ([]string, error) {
	secrets, err := r.recalled(ctx, executor.Name(p.run.Execution))
	switch {
	case errors.Is(err, ErrUnsealed):
		r.Log.Error("what an execution must not show is lost", "execution", p.run.Execution, "error", err)
		return nil, errForgotten
	case err == nil:
		return slices.Concat(r.o.Secrets, secrets), nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// It was given no secrets, or it was started by an earlier version, which gave what the configuration says.
	target, err := r.target(ctx, p.run)
	if err != nil {
		return nil, err
	}
	g, whole, err := r.o.Fixed(target, p.name)
	if err != nil {
		return nil, fmt.Errorf("read provider configurations: %w", err)
	}
	if !whole {
		return nil, errForgotten
	}
	return slices.Concat(r.o.Secrets, g.hidden()), nil
}

// forget removes what remember kept of an execution that is removed.
func (r *Runner) forget(ctx context.Context, name executor.Name) {
	err := os.Remove(filepath.Join(r.o.Dir, dirHidden, string(name)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.complain(ctx, "forget what an execution must not show", err)
	}
}

// sweepHidden forgets what is kept of executions that are gone. At the start nothing is about to begin; later, what is young may be.
func (r *Runner) sweepHidden(ctx context.Context, start bool) error {
	entries, err := listed(filepath.Join(r.o.Dir, dirHidden))
	if err != nil || len(entries) == 0 {
		return err
	}
	all, err := r.Exec.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(all, executor.Name(e.Name())) && (start || stale(e)) {
			r.forget(ctx, executor.Name(e.Name()))
		}
	}
	return nil
}

// half is the end of the name of a file that is not whole yet.
const half = ".new"

// writeWhole makes a private file that a crash leaves whole or not at all.
func writeWhole(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, name+".*"+half)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
