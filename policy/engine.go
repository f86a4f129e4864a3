package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// Engine judges plans by the sets it was loaded with.
type Engine struct {
	sets     []*prepared // sorted by name
	fallback *prepared   // judges where no set is configured, and blocks nothing
	opts     Options
}

// prepared is one set, ready to be asked.
type prepared struct {
	set       Set
	projects  selector.List
	everyone  bool // judges every project: no selector was given, or one that cannot be read
	decisions []decision
	query     rego.PreparedEvalQuery
	faults    []Fault // why it can't be asked; empty when it can
	digest    string
	voluntary bool // nobody configured it, so it blocks nothing, whatever happens to it
}

// Load reads, compiles and prepares sets. It always returns a usable engine: when it also returns a *LoadError, which names every fault
// of every set, the faulty sets are hard findings for each plan they apply to, and the others judge as usual.
func Load(ctx context.Context, sets []Set, opts Options) (*Engine, error) {
	e := &Engine{opts: opts.filled()}
	var faults []Fault
	seen := map[string]bool{}
	for _, set := range sets {
		p := prepare(ctx, set)
		if seen[set.Name] {
			p.faults = append(p.faults, Fault{Set: set.Name, Message: "the name is used by another set; findings and overrides go by it"})
		}
		seen[set.Name] = true
		e.heed(ctx, p)
		faults = append(faults, p.faults...)
		e.sets = append(e.sets, p)
	}
	slices.SortStableFunc(e.sets, func(a, b *prepared) int { return cmp.Compare(a.set.Name, b.set.Name) })
	e.fallback = prepare(ctx, Set{Name: "baseline", Source: builtinPrefix + "baseline", Level: run.Advisory})
	e.fallback.voluntary = true
	faults = append(faults, e.fallback.faults...)
	if len(faults) > 0 {
		return e, &LoadError{Faults: faults}
	}
	return e, nil
}

// heed asks a shipped set on sources what it thinks of no code at all: its settings are lists or nothing, so only its rules know a wrong one, and
// whoever starts the server should hear of it before the first pull request does.
func (e *Engine) heed(ctx context.Context, p *prepared) {
	if len(p.faults) > 0 || p.set.Source != builtinPrefix+builtinSources {
		return
	}
	for _, f := range e.judge(ctx, Input{Source: json.RawMessage(`{"version": 1}`)}, OnSource, []*prepared{p}, Judgement{}).Findings {
		if f.Rule == "settings" {
			p.faults = append(p.faults, Fault{Set: p.set.Name, Message: f.Message})
		}
	}
}

func (o Options) filled() Options {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Memory <= 0 {
		o.Memory = 2 << 30
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	return o
}

// prepare checks the set's own fields, reads its files, compiles them and prepares the query, noting every fault on the way.
func prepare(ctx context.Context, set Set) *prepared {
	p := &prepared{set: set, faults: checkFields(set)}
	p.selectProjects()
	src, faults := read(set, false)
	p.faults = append(p.faults, faults...)
	if len(faults) == 0 {
		p.compile(ctx, src)
	}
	p.digest = digestSet(set, src, p.faults)
	return p
}

func checkFields(set Set) []Fault {
	var faults []Fault
	fault := func(message string) { faults = append(faults, Fault{Set: set.Name, Message: message}) }
	if set.Name == "" {
		fault("name is empty; findings and overrides go by it")
	}
	switch set.Level {
	case run.Advisory, run.Hard:
	case run.Soft:
		if len(set.Owners.Users)+len(set.Owners.Teams) == 0 {
			fault("level soft needs owners who may override it: name users or teams, or say level hard")
		}
	default:
		fault(fmt.Sprintf("level: %q is not a level; say advisory, soft or hard", set.Level))
	}
	switch name, builtin := strings.CutPrefix(set.Source, builtinPrefix); {
	case set.stage() != OnPlan && set.stage() != OnSource:
		fault(fmt.Sprintf("on: %q is nothing to judge; say plan or source", set.On))
	case builtin && (name == builtinSources) != (set.stage() == OnSource):
		fault(fmt.Sprintf("on: %s does not fit %s, whose rules would find nothing", set.stage(), set.Source))
	}
	return faults
}

// selectProjects reads the selectors. One that can't be read may have meant any project, so the set, which has a fault now, is asked
// about all of them.
func (p *prepared) selectProjects() {
	p.everyone = len(p.set.Projects) == 0
	for _, text := range p.set.Projects {
		sel, err := selector.Parse(text)
		if err != nil {
			p.faults = append(p.faults, Fault{Set: p.set.Name, Message: fmt.Sprintf("projects: %v", err)})
			p.everyone = true
			continue
		}
		p.projects = append(p.projects, sel)
	}
}

// compile turns the files into a query that is ready to be evaluated.
func (p *prepared) compile(ctx context.Context, src source) {
	var faults []Fault
	p.decisions, faults = decisions(p.set.Name, src.modules)
	p.faults = append(p.faults, faults...)
	if len(p.decisions) == 0 && len(faults) == 0 {
		p.faults = append(p.faults, Fault{
			Set:     p.set.Name,
			Message: fmt.Sprintf("no rule in %s: a set needs a rule named finding, deny, violation or warn in a file that ends in .rego", p.set.Source),
		})
	}
	store := inmem.NewFromObject(src.data)
	compiler := newCompiler(p.set.Rego, src.data)
	if compiler.Compile(src.modules); compiler.Failed() {
		p.faults = append(p.faults, compileFaults(p.set.Name, src.modules, compiler.Errors)...)
	}
	if len(p.faults) > 0 {
		return
	}
	var err error
	p.query, err = rego.New(rego.ParsedQuery(query(p.decisions)), rego.Compiler(compiler), rego.Store(store)).PrepareForEval(ctx)
	if err != nil {
		p.faults = append(p.faults, faultsOf(p.set.Name, "", err)...)
	}
}

// newCompiler returns a compiler that reports all errors, knows only what policies may use, and refuses rules that would hide data.
func newCompiler(language string, data map[string]any) *ast.Compiler {
	version, err := regoVersion(language)
	if err != nil {
		version = ast.RegoV1 // read has reported it, so nothing gets here to be compiled
	}
	const noLimit = 0
	taken := func(path []string) (bool, error) { return holds(data, path), nil }
	return ast.NewCompiler().SetErrorLimit(noLimit).WithCapabilities(capabilities()).WithDefaultRegoVersion(version).
		WithPathConflictsCheck(taken)
}

// holds says whether data has something at a path, or a value on the way to it that is no object.
func holds(data map[string]any, path []string) bool {
	at := any(data)
	for _, part := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return true
		}
		if at, ok = object[part]; !ok {
			return false
		}
	}
	return true
}

// applies says whether the set judges a project.
func (p *prepared) applies(in Input) bool {
	return p.everyone || p.projects.Match(in.Target) || slices.ContainsFunc(in.Also, p.projects.Match)
}

// reasons lists the faults of a set in one text.
func reasons(faults []Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = strings.TrimPrefix(f.String(), "policy set "+f.Set+": ")
	}
	return strings.Join(lines, "; ")
}
