package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/views"
)

// The rules that can be broken on purpose.
const (
	claimAfterStart = "the claim is committed after the start"
	slotTooEarly    = "the slot is freed before the process is dead"
	nameTwice       = "a name is used twice"
)

// parts adds the points that are not commits (the start of an execution, its end as the server sees it, the write of a blob) and breaks a
// rule if one is named.
func parts(die func(point string), broken string) func(*runner.Parts) {
	return func(p *runner.Parts) {
		switch broken {
		case "":
		case claimAfterStart:
			late := &lateClaims{Store: p.Store, Executor: p.Exec, owed: map[executor.Name]owed{}}
			p.Store, p.Exec = lateStore{late}, lateStarts{late}
		case slotTooEarly:
			p.Exec = impatient{p.Exec}
		case nameTwice:
			p.Exec = &renaming{Executor: p.Exec, names: map[executor.Name]executor.Name{}}
		default:
			panic("unknown rule: " + broken)
		}
		p.Exec = points{p.Exec, die}
		p.Blobs = blobPoints{p.Blobs, die}
	}
}

type points struct {
	executor.Executor
	die func(point string)
}

func (p points) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	p.die("before:start")
	err := p.Executor.Start(ctx, s, secrets)
	p.die("after:start")
	return err
}

func (p points) Attach(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	res, err := p.Executor.Attach(ctx, n, log, from)
	p.die("after:attach")
	return res, err
}

func (p points) Remove(ctx context.Context, n executor.Name) error {
	p.die("before:remove")
	err := p.Executor.Remove(ctx, n)
	p.die("after:remove")
	return err
}

type blobPoints struct {
	views.Blobs
	die func(point string)
}

func (b blobPoints) Put(ctx context.Context, key string, data []byte) error {
	b.die("before:blob")
	err := b.Blobs.Put(ctx, key, data)
	b.die("after:blob")
	return err
}

// impatient takes an execution for lost while it still runs.
type impatient struct{ executor.Executor }

func (i impatient) Attach(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	res, err := i.Executor.Attach(short, n, log, from)
	if err != nil && ctx.Err() == nil && short.Err() != nil {
		return executor.Result{}, executor.ErrLost
	}
	return res, err
}

// Remove leaves the execution alone, which may well run.
func (impatient) Remove(context.Context, executor.Name) error { return nil }

// renaming gives every start a name that nobody used.
type renaming struct {
	executor.Executor

	mu    sync.Mutex
	names map[executor.Name]executor.Name
}

func (r *renaming) real(n executor.Name) executor.Name {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name, ok := r.names[n]; ok {
		return name
	}
	return n
}

func (r *renaming) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	fresh := executor.Name(fmt.Sprintf("%s-%d", s.Name, time.Now().UnixNano()))
	r.mu.Lock()
	r.names[s.Name] = fresh
	r.mu.Unlock()
	s.Name = fresh
	return r.Executor.Start(ctx, s, secrets)
}

func (r *renaming) Attach(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	return r.Executor.Attach(ctx, r.real(n), log, from)
}

func (r *renaming) Open(ctx context.Context, n executor.Name, output string) (io.ReadCloser, error) {
	return r.Executor.Open(ctx, r.real(n), output)
}

func (r *renaming) Cancel(ctx context.Context, n executor.Name, kill bool) error {
	return r.Executor.Cancel(ctx, r.real(n), kill)
}

func (r *renaming) Renew(ctx context.Context, n executor.Name) error {
	return r.Executor.Renew(ctx, r.real(n))
}

func (r *renaming) Remove(ctx context.Context, n executor.Name) error {
	return r.Executor.Remove(ctx, r.real(n))
}

// lateClaims decides a claim, tells the runner that it is written, and writes it only when the execution has started.
type lateClaims struct {
	run.Store
	executor.Executor

	mu   sync.Mutex
	owed map[executor.Name]owed
}

type owed struct {
	scope  run.Scope
	decide func(run.Snapshot) (run.Change, error)
	run    run.Run // as the runner believes it to be
}

var errLater = errors.New("written later")

type lateStore struct{ *lateClaims }

func (l lateStore) Advance(ctx context.Context, scope run.Scope, decide func(run.Snapshot) (run.Change, error)) (run.Result, error) {
	var claimed run.Run
	res, err := l.Store.Advance(ctx, scope, func(s run.Snapshot) (run.Change, error) {
		c, err := decide(s)
		if err == nil && (c.Action == run.ActClaimPlan || c.Action == run.ActClaimApply) {
			claimed = c.Runs[0]
			return c, errLater
		}
		return c, err
	})
	if !errors.Is(err, errLater) {
		return res, err
	}
	claimed.Epoch++
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[executor.Name(claimed.Execution)] = owed{scope, decide, claimed}
	return run.Result{Runs: []run.Run{claimed}}, nil
}

func (l lateStore) Run(ctx context.Context, id run.ID) (run.Run, error) {
	l.mu.Lock()
	for _, o := range l.owed {
		if o.run.ID == id {
			l.mu.Unlock()
			return o.run, nil
		}
	}
	l.mu.Unlock()
	return l.Store.Run(ctx, id)
}

type lateStarts struct{ *lateClaims }

func (l lateStarts) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	if err := l.Executor.Start(ctx, s, secrets); err != nil {
		return err
	}
	l.mu.Lock()
	o, ok := l.owed[s.Name]
	delete(l.owed, s.Name)
	l.mu.Unlock()
	if !ok {
		return nil
	}
	_, err := l.Store.Advance(ctx, o.scope, o.decide)
	return err
}
