package redteam_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	runs "github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/tool"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// Walls that a server goes without by another part in the place of one of its own.
const (
	products          wall = "products"                       // binaries are told apart by their version alone
	bound             wall = "bound approvals"                // every approval is of what there is now
	news              wall = "news of heads and bases"        // they stay where they were first seen
	digests           wall = "digest of the plan"             // whatever is stored is what was reviewed
	savedPlans        wall = "saved plans"                    // an apply plans by itself, and goes on
	seals             wall = "sealed plans"                   // the plan and what is shown of it lie where programs of the run write
	ownNames          wall = "keys of hosts and repositories" // what begins with a repository's name is that repository
	patienceWithHosts wall = "patience with hosts"            // what fails is tried again at once
	ownStates         wall = "owners of states"               // nobody remembers who applied to what
)

// rebuilt are the parts without the wall.
var rebuilt = map[wall]func(*runner.Parts){
	products: func(p *runner.Parts) { p.Tools = &byVersion{Tools: p.Tools, known: map[string]tool.Tool{}} },
	bound:    hosts(func(h vcs.Host) vcs.Host { return lenient{h} }),
	news: hosts(func(h vcs.Host) vcs.Host {
		return &unmoved{Host: h, pulls: map[string]vcs.Pull{}, branches: map[string]string{}}
	}),
	digests:    func(p *runner.Parts) { p.Store = trusting{p.Store, p.Blobs} },
	savedPlans: func(p *runner.Parts) { p.Exec = changed{p.Exec, planning} },
	seals:      func(p *runner.Parts) { p.Exec = changed{p.Exec, unsealed} },
	ownNames: func(p *runner.Parts) {
		all := maps.Clone(p.Facts.Hosts)
		hosts(func(h vcs.Host) vcs.Host { return mixed{h, all} })(p)
	},
	ownStates:         func(p *runner.Parts) { p.Facts.Store = ownerless{p.Facts.Store} },
	patienceWithHosts: hosts(func(h vcs.Host) vcs.Host { return restless{h} }),
}

// hosts puts something between the server and every host it knows; all its parts share the map.
func hosts(between func(vcs.Host) vcs.Host) func(*runner.Parts) {
	return func(p *runner.Parts) {
		for name, h := range p.Facts.Hosts {
			p.Facts.Hosts[name] = between(h)
		}
	}
}

// ownerless knows of nobody who applied.
type ownerless struct{ facts.Rows }

func (ownerless) Appliers(context.Context, ...string) (map[string][]runs.Project, error) {
	return map[string][]runs.Project{}, nil
}

// planning lets the apply make a plan of its own.
func planning(s *executor.Spec) {
	for n, step := range s.Steps {
		if step.Label == "apply" {
			argv := slices.Clone(step.Argv)
			argv[len(argv)-1] = "-auto-approve"
			s.Steps[n].Argv = argv
		}
	}
}

// unsealed has the plan shown, and kept, from where the plan's programs write.
func unsealed(s *executor.Spec) {
	for n, step := range s.Steps {
		if step.Stdout != "" {
			s.Steps[n].Argv = []string{"/bin/sh", "-c", `"$0" show -json tfplan >` + step.Stdout, step.Argv[0]}
			s.Steps[n].Seals, s.Steps[n].Stdout = "", ""
		}
	}
}

// trusting is a store whose runs have the digest of whatever plan is kept for them now.
type trusting struct {
	runs.Store
	blobs views.Blobs
}

func (t trusting) Advance(ctx context.Context, scope runs.Scope, decide func(runs.Snapshot) (runs.Change, error)) (runs.Result, error) {
	res, err := t.Store.Advance(ctx, scope, decide)
	t.trust(ctx, res.Runs)
	return res, err
}

func (t trusting) Next(ctx context.Context, limit int) ([]runs.Run, error) {
	next, err := t.Store.Next(ctx, limit)
	t.trust(ctx, next)
	return next, err
}

func (t trusting) trust(ctx context.Context, all []runs.Run) {
	for n, r := range all {
		if plan, err := t.blobs.Get(ctx, r.Blobs["plan"]); err == nil {
			sum := sha256.Sum256(plan)
			all[n].PlanDigest = hex.EncodeToString(sum[:])
		}
	}
}
