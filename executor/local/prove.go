package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local/breach"
	"github.com/planlatch/planlatch/executor/local/shim"
)

// proofTime bounds a whole Prove. It takes a fraction of a second on a machine that is not busy.
const proofTime = time.Minute

// Prove runs every attack of package breach in a real execution with the configured sandbox, after planting what they are after: in each of
// dirs, in the directory of another run, in a process of this user, in sockets and in shared memory. It leaves nothing behind. What got
// through is a verdict; an error says that the proof could not be made.
func (e *Executor) Prove(ctx context.Context, dirs ...string) (verdicts []breach.Verdict, err error) {
	if err := e.Refusal(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	dir, err := os.MkdirTemp(filepath.Join(e.dir, dirTrash), "proof-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	spec, err := proofSpec(dir)
	if err != nil {
		return nil, err
	}
	sibling := filepath.Join(dir, dirRuns, "other-plan-1")
	if err := os.MkdirAll(sibling, 0o700); err != nil {
		return nil, err
	}
	p, err := plant(e.shim, append(dirs, sibling))
	if err != nil {
		return nil, fmt.Errorf("plant what is to be found: %w", err)
	}
	defer func() { err = errors.Join(err, p.remove()) }()
	p.targets.Shared, p.targets.Bind = filepath.Join(spec.Source.Dir, "in/beside"), spec.Binds[0].Path
	body, err := json.Marshal(p.targets)
	if err != nil {
		return nil, err
	}
	// In the source, not an input: it holds nothing that is secret.
	if err := os.WriteFile(filepath.Join(spec.Source.Dir, spec.Source.Work, "targets.json"), body, 0o644); err != nil {
		return nil, err
	}
	launch, err := e.plan(ctx, spec)
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	result, err := e.alone(ctx, launch, dir, &log)
	if err != nil {
		return nil, err
	}
	verdicts, err = breach.Read(&log)
	if result.Ended != executor.EndExit {
		err = errors.Join(err, fmt.Errorf("the attacks ended %s: %s", result.Ended, result.Reason))
	}
	return verdicts, err
}

// proofSpec is an execution like that of a run, which tries every attack.
func proofSpec(dir string) (executor.Spec, error) {
	source, bind := filepath.Join(dir, "source"), filepath.Join(dir, "bind")
	for _, sub := range []string{filepath.Join(source, "in/work"), filepath.Join(source, "in/beside"), bind} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return executor.Spec{}, err
		}
	}
	return executor.Spec{
		Name:    "proof-plan-1",
		Source:  executor.Source{Dir: source, Work: "in/work"},
		Env:     []string{"PATH=/usr/bin:/bin", "HOME=/tmp"},
		Binds:   []executor.Bind{{Path: bind}},
		Network: executor.Network{Mode: executor.NetworkNone},
		Limits:  executor.Limits{Wall: proofTime / 2},
		Steps: []executor.Step{{
			Label: "breach", Argv: append([]string{shim.InsideShim}, shim.BreachArgs(breach.Args("targets.json"))[1:]...),
		}},
		Unattended: proofTime, // it ends with whoever asked for it
	}, nil
}

// Proven sums verdicts up for people, one wall each: it is in force when every attack on it was held.
func (e *Executor) Proven(verdicts []breach.Verdict) []Wall {
	after := map[breach.Wall]string{
		breach.Files: "read or change what lies outside of the run", breach.Processes: "see or touch a process outside of the run",
		breach.Kernel: "make a system call that no tool needs", breach.Privileges: "gain a right or a device",
		breach.Channels: "talk to who is outside of the run", breach.Descriptors: "use what was left open",
	}
	var walls []Wall
	for _, name := range breach.Walls() {
		w, tried, through := Wall{Name: string(name), Force: true}, 0, []string{}
		for _, v := range verdicts {
			if v.Wall != name {
				continue
			}
			tried++
			if v.State == breach.Broken {
				through = append(through, fmt.Sprintf("to %s (%s)", v.Attack, v.Detail))
			}
		}
		w.Detail = fmt.Sprintf("%d attempts to %s failed", tried, after[name])
		if n := len(through); n > 0 {
			w.Detail = fmt.Sprintf("%d of %d attempts to %s got through: %s", n, tried, after[name], strings.Join(through[:min(n, mostTold)], "; "))
			if n > mostTold {
				w.Detail += fmt.Sprintf("; and %d more", n-mostTold)
			}
			w.Force, w.Fix = false, e.fixBreach()
		}
		walls = append(walls, w)
	}
	return walls
}

// mostTold is how many attacks that got through are named of one wall.
const mostTold = 4

// fixBreach is what to do about a wall that an attack got through.
func (e *Executor) fixBreach() string {
	if e.sandbox == SandboxRequired {
		return "start no run here: this machine does not hold what it says; report it as docs/security.md says"
	}
	return "set execution.sandbox to required, and give the machine what it then asks for"
}
