package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
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
		return nil, &LoadError{Faults: compileFaults(set.Name, modules, compiler.Errors)}
	}
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open data of %s: %w", set.Name, err)
	}
	defer store.Abort(ctx, txn)
	runner := func() *tester.Runner {
		return tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(modules).SetTimeout(cmp.Or(opts.Timeout, 10*time.Second))
	}
	results, err := collect(ctx, runner().Filter(opts.Filter), txn)
	if err != nil {
		return nil, fmt.Errorf("run tests of %s: %w", set.Name, err)
	}
	places, err := failures(ctx, runner(), results, txn)
	if err != nil {
		return nil, fmt.Errorf("trace tests of %s: %w", set.Name, err)
	}
	list := make([]TestResult, 0, len(results))
	for _, r := range results {
		t := testResult(r)
		t.FailedAt = places[r.Package+"."+r.Name]
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	return list, ctx.Err()
}

func collect(ctx context.Context, runner *tester.Runner, txn storage.Transaction) ([]*tester.Result, error) {
	ch, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, err
	}
	var results []*tester.Result
	for r := range ch {
		results = append(results, r)
	}
	return results, nil
}

// failures runs the failed tests once more, because only a trace tells where a test failed, and it costs too much to have one of each.
// It returns the last expression of a test's file that was false, by the test's name.
func failures(ctx context.Context, runner *tester.Runner, results []*tester.Result, txn storage.Transaction) (map[string]string, error) {
	var names []string
	for _, r := range results {
		if r.Fail {
			names = append(names, regexp.QuoteMeta(r.Package+"."+r.Name))
		}
	}
	if len(names) == 0 {
		return map[string]string{}, nil
	}
	traced, err := collect(ctx, runner.EnableTracing(true).Filter("^("+strings.Join(names, "|")+")$"), txn)
	if err != nil {
		return nil, err
	}
	places := map[string]string{}
	for _, r := range traced {
		for _, event := range r.Trace {
			if event.Op == topdown.FailOp && event.Location != nil && r.Location != nil && event.Location.File == r.Location.File {
				places[r.Package+"."+r.Name] = fmt.Sprintf("%s:%d: %s", event.Location.File, event.Location.Row, event.Location.Text)
			}
		}
	}
	return places, nil
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
	return t
}
