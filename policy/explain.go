package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/planlatch/planlatch/run"
)

// Explanation says where a finding comes from.
type Explanation struct {
	Finding run.Finding
	Origins []Origin // the rules that gave it; empty when it says that there is no verdict
}

// Origin is one rule in Rego.
type Origin struct {
	File string
	Line int
	Text string // the rule as it is written
}

// Explain judges like Judge, or with a Source and no Plan like JudgeSource, and adds to each finding the rules it comes from. It evaluates every set twice, the second time with a trace,
// so it is for the people who ask and not for every run.
func (e *Engine) Explain(ctx context.Context, in Input) []Explanation {
	sets, _ := e.applying(in)
	on, judged := OnPlan, e.Judge
	if len(in.Source) > 0 && len(in.Plan) == 0 {
		on, sets, judged = OnSource, e.onSource(in), e.JudgeSource
	}
	traces := map[string]*origins{}
	if document, err := newDocument(in, on); err == nil {
		limited, stop := withMemoryLimit(ctx, e.opts.Memory)
		defer stop()
		for _, p := range sets {
			traces[p.set.Name] = p.trace(limited, document, e.opts)
		}
	}
	var list []Explanation
	for _, f := range judged(ctx, in).Findings {
		list = append(list, Explanation{Finding: f, Origins: traces[f.Set].of(f)})
	}
	return list
}

// trace evaluates a set and notes which rules gave what. A set that gives no verdict has no origins.
func (p *prepared) trace(ctx context.Context, document ast.Value, opts Options) *origins {
	tracer := &origins{set: p, byFinding: map[string][]Origin{}}
	if len(p.faults) > 0 {
		return tracer
	}
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	// What stopped an evaluation here is told by Judge, which meets it as well.
	_, _, _ = p.evaluate(ctx, document, rego.EvalQueryTracer(tracer)) //nolint:dogsled // only the trace is wanted
	return tracer
}

// origins is a tracer that notes each time a deciding rule holds.
type origins struct {
	set       *prepared
	byFinding map[string][]Origin
}

// Enabled implements topdown.QueryTracer.
func (o *origins) Enabled() bool { return true }

// Config implements topdown.QueryTracer. Values are plugged one by one, where they are wanted.
func (o *origins) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (o *origins) TraceEvent(event topdown.Event) {
	rule, ok := event.Node.(*ast.Rule)
	if !ok || event.Op != topdown.ExitOp || rule.Location == nil || len(rule.Head.Args) > 0 {
		return
	}
	for _, d := range o.set.decisions {
		if !rule.Ref().Equal(d.ref) {
			continue
		}
		term := rule.Head.Value
		if rule.Head.Key != nil {
			term = rule.Head.Key
		}
		value, err := ast.JSON(event.Plug(term).Value)
		if err != nil { // something in it has no value: not a finding yet
			continue
		}
		if rule.Head.Key != nil {
			value = []any{value}
		}
		found, err := o.set.decodeDocument(d, value)
		if err != nil {
			continue
		}
		for _, f := range o.set.bound(found) {
			o.note(f, Origin{File: rule.Location.File, Line: rule.Location.Row, Text: string(rule.Location.Text)})
		}
	}
}

func (o *origins) note(f run.Finding, origin Origin) {
	key := identity(f)
	if slices.Contains(o.byFinding[key], origin) {
		return
	}
	o.byFinding[key] = append(o.byFinding[key], origin)
}

func (o *origins) of(f run.Finding) []Origin {
	if o == nil {
		return nil
	}
	return o.byFinding[identity(f)]
}

func identity(f run.Finding) string {
	return fmt.Sprintf("%q %q %q %q", f.Rule, f.Resource, f.Value, f.Message)
}
