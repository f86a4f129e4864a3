package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

type policyCmd struct {
	Test  policyTestCmd  `cmd:"" help:"Run the Rego tests of a directory, or of builtin:baseline."`
	Check policyCheckCmd `cmd:"" help:"Judge a plan, as 'tofu show -json' prints it, with policy sets."`
}

type policyTestCmd struct {
	Source string `arg:"" help:"A directory of .rego files, or builtin:baseline."`
	Match  string `help:"Run only the tests whose name matches this regular expression."`
	Rego   string `default:"v1" enum:"v0,v1" help:"Language version: v1 or v0."`
}

// Run exits with 1 if a test fails, or if there is none: an empty test run proves nothing.
func (c *policyTestCmd) Run(ctx context.Context, t *terminal) error {
	set := policy.Set{Name: "test", Source: c.Source, Level: run.Hard, Rego: c.Rego}
	results, err := policy.Test(ctx, set, policy.TestOptions{Filter: c.Match})
	if err != nil {
		return usage(err)
	}
	failed := 0
	for _, r := range results {
		word := "pass"
		switch {
		case r.Skipped:
			word = "todo"
		case !r.Passed:
			word = "FAIL"
			failed++
		}
		fmt.Fprintf(t.out, "%s  %s  %s:%d\n", word, r.Name, r.File, r.Line)
		if why := r.Error + r.FailedAt; why != "" {
			fmt.Fprintf(t.out, "      %s\n", why)
		}
	}
	fmt.Fprintf(t.out, "%d passed, %d failed\n", len(results)-failed, failed)
	switch {
	case failed > 0:
		return &coded{exitNo, fmt.Errorf("%d policy tests failed", failed)}
	case len(results) == 0:
		return &coded{exitNo, errors.New("there is no test: name rules test_… in the directory")}
	}
	return nil
}

type policyCheckCmd struct {
	Plan  string   `arg:"" type:"existingfile" help:"Plan JSON, as 'tofu show -json tfplan' prints it."`
	Set   []string `default:"builtin:baseline" help:"Directories of .rego files, or builtin:baseline; may be repeated."`
	Level string   `default:"hard" enum:"advisory,hard" help:"Level of the sets: hard fails the check, advisory only tells."`
	JSON  bool     `help:"Print the findings as JSON."`
}

// Run exits with 1 if a finding would stop an apply.
func (c *policyCheckCmd) Run(ctx context.Context, t *terminal) error {
	plan, err := os.ReadFile(c.Plan)
	if err != nil {
		return usage(err)
	}
	sets := make([]policy.Set, len(c.Set))
	for n, source := range c.Set {
		sets[n] = policy.Set{Name: source, Source: source, Level: run.Level(c.Level)}
	}
	engine, err := policy.Load(ctx, sets, policy.Options{})
	if err != nil {
		return usage(err)
	}
	judged := engine.Judge(ctx, policy.Input{Plan: plan, Context: policy.Context{Kind: run.KindManual, Now: time.Now()}})
	if c.JSON {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		if err := e.Encode(judged.Findings); err != nil {
			return err
		}
	} else {
		for _, f := range judged.Findings {
			fmt.Fprintf(t.out, "%-8s  %s  %s\n          %s\n", f.Level, f.Rule, f.Resource, f.Message)
			if f.Fix != "" {
				fmt.Fprintf(t.out, "          fix: %s\n", f.Fix)
			}
		}
		if len(judged.Findings) == 0 {
			fmt.Fprintln(t.out, "no findings")
		}
	}
	if v := run.Judge(run.Run{}, judged.Findings, nil); v != run.VerdictPass && v != run.VerdictWarn {
		return &coded{exitNo, errors.New("policy stops this plan")}
	}
	return nil
}
