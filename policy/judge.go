package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/run"
)

// brokenRule is the rule name of findings about a set that gives no verdict.
const brokenRule = "no-verdict"

// Judge evaluates the sets that apply to the plan, but for those that judge the source, side by side. It always answers: a set that cannot be evaluated is a hard finding.
// That includes sets which had no answer when ctx ended, so a caller that is stopping should look at ctx before it stores a judgement.
func (e *Engine) Judge(ctx context.Context, in Input) Judgement {
	sets, judgement := e.applying(in)
	return e.judge(ctx, in, OnPlan, sets, judgement)
}

// JudgesSource says whether any set judges the source of a project.
func (e *Engine) JudgesSource(in Input) bool { return len(e.onSource(in)) > 0 }

// JudgeSource evaluates the sets that judge the source of a project before anything of it runs. It answers like Judge; without such a set it
// has no findings.
func (e *Engine) JudgeSource(ctx context.Context, in Input) Judgement {
	sets := e.onSource(in)
	judgement := Judgement{Digest: e.Digest(in)}
	for _, p := range sets {
		judgement.Sets = append(judgement.Sets, p.set.Name)
	}
	return e.judge(ctx, in, OnSource, sets, judgement)
}

// With adds what other sets said of the same project.
func (j Judgement) With(o Judgement) Judgement {
	j.Findings = order(slices.Concat(j.Findings, o.Findings))
	j.Sets = slices.Sorted(slices.Values(slices.Concat(j.Sets, o.Sets)))
	j.Warnings = slices.Concat(j.Warnings, o.Warnings)
	if len(j.Sets) > 0 {
		j.Note = ""
	}
	return j
}

func (e *Engine) judge(ctx context.Context, in Input, on Stage, sets []*prepared, judgement Judgement) Judgement {
	document, err := newDocument(in, on)
	answers := make([]verdict, len(sets))
	if err != nil {
		fix := "Plan again; if it stays, the tool wrote a plan that is no JSON object."
		if on == OnSource {
			fix = "Plan again; if it stays, tell whoever runs the server."
		}
		for i, p := range sets {
			answers[i].findings = []run.Finding{p.failClosed(err.Error(), fix)}
		}
	} else {
		limited, stop := withMemoryLimit(ctx, e.opts.Memory)
		defer stop()
		var group errgroup.Group
		group.SetLimit(e.opts.Parallel)
		for i, p := range sets {
			group.Go(func() error {
				answers[i] = p.judge(limited, document, e.opts)
				return nil
			})
		}
		_ = group.Wait() // the functions return no error: whatever went wrong is in the answers
	}
	for _, a := range answers {
		judgement.Findings = append(judgement.Findings, a.findings...)
		judgement.Warnings = append(judgement.Warnings, a.warnings...)
	}
	for i := range judgement.Findings {
		judgement.Findings[i].Source = on == OnSource
	}
	judgement.Findings = order(judgement.Findings)
	return judgement
}

// Digest is that of the sets which would judge a plan now. It differs from the Digest of an earlier judgement if these may say something else.
func (e *Engine) Digest(in Input) string {
	_, j := e.applying(in)
	return j.Digest
}

// applying chooses the sets for a project. Where none is configured the baseline speaks without a say.
func (e *Engine) applying(in Input) ([]*prepared, Judgement) {
	var sets []*prepared
	var j Judgement
	for _, p := range e.sets {
		if p.set.stage() != OnSource && p.applies(in) {
			sets = append(sets, p)
			j.Sets = append(j.Sets, p.set.Name)
		}
	}
	if len(sets) == 0 {
		sets = []*prepared{e.fallback}
		j.Note = "no policy configured"
		if len(e.sets) > 0 {
			j.Note = "no policy configured for this project"
		}
	}
	j.Digest = digestAll(slices.Concat(sets, e.onSource(in)))
	return sets, j
}

// onSource chooses the sets that judge the source of a project.
func (e *Engine) onSource(in Input) []*prepared {
	return slices.DeleteFunc(slices.Clone(e.sets), func(p *prepared) bool { return p.set.stage() != OnSource || !p.applies(in) })
}

// verdict is what one set said.
type verdict struct {
	findings []run.Finding
	warnings []string
}

