package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

// TestOptions choose tests and bound them. The zero value runs all.
type TestOptions struct {
	Filter  string        // regular expression on package and name, as in data.shop.test_deny; empty: all
	Timeout time.Duration // of one test; 0: 10 s
}

// TestResult is what became of one Rego test.
type TestResult struct {
	Package  string // data.planlatch.baseline
	Name     string // test_open_port
	File     string
	Line     int
	Passed   bool
	Skipped  bool   // its name begins with todo_
	Error    string // why it could not be evaluated; empty when it passed or failed
	FailedAt string // the expression that was false, with its place; empty when it passed
	Output   string // what it printed
	Took     time.Duration
}

// Test runs the Rego tests of a set: the rules named test_… in its files. It parses, compiles and evaluates with what Load and Judge use,
// so that a rule which passes here behaves the same when it judges. The results are sorted by place. The error is a *LoadError when files
// have faults, and otherwise about the run itself; a set without tests gives none and no error.
func Test(ctx context.Context, set Set, opts TestOptions) ([]TestResult, error) {
	src, faults := read(set, true)
	modules := maps.Clone(src.modules)
	maps.Copy(modules, src.tests)
	if len(faults) > 0 {
		return nil, &LoadError{Faults: faults}
	}
	store := inmem.NewFromObject(src.data)
	compiler := newCompiler(set.Rego, src.data).WithEnablePrintStatements(true)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, &LoadError{Faults: faultsOf(set.Name, "", compiler.Errors)}
	}
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open data of %s: %w", set.Name, err)
	}
	defer store.Abort(ctx, txn)
	results, err := tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(modules).CapturePrintOutput(true).
		SetTimeout(cmp.Or(opts.Timeout, 10*time.Second)).Filter(opts.Filter).RunTests(ctx, txn)
	if err != nil {
		return nil, fmt.Errorf("run tests of %s: %w", set.Name, err)
	}
	var list []TestResult
	for r := range results {
		list = append(list, testResult(r))
	}
	slices.SortFunc(list, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	return list, ctx.Err()
}

func testResult(r *tester.Result) TestResult {
	t := TestResult{
		Package: r.Package, Name: r.Name, Passed: r.Pass(), Skipped: r.Skip, Output: string(r.Output), Took: r.Duration,
	}
	if r.Location != nil {
		t.File, t.Line = r.Location.File, r.Location.Row
	}
	if r.Error != nil {
		t.Error = r.Error.Error()
	}
	if r.Fail && r.FailedAt != nil {
		t.FailedAt = fmt.Sprintf("%v: %s", r.FailedAt.Location, r.FailedAt.Location.Text)
	}
	return t
}
