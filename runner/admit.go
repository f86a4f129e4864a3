package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/inventory"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
)

// This file keeps code that policy does not allow from being run at all: it is judged as it lies on this machine, before a tool or a credential
// is looked for and before anything is started.

// notAdmitted says that policy stops a run before anything of it runs.
type notAdmitted struct {
	planned  run.Run // what the run is told: digests that overrides are bound to
	findings []run.Finding
	verdict  run.Verdict
}

// Error is the reason for people.
func (e *notAdmitted) Error() string {
	var rules []string
	for _, f := range e.findings {
		if f.Level != run.Advisory && !slices.Contains(rules, f.Rule) {
			rules = append(rules, f.Rule)
		}
	}
	const most = 5
	if n := len(rules) - most; n > 0 {
		rules = append(rules[:most], fmt.Sprintf("%d more", n))
	}
	text := "policy stopped it before anything ran: " + strings.Join(rules, ", ")
	if e.verdict == run.VerdictSoft {
		text += "; an owner may override it"
	}
	return text
}

// admit judges the source of a run. nil: it may run. A *notAdmitted says why not. Any other error is worth a retry, and until then nothing runs.
func (r *Runner) admit(ctx context.Context, g ground) error {
	judgement, err := r.judgeSource(ctx, g)
	if err != nil {
		return err
	}
	no := &notAdmitted{planned: g.run, findings: judgement.Findings}
	no.planned.PolicyDigest = judgement.Digest
	var overrides []run.Override
	if g.run.Pull != 0 && len(judgement.Findings) > 0 {
		if overrides, err = r.Store.Overrides(ctx, g.run.Pull); err != nil {
			return fmt.Errorf("read overrides: %w", err)
		}
	}
	if g.rev.Tree != "" && len(judgement.Findings) > 0 {
		if no.planned.InputsDigest, err = facts.Inputs(ctx, r.Git.Repo(g.repo.Host, g.repo.HostID), g.rev.Tree, g.run); err != nil {
			return err
		}
	}
	switch no.verdict = run.Judge(no.planned, judgement.Findings, overrides); no.verdict {
	case run.VerdictPass, run.VerdictWarn:
		return nil
	default:
		return no
	}
}

// judgeSource asks policy what it thinks of the source of a run. Without a set that judges it nothing is read.
func (r *Runner) judgeSource(ctx context.Context, g ground) (policy.Judgement, error) {
	in := g.judged()
	if !r.Policy.JudgesSource(in) {
		return policy.Judgement{}, nil
	}
	in, err := r.policyInput(ctx, g)
	if err != nil {
		return policy.Judgement{}, err
	}
	if in.Source, err = readSource(g); err != nil {
		return policy.Judgement{}, err
	}
	j := r.Policy.JudgeSource(ctx, in)
	j.Findings = r.veiled(j.Findings, redact.String(r.o.Secrets)) // no credential is asked for yet
	return j, ctx.Err()
}

// allowedProviders is what init of a run may have, as its store of providers takes it; nil: everything. It is what policy allows, and what was
// judged in the source, which may be more where an owner overrode it.
func (r *Runner) allowedProviders(g ground) ([]string, error) {
	var only []string
	for _, patterns := range r.Policy.Providers(g.judged()) {
		only = provider.Both(only, provider.Only(patterns))
	}
	if only == nil {
		return nil, nil
	}
	text, err := readSource(g)
	if err != nil {
		return nil, err
	}
	var source struct{ Providers []inventory.Provider }
	if err := json.Unmarshal(text, &source); err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	var judged []string
	for _, p := range source.Providers {
		judged = append(judged, p.Address)
	}
	return slices.Concat(only, provider.Only(judged)), nil
}

// readSource is the inventory of a run's source, as it lies on this machine.
func readSource(g ground) (json.RawMessage, error) {
	root, err := os.OpenRoot(g.tree)
	if err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	s := g.run.Settings
	text, err := json.Marshal(inventory.Read(root.FS(), g.run.Dir, inventory.Options{
		Terraform: s.Tool == "terraform", BackendConfig: s.BackendConfig, Steps: s.Steps,
	}))
	return text, errors.Join(err, root.Close())
}
