package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/planlatch/planlatch/inventory"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

type policyCmd struct {
	Test  policyTestCmd  `cmd:"" help:"Run the Rego tests of a directory, or of builtin:baseline."`
	Check policyCheckCmd `cmd:"" help:"Judge a plan, as 'tofu show -json' prints it, or what 'policy source' prints, with policy sets."`

	Source policySourceCmd `cmd:"" help:"Print what the code of a project could run or reach for, as sets with on: source see it."`
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
	Plan  string   `arg:"" type:"existingfile" help:"Plan JSON, as 'tofu show -json tfplan' prints it, or what 'planlatch policy source' prints."`
	Set   []string `default:"builtin:baseline" help:"Directories of .rego files, or builtin:baseline; may be repeated."`
	Level string   `default:"hard" enum:"advisory,hard" help:"Level of the sets: hard fails the check, advisory only tells."`
	JSON  bool     `help:"Print the findings as JSON."`

	Settings string `type:"existingfile" placeholder:"FILE" help:"What the rules read as data.settings, in YAML or JSON."`
}

// Run exits with 1 if a finding would stop an apply.
func (c *policyCheckCmd) Run(ctx context.Context, t *terminal) error {
	plan, err := os.ReadFile(c.Plan)
	if err != nil {
		return usage(err)
	}
	var settings map[string]any
	if c.Settings != "" {
		text, err := os.ReadFile(c.Settings)
		if err == nil {
			err = yaml.UnmarshalWithOptions(text, &settings, yaml.Strict())
		}
		if err != nil {
			return usage(fmt.Errorf("settings: %w", err))
		}
	}
	in := policy.Input{Context: policy.Context{Kind: run.KindManual, Now: time.Now()}}
	on, judged := policy.OnPlan, (*policy.Engine).Judge
	if in.Plan = plan; inventory.Is(plan) {
		on, judged = policy.OnSource, (*policy.Engine).JudgeSource
		in.Plan, in.Source = nil, plan
	}
	sets := make([]policy.Set, len(c.Set))
	for n, source := range c.Set {
		sets[n] = policy.Set{Name: source, Source: source, Level: run.Level(c.Level), On: on, Settings: settings}
	}
	engine, err := policy.Load(ctx, sets, policy.Options{})
	if err != nil {
		return usage(fmt.Errorf("%s, taken for a %s (`planlatch policy source` prints a source): %w", c.Plan, on, err))
	}
	findings := judged(engine, ctx, in).Findings
	if err := c.print(t, findings); err != nil {
		return err
	}
	if v := run.Judge(run.Run{}, findings, nil); v != run.VerdictPass && v != run.VerdictWarn {
		return &coded{exitNo, fmt.Errorf("policy stops this %s", on)}
	}
	return nil
}

func (c *policyCheckCmd) print(t *terminal, findings []run.Finding) error {
	if c.JSON {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(findings)
	}
	for _, f := range findings {
		at := f.Resource
		if f.File != "" {
			at = strings.TrimSpace(fmt.Sprintf("%s  %s:%d", at, f.File, f.Line))
		}
		fmt.Fprintf(t.out, "%-8s  %s  %s\n          %s\n", f.Level, f.Rule, report.Literal(at), report.Literal(f.Message))
		if f.Fix != "" {
			fmt.Fprintf(t.out, "          fix: %s\n", f.Fix)
		}
	}
	if len(findings) == 0 {
		fmt.Fprintln(t.out, "no findings")
	}
	return nil
}

type policySourceCmd struct {
	Dir  string `arg:"" optional:"" default:"." type:"existingdir" help:"Directory of the project."`
	Root string `type:"existingdir" help:"Directory of the repository, which no path leaves. Default: the one around DIR that has .git."`
}

// Run prints the inventory of a project as JSON.
func (c *policySourceCmd) Run(_ context.Context, t *terminal) error {
	top, err := c.top()
	if err != nil {
		return usage(err)
	}
	dir, err := filepath.Rel(top, c.Dir)
	if err != nil || !filepath.IsLocal(dir) {
		return usage(fmt.Errorf("%s does not lie in %s", c.Dir, top))
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return usage(err)
	}
	defer func() { _ = root.Close() }() // read only
	return encode(t.out, inventory.Read(root.FS(), filepath.ToSlash(dir), inventory.Options{}), func(s string) string { return s })
}

// top is the repository around the directory.
func (c *policySourceCmd) top() (string, error) {
	if c.Root != "" {
		return c.Root, nil
	}
	for dir := c.Dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s lies in no git repository: name its directory with --root", c.Dir)
		}
	}
}