// judge asks one set, within its time.
func (p *prepared) judge(ctx context.Context, document ast.Value, opts Options) verdict {
	if len(p.faults) > 0 {
		return verdict{findings: []run.Finding{p.failClosed(reasons(p.faults), "Correct the policy set and let the server load it again.")}}
	}
	late := fmt.Errorf("it was not done after %s", opts.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, late)
	defer cancel()
	values, warnings, err := p.evaluate(ctx, document)
	if ctx.Err() != nil { // also when it finished a moment later: what took too long must not depend on luck
		err = context.Cause(ctx)
	}
	if err != nil {
		return verdict{warnings: warnings, findings: []run.Finding{p.failClosed(err.Error(), "Correct the policy set, or make it cheaper; `planlatch policy check` runs it on a plan.")}}
	}
	findings, err := p.decode(values)
	if err != nil {
		return verdict{findings: []run.Finding{p.failClosed(err.Error(), "Let the rule give what docs/policies.md describes.")}}
	}
	return verdict{findings: findings, warnings: warnings}
}

// evaluate returns what each decision of the set gave. A panic inside OPA is an error of this set alone.
func (p *prepared) evaluate(ctx context.Context, document ast.Value, more ...rego.EvalOption) (values []any, warnings []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluate: panic: %v", r)
			warnings = []string{fmt.Sprintf("policy set %s: %v\n%s", p.set.Name, err, debug.Stack())} // for operators, not for the pull request
		}
	}()
	var complaints []topdown.Error
	options := append([]rego.EvalOption{rego.EvalParsedInput(document), rego.EvalBuiltinErrorList(&complaints)}, more...)
	results, err := p.query.Eval(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("evaluate: %w", err)
	}
	if len(results) != 1 {
		return nil, nil, fmt.Errorf("evaluate: %d answers to one question", len(results))
	}
	values, ok := results[0].Bindings[answer].([]any)
	if !ok || len(values) != len(p.decisions) {
		return nil, nil, errors.New("evaluate: the answer has another form than the question")
	}
	return values, p.warnings(complaints), nil
}

// warnings lists the places where a built-in function could not work with its arguments. Rego calls that undefined and goes on, which is
// often meant (startswith on a null) and sometimes hides a broken rule.
func (p *prepared) warnings(complaints []topdown.Error) []string {
	const most = 20
	var list []string
	for _, c := range complaints {
		text := fmt.Sprintf("policy set %s: %s", p.set.Name, c.Error())
		if !slices.Contains(list, text) && len(list) < most {
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return list
}

// failClosed is the one way in which a set that gives no verdict becomes a finding: hard, so that nobody can override what nobody could
// read, whatever level the set has. Only the baseline that judges where nothing is configured stays advisory, since nobody made it a gate.
func (p *prepared) failClosed(reason, fix string) run.Finding {
	if !strings.HasPrefix(p.set.Source, "builtin:") { // where sets lie on the server is nobody's business in a pull request
		reason = strings.ReplaceAll(reason, strings.TrimSuffix(p.set.Source, "/")+"/", "")
		reason = strings.ReplaceAll(reason, strings.TrimSuffix(p.set.Source, "/"), "its directory")
	}
	level := run.Hard
	if p.voluntary {
		level = run.Advisory
	}
	return run.Finding{
		Set:     p.set.Name,
		Rule:    brokenRule,
		Level:   level,
		Message: cut(fmt.Sprintf("policy set %s gives no verdict: %s", p.set.Name, reason)),
		Fix:     fix,
	}
}

// order sorts findings, hardest first, and drops those that are said twice.
func order(findings []run.Finding) []run.Finding {
	slices.SortStableFunc(findings, func(a, b run.Finding) int {
		return cmp.Or(
			cmp.Compare(hardness(b.Level), hardness(a.Level)),
			cmp.Compare(a.Set, b.Set), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Value, b.Value), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Fix, b.Fix),
		)
	})
	return slices.CompactFunc(findings, func(a, b run.Finding) bool {
		return a.Level == b.Level && a.Set == b.Set && a.Rule == b.Rule && a.Resource == b.Resource && a.Value == b.Value && a.Message == b.Message
	})
}

// hardness ranks levels. A level that nobody knows ranks as the hardest.
func hardness(l run.Level) int {
	switch l {
	case run.Advisory:
		return 0
	case run.Soft:
		return 1
	case run.Hard:
		return 2
	}
	return 3
}
